#!/usr/bin/python3
"""berth and the unmodified opencode, end to end and without a network.

    tests/real_agents/offline.sh tests/real_agents/test_opencode.py
"""

import os
import re
import select
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

from opencode_rig import OpencodeRig
from berth_client import session_path, text_of
from berth_server import describe, wait_until
from summary import figure, main

# From the death of the agent to the client's sight of the ending. It counts from the moment when
# the kernel reports the death: to tear down 600 MB takes the kernel 50 ms of processor time, and
# several times that on a busy machine. The figure from the kill on is printed beside it.
ENDED_WITHIN_MS = 100


class OpencodeTurns(OpencodeRig):

    def test_a_turn_streams_and_writes_a_file_and_the_next_one_is_warm(self):
        session, stream = self.open(permission="allow")
        prompt = ("Take notes. [[think A list will do.]] [[slow 20 25]] "
                  r"[[write notes.md one\ntwo]] [[say Written.]]")
        ended, events, cold_ms = self.turn(session, stream, prompt)
        self.assertEqual((ended.data["state"], ended.data["reason"]), ("completed", "end_turn"))

        kinds = [event.update for event in events]
        for kind in ("agent_thought_chunk", "agent_message_chunk", "tool_call", "tool_call_update"):
            self.assertIn(kind, kinds)
        self.assertIn("tick 19", text_of(events))
        chunks = [e for e in events if e.update == "agent_message_chunk"]
        self.assertGreater(chunks[-1].arrived - chunks[0].arrived, 0.2, "the text came all at once")

        recorded = stream.wait_for("change.recorded")
        self.assertEqual(recorded.data["outcome"], "recorded", recorded.data)
        change = self.client.get(session_path(session, "changes"))
        self.assertEqual([(f["path"], f["additions"]) for f in change["files"]], [("notes.md", 2)])
        patch = self.client.raw("GET", session_path(session, "changes", "patch")).body.decode()
        self.assertIn("+one\n+two\n", patch)
        self.assertEqual(os.listdir(self.repository).count("notes.md"), 0, "not in the worktree")

        first = self.client.agents(session)[0]
        _, events, warm_ms = self.turn(session, stream, "And now? [[say Still here.]] [[count]]")
        self.assertIn("Still here.", text_of(events))
        self.assertIn("prompts seen: 2", text_of(events))
        self.assertNotIn("agent.attached", [event.type for event in events])
        second = self.client.agents(session)[0]
        for same in ("pid", "native_session_id", "attach_epoch"):
            self.assertEqual(first[same], second[same])
        self.assertIn(first["pid"], self.agent_processes())
        figure("opencode, first turn (start, streams 20 x 25 ms, writes)", f"{cold_ms:.0f} ms")
        figure("opencode, warm turn", f"{warm_ms:.0f} ms")

    def test_cancel_ends_the_turn_and_keeps_the_agent(self):
        session, stream = self.open()
        self.turn(session, stream, "Hello. [[say Hello.]]")
        pid = self.client.agents(session)[0]["pid"]
        turn = self.client.prompt(session, "Go slowly. [[slow 400 50]]")["id"]
        stream.wait_for_text("tick 5")
        start = time.monotonic()
        self.client.cancel(session, turn)
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "cancelled")
        figure("opencode, cancel to ending", f"{(ended.arrived - start) * 1000:.0f} ms")
        # A stopped turn holds the queue until a person lets it go on.
        self.client.post(session_path(session, "resume-queue"))
        ended, events, _ = self.turn(session, stream, "Again. [[say Back again.]]")
        self.assertEqual(ended.data["state"], "completed")
        self.assertIn("Back again.", text_of(events))
        self.assertEqual(self.client.agents(session)[0]["pid"], pid)


class OpencodeAsks(OpencodeRig):

    ask = True

    def test_a_permission_is_answered_by_hand(self):
        session, stream = self.open(permission="ask")
        turn = self.client.prompt(session, "Notes. [[write notes.md one]] [[say Written.]]")["id"]
        opened = stream.wait_for("interaction.opened", timeout=90)
        state = self.client.get(session_path(session, "turns", turn))["state"]
        self.assertEqual(state, "waiting")
        path = session_path(session, "interactions", opened.data["id"])
        self.client.post(path, {"kind": "allow_once"})
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "completed")
        self.assertIn("Written.", text_of(stream.seen))
        recorded = stream.wait_for("change.recorded")
        self.assertEqual([file["path"] for file in recorded.data["files"]], ["notes.md"])


class OpencodeDies(OpencodeRig):

    def test_kill_in_mid_turn_interrupts_at_once_and_the_next_prompt_resumes(self):
        session, stream = self.open(permission="allow")
        stray = "[[shell setsid sleep 1000 > /dev/null 2>&1 & echo started]]"
        self.turn(session, stream, f"A tool that makes its own session. {stray} [[say Done.]]")
        wait_until(self.sleepers, 10, lambda: "no stray process to look for")
        attached = next(event for event in stream.seen if event.type == "agent.attached")
        pid = self.client.agents(session)[0]["pid"]

        turn = self.client.prompt(session, "Go slowly. [[slow 400 20]]")["id"]
        stream.wait_for_text("tick 20")
        killed, dead = self.kill_agent(pid)
        ended = stream.wait_for("turn.ended", turn=turn)
        to_ending_ms, after_death_ms = [(ended.arrived - since) * 1000 for since in (killed, dead)]
        self.assertEqual(ended.data["state"], "interrupted")

        logged = text_of(e for e in self.client.log(session) if e.turn == turn)
        ticks = [int(number) for number in re.findall(r"tick (\d+)", logged)]
        self.assertEqual(ticks, list(range(len(ticks))), "text is missing in the middle")
        self.assertEqual(logged, text_of(e for e in stream.seen if e.turn == turn))
        self.assertGreaterEqual(len(ticks), 20)
        wait_until(lambda: not self.agent_processes(), 5,
                   lambda: f"left over: {describe(self.agent_processes())}")

        self.client.post(session_path(session, "resume-queue"))
        ended, events, restore_ms = self.turn(session, stream, "Do you remember? [[count]]")
        self.assertEqual(ended.data["state"], "completed")
        again = next(event for event in events if event.type == "agent.attached")
        self.assertIn(again.data["rung"], ("resume", "load"), again.data)
        self.assertEqual(again.data["native_session_id"], attached.data["native_session_id"])
        self.assertNotEqual(again.data["pid"], pid)
        self.assertIn("prompts seen: 3", text_of(events))
        figure("opencode, kill -9 to 'interrupted' at the client", f"{to_ending_ms:.1f} ms "
               f"({after_death_ms:.1f} ms after the kernel had let the process die)")
        figure("opencode, next turn with native restore", f"{restore_ms:.0f} ms "
               f"(rung {again.data['rung']})")
        self.assertLess(after_death_ms, ENDED_WITHIN_MS)

    def test_berth_killed_in_mid_turn_comes_back_with_the_log_and_the_agents_memory(self):
        session, stream = self.open(permission="allow")
        self.turn(session, stream, "Remember this. [[say I will.]]")
        turn = self.client.prompt(session, "Go slowly. [[slow 400 20]]")["id"]
        stream.wait_for_text("tick 20")
        self.server.kill()
        shown = stream.drain()
        wait_until(lambda: not self.agent_processes(), 10,
                   lambda: f"orphans: {describe(self.agent_processes())}")

        self.client = self.server.start().client
        log = self.client.log(session)
        self.assertEqual([e.content() for e in log[:len(shown)]], [e.content() for e in shown])
        self.assertEqual([event.seq for event in log], list(range(1, len(log) + 1)))
        state = self.client.get(session_path(session, "turns", turn))["state"]
        self.assertEqual(state, "interrupted")

        self.client.post(session_path(session, "resume-queue"))
        with self.client.events(session, after=log[-1].seq) as stream:
            ended, events, restore_ms = self.turn(session, stream, "Do you remember? [[count]]")
        self.assertEqual(ended.data["state"], "completed")
        again = next(event for event in events if event.type == "agent.attached")
        self.assertIn(again.data["rung"], ("resume", "load"), again.data)
        self.assertIn("prompts seen: 3", text_of(events))
        figure("opencode, first turn after berth was killed", f"{restore_ms:.0f} ms")

    def kill_agent(self, pid):
        """Sends SIGKILL; returns when that was and when the kernel was done with the process."""
        handle = os.pidfd_open(pid)
        try:
            killed = time.monotonic()
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], 10)
            return killed, time.monotonic()
        finally:
            os.close(handle)


if __name__ == "__main__":
    subprocess.run([os.path.join(HERE, "install.sh")], check=True)
    main()
