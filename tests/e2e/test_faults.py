#!/usr/bin/python3
"""Agents that misbehave: each leads to a clear error or event, and nothing leaks."""

import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import text_of
from berth_server import ROOT, RSS_COUNTS, Server, settled, wait_until
from summary import figure, main

AGENT = os.path.join(os.path.dirname(os.path.dirname(os.environ.get("BERTH", os.path.join(ROOT, "build/server/berth")))),
                     "bench/agents/berth-scripted-agent")


def profile(name, *arguments, **settings):
    lines = [f"[agents.{name}]", f'command = "{AGENT}"', f"args = {json.dumps(list(arguments))}"]
    lines += [f"{key} = {value}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


CONFIG = "".join([
    profile("exits", "--exit-at-start", "3", "--stderr", "no licence"),
    profile("hangs", "--hang", "initialize", initialize_timeout=0.3),
    profile("future", "--protocol", "9"),
    profile("forgets-acp", "--unknown", "acp"),
    profile("forgets-opencode", "--unknown", "opencode"),
    profile("forgets-params", "--unknown", "params"),
    profile("broken-restore", "--unknown", "null"),
    profile("loads-only", "--no-resume", "--sessions", "@STATE@/sessions", writable='["@STATE@/sessions/"]'),
    profile("neither", "--no-resume", "--no-load"),
    profile("stubborn", "--ignore-eof", cancel_grace=0.5, exit_grace=0.3),
    profile("short-lines", line_max=1048576),
]) + '[agents.missing]\ncommand = "/nonexistent/agent"\n[limits]\nqueue_max = 2\n'


class Faults(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        with open(cls.server._config, "w", encoding="utf-8") as file:
            file.write(CONFIG.replace("@STATE@", cls.server.folder))
        cls.server.start()
        cls.client = cls.server.client

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def run_turn(self, agent, prompt, session=None):
        """(session, ended turn, its events)"""
        session = session or self.client.open(agent=agent)["id"]
        turn = self.client.prompt(session, prompt, wait=20)
        return session, turn, [e for e in self.client.log(session) if e.turn == turn["id"]]

    def only(self, events, kind):
        found = [e for e in events if e.type == kind]
        self.assertEqual(len(found), 1, [e.type for e in events])
        return found[0].data

    def test_junk_lines_become_events_and_the_turn_goes_on(self):
        for directive, reason in (("junk hello", "bad_json"), ("bad-json", "bad_json"), ("bad-utf8", "bad_utf8"),
                                  ("cr-line", "bad_json")):
            with self.subTest(directive):
                _, turn, events = self.run_turn("scripted", f"{directive}\nsay after")
                self.assertEqual(turn["state"], "completed")
                junk = self.only(events, "agent.junk")
                self.assertEqual(junk["reason"], reason)
                self.assertGreater(junk["bytes"], 10)
                self.assertIn("after", text_of(events))

    def test_a_raw_cr_between_tokens_cannot_forge_a_frame(self):
        session, turn, events = self.run_turn("scripted", "raw-cr")
        self.assertEqual(text_of(events), "cr between tokens")
        with self.client.events(session) as stream:
            stream.wait_for("turn.ended")  # the reader asserts that id and event fit the data of each frame

    def test_half_an_emoji_does_not_cost_the_message(self):
        _, turn, events = self.run_turn("scripted", "half-emoji")
        self.assertEqual(text_of(events), "cut \ufffd here")
        self.assertEqual([e for e in events if e.type == "agent.junk"], [])

    def test_a_10_mb_line_arrives_whole(self):
        session, turn, events = self.run_turn("scripted", "big 10")
        self.assertEqual(turn["state"], "completed")
        self.assertEqual(len(text_of(events)), 10 << 20)
        with self.client.events(session) as stream:
            stream.wait_for("turn.ended")
            self.assertEqual(len(text_of(stream.seen)), 10 << 20)

    def test_a_line_over_the_limit_is_dropped_and_named(self):
        _, turn, events = self.run_turn("short-lines", "over 3\nsay after")
        junk = self.only(events, "agent.junk")
        self.assertEqual(junk["reason"], "line_too_long")
        self.assertGreater(junk["bytes"], 3 << 20)
        self.assertEqual(text_of(events), "after")
        self.assertEqual(turn["state"], "completed")

    def test_messages_that_no_host_knows_are_answered_and_logged(self):
        _, turn, events = self.run_turn("scripted", "foreign\nsay after")
        self.assertEqual(turn["state"], "completed")
        methods = [e.data["method"] for e in events if e.type == "agent.message"]
        self.assertEqual(methods, ["craft/drainMidTurnQueue", "qwen/notify/session/prompt-suggestion"])

    def test_an_agent_that_ends_at_start_fails_the_turn_with_its_stderr(self):
        _, turn, events = self.run_turn("exits", "say hi")
        self.assertEqual(turn["state"], "failed")
        failed = self.only(events, "agent.failed")
        self.assertIn("exit code 3", failed["message"])
        self.assertIn("no licence", failed["stderr_tail"])

    def test_an_agent_that_hangs_in_initialize_is_given_up(self):
        _, turn, events = self.run_turn("hangs", "say hi")
        self.assertEqual(turn["state"], "failed")
        self.assertIn("initialize", self.only(events, "agent.failed")["message"])

    def test_a_missing_command_and_a_foreign_protocol_are_named(self):
        _, turn, events = self.run_turn("missing", "say hi")
        self.assertIn("/nonexistent/agent", self.only(events, "agent.failed")["message"])
        _, turn, events = self.run_turn("future", "say hi")
        self.assertIn("version 9", self.only(events, "agent.failed")["message"])
        probe = self.client.raw("POST", "/v1/agents/missing/probe")
        self.assertEqual(probe.status, 404)

    def restart_agent(self, agent):
        session, _, _ = self.run_turn(agent, "remember pelican")
        self.client.post(f"/v1/sessions/{session}/agents/{agent}/kill")
        return self.run_turn(agent, "recall", session)

    def test_each_known_shape_of_an_unknown_session_falls_to_history(self):
        for agent in ("forgets-acp", "forgets-opencode", "forgets-params"):
            with self.subTest(agent):
                session, turn, events = self.restart_agent(agent)
                attached = self.only(events, "agent.attached")
                self.assertEqual(attached["rung"], "history")
                self.assertTrue(attached["reason"])
                self.assertIsNotNone(attached["agent_error"])
                self.assertEqual(turn["state"], "completed")
                # The agent was told what happened before, in front of the prompt, and the debt is paid.
                self.assertIn("pelican", text_of(events))
                _, _, later = self.run_turn(agent, "say done", session)
                self.assertEqual(text_of(later), "done")

    def test_an_unreadable_restore_error_asks_for_a_decision_and_forgets_nothing(self):
        session, _, _ = self.run_turn("broken-restore", "remember pelican")
        self.client.post(f"/v1/sessions/{session}/agents/broken-restore/kill")
        turn = self.client.prompt(session, "recall")["id"]
        agent = wait_until(lambda: (a := self.client.agents(session)[0])["state"] == "needs_decision" and a)
        self.assertTrue(agent["native_session_id"].startswith("scripted-"))
        self.assertEqual(self.client.get(f"/v1/sessions/{session}/turns/{turn}")["state"], "waiting")
        events = [e for e in self.client.log(session) if e.turn == turn]
        self.assertTrue(self.only(events, "agent.failed")["needs_decision"])

    def test_load_replays_without_storing_it_twice(self):
        session, turn, events = self.restart_agent("loads-only")
        self.assertEqual(self.only(events, "agent.attached")["rung"], "load")
        self.assertEqual([e.update for e in events if e.update], ["agent_message_chunk"])
        self.assertIn("1 prompts, remembered: pelican", text_of(events))

    def test_an_agent_that_can_neither_resume_nor_load_is_told_the_story(self):
        _, turn, events = self.restart_agent("neither")
        self.assertEqual(self.only(events, "agent.attached")["rung"], "history")
        self.assertIn("neither", self.only(events, "agent.attached")["reason"])

    def test_a_cancel_that_nobody_answers_ends_the_process(self):
        session = self.client.open(agent="stubborn")["id"]
        turn = self.client.prompt(session, "hang")["id"]
        wait_until(lambda: self.client.get(f"/v1/sessions/{session}/turns/{turn}")["state"] == "running")
        for _ in range(3):  # idempotent
            self.client.cancel(session, turn)
        ended = wait_until(lambda: self.turn_if_ended(session, turn))
        self.assertEqual(ended["state"], "cancelled")
        wait_until(lambda: self.client.agents(session)[0]["pid"] is None)
        self.assertEqual(self.run_turn("stubborn", "say alive", session)[1]["state"], "completed")

    def turn_if_ended(self, session, turn):
        row = self.client.get(f"/v1/sessions/{session}/turns/{turn}")
        return row if row["ended_at"] else None

    def test_cancel_in_the_middle_is_cancelled_and_holds_the_queue(self):
        session = self.client.open()["id"]
        turn = self.client.prompt(session, "stream 100000 100 200")["id"]
        queued = self.client.prompt(session, "say queued")["id"]
        wait_until(lambda: self.client.get(f"/v1/sessions/{session}")["last_seq"] > 10)
        self.client.cancel(session, turn)
        self.assertEqual(wait_until(lambda: self.turn_if_ended(session, turn))["state"], "cancelled")
        self.assertTrue(self.client.get(f"/v1/sessions/{session}")["held"])
        self.assertEqual(self.client.get(f"/v1/sessions/{session}/turns/{queued}")["state"], "queued")
        self.client.post(f"/v1/sessions/{session}/resume-queue")
        self.assertEqual(wait_until(lambda: self.turn_if_ended(session, queued))["state"], "completed")

    def test_the_queue_has_a_bound_with_a_name(self):
        session = self.client.open()["id"]
        for text in ("sleep 20000", "say 1", "say 2"):
            self.client.prompt(session, text)
        refused = self.client.raw("POST", f"/v1/sessions/{session}/turns", {"prompt": "say 3"})
        self.assertEqual((refused.status, refused.json()["code"]), (429, "overloaded"))
        self.assertIn("queue_max", refused.json()["detail"])
        rejected = self.client.raw("POST", f"/v1/sessions/{session}/turns", {"prompt": "x", "on_busy": "reject"})
        self.assertEqual(rejected.json()["code"], "turn_running")
        self.client.raw("DELETE", f"/v1/sessions/{session}?force=1")

    def test_permissions_are_asked_answered_once_and_never_default_to_allow(self):
        session = self.client.open()["id"]
        turn = self.client.prompt(session, "ask write yes.txt text")["id"]
        base = f"/v1/sessions/{session}/interactions"
        opened = wait_until(lambda: self.client.get(base + "?state=open")["interactions"])[0]
        self.assertEqual(self.client.get(f"/v1/sessions/{session}/turns/{turn}")["state"], "waiting")
        self.assertEqual(self.client.raw("POST", f"{base}/{opened['id']}", {"option_id": "maybe"}).status, 422)
        self.assertEqual(self.client.raw("POST", f"{base}/int_none", {"option_id": "yes"}).status, 404)
        answered = self.client.post(f"{base}/{opened['id']}", {"kind": "allow_once"})
        self.assertEqual(answered["answer"], {"option_id": "yes"})
        second = self.client.raw("POST", f"{base}/{opened['id']}", {"option_id": "no"})
        self.assertEqual((second.status, second.json()["code"]), (409, "already_answered"))
        self.assertEqual(wait_until(lambda: self.turn_if_ended(session, turn))["state"], "completed")
        # A cancel answers what is open, and what was not allowed was not done.
        turn = self.client.prompt(session, "ask write no.txt text")["id"]
        opened = wait_until(lambda: self.client.get(base + "?state=open")["interactions"])[0]
        self.client.cancel(session, turn)
        self.assertEqual(wait_until(lambda: self.turn_if_ended(session, turn))["state"], "cancelled")
        self.assertEqual(self.client.raw("POST", f"{base}/{opened['id']}", {"option_id": "yes"}).status, 410)
        folder = self.client.get(f"/v1/sessions/{session}")["workspace"]["directory"]
        self.assertEqual(sorted(os.listdir(folder)), ["yes.txt"])
        rejecting = self.client.open(permission="reject")["id"]
        _, turn, events = self.run_turn(None, "ask write no.txt text", rejecting)
        self.assertEqual([e.data["by"] for e in events if e.type == "interaction.closed"], ["policy:reject"])

    def counts(self):
        pid = self.server.pid
        with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as children, \
                open(f"/proc/{pid}/status", encoding="utf-8") as status:
            rss = int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))
            return len(os.listdir(f"/proc/{pid}/fd")), len(children.read().split()), rss

    def settled_counts(self):
        """Descriptors, children and KiB at rest."""
        settled(lambda: self.counts()[:2])
        return self.counts()

    def test_faults_leak_no_descriptor_process_or_memory(self):
        prompts = [("exits", "x"), ("hangs", "x"), ("missing", "x"), ("future", "x"), ("scripted", "crash"),
                   ("scripted", "exit 3"), ("scripted", "junk\nbad-json\nbad-utf8\nbig 1"), ("scripted", "error")]

        def round_of_faults():
            for agent, prompt in prompts:
                session, _, _ = self.run_turn(agent, prompt)
                self.client.raw("DELETE", f"/v1/sessions/{session}?force=1")

        round_of_faults()
        sessions = [s["id"] for s in self.client.get("/v1/sessions?limit=1000")["sessions"]]
        for session in sessions:
            self.client.raw("DELETE", f"/v1/sessions/{session}?force=1")
        before = self.settled_counts()
        for _ in range(5):
            round_of_faults()
        after = self.settled_counts()
        figure("descriptors, children, KiB before and after 40 faults", f"{before} {after}")
        self.assertEqual(after[:2], before[:2])
        if RSS_COUNTS:
            self.assertLess(after[2] - before[2], 8 << 10)


if __name__ == "__main__":
    main()
