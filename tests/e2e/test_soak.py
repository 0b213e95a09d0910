#!/usr/bin/python3
"""A day of work in short: people who prompt, agents that crash, readers that come, go and stall. Memory stays flat,
and nothing happens that is not explained. `./test` gives it some seconds, BERTH_SOAK=1200 twenty minutes."""

import os
import random
import re
import statistics
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Problem, text_of
from berth_server import RSS_COUNTS, Server, make_repository, processes_with, settled, wait_until
from summary import figure, main

SECONDS = int(os.environ.get("BERTH_SOAK", "15"))
RESIDENTS = 12
# The memory of what is kept on purpose is full after this; before it, growth says nothing.
WARM_SECONDS = 300
GROWTH_MAX = 1.05
CONFIG = """
[limits]
agents_live_max = 10
agents_idle_ttl = 2
rest_after = 1
"""


class Resident:
    """Works in one session after the other: prompts, follows, and compares what it saw with the log."""

    def __init__(self, client, repository, seed):
        self._client, self._repository, self._rng = client, repository, random.Random(seed)
        self.turns, self.events, self.refused, self.states = 0, 0, 0, {}
        self._words = 0

    def work(self, until):
        while time.monotonic() < until:
            self._session(until)

    def _session(self, until):
        workspace = {"repository": self._repository} if self._rng.random() < 0.7 else {}
        session = self._client.open(**workspace)["id"]
        seen, stream = [], self._client.events(session)
        for _ in range(self._rng.randrange(2, 10)):
            if time.monotonic() > until:
                break
            self._turn(session, stream, in_files=bool(workspace))
            if self._rng.random() < 0.3:  # goes away, with or without a good-bye, and comes back
                stream.close(reset=self._rng.random() < 0.5)
                seen += stream.seen
                stream = self._client.events(session, last_event_id=stream.last_id or (seen[-1].seq if seen else 0))
        end = self._rng.choice(("close", "archive", "delete"))
        last = len(self._client.log(session))
        while len(seen) + len(stream.seen) < last:
            stream.take()
        stream.close()
        seen += stream.seen
        log = self._client.log(session)
        assert [e.seq for e in log] == list(range(1, len(log) + 1)), f"{session}: the log has a gap"
        assert [e.content() for e in seen] == [e.content() for e in log[:len(seen)]], f"{session}: not what the log says"
        self.events += len(seen)
        if end == "delete":
            self._client.call("DELETE", f"/v1/sessions/{session}?force=1&purge=1")
        else:
            self._client.post(f"/v1/sessions/{session}/{end}")

    def _prompt(self, session, words):
        """There are more people than agents may live: whoever is told so asks again."""
        while True:
            try:
                return self._client.prompt(session, words, key=f"{session}-{self._words}")["id"]
            except Problem as problem:
                assert (problem.status, problem.code) == (503, "overloaded"), problem
                self.refused += 1
                time.sleep(0.1)

    def _turn(self, session, stream, in_files):
        self._words += 1
        word = f"word{self._words}"
        kinds = [(f"say {word}", "completed"), (f"stream 2000 300\nsay {word}", "completed"),
                 (f"remember {word}\nrecall", "completed"), (f"junk\nbad-json\nbad-utf8\nraw-cr\nbig 1\nsay {word}", "completed"),
                 ("crash", "interrupted"), ("exit 3", "interrupted"), ("error", "failed"), ("refuse", "refused"),
                 ("sleep 600000", "cancelled")]
        if in_files:
            kinds += [(f"write {word}.txt {word}", "completed"), (f"ask write asked.txt {word}", "completed")]
        words, wanted = self._rng.choice(kinds)
        self._client.post(f"/v1/sessions/{session}/resume-queue")
        turn = self._prompt(session, words)
        if words.startswith("ask"):
            opened = stream.wait_for("interaction.opened", turn=turn, timeout=120)
            self._client.post(f"/v1/sessions/{session}/interactions/{opened.data['id']}", {"option_id": "yes"})
        if wanted == "cancelled":
            stream.wait_for("turn.started", turn=turn, timeout=120)
            self._client.cancel(session, turn)
        ended = stream.wait_for("turn.ended", turn=turn, timeout=120)
        assert ended.data["state"] == wanted, f"{session}: {words!r} ended {ended.data}"
        if words.startswith("stream"):
            assert text_of([e for e in stream.seen if e.turn == turn]).endswith(word), f"{session}: text is missing"
        self.turns += 1
        self.states[wanted] = self.states.get(wanted, 0) + 1


class Staller:
    """Opens streams of sessions that are busy, and never reads one."""

    def __init__(self, client):
        self._client, self._held = client, []
        self.streams, self.refused = 0, 0

    def work(self, until):
        while time.monotonic() < until:
            for session in self._client.get("/v1/sessions?limit=5")["sessions"]:
                try:
                    self._held.append(self._client.open_stream(f"/v1/sessions/{session['id']}/events?after=0"))
                    self.streams += 1
                except Exception as gone:  # pylint: disable=broad-except
                    assert getattr(gone, "status", 0) in (404, 503), gone
                    self.refused += gone.status == 503
            while len(self._held) > 20:
                self._leave()
            time.sleep(0.5)
        while self._held:
            self._leave()

    def _leave(self):
        connection, answer = self._held.pop(0)
        answer.close()
        connection.close()


class Soak(unittest.TestCase):

    def test_a_mixed_load_with_faults_keeps_its_memory_and_explains_its_errors(self):
        with Server(CONFIG) as server:
            client = server.client
            repository = make_repository(os.path.join(server.folder, "repository"))
            first = client.open(repository=repository)["id"]  # opens what stays open
            client.prompt(first, "say hello", wait=60)
            client.post(f"/v1/sessions/{first}/close")
            wait_until(lambda: client.get("/v1/info")["sessions_loaded"] == 0, 60)
            held = settled(lambda: self._held(server))
            residents = [Resident(client, repository, seed) for seed in range(RESIDENTS)]
            staller = Staller(client)
            began, wrong, samples = time.monotonic(), [], []

            def run(work):
                try:
                    work(began + SECONDS)
                except BaseException as error:  # pylint: disable=broad-except
                    wrong.append(f"{type(error).__name__}: {error}")

            threads = [threading.Thread(target=run, args=(one.work,)) for one in (*residents, staller)]
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                samples.append((time.monotonic() - began, self._rss_kib(server.pid)))
                time.sleep(0.25)
            self.assertEqual(wrong, [], "\n".join(wrong))
            states = {}
            for one in residents:
                for state, count in one.states.items():
                    states[state] = states.get(state, 0) + count
            figure("seconds, turns, events that readers saw, streams never read",
                   (SECONDS, sum(r.turns for r in residents), sum(r.events for r in residents), staller.streams))
            figure("endings, prompts refused for want of an agent", (states, sum(r.refused for r in residents)))
            self.assertGreaterEqual(len(states), 4, "the load was not mixed")
            self._check_memory(samples)
            wait_until(lambda: client.get("/v1/info")["sessions_loaded"] == 0, 60,
                       lambda: f"sessions stay in memory: {client.get('/v1/info')}")
            wait_until(lambda: self._held(server) == held, 60, lambda: f"{self._held(server)}, and not {held}")
            self._check_log(server, states, refused=staller.refused + sum(r.refused for r in residents))

    def _held(self, server):
        """Descriptors and processes, as at the beginning when all is over."""
        return len(os.listdir(f"/proc/{server.pid}/fd")), len(processes_with(f"BERTH_STATE={server.state}"))

    @staticmethod
    def _rss_kib(pid):
        with open(f"/proc/{pid}/status", encoding="utf-8") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1])

    def _check_memory(self, samples):
        figure("RSS in KiB by quarters of the time", [
            round(statistics.median(rss for at, rss in samples if SECONDS * q / 4 <= at < SECONDS * (q + 1) / 4))
            for q in range(4)])
        if SECONDS < 3 * WARM_SECONDS or not RSS_COUNTS:
            return
        early = [rss for at, rss in samples if WARM_SECONDS <= at < 2 * WARM_SECONDS]
        late = [rss for at, rss in samples if SECONDS - WARM_SECONDS <= at < SECONDS]
        self.assertLess(statistics.median(late), GROWTH_MAX * statistics.median(early), "memory grows")

    def _check_log(self, server, states, refused):
        """A line for each turn that went wrong and each request that was refused for want of room, and no complaint
        else: readers that stall are no trouble of berth's."""
        with open(server.log_path, encoding="utf-8") as log:
            lines = [line for line in log if not re.match(r"berth info|\{", line)]
        full = [line for line in lines if re.search(r"\[api\] \S+ \S+ was answered 503 ", line)]
        self.assertEqual(len(full), refused, full)
        lines = [line for line in lines if line not in full]
        told = [re.search(r"\bturn \S+ of \S+ by scripted ended (interrupted|failed) ", line) for line in lines]
        self.assertEqual([line for line, turn in zip(lines, told) if not turn], [])
        for state in ("interrupted", "failed"):
            self.assertEqual(sum(turn[1] == state for turn in told), states.get(state, 0), state)


if __name__ == "__main__":
    main()
