#!/usr/bin/python3
"""Several sessions in one process of an ACP agent: nobody hears another, nobody harms another, all come back."""

import os
import re
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import session_path, text_of
from berth_server import ROOT, Server, processes_with, wait_until
from summary import figure, main

AGENT = os.path.join(os.path.dirname(os.path.dirname(os.environ.get("BERTH", os.path.join(ROOT, "build/server/berth")))),
                     "bench/agents/berth-scripted-agent")
SESSIONS = 10


class SharedProcess(unittest.TestCase):

    def setUp(self):
        self.server = Server()
        self.mark = f"SHARED_PROCESS_TEST={self.server.folder}"
        with open(self.server._config, "w", encoding="utf-8") as file:
            file.write(f'[agents.many]\ncommand = "{AGENT}"\nargs = ["--sessions", "{self.server.folder}/memory"]\n'
                       f'env = {{ SHARED_PROCESS_TEST = "{self.server.folder}" }}\n'
                       f"sessions_per_process = {SESSIONS}\ncancel_grace = 0.5\n")
        self.enterContext(self.server)
        self.client = self.server.client

    def open(self):
        session = self.client.open(agent="many")["id"]
        return session, self.enterContext(self.client.events(session))

    def pid(self, session):
        return self.client.agents(session)[0]["pid"]

    def ended(self, stream, turn):
        return stream.wait_for("turn.ended", turn=turn).data["state"]

    def test_ten_sessions_in_one_process_each_with_its_own_words_through_its_death(self):
        sessions = [self.open() for _ in range(SESSIONS)]
        turns = [self.client.prompt(session, f"remember word{n}\nstream 50 40\nsay I am {n}.")["id"]
                 for n, (session, _) in enumerate(sessions)]
        for n, ((_, stream), turn) in enumerate(zip(sessions, turns)):
            self.assertEqual(self.ended(stream, turn), "completed")
            self.assertEqual(re.findall(r"I am (\d+)\.", text_of(stream.seen)), [str(n)])
            chunks = [int(number) for number in re.findall(r"\[(\d+)\] ", text_of(stream.seen))]
            self.assertEqual(chunks, list(range(1, 51)))
        self.assertEqual(len({self.pid(session) for session, _ in sessions}), 1)
        self.assertEqual(len(processes_with(self.mark)), 1)

        turns = [self.client.prompt(session, f"say half {n}\nhang")["id"] for n, (session, _) in enumerate(sessions)]
        for n, (_, stream) in enumerate(sessions):
            stream.wait_for_text(f"half {n}")
        os.kill(self.pid(sessions[0][0]), signal.SIGKILL)
        for n, ((session, stream), turn) in enumerate(zip(sessions, turns)):
            self.assertEqual(self.ended(stream, turn), "interrupted")
            self.assertEqual(re.findall(r"half (\d+)", text_of(self.client.log(session))), [str(n)])
        for n, (session, stream) in enumerate(sessions):
            self.client.post(session_path(session, "resume-queue"))
            before = len(stream.seen)
            turn = self.client.prompt(session, "recall")["id"]
            self.assertEqual(self.ended(stream, turn), "completed")
            events = stream.seen[before:]
            self.assertIn(f"remembered: word{n}", text_of(events))
            self.assertEqual(next(e for e in events if e.type == "agent.attached").data["rung"], "resume")
        self.assertEqual(len(processes_with(self.mark)), 1, "one process for all again")
        figure("sessions in one process, killed and all restored", str(SESSIONS))

    def test_a_cancel_that_nobody_answers_and_a_close_cost_the_others_nothing(self):
        first, first_stream = self.open()
        second, second_stream = self.open()
        busy = self.client.prompt(second, "stream 400 40 200\nsay The end.")["id"]
        second_stream.wait_for_text("[5] ")
        stuck = self.client.prompt(first, "say before\nhang")["id"]
        first_stream.wait_for_text("before")
        pid = self.pid(first)
        self.assertEqual(self.pid(second), pid)
        self.client.cancel(first, stuck)
        self.assertEqual(self.ended(first_stream, stuck), "cancelled")
        left = first_stream.wait_for("agent.exited")
        self.assertIn("other sessions", left.data["status"])

        # A new process for whoever comes now: nobody knows what the old one still does.
        self.client.post(session_path(first, "resume-queue"))
        again = self.client.prompt(first, "say well again")["id"]
        self.assertEqual(self.ended(first_stream, again), "completed")
        self.assertNotEqual(self.pid(first), pid)
        self.client.post(session_path(first, "close"))

        self.assertEqual(self.ended(second_stream, busy), "completed")
        text = text_of(second_stream.seen)
        self.assertEqual([int(n) for n in re.findall(r"\[(\d+)\] ", text)], list(range(1, 401)))
        self.assertIn("The end.", text)
        self.assertNotIn("before", text)
        self.assertEqual(self.pid(second), pid)
        wait_until(lambda: processes_with(self.mark) == [pid], 10, lambda: "the process of a closed session stays")

    def test_a_process_that_is_too_big_takes_nobody_more_and_ends_with_its_last_session(self):
        with open(self.server._config, "a", encoding="utf-8") as file:
            file.write("server_memory_max = 1\n")
        self.server.stop()
        self.client = self.server.start().client
        (first, first_stream), (second, second_stream) = self.open(), self.open()
        for session, stream in ((first, first_stream), (second, second_stream)):
            turn = self.client.prompt(session, f"remember {session[-4:]}")["id"]
            self.assertEqual(self.ended(stream, turn), "completed")
        old, new = self.pid(first), self.pid(second)
        self.assertNotEqual(old, new)
        again = self.client.prompt(first, "recall")["id"]
        self.assertEqual(self.ended(first_stream, again), "completed")
        self.assertEqual(self.pid(first), old, "who sits there stays")
        self.client.post(session_path(first, "close"))
        wait_until(lambda: processes_with(self.mark) == [new], 10, lambda: "the old process stays")

    def test_deleting_all_sessions_ends_the_process(self):
        sessions = [self.open() for _ in range(3)]
        for session, stream in sessions:
            self.assertEqual(self.ended(stream, self.client.prompt(session, "say hello")["id"]), "completed")
        for session, _ in sessions:
            self.assertEqual(len(processes_with(self.mark)), 1)
            self.client.raw("DELETE", session_path(session))
        wait_until(lambda: not processes_with(self.mark), 10, lambda: "it lives on without a session")

    def test_kill_9_of_berth_leaves_no_process_and_all_come_back(self):
        sessions = [self.open() for _ in range(3)]
        for n, (session, stream) in enumerate(sessions):
            turn = self.client.prompt(session, f"remember word{n}")["id"]
            self.assertEqual(self.ended(stream, turn), "completed")
        self.server.kill()
        wait_until(lambda: not processes_with(self.mark), 10, lambda: "an orphan")
        self.client = self.server.start().client
        for n, (session, _) in enumerate(sessions):
            turn = self.client.prompt(session, "recall", wait=20)
            self.assertIn(f"remembered: word{n}", text_of(e for e in self.client.log(session) if e.turn == turn["id"]))
        self.assertEqual(len(processes_with(self.mark)), 1)


if __name__ == "__main__":
    main()
