#!/usr/bin/python3
"""Several agents in one session, decisions, policies, forms and usage, with agents that are real processes."""

import json
import os
import signal
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import text_of
from berth_server import ROOT, Server, make_repository, wait_until
from summary import main

AGENT = os.path.join(os.path.dirname(os.path.dirname(os.environ.get("BERTH", os.path.join(ROOT, "build/server/berth")))),
                     "bench/agents/berth-scripted-agent")


def profile(name, *arguments):
    arguments = [argument.replace("@", f"@STATE@/{name}") for argument in arguments]
    return f'[agents.{name}]\ncommand = "{AGENT}"\nargs = {json.dumps(arguments)}\n'


CONFIG = "".join([
    profile("one", "--sessions", "@"),
    profile("two", "--sessions", "@"),
    profile("broken", "--unknown", "null", "--sessions", "@"),
])


class Sessions(unittest.TestCase):

    def setUp(self):
        self.server = Server()
        with open(self.server._config, "w", encoding="utf-8") as file:
            file.write(CONFIG.replace("@STATE@", self.server.folder))
        self.enterContext(self.server)
        self.client = self.server.client

    def turn(self, session, prompt, agent=None):
        """(ended turn, its events)"""
        options = {"agent": agent} if agent else {}
        turn = self.client.prompt(session, prompt, wait=20, **options)
        return turn, [e for e in self.client.log(session) if e.turn == turn["id"]]

    def agent(self, session, name):
        return next(a for a in self.client.agents(session) if a["agent"] == name)

    def only(self, events, kind):
        found = [e for e in events if e.type == kind]
        self.assertEqual(len(found), 1, [e.type for e in events])
        return found[0].data

    def test_switching_back_and_forth_keeps_each_native_memory_in_one_worktree(self):
        repository = make_repository(os.path.join(self.server.folder, "repository"))
        session = self.client.open(agent="one", repository=repository)["id"]
        self.assertEqual(self.client.agents(session), [])
        self.turn(session, "remember pelican\nwrite a.txt one")
        native = self.agent(session, "one")["native_session_id"]
        turn, events = self.turn(session, "write b.txt two", "two")
        self.assertIn("remember pelican", text_of(events), "a late joiner is told what happened before")
        self.assertEqual(self.only(events, "agent.told")["what"], "continuation")
        self.assertEqual([a["next"] for a in self.client.agents(session)], ["live", "live"])
        turn, events = self.turn(session, "recall", "one")
        text = text_of(events)
        self.assertIn("remembered: pelican", text)
        self.assertIn("write b.txt two", text, "what it missed")
        told = self.only(events, "agent.told")
        self.assertEqual((told["what"], told["from_turn"], told["to_turn"]), ("missed", 2, 2), "not what it knows")
        self.assertEqual(self.agent(session, "one")["native_session_id"], native)
        # Through the death of both agents, too.
        for name in ("one", "two"):
            self.client.post(f"/v1/sessions/{session}/agents/{name}/kill")
        self.assertEqual([a["next"] for a in self.client.agents(session)], ["resumed", "resumed"])
        turn, events = self.turn(session, "recall", "one")
        self.assertIn("remembered: pelican", text_of(events))
        self.assertEqual(self.only(events, "agent.attached")["rung"], "resume")
        self.assertEqual(self.agent(session, "one")["native_session_id"], native)
        changes = wait_until(lambda: (c := self.client.get(f"/v1/sessions/{session}/changes"))["turn_number"] == 4 and c)
        self.assertEqual(sorted(f["path"] for f in changes["files"]), ["a.txt", "b.txt"])

    def broken_session(self):
        """A session whose agent answers its restore with words that nobody can read."""
        session = self.client.open(agent="broken")["id"]
        self.turn(session, "remember pelican\nforget")
        self.client.post(f"/v1/sessions/{session}/agents/broken/kill")
        turn = self.client.prompt(session, "recall")["id"]
        wait_until(lambda: self.agent(session, "broken")["state"] == "needs_decision")
        return session, turn

    def decide(self, session, choice):
        return self.client.raw("POST", f"/v1/sessions/{session}/agents/broken/decision", {"choice": choice})

    def ended(self, session, turn):
        row = self.client.get(f"/v1/sessions/{session}/turns/{turn}")
        return row if row["ended_at"] else None

    def test_a_decision_waits_over_kill_9_of_berth_and_continues_from_history(self):
        session, turn = self.broken_session()
        native = self.agent(session, "broken")["native_session_id"]
        self.assertEqual(self.client.get(f"/v1/sessions/{session}/turns/{turn}")["state"], "waiting")
        self.server.kill()
        self.server.start()
        self.client = self.server.client
        self.assertEqual(self.client.get(f"/v1/sessions/{session}/turns/{turn}")["state"], "waiting")
        self.assertEqual(self.decide(session, "history").status, 200)
        row = wait_until(lambda: self.ended(session, turn))
        self.assertEqual(row["state"], "completed")
        events = [e for e in self.client.log(session) if e.turn == turn]
        self.assertIn("remember pelican", text_of(events))
        told = self.only(events, "agent.told")
        with open(told["transcript"], encoding="utf-8") as file:
            self.assertIn("remember pelican", file.read())
        self.assertEqual([entry["id"] for entry in self.agent(session, "broken")["native_history"]], [native])
        self.assertEqual(self.decide(session, "retry").status, 409)

    def test_a_decision_can_fail_the_turn_and_forgets_nothing(self):
        session, turn = self.broken_session()
        native = self.agent(session, "broken")["native_session_id"]
        self.assertEqual(self.decide(session, "retry").status, 200)
        wait_until(lambda: self.agent(session, "broken")["state"] == "needs_decision")
        self.assertEqual(self.decide(session, "fail").status, 200)
        self.assertEqual(wait_until(lambda: self.ended(session, turn))["state"], "failed")
        self.assertEqual(self.agent(session, "broken")["native_session_id"], native)

    def test_rules_answer_and_say_so(self):
        rules = [{"kind": "edit", "path": "docs/**", "action": "allow"}, {"path": "docs/secret", "action": "reject"}]
        session = self.client.open(agent="one", rules=rules)["id"]
        _, events = self.turn(session, "ask write docs/a text\nask write docs/secret text")
        self.assertEqual([e.data["by"] for e in events if e.type == "interaction.closed"],
                         ["rule:1:allow", "rule:2:reject"])
        folder = self.client.session(session)["workspace"]["directory"]
        self.assertEqual(os.listdir(os.path.join(folder, "docs")), ["a"])

    def test_what_a_turn_costs_is_counted_once_over_a_restart(self):
        session = self.client.open(agent="one")["id"]
        self.turn(session, "say a")
        self.turn(session, "say b", "two")
        self.server.kill()
        self.server.start()
        self.client = self.server.client
        self.turn(session, "say c", "one")
        usage = self.client.get(f"/v1/sessions/{session}/usage")
        self.assertEqual((usage["session"]["turns"], usage["session"]["totalTokens"]), (3, 6))
        self.assertEqual([(a["agent"], a["usage"]["turns"]) for a in usage["agents"]], [("one", 2), ("two", 1)])
        self.assertEqual([t["usage"]["totalTokens"] for t in usage["turns"]], [2, 2, 2])

    def test_steering_an_agent_that_cannot_is_queueing(self):
        session = self.client.open(agent="one")["id"]
        self.client.prompt(session, "sleep 300\nsay first")
        second = self.client.prompt(session, "say second", wait=20, on_busy="steer")
        self.assertEqual(second["state"], "completed")
        text = text_of(self.client.log(session))
        self.assertLess(text.index("first"), text.index("second"))


if __name__ == "__main__":
    main()
