#!/usr/bin/python3
"""berth over many sessions and many deaths: what is shown stays true, and nothing is left behind."""

import json
import os
import random
import re
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

from berth_client import Problem
from berth_server import RSS_COUNTS, Server, processes_with, settled, wait_until
from summary import figure, main

# As many deaths and sessions as issues ask for; under a sanitizer (BERTH_FULL) RSS says nothing.
LONG = bool(os.environ.get("BERTH_FULL") or os.environ.get("BERTH_LONG"))


def groups_of(state):
    """The control groups of what a server of this state folder has started."""
    name = 0xcbf29ce484222325
    for byte in state.encode():
        name = (name ^ byte) * 0x100000001b3 % 2 ** 64
    return [path for path, _, _ in os.walk("/sys/fs/cgroup") if f"/berth.berth-{name:016x}" in path]


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines["VmRSS"].split()[0]), int(lines["Threads"])


def files_under(folder):
    """All but what the agents remember."""
    return {os.path.join(path, name) for path, _, names in os.walk(folder) for name in names
            if "scripted-sessions" not in path}


class Person:
    """Prompts in one session, cancels and looks, and remembers what it was told."""

    def __init__(self, session, rng):
        self.session, self._rng = session, rng
        self._prompts = 0
        self.accepted = {}  # turn's id -> key
        self.endings = {}  # turn's id -> ended state that was shown
        self.shown = []  # events

    def act(self, client):
        choice = self._rng.random()
        if choice < 0.5:
            self._prompt(client)
        elif choice < 0.6:
            client.post(f"/v1/sessions/{self.session}/cancel")
        elif choice < 0.7:
            client.post(f"/v1/sessions/{self.session}/resume-queue")
        elif choice < 0.85 and self.accepted:
            self._note(client.get(f"/v1/sessions/{self.session}/turns/{self._rng.choice(list(self.accepted))}"))
        else:
            self.shown += client.log(self.session, after=len(self.shown))

    def _prompt(self, client):
        self._prompts += 1
        key = f"{self.session}-{self._prompts}-end"
        words = self._rng.choice([f"say {key}", f"stream 300 200\nsay {key}", f"remember {key}", f"sleep 50\nsay {key}"])
        turns = [client.prompt(self.session, words, key=key) for _ in range(self._rng.choice((1, 1, 2)))]
        assert len({turn["id"] for turn in turns}) == 1, "a key is one turn"
        self.accepted[turns[0]["id"]] = key
        for turn in turns:
            self._note(turn)

    def _note(self, turn):
        if turn["ended_at"]:
            assert self.endings.setdefault(turn["id"], turn["state"]) == turn["state"], turn

    def check(self, log):
        """The first contradiction between what was shown and the log, or nothing."""
        if [e.seq for e in log] != list(range(1, len(log) + 1)):
            return "the log has a gap"
        if [e.content() for e in log[:len(self.shown)]] != [e.content() for e in self.shown]:
            return "the log is not what was shown"
        queued = [e.turn for e in log if e.type == "turn.queued"]
        ended = {}
        for event in log:
            if event.type == "turn.ended":
                if event.turn in ended:
                    return f"{event.turn} ends twice"
                ended[event.turn] = event.data["state"]
        if len(set(queued)) != len(queued) or set(ended) != set(queued):
            return f"{len(queued)} turns and {len(ended)} endings"
        for turn, key in self.accepted.items():
            if turn not in ended:
                return f"the accepted prompt {key} is not in the log"
        for turn, state in self.endings.items():
            if ended[turn] != state:
                return f"{turn} was told to be {state} and is {ended[turn]}"
        return None


class Deaths(unittest.TestCase):
    def test_kill_9_under_load_breaks_no_promise(self):
        rng = random.Random(2026)
        sessions, kills = (100, 200) if LONG else (20, 10)
        with Server() as server:
            people = [Person(server.client.open()["id"], random.Random(n)) for n in range(sessions)]
            for _ in range(kills):
                self._load(server, people, rng.uniform(0.05, 1.0))
            for person in people:
                self._settle(server.client, person)
            wrong = [person.check(server.client.log(person.session)) for person in people]
            self.assertEqual([text for text in wrong if text], [])
            self._check_memories(server, people)
            figure("kills, sessions, prompts accepted", (kills, sessions, sum(len(p.accepted) for p in people)))

    def _load(self, server, people, seconds):
        """Everybody acts until berth dies in the midst of it; then it is started again."""
        client, wrong = server.client, []

        def act(part):
            try:
                while True:
                    for person in part:
                        try:
                            person.act(client)
                        except Problem as problem:
                            if problem.status not in (429, 503):
                                raise
            except (OSError, HTTPException):
                pass  # berth is dead
            except Exception as error:  # pylint: disable=broad-except
                wrong.append(repr(error))

        threads = [threading.Thread(target=act, args=(people[i::8],)) for i in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        server.kill()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])
        server.start()

    def _settle(self, client, person):
        client.post(f"/v1/sessions/{person.session}/resume-queue")
        last = client.prompt(person.session, "say the last word", wait=120)
        self.assertEqual(last["state"], "completed")

    def _check_memories(self, server, people):
        """No agent heard a prompt twice, whatever died between its sending and its recording."""
        folder = os.path.join(server.state, "scripted-sessions")
        heard = []
        for name in os.listdir(folder):
            if not name.endswith(".json"):
                continue  # an agent died over its replacement
            with open(os.path.join(folder, name), encoding="utf-8") as memory:
                for entry in json.load(memory)["history"]:
                    # At the end, not in what it was told of the past.
                    heard += re.findall(r"(ses_\w+-\d+-end)\s*$", entry["prompt"])
        self.assertEqual(len(heard), len(set(heard)), "a prompt was sent twice")
        self.assertGreater(len(heard), len(people) // 2)


class Leaks(unittest.TestCase):
    def test_sessions_that_were_closed_leave_nothing_behind(self):
        # What is kept on purpose is full first: the store's pages in memory, in the long run.
        warm, count = (2500, 10000) if LONG else (100, 400)
        with Server("[limits]\nrest_after = 1\n") as server, ThreadPoolExecutor(4) as pool:
            client = server.client

            def live(_):
                session = client.open()["id"]
                self.assertEqual(client.prompt(session, "say a word", wait=60)["state"], "completed")
                client.post(f"/v1/sessions/{session}/close")

            def held():
                """What must be as before: threads, descriptors, processes, control groups, files."""
                rss, threads = status_of(server.pid)
                fds = len(os.listdir(f"/proc/{server.pid}/fd"))
                mine = processes_with(f"BERTH_STATE={server.state}")
                return rss, threads, fds, len(mine), len(groups_of(server.state)), len(files_under(server.state))

            used = client.open()["id"]
            client.prompt(used, "say a word", wait=60)
            alive = len(groups_of(server.state))
            self.assertEqual(alive > 0, "cgroup2 at" in client.get("/v1/info")["process_kill"], "groups are found")
            client.post(f"/v1/sessions/{used}/close")
            list(pool.map(live, range(warm)))
            wait_until(lambda: client.get("/v1/info")["sse_clients"] == 0)
            time.sleep(1)  # sessions that were closed leave the memory four times in this
            settled(lambda: held()[1:])
            before = held()
            started = time.monotonic()
            list(pool.map(live, range(count)))
            took = time.monotonic() - started
            wait_until(lambda: client.get("/v1/info")["sessions_loaded"] == 0)
            wait_until(lambda: held()[1:] == before[1:], 30, lambda: f"{held()}, and not {before}: threads,"
                       " descriptors, processes, groups, files")
            after = held()
            figure(f"{count} sessions opened, prompted and closed: s", round(took, 1))
            figure("RSS in KiB before and after", (before[0], after[0]))
            figure("bytes of RSS for each session that was closed", round((after[0] - before[0]) * 1024 / count))
            if RSS_COUNTS:
                self.assertLess((after[0] - before[0]) * 1024 / count, 32 * 1024)
            if RSS_COUNTS and LONG:
                self.assertLess(after[0], before[0] * 1.05)


if __name__ == "__main__":
    main()
