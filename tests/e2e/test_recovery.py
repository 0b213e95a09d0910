#!/usr/bin/python3
"""What survives: the death of the agent, the death of berth, and clients that come and go."""

import os
import random
import re
import signal
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import StreamEnded, text_of
from berth_server import Server, alive, make_repository, processes_with, wait_until
from summary import figure, main

ENDED_WITHIN_MS = 100
GONE_WITHIN_S = 2


def tag_of(pid):
    """The mark that an agent and all that it starts have in their environment."""
    with open(f"/proc/{pid}/environ", encoding="utf-8") as environ:
        return next(e for e in environ.read().split("\0") if e.startswith("BERTH_TAG="))


class Recovery(unittest.TestCase):

    def setUp(self):
        self.server = self.enterContext(Server())
        self.client = self.server.client

    def tags_of_agents(self, sessions):
        """Of one agent a session, once they all run."""
        def agents():
            found = [a for s in sessions for a in self.client.agents(s)]
            return len(found) == len(sessions) and all(a["pid"] for a in found) and found

        return [tag_of(a["pid"]) for a in wait_until(agents)]

    def test_the_death_of_an_agent_interrupts_the_turn_at_once_and_the_next_prompt_restores(self):
        session = self.client.open()["id"]
        stream = self.enterContext(self.client.events(session))
        self.client.prompt(session, "remember pelican\nspawn 1234", wait=10)
        turn = self.client.prompt(session, "stream 100000 200 500")["id"]
        stream.wait_for_text("[40]")
        before = self.client.agents(session)[0]
        tag = tag_of(before["pid"])
        self.assertGreaterEqual(len(processes_with(tag)), 2, "the agent and its sleeper")
        killed = time.monotonic()
        os.kill(before["pid"], signal.SIGKILL)
        ended = stream.wait_for("turn.ended", turn=turn)
        ms = (ended.arrived - killed) * 1000
        figure("ms from SIGKILL of the agent to turn.ended at the client", round(ms, 1))
        self.assertEqual(ended.data["state"], "interrupted")
        self.assertLess(ms, ENDED_WITHIN_MS)
        self.assertEqual(processes_with(tag), [])
        log = self.client.log(session)
        self.assertEqual([e.seq for e in log], list(range(1, len(log) + 1)))
        seen = text_of([e for e in stream.seen if e.turn == turn])
        self.assertIn("[40]", seen)
        self.assertEqual(seen, text_of([e for e in log if e.turn == turn]))
        again = self.client.prompt(session, "recall", wait=10)
        self.assertEqual(again["state"], "completed")
        attached = stream.wait_for("agent.attached", turn=again["id"])
        self.assertEqual(attached.data["rung"], "resume")
        self.assertEqual(attached.data["native_session_id"], before["native_session_id"])
        self.assertIn("pelican", text_of([e for e in self.client.log(session) if e.turn == again["id"]]))

    def test_kill_9_of_berth_loses_nothing_that_was_shown(self):
        repository = make_repository(os.path.join(self.server.folder, "repository"))
        session = self.client.open(repository=repository)["id"]
        stream = self.client.events(session)
        self.client.prompt(session, "write a.txt one", wait=10)
        turn = self.client.prompt(session, "open-tool dig\nstream 100000 300 2000")["id"]
        stream.wait_for_text("[300]")
        self.server.kill()
        try:
            stream.drain()
        except StreamEnded:
            pass
        shown = [e.content() for e in stream.seen]
        stream.close()
        started = time.monotonic()
        self.server.start()
        self.client = self.server.client
        figure("ms from start to ready after kill -9", round((time.monotonic() - started) * 1000))
        log = self.client.log(session)
        self.assertEqual([e.seq for e in log], list(range(1, len(log) + 1)))
        self.assertEqual([e.content() for e in log[:len(shown)]], shown)
        endings = [e for e in log if e.type == "turn.ended" and e.turn == turn]
        self.assertEqual([e.data["state"] for e in endings], ["interrupted"])
        self.assertEqual(len(endings[0].data["open_tool_calls"]), 1)
        again = self.client.prompt(session, "write b.txt two", wait=10)
        self.assertEqual(again["state"], "completed")
        wait_until(lambda: len(self.client.get(f"/v1/sessions/{session}/changes")["files"]) == 2)

    def test_kill_9_of_berth_leaves_no_process_without_a_restart(self):
        sessions = [self.client.open()["id"] for _ in range(5)]
        for session in sessions:
            self.client.prompt(session, "spawn 4323\nspawn 4324\nstream 100000 100 50")

        tags = self.tags_of_agents(sessions)
        # The agent and two sleepers in sessions of their own.
        wait_until(lambda: all(len(processes_with(tag)) == 3 for tag in tags))
        mine = [pid for tag in tags for pid in processes_with(tag)]
        killed = time.monotonic()
        self.server.kill()
        wait_until(lambda: not any(alive(pid) for pid in mine), GONE_WITHIN_S,
                   lambda: f"left: {[pid for pid in mine if alive(pid)]}")
        figure("ms from kill -9 of berth until all 15 processes were gone", round((time.monotonic() - killed) * 1000))

    def test_kill_9_at_random_moments_never_breaks_the_log(self):
        rng = random.Random(7)
        session = self.client.open()["id"]
        known = []
        for _ in range(8):
            stream = self.client.events(session, after=len(known))
            self.client.prompt(session, "stream 5000 200")
            deadline = time.monotonic() + rng.uniform(0.0, 0.25)
            while time.monotonic() < deadline:
                time.sleep(0.005)
            self.server.kill()
            try:
                stream.drain()
            except StreamEnded:
                pass
            known += [e.content() for e in stream.seen]
            stream.close()
            self.server.start()
            self.client = self.server.client
            log = self.client.log(session)
            self.assertEqual([e.seq for e in log], list(range(1, len(log) + 1)))
            self.assertEqual([e.content() for e in log[:len(known)]], known)
            known = [e.content() for e in log]
        endings = [e.turn for e in self.client.log(session) if e.type == "turn.ended"]
        self.assertEqual(len(endings), len(set(endings)), "one ending a turn")

    def test_a_client_that_is_cut_50_times_has_the_log_in_the_end(self):
        rng = random.Random(11)
        session = self.client.open()["id"]
        turn = self.client.prompt(session, "stream 20000 300 8000")["id"]
        def is_end(event):
            return event.type == "turn.ended"
        got = []
        for cut in range(50):
            if any(map(is_end, got)):  # nothing more may come: this one comes back from earlier on
                del got[rng.randrange(len(got)):]
            stream = self.client.events(session, last_event_id=got[-1].seq if got else None)
            try:
                for _ in range(rng.randrange(1, 600)):
                    stream.take(timeout=10)
                    if is_end(stream.seen[-1]):
                        break
            except StreamEnded:
                pass
            stream.close(reset=rng.random() < 0.5)
            got += stream.seen
        if not any(map(is_end, got)):
            with self.client.events(session, last_event_id=got[-1].seq) as stream:
                stream.wait_for(is_end)
                got += stream.seen
        log = self.client.log(session)
        ended = next(i for i, e in enumerate(log) if e.type == "turn.ended" and e.turn == turn)
        self.assertEqual([e.content() for e in got[:ended + 1]], [e.content() for e in log[:ended + 1]])
        pieces = [int(number) for number in re.findall(r"\[(\d+)\] ", text_of(log))]
        self.assertEqual(pieces, list(range(1, 20001)))

    def test_an_orderly_stop_is_quick_and_leaves_nothing(self):
        sessions = [self.client.open()["id"] for _ in range(20)]
        for session in sessions:
            self.client.prompt(session, "spawn 4321\nstream 100000 100 50")

        tags = self.tags_of_agents(sessions)
        wait_until(lambda: all(len(processes_with(tag)) == 2 for tag in tags))
        mine = [pid for tag in tags for pid in processes_with(tag)]
        started = time.monotonic()
        self.assertEqual(self.server.stop(), 0)
        figure("ms from SIGTERM to the end with 20 running turns", round((time.monotonic() - started) * 1000))
        self.assertEqual([pid for pid in mine if alive(pid)], [], "tools outlived the server")
        self.assertFalse(os.path.exists(os.path.join(self.server.state, "endpoint.json")))


if __name__ == "__main__":
    main()
