#!/usr/bin/python3
"""Drives a real agent over ACP without berth: is the rig sound, or is it berth that fails?

    offline.sh acp_probe.py [--ask] [--verbose]

Walks a fresh HOME and a fresh repository through text, a written file, a refused file, cancel, and
resume in a new process after SIGKILL; prints each step and its time; fails at the first surprise.
"""

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time

import recipes
from model_server import ModelServer


class Agent:
    """One agent process. Requests to the client are answered by `self.choice`, an option kind."""

    def __init__(self, recipe, cwd, verbose):
        self.verbose, self.choice = verbose, "allow_once"
        self.updates, self.asked, self.last_id = [], 0, 0
        self.replies = queue.Queue()
        env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **recipe.env}
        self.process = subprocess.Popen(
            [recipe.command, *recipe.args], cwd=cwd, env=env, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=None if verbose else subprocess.DEVNULL)
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, method, params, request=True):
        message = {"jsonrpc": "2.0", "method": method, "params": params}
        if request:
            self.last_id += 1
            message["id"] = self.last_id
        self._write(message)
        return self.last_id

    def call(self, method, params, timeout=60):
        wanted = self.send(method, params)
        return self.reply(wanted, timeout)

    def reply(self, wanted, timeout=60):
        message = self.replies.get(timeout=timeout)
        assert message["id"] == wanted, message
        assert "error" not in message, message["error"]
        return message["result"]

    def prompt(self, session, text):
        """One turn: (stop reason, text streamed)."""
        self.updates.clear()
        result = self.call("session/prompt", prompt_of(session, text))
        return result["stopReason"], self.text()

    def text(self):
        chunks = [u for u in self.updates if u["sessionUpdate"] == "agent_message_chunk"]
        return "".join(chunk["content"].get("text", "") for chunk in chunks)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def _read(self):
        for line in self.process.stdout:
            if self.verbose:
                print("<", line.decode()[:300].rstrip(), file=sys.stderr)
            message = json.loads(line)
            if message.get("method") == "session/update":
                self.updates.append(message["params"]["update"])
            elif "method" in message and "id" in message:
                self._answer(message)
            elif "id" in message:
                self.replies.put(message)

    def _answer(self, request):
        answer = {"jsonrpc": "2.0", "id": request["id"]}
        if request["method"] == "session/request_permission":
            self.asked += 1
            options = request["params"]["options"]
            chosen = next(o["optionId"] for o in options if o["kind"] == self.choice)
            answer["result"] = {"outcome": {"outcome": "selected", "optionId": chosen}}
        else:
            answer["error"] = {"code": -32601, "message": "method not found"}
        self._write(answer)

    def _write(self, message):
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()


def prompt_of(session, text):
    return {"sessionId": session, "prompt": [{"type": "text", "text": text}]}


def initialize(agent):
    capabilities = {"fs": {"readTextFile": False, "writeTextFile": False}, "terminal": False}
    result = agent.call("initialize", {"protocolVersion": 1, "clientCapabilities": capabilities})
    assert result["protocolVersion"] == 1, result
    return result["agentInfo"]


class Steps:
    """Prints what happened and how long it took since the step before."""

    def __init__(self):
        self.before = time.monotonic()

    def done(self, what, detail=""):
        now = time.monotonic()
        print(f"{(now - self.before) * 1000:7.0f} ms  {what}  {detail}", flush=True)
        self.before = now


def walk(recipe, repository, ask, verbose):
    steps, session_params = Steps(), {"cwd": repository, "mcpServers": []}
    agent = Agent(recipe, repository, verbose)
    try:
        steps.done("initialize", initialize(agent))
        session = agent.call("session/new", session_params)["sessionId"]
        steps.done("session/new", session)

        stop, text = agent.prompt(session, "Say hello. [[think A greeting.]] [[say Hello there.]]")
        assert stop == "end_turn" and "Hello there." in text, (stop, text)
        steps.done("first prompt", repr(text))

        notes = os.path.join(repository, "notes.md")
        stop, text = agent.prompt(session, r"Notes. [[write notes.md one\ntwo]] [[say Written.]]")
        assert stop == "end_turn" and "Written." in text, (stop, text)
        with open(notes, encoding="utf-8") as file:
            assert file.read() == "one\ntwo\n"
        assert (agent.asked > 0) == ask, agent.asked
        steps.done("warm prompt that writes a file", f"asked for permission: {agent.asked}")

        if ask:
            agent.choice = "reject_once"
            agent.prompt(session, "More notes. [[write refused.md no]] [[say Written.]]")
            assert not os.path.exists(os.path.join(repository, "refused.md"))
            agent.choice = "allow_once"
            steps.done("refused permission writes nothing")

        agent.updates.clear()
        turn = agent.send("session/prompt", prompt_of(session, "Slowly. [[slow 200 50]]"))
        while "tick 5" not in agent.text():
            time.sleep(0.01)
        steps.done("streaming")
        agent.send("session/cancel", {"sessionId": session}, request=False)
        assert agent.reply(turn)["stopReason"] == "cancelled"
        steps.done("cancelled")

        agent.send("session/prompt", prompt_of(session, "Slowly. [[slow 200 50]]"))
        time.sleep(0.5)
        agent.kill()
        steps.done("killed in mid-turn")
        agent = Agent(recipe, repository, verbose)
        initialize(agent)
        agent.call("session/resume", {"sessionId": session, **session_params})
        steps.done("resumed in a new process")
        stop, text = agent.prompt(session, "Do you remember? [[count]]")
        expected = f"prompts seen: {6 if ask else 5}"
        assert stop == "end_turn" and expected in text, (stop, text)
        steps.done("it remembers", repr(text))
    finally:
        agent.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents-dir", default=recipes.DEFAULT_AGENTS_DIR)
    parser.add_argument("--ask", action="store_true", help="the agent asks for permission")
    parser.add_argument("--verbose", action="store_true", help="show every line of the agent")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="berth-probe-") as scratch, ModelServer() as model:
        repository = os.path.join(scratch, "repository")
        subprocess.run(["git", "init", "-q", repository], check=True)
        recipe = recipes.opencode(options.agents_dir, os.path.join(scratch, "home"), model.port,
                                   options.ask)
        os.mkdir(os.path.join(scratch, "home"))
        walk(recipe, repository, options.ask, options.verbose)


if __name__ == "__main__":
    main()
