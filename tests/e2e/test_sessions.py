#!/usr/bin/python3
"""Several agents in one session, decisions, policies, forms and usage, with agents that are real processes."""

import json
import os
import signal
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import session_path, text_of
from berth_server import ROOT, Server, make_repository, wait_until
from summary import main

AGENT = os.path.join(os.path.dirname(os.path.dirname(os.environ.get("BERTH", os.path.join(ROOT, "build/server/berth")))),
                     "bench/agents/berth-scripted-agent")


SECRET = "a key that must be in no file"


def profile(name, *arguments, **settings):
    arguments = [argument.replace("@", f"@STATE@/{name}") for argument in arguments]
    lines = [f"[agents.{name}]", f'command = "{AGENT}"', f"args = {json.dumps(arguments)}",
             f'writable = ["@STATE@/{name}/"]']
    return "\n".join(lines + [f"{key} = {value}" for key, value in settings.items()]) + "\n"


CONFIG = "".join([
    profile("one", "--sessions", "@", env_from='{ MODEL_KEY = "E2E_SECRET" }'),
    profile("two", "--sessions", "@"),
    profile("broken", "--unknown", "null", "--sessions", "@"),
    profile("stubborn", "--ignore-eof", exit_grace=600),
])


class Sessions(unittest.TestCase):

    def setUp(self):
        self.server = Server(environment={"E2E_SECRET": SECRET})
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

    def test_what_waits_can_be_changed_ordered_removed_and_sent_now(self):
        session = self.client.open(agent="one")["id"]
        first = self.client.prompt(session, "sleep 60000")["id"]
        ids = [self.client.prompt(session, f"say {name}")["id"] for name in ("alpha", "beta", "gamma")]
        inputs = f"/v1/sessions/{session}/inputs"
        self.client.raw("PATCH", f"{inputs}/{ids[0]}", {"prompt": "say changed"}).json()
        listed = self.client.raw("PUT", inputs, {"order": [ids[1], ids[2], ids[0]]}).json()
        self.assertEqual([i["id"] for i in listed["inputs"]], [ids[1], ids[2], ids[0]])
        self.assertEqual(listed["inputs"][2]["prompt"], [{"type": "text", "text": "say changed"}])
        removed = self.client.raw("DELETE", f"{inputs}/{ids[1]}").json()
        self.assertEqual(removed["state"], "cancelled")
        self.client.post(f"{inputs}/{ids[0]}/send")
        wait_until(lambda: self.client.get(f"/v1/sessions/{session}/turns/{ids[2]}")["state"] == "completed", 20)
        text = text_of(self.client.log(session))
        self.assertLess(text.index("changed"), text.index("gamma"))
        self.assertNotIn("beta", text)
        self.assertEqual(self.client.get(f"/v1/sessions/{session}/turns/{first}")["state"], "cancelled")
        late = self.client.raw("PATCH", f"{inputs}/{ids[0]}", {"prompt": "say late"})
        self.assertEqual((late.status, late.json()["code"]), (409, "input_promoted"))

    def test_a_prompt_with_a_key_is_one_turn_over_kill_9_of_berth(self):
        session = self.client.open(agent="one")["id"]
        first = self.client.prompt(session, "remember pelican", key="k", wait=20)
        self.server.kill()
        self.server.start()
        self.client = self.server.client
        path = f"/v1/sessions/{session}/turns"
        again = self.client.raw("POST", path, {"prompt": "remember pelican"}, {"Idempotency-Key": "k"})
        self.assertEqual((again.json()["id"], again.headers.get("idempotent-replayed")), (first["id"], "true"))
        other = self.client.raw("POST", path, {"prompt": "remember heron"}, {"Idempotency-Key": "k"})
        self.assertEqual((other.status, other.json()["code"]), (422, "idempotency_mismatch"))
        _, events = self.turn(session, "recall")
        self.assertIn("1 prompts, remembered: pelican", text_of(events))

    def test_a_close_that_waits_for_its_agent_holds_up_nobody_else(self):
        stubborn = self.client.open(agent="stubborn")["id"]
        self.turn(stubborn, "say here")
        pid = self.agent(stubborn, "stubborn")["pid"]
        answers = []
        closing = threading.Thread(target=lambda: answers.append(
            self.client.raw("POST", f"/v1/sessions/{stubborn}/close", {}, timeout=120)))
        closing.start()
        try:
            wait_until(lambda: self.agent(stubborn, "stubborn")["next"] != "live")
            other = self.client.open(agent="one")["id"]
            self.assertEqual(self.turn(other, "say free")[0]["state"], "completed")
            self.assertEqual(self.client.post(f"/v1/sessions/{other}/close")["state"], "closed")
            self.assertEqual(answers, [], "the agent was to keep it waiting")
        finally:
            os.kill(pid, signal.SIGKILL)
            closing.join(60)
        self.assertEqual([answer.status for answer in answers], [200])

    def test_the_folder_of_a_session_without_a_repository_goes_with_it_when_it_is_empty(self):
        def folder(session):
            return self.client.session(session)["workspace"]["directory"]

        empty, used, forgotten, kept = (self.client.open()["id"] for _ in range(4))
        folders = [folder(session) for session in (empty, used, forgotten, kept)]
        self.client.prompt(used, "write a.txt x", wait=20)
        self.client.raw("DELETE", session_path(empty))
        self.client.raw("DELETE", session_path(used) + "?force=1")
        self.client.raw("DELETE", session_path(forgotten))
        self.assertEqual([os.path.exists(path) for path in folders], [False, True, False, True])
        os.mkdir(folders[2])  # as a server that was killed in an open() leaves it
        found = {item["name"]: item["verdict"] for item in self.client.post("/v1/reap", {"age_min_s": 0})["items"]}
        self.assertEqual(found, {folders[2]: "would remove"})
        self.assertEqual(self.client.post("/v1/reap", {"dry_run": False})["items"], [], "it is young")
        self.client.post("/v1/reap", {"age_min_s": 0, "dry_run": False})
        self.assertEqual([os.path.exists(path) for path in folders], [False, True, False, True])

    def test_a_session_whose_agent_is_dead_closes_without_a_grace(self):
        session = self.client.open(agent="stubborn")["id"]
        self.turn(session, "say here")
        os.kill(self.agent(session, "stubborn")["pid"], signal.SIGKILL)
        # The grace is ten minutes, the client's patience half a one.
        self.assertEqual(self.client.post(f"/v1/sessions/{session}/close")["state"], "closed")

    def test_files_of_an_agent_do_not_wait_for_the_log_of_others(self):
        loud = self.client.open(agent="two")["id"]
        turn = self.client.prompt(loud, "stream 1000000 300 20000")["id"]
        wait_until(lambda: self.client.session(loud)["last_seq"] > 100)
        session = self.client.open(agent="one")["id"]
        ended, _ = self.turn(session, "\n".join(f"write file{n}.txt text" for n in range(100)))
        self.assertEqual(ended["state"], "completed")
        self.assertEqual(len(os.listdir(self.client.session(session)["workspace"]["directory"])), 100)
        self.assertEqual(self.client.get(f"/v1/sessions/{loud}/turns/{turn}")["state"], "running")

    def test_a_secret_of_the_environment_reaches_the_agent_and_no_file(self):
        session = self.client.open(agent="one")["id"]
        self.turn(session, "say here")
        with open(f"/proc/{self.agent(session, 'one')['pid']}/environ", encoding="utf-8") as environ:
            self.assertIn(f"MODEL_KEY={SECRET}", environ.read().split("\0"))
        self.assertEqual(self.server.stop(), 0)
        self.assertEqual(os.stat(self.server.state).st_mode & 0o077, 0, "others can look into the state")
        files = [os.path.join(folder, name) for folder, _, names in os.walk(self.server.folder) for name in names]
        self.assertGreater(len(files), 3)
        for path in files:
            with open(path, "rb") as file:
                self.assertNotIn(SECRET.encode(), file.read(), path)


if __name__ == "__main__":
    main()
