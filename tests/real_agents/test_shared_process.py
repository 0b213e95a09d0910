#!/usr/bin/python3
"""Several sessions in one process of a real agent, without a network.

    tests/real_agents/offline.sh tests/real_agents/test_shared_process.py [NAME...]

Which agents can is known from here: `sessions_per_process` of a built-in profile is above 1 only
for those that go through all of it. BERTH_FULL=1 runs all, and ten sessions in place of three.
"""

import os
import re
import subprocess
import sys
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

from acp_schema import ClientSchema, read_log
from berth_client import session_path, text_of
from berth_server import describe, wait_until
from summary import figure, main
from test_acp_agents import CASES, Rig

FULL = bool(os.environ.get("BERTH_FULL"))
SESSIONS = int(os.environ.get("BERTH_SHARED_SESSIONS") or (10 if FULL else 3))
ALWAYS = ("codex-acp-zed", "claude-agent-acp")
# pi-acp kills the turn that runs in one session when it opens another.
NEVER = ("pi",)


class SharedProcess:
    """The steps; a class per agent is made from it below."""

    case = None
    name = ""

    def setUp(self):
        installer = os.path.join(HERE, "install.sh")
        subprocess.run([installer, *self.case.packages], check=True, stdout=subprocess.DEVNULL)
        self.rig = Rig(self.case, self.enterContext, f"sessions_per_process = {SESSIONS}\n")
        self.client = self.rig.client

    def open(self):
        session = self.client.open(agent=self.case.profile, repository=self.rig.repository,
                                   permission="allow")["id"]
        if self.case.mode:
            path = session_path(session, "agents", self.case.profile, "config")
            self.client.call("PUT", path, {"mode": self.case.mode})
        return session, self.enterContext(self.client.events(session))

    def finish(self, stream, turn):
        return stream.wait_for("turn.ended", timeout=240, turn=turn).data["state"]

    def prompt(self, session, text):
        return self.client.prompt(session, text)["id"]

    def pids(self, sessions):
        return {self.client.agents(session)[0]["pid"] for session, _ in sessions}

    def test_sessions_share_a_process_and_nothing_else(self):
        sessions = [self.open() for _ in range(SESSIONS)]
        self.they_stream_at_once(sessions)
        self.each_works_in_its_own_folder(sessions)
        self.a_cancel_is_of_one(sessions)
        self.a_close_is_of_one(sessions)
        self.all_come_back_from_the_death_of_the_process(sessions[1:])
        schema = ClientSchema()
        connections = [read_log(path) for path in self.rig.wire_logs()]
        wrong = [problem for messages in connections for problem in schema.problems(messages)]
        self.assertEqual(wrong, [])
        self.assertEqual(len(connections), 2, "one process, and after its death another")

    def they_stream_at_once(self, sessions):
        turns = [self.prompt(session, f"Mind that the word is heron{n}. [[slow 30 40]] [[say End {n}.]]")
                 for n, (session, _) in enumerate(sessions)]
        for n, ((_, stream), turn) in enumerate(zip(sessions, turns)):
            self.assertEqual(self.finish(stream, turn), "completed")
            text = text_of(e for e in stream.seen if e.turn == turn)
            self.assertEqual(re.findall(r"End (\d+)\.", text), [str(n)])
            self.assertEqual(re.findall(r"tick (\d+)", text), [str(i) for i in range(30)])
        self.assertEqual(len(self.pids(sessions)), 1)
        memory = sum(rss_of(pid) for pid in self.rig.agent_processes()) >> 20
        figure(f"{self.name}, {len(sessions)} sessions in one process", f"{memory} MiB resident")

    def each_works_in_its_own_folder(self, sessions):
        for n, (session, stream) in enumerate(sessions):
            folder = self.client.session(session)["workspace"]["directory"]
            path = os.path.join(folder, f"notes{n}.md")
            turn = self.prompt(session, f"Note. [[write {path} one]] [[say Written.]]")
            self.assertEqual(self.finish(stream, turn), "completed")
            recorded = stream.wait_for("change.recorded", turn=turn)
            self.assertEqual([f["path"] for f in recorded.data["files"]], [f"notes{n}.md"])

    def a_cancel_is_of_one(self, sessions):
        (first, first_stream), (second, second_stream) = sessions[:2]
        going = self.prompt(second, "Go. [[slow 60 40]] [[say Undisturbed.]]")
        second_stream.wait_for(lambda e: e.turn == going and e.update == "agent_message_chunk")
        stopped = self.prompt(first, "Go. [[slow 400 40]]")
        first_stream.wait_for(lambda e: e.turn == stopped and e.update == "agent_message_chunk")
        self.client.cancel(first, stopped)
        self.assertEqual(self.finish(first_stream, stopped), "cancelled")
        self.assertEqual(self.finish(second_stream, going), "completed")
        text = text_of(e for e in second_stream.seen if e.turn == going)
        self.assertEqual(re.findall(r"tick (\d+)", text), [str(i) for i in range(60)])
        self.assertIn("Undisturbed.", text)
        self.client.post(session_path(first, "resume-queue"))
        again = self.prompt(first, "Again. [[say Well.]]")
        self.assertEqual(self.finish(first_stream, again), "completed")
        self.assertEqual(len(self.pids(sessions)), 1)

    def a_close_is_of_one(self, sessions):
        (first, _), (second, second_stream) = sessions[:2]
        pid = self.pids(sessions)
        going = self.prompt(second, "Go. [[slow 40 40]] [[say Still there.]]")
        second_stream.wait_for(lambda e: e.turn == going and e.update == "agent_message_chunk")
        self.client.post(session_path(first, "close"), timeout=60)
        self.assertEqual(self.finish(second_stream, going), "completed")
        self.assertEqual(self.pids(sessions[1:]), pid)

    def all_come_back_from_the_death_of_the_process(self, sessions):
        turns = [self.prompt(session, "Go. [[slow 400 20]]") for session, _ in sessions]
        for (_, stream), turn in zip(sessions, turns):
            stream.wait_for(lambda e, turn=turn: e.turn == turn and "tick 9" in text_of(
                e for e in stream.seen if e.turn == turn), timeout=120)
        self.rig.kill_agent()
        for (_, stream), turn in zip(sessions, turns):
            self.assertEqual(self.finish(stream, turn), "interrupted")
            ticks = re.findall(r"tick (\d+)", text_of(e for e in stream.seen if e.turn == turn))
            self.assertEqual(ticks, [str(i) for i in range(len(ticks))])
        wait_until(lambda: not self.rig.agent_processes(), 5,
                   lambda: f"left over: {describe(self.rig.agent_processes())}")
        turns, start = [], time.monotonic()
        for session, _ in sessions:
            self.client.post(session_path(session, "resume-queue"))
            turns.append(self.prompt(session, "What was it? [[recall]]"))
        for n, ((_, stream), turn) in enumerate(zip(sessions, turns), 1):
            self.assertEqual(self.finish(stream, turn), "completed")
            text = text_of(e for e in stream.seen if e.turn == turn)
            self.assertEqual(set(re.findall(r"heron\d+", text)), {f"heron{n}"}, text)
        self.assertEqual(len(self.pids(sessions)), 1)
        figure(f"{self.name}, {len(sessions)} sessions restored at once",
               f"{time.monotonic() - start:.1f} s")


def rss_of(pid):
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def add_classes(wanted):
    for name, case in CASES.items():
        if case.v2 or name in NEVER or name not in (wanted or (CASES if FULL else ALWAYS)):
            continue
        title = "".join(part.capitalize() for part in name.split("-"))
        members = {"case": case, "name": name, "__doc__": None}
        globals()[title] = type(title, (SharedProcess, unittest.TestCase), members)


if __name__ == "__main__":
    names = [argument for argument in sys.argv[1:] if argument in CASES]
    sys.argv[1:] = [argument for argument in sys.argv[1:] if argument not in names]
    add_classes(names)
    main()
