#!/usr/bin/python3
"""berth acp: an editor's sessions live in the server, survive it, and all that is said fits the protocol's schema."""

import json
import os
import subprocess
import sys
import threading
import unittest

FOLDER = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [FOLDER, os.path.join(os.path.dirname(FOLDER), "real_agents")]

from acp_schema import ClientSchema
from berth_server import BINARY, Server, make_repository, wait_until
from summary import main


class RpcError(Exception):
    pass


class Editor:
    """A client of `berth acp`. Keeps all that was said, to be validated at the end."""

    def __init__(self, state, *arguments):
        environment = {name: value for name, value in os.environ.items()
                       if name == "BERTH_ENGINE" or not name.startswith("BERTH_")}
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", BINARY, "acp", "--state", state, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.said, self.updates, self.cancelled, self.errors = [], [], [], []
        self.answer_permission = lambda params: {"outcome": "cancelled"}
        self._answers, self._changed = {}, threading.Condition()
        self._next = 0
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def initialize(self, **capabilities):
        return self.call("initialize", protocolVersion=1, clientCapabilities=capabilities)

    def begin(self, method, **params):
        """Sends a request; returns its id."""
        self._next += 1
        message = {"jsonrpc": "2.0", "id": self._next, "method": method, "params": params}
        self._send(message)
        return self._next

    def end(self, number, timeout=60):
        """Waits for the answer of a request."""
        with self._changed:
            if not self._changed.wait_for(lambda: number in self._answers, timeout):
                raise AssertionError(f"no answer to {number}; the last: {self.said[-5:]}")
            answer = self._answers[number]
        if "error" in answer:
            raise RpcError(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    def call(self, method, **params):
        return self.end(self.begin(method, **params))

    def notify(self, method, **params):
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def prompt(self, session, text):
        return self.call("session/prompt", sessionId=session, prompt=[{"type": "text", "text": text}])

    def begin_prompt(self, session, text):
        return self.begin("session/prompt", sessionId=session, prompt=[{"type": "text", "text": text}])

    def text(self, session, kind="agent_message_chunk"):
        return "".join(u["update"]["content"]["text"] for u in self.updates
                       if u["sessionId"] == session and u["update"]["sessionUpdate"] == kind)

    def close(self):
        """Ends the connection; returns the exit code."""
        self.process.stdin.close()
        code = self.process.wait(30)
        self._thread.join()
        self.process.stdout.close()
        return code

    def _send(self, message):
        # Only what berth said counts, and what it was asked: that is sent before it can be answered.
        self.said.append(("<", message))
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def _read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            self.said.append((">", message))
            if message.get("method") == "session/update":
                self.updates.append(message["params"])
            elif message.get("method") == "session/request_permission":
                outcome = self.answer_permission(message["params"])
                if outcome is not None:
                    self._send({"jsonrpc": "2.0", "id": message["id"], "result": {"outcome": outcome}})
            elif message.get("method") == "elicitation/create":
                result = {"action": "accept", "content": {"color": "blue"}}
                self._send({"jsonrpc": "2.0", "id": message["id"], "result": result})
            elif message.get("method") == "$/cancel_request":
                self.cancelled.append(message["params"]["requestId"])
            else:
                with self._changed:
                    self._answers[message["id"]] = message
                    self._changed.notify_all()


class Acp(unittest.TestCase):

    def setUp(self):
        self.server = Server().start()
        self.addCleanup(self.server.close)
        self.folder = os.path.join(self.server.folder, "project")
        make_repository(self.folder)

    def editor(self, *arguments, server=None, **capabilities):
        editor = Editor((server or self.server).state, *arguments)
        self.addCleanup(lambda: self.check(editor))
        editor.initialize(**capabilities)
        return editor

    def check(self, editor):
        """The editor's connection ends well, and nothing that was said is wrong."""
        self.assertEqual(editor.close(), 0)
        self.assertEqual(ClientSchema(1, "agent").problems(editor.said + [("=", None)]), [])

    def new(self, editor):
        return editor.call("session/new", cwd=self.folder, mcpServers=[])["sessionId"]

    def test_a_prompt_streams_and_ends_with_a_reason(self):
        editor = self.editor()
        session = self.new(editor)
        self.assertEqual(editor.prompt(session, "say hello ; plan a, b ; write made.txt yes"),
                         {"stopReason": "end_turn"})
        self.assertEqual(editor.text(session), "hello")
        self.assertEqual(editor.text(session, "user_message_chunk"), "")  # the editor knows what it said
        self.assertTrue(os.path.exists(os.path.join(self.folder, "made.txt")))
        self.assertEqual(editor.prompt(session, "refuse"), {"stopReason": "refusal"})
        with self.assertRaises(RpcError):
            editor.prompt(session, "error")
        self.assertEqual(editor.prompt(session, "say again"), {"stopReason": "end_turn"})

    def test_a_worktree_of_the_editors_folder_leaves_it_alone(self):
        editor = self.editor("--worktree", "--agent", "scripted")
        session = self.new(editor)
        editor.prompt(session, "write made.txt yes")
        self.assertFalse(os.path.exists(os.path.join(self.folder, "made.txt")))
        change = self.server.client.get(f"/v1/sessions/{session}/changes?refresh=1")
        self.assertEqual([file["path"] for file in change["files"]], ["made.txt"])
        listed = editor.call("session/list", cwd=self.folder)["sessions"]
        self.assertEqual([(s["sessionId"], s["cwd"]) for s in listed], [(session, self.folder)])

    def test_permissions_are_asked_and_answered(self):
        editor = self.editor()
        asked = []

        def allow(params):
            asked.append(params)
            option = next(o for o in params["options"] if o["kind"] == "allow_once")
            return {"outcome": "selected", "optionId": option["optionId"]}
        editor.answer_permission = allow
        session = self.new(editor)
        editor.prompt(session, "ask write asked.txt yes")
        self.assertEqual([p["sessionId"] for p in asked], [session])
        self.assertTrue(os.path.exists(os.path.join(self.folder, "asked.txt")))

    def test_a_permission_that_is_answered_elsewhere_is_taken_back(self):
        editor = self.editor()
        editor.answer_permission = lambda params: None
        session = self.new(editor)
        prompt = editor.begin_prompt(session, "ask write asked.txt yes")
        path = f"/v1/sessions/{session}/interactions"
        opened = wait_until(lambda: self.server.client.get(path + "?state=open")["interactions"])
        wait_until(lambda: any(m.get("method") == "session/request_permission" for _, m in editor.said))
        self.server.client.post(f"{path}/{opened[0]['id']}", {"kind": "allow_once"})
        self.assertEqual(editor.end(prompt), {"stopReason": "end_turn"})
        wait_until(lambda: editor.cancelled)

    def test_forms_are_filled_in_by_editors_that_can(self):
        editor = self.editor(elicitation={"form": {}})
        session = self.new(editor)
        editor.prompt(session, "elicit which color?")
        self.assertIn("blue", editor.text(session))

    def test_cancel_ends_the_turn_as_cancelled(self):
        editor = self.editor()
        session = self.new(editor)
        prompt = editor.begin_prompt(session, "say begun ; sleep 60000")
        wait_until(lambda: "begun" in editor.text(session))
        editor.notify("session/cancel", sessionId=session)
        self.assertEqual(editor.end(prompt), {"stopReason": "cancelled"})
        self.assertEqual(editor.prompt(session, "say on"), {"stopReason": "end_turn"})
        prompt = editor.begin_prompt(session, "sleep 60000")
        editor.call("session/close", sessionId=session)
        self.assertEqual(editor.end(prompt), {"stopReason": "cancelled"})

    def test_a_session_outlives_its_editor(self):
        first = self.editor()
        session = self.new(first)
        first.prompt(session, "say one")
        second = self.editor()
        with self.assertRaises(RpcError):
            second.prompt(session, "say nothing")
        second.call("session/load", sessionId=session, cwd=self.folder, mcpServers=[])
        self.assertEqual(second.text(session), "one")
        self.assertEqual(second.text(session, "user_message_chunk"), "say one")
        first.prompt(session, "say two")
        wait_until(lambda: second.text(session) == "onetwo")
        self.assertEqual(second.text(session, "user_message_chunk"), "say onesay two")
        third = self.editor()
        third.call("session/resume", sessionId=session, cwd=self.folder)
        self.assertEqual(third.updates, [])
        for wrong in ({"sessionId": "nobody", "cwd": self.folder}, {"sessionId": session, "cwd": "/"}):
            with self.assertRaises(RpcError):
                third.call("session/load", mcpServers=[], **wrong)

    def test_a_server_that_starts_anew_in_the_middle_of_a_turn_is_found_again(self):
        editor = self.editor()
        session = self.new(editor)
        editor.prompt(session, "say before")
        prompt = editor.begin_prompt(session, "say during ; sleep 60000")
        wait_until(lambda: "during" in editor.text(session))
        self.server.kill()
        self.server.start()  # on another port
        with self.assertRaises(RpcError) as ended:
            editor.end(prompt)
        self.assertIn("interrupted", str(ended.exception))
        editor.prompt(session, "say after")
        chunks = [u["update"]["content"]["text"] for u in editor.updates
                  if u["update"]["sessionUpdate"] == "agent_message_chunk"]
        self.assertEqual([chunks.count(text) for text in ("before", "during")], [1, 1])
        self.assertEqual("".join(chunks).count("after"), 1)  # behind what the new process was told

    def test_what_is_no_request_is_answered_and_nothing_breaks(self):
        editor = Editor(self.server.state)
        self.addCleanup(lambda: self.assertEqual(editor.close(), 0))
        for line, code in (("{", -32700), ("[]", -32600), ('{"jsonrpc":"2.0","id":7,"method":"x"}', -32600)):
            editor.process.stdin.write(line + "\n")
            editor.process.stdin.flush()
            number = 7 if "7" in line else None
            wait_until(lambda: number in editor._answers)
            self.assertEqual(editor._answers.pop(number)["error"]["code"], code)
        editor.initialize()
        with self.assertRaises(RpcError) as unknown:
            editor.call("session/fly")
        self.assertEqual(unknown.exception.args[0], -32601)
        with self.assertRaises(RpcError) as relative:
            editor.call("session/new", cwd="here", mcpServers=[])
        self.assertEqual(relative.exception.args[0], -32602)

    def test_berth_hosts_berth(self):
        profile = f"""
[agents.inner]
command = "{BINARY}"
args = ["acp", "--state", "{self.server.state}"]
"""
        with Server(profile) as outer:
            client = outer.client
            client.post("/v1/sessions", {"id": "outer", "directory": self.folder, "agent": "inner"})

            def turn(prompt):
                return client.post("/v1/sessions/outer/turns", {"prompt": prompt},
                                   headers={"Prefer": "wait=60"})["state"]
            self.assertEqual(turn("say hello ; remember apples"), "completed")
            asked = threading.Thread(target=turn, args=["ask write asked.txt yes"])
            asked.start()
            path = "/v1/sessions/outer/interactions"
            opened = wait_until(lambda: client.get(path + "?state=open")["interactions"])
            client.post(f"{path}/{opened[0]['id']}", {"kind": "allow_once"})
            asked.join()
            self.assertTrue(os.path.exists(os.path.join(self.folder, "asked.txt")))
            outer.kill()
            outer.start()
            client = outer.client
            self.assertEqual(turn("recall"), "completed")
            inner = self.server.client.get("/v1/sessions")["sessions"]
            self.assertEqual(len(inner), 1)  # the same one was taken up again
            events = client.get("/v1/sessions/outer/events")["events"]
            self.assertIn("resume", [e["data"]["rung"] for e in events if e["type"] == "agent.attached"])
            said = "".join(e["data"]["content"]["text"] for e in events if e["type"] == "update"
                           and e["data"]["sessionUpdate"] == "agent_message_chunk")
            self.assertIn("apples", said)


if __name__ == "__main__":
    main()
