#!/usr/bin/python3
"""berth and unmodified agents that speak ACP, each through the same steps, without a network.

    tests/real_agents/offline.sh tests/real_agents/test_acp_agents.py [--record] [NAME...]

With --record the table in docs/agents.md is written anew from what this run saw. BERTH_FULL=1 runs
the slower agents too.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

import agents_table
import recipes
from acp_schema import ClientSchema, read_log
from berth_client import session_path, text_of
from berth_server import Server, describe, make_repository, processes_with, wait_until
from model_server import ModelServer
from summary import figure, main

TEE = os.path.join(HERE, "tee.py")
WORD = "kingfisher"


@dataclass(frozen=True)
class Case:
    """What is particular about one agent; everything else is the same for all."""

    recipe: object
    packages: tuple
    profile: str              # the built-in profile that it is started by
    mode: str = ""            # in which it asks before it writes
    asks_by: str = "write"    # which tool asks: write, shell, or "" for an agent that never asks
    thinks: bool = True
    full: bool = False
    v2: bool = False          # spoken to in the draft version 2 of the protocol


CASES = {
    "opencode": Case(recipes.opencode, ("opencode",), "opencode"),
    "qwen": Case(recipes.qwen, ("node22", "qwen"), "qwen", mode="default"),
    "gemini": Case(recipes.gemini, ("gemini",), "gemini"),
    "claude-agent-acp": Case(recipes.claude, ("node22", "claude"), "claude"),
    "claude-agent-acp (ACP v2)": Case(recipes.claude, ("node22", "claude"), "claude", v2=True),
    "codex-acp": Case(recipes.codex, ("codex-acp",), "codex", mode="read-only"),
    "codex-acp (ACP v2)": Case(recipes.codex, ("codex-acp",), "codex", mode="read-only", v2=True,
                               full=True),
    "codex-acp-zed": Case(recipes.codex_zed, ("codex-acp-zed",), "codex"),
    "pi": Case(recipes.pi, ("node22", "pi"), "pi", asks_by=""),
    "kimi": Case(recipes.kimi, ("node22", "kimi"), "kimi", asks_by="shell", full=True),
    "copilot": Case(recipes.copilot, ("copilot",), "copilot", full=True),
    "cline": Case(recipes.cline, ("cline",), "cline", full=True),
    "kilo": Case(recipes.kilo, ("kilo",), "kilo", full=True),
}


class Rig:
    """One agent's surroundings: home, repository, model, berth, and a log of all that was said."""

    def __init__(self, case, enter, extra=""):
        scratch = enter(tempfile.TemporaryDirectory(prefix="berth-agent-"))
        self.home = os.path.join(scratch, "home")
        os.mkdir(self.home)
        self.wire = os.path.join(self.home, ".wire")  # where the agent, and so the tee, may write
        os.mkdir(self.wire)
        self.repository = make_repository(os.path.join(scratch, "repository"))
        model = enter(ModelServer(log=os.path.join(scratch, "model.log")))
        recipe = case.recipe(recipes.DEFAULT_AGENTS_DIR, self.home, model.port, ask=True)
        recipe.write_files()
        recipe.args = [TEE, self.wire, recipe.command, *recipe.args]
        recipe.command = "/usr/bin/python3"
        extra += "acp_v2 = true\n" if case.v2 else ""
        self.server = enter(Server(recipe.to_toml(case.profile, extra)))
        self.client = self.server.client

    def wire_logs(self):
        return [os.path.join(self.wire, name) for name in sorted(os.listdir(self.wire))]

    def agent_processes(self):
        return processes_with(f"HOME={self.home}")

    def kill_agent(self):
        for pid in self.agent_processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return time.monotonic()


class AcpAgent:
    """The steps; a class per agent is made from it below."""

    case = None
    name = ""

    @classmethod
    def setUpClass(cls):
        installer = os.path.join(HERE, "install.sh")
        subprocess.run([installer, *cls.case.packages], check=True, stdout=subprocess.DEVNULL)
        cls.rig = Rig(cls.case, cls.enterClassContext)
        cls.client = cls.rig.client
        cls.row = agents_table.row(cls.name)

    @classmethod
    def tearDownClass(cls):
        cls.rig.server.stop()
        keep = os.environ.get("BERTH_KEEP_WIRE")
        for number, path in enumerate(cls.rig.wire_logs() if keep else []):
            version = cls.row.get("version", "unknown")
            shutil.copy(path, os.path.join(keep, f"{cls.name}-{version}-{number}.jsonl"))

    def open(self):
        session = self.client.open(agent=self.case.profile, repository=self.rig.repository,
                                   permission="ask")
        if self.case.mode:
            path = session_path(session["id"], "agents", self.case.profile, "config")
            self.client.call("PUT", path, {"mode": self.case.mode})
        return session, self.enterContext(self.client.events(session["id"]))

    def turn(self, session, stream, prompt):
        """Runs a turn to its ending: (that event, events of the turn, ms from prompt to ending)."""
        start, before = time.monotonic(), len(stream.seen)
        turn = self.client.prompt(session["id"], prompt)["id"]
        ended = stream.wait_for("turn.ended", timeout=180, turn=turn)
        return ended, stream.seen[before:], (ended.arrived - start) * 1000

    def completed(self, ended):
        self.assertEqual((ended.data["state"], ended.data["reason"]), ("completed", "end_turn"))

    def asking_steps(self, session, name):
        """Steps that ask for permission and, if allowed, make the file `name`."""
        directory = self.client.session(session["id"])["workspace"]["directory"]
        path = os.path.join(directory, name)
        if self.case.asks_by == "shell":
            return path, f"[[shell echo one > {path}]]"
        return path, f"[[write {path} one]]"

    def test_1_whole_life_of_a_session(self):
        session, stream = self.open()
        self.first_turn(session, stream)
        pid = self.client.agents(session["id"])[0]["pid"]
        self.file_with_permission(session, stream)
        self.cancelled_in_mid_stream(session, stream)
        if self.case.asks_by:
            self.cancelled_with_a_permission_open(session, stream)
        self.assertEqual(self.client.agents(session["id"])[0]["pid"], pid, "a new process")
        self.killed_and_restored(session, stream)
        junk = [event.data for event in stream.seen if event.type == "agent.junk"]
        self.assertEqual(junk, [])

    def first_turn(self, session, stream):
        prompt = f"Mind that the word is {WORD}. [[think **Plan** A greeting.]] [[say Hello there.]]"
        ended, events, cold_ms = self.turn(session, stream, prompt)
        self.completed(ended)
        self.assertIn("Hello there.", text_of(events))
        thoughts = text_of(events, "agent_thought_chunk")
        if self.case.thinks:
            self.assertIn("greeting", thoughts)
        attached = next(event for event in events if event.type == "agent.attached")
        self.assertEqual(attached.data["config_failures"], [])
        self.assertEqual(attached.data["protocol_version"], 2 if self.case.v2 else 1)
        self.row["version"] = (attached.data["agent_info"] or {}).get("version", "?")
        self.row["native"] = attached.data["native_session_id"]
        self.row["cold"] = f"{cold_ms / 1000:.1f} s"
        self.row["turn"] = "text, thought" if thoughts else "text"

    def file_with_permission(self, session, stream):
        name = "notes.md"
        path, steps = self.asking_steps(session, name)
        start, before = time.monotonic(), len(stream.seen)
        turn = self.client.prompt(session["id"], f"Take notes. {steps} [[say Written.]]")["id"]
        if self.case.asks_by:
            opened = stream.wait_for("interaction.opened", timeout=60, turn=turn)
            self.assertFalse(os.path.exists(path), "written before it was allowed")
            self.client.post(session_path(session["id"], "interactions", opened.data["id"]),
                             {"kind": "allow_once"})
        ended = stream.wait_for("turn.ended", timeout=60, turn=turn)
        warm_ms = (ended.arrived - start) * 1000
        events = stream.seen[before:]
        self.completed(ended)
        self.assertIn("Written.", text_of(events))
        self.assertNotIn("agent.attached", [event.type for event in events], "not warm")
        self.assertEqual(ended.data["open_tool_calls"], [])
        asked = [event for event in events if event.type == "interaction.opened"]
        self.assertEqual(bool(asked), bool(self.case.asks_by))
        recorded = stream.wait_for("change.recorded", turn=turn)
        self.assertEqual([file["path"] for file in recorded.data["files"]], [name])
        self.assertEqual(recorded.agent, self.case.profile, "the badge of the change")
        patch = self.client.raw("GET", session_path(session["id"], "changes", "patch")).body
        self.assertIn("+one", patch.decode())
        self.row["permission"] = "answered over HTTP" if asked else "never asks"
        self.row["warm"] = f"{warm_ms / 1000:.2f} s"
        self.row["diff"] = name

    def cancelled_in_mid_stream(self, session, stream):
        turn = self.client.prompt(session["id"], "Go slowly. [[slow 400 50]]")["id"]
        stream.wait_for_text("tick 5")
        start = time.monotonic()
        self.client.cancel(session["id"], turn)
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "cancelled")
        self.row["cancel"] = f"{(ended.arrived - start) * 1000:.0f} ms"
        self.go_on(session, stream)

    def cancelled_with_a_permission_open(self, session, stream):
        path, steps = self.asking_steps(session, "refused.md")
        turn = self.client.prompt(session["id"], f"More. {steps} [[say Written.]]")["id"]
        stream.wait_for("interaction.opened", timeout=60, turn=turn)
        start = time.monotonic()
        self.client.cancel(session["id"], turn)
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "cancelled")
        closed = [event for event in stream.seen if event.type == "interaction.closed"][-1]
        self.assertEqual(closed.data["state"], "cancelled")
        self.row["cancel in permission"] = f"{(ended.arrived - start) * 1000:.0f} ms"
        self.go_on(session, stream)
        self.assertFalse(os.path.exists(path), "written although it was cancelled")

    def go_on(self, session, stream):
        """A stopped turn holds the queue until a person lets it go on; then the agent is well."""
        self.client.post(session_path(session["id"], "resume-queue"))
        ended, events, _ = self.turn(session, stream, "Again. [[say Back again.]]")
        self.completed(ended)
        self.assertIn("Back again.", text_of(events))

    def killed_and_restored(self, session, stream):
        turn = self.client.prompt(session["id"], "Go slowly. [[slow 400 20]]")["id"]
        stream.wait_for(lambda event: event.turn == turn and
                        "tick 20" in text_of(e for e in stream.seen if e.turn == turn))
        killed = self.rig.kill_agent()
        ended = stream.wait_for("turn.ended", turn=turn)
        self.assertEqual(ended.data["state"], "interrupted")
        seen = text_of(event for event in stream.seen if event.turn == turn)
        ticks = [int(number) for number in re.findall(r"tick (\d+)", seen)]
        self.assertEqual(ticks, list(range(len(ticks))), "text is missing in the middle")
        self.row["killed"] = f"{(ended.arrived - killed) * 1000:.0f} ms"
        wait_until(lambda: not self.rig.agent_processes(), 5,
                   lambda: f"left over: {describe(self.rig.agent_processes())}")

        self.client.post(session_path(session["id"], "resume-queue"))
        start, before = time.monotonic(), len(stream.seen)
        turn = self.client.prompt(session["id"], "What was it? [[recall]]")["id"]
        ended = stream.wait_for("turn.ended", timeout=150, turn=turn)
        events = stream.seen[before:]
        self.completed(ended)
        again = next(event for event in events if event.type == "agent.attached")
        self.assertEqual(again.data["rung"], best_rung(again.data["capabilities"]), again.data)
        self.assertEqual(again.data["native_session_id"], self.row["native"])
        self.assertEqual(again.data["config_failures"], [])
        self.assertIn(WORD, text_of(events))
        replayed = [e.data for e in events if e.update == "user_message_chunk"]
        self.assertEqual(replayed, [], "the replay of a loaded session is in the log already")
        self.assertNotIn("Hello there.", text_of(events))
        self.row["restore"] = again.data["rung"]
        self.row["restored in"] = f"{ended.arrived - start:.1f} s"

    def test_2_two_sessions_stream_at_the_same_time(self):
        sessions = [self.open() for _ in range(2)]
        turns = [self.client.prompt(session["id"], f"Go. [[slow 40 50]] [[say End {number}.]]")["id"]
                 for number, (session, _) in enumerate(sessions)]
        ends, starts = [], []
        for number, (session, stream) in enumerate(sessions):
            ended = stream.wait_for("turn.ended", timeout=180, turn=turns[number])
            self.completed(ended)
            text = text_of(stream.seen)
            self.assertIn(f"End {number}.", text)
            self.assertNotIn(f"End {1 - number}.", text)
            chunks = [e.arrived for e in stream.seen if e.update == "agent_message_chunk"]
            starts.append(chunks[0])
            ends.append(chunks[-1])
        self.assertLess(max(starts), min(ends), "one after the other")
        self.row["parallel"] = "2"

    def test_3_every_message_that_berth_sent_is_valid(self):
        schema = ClientSchema(2 if self.case.v2 else 1)
        connections = [read_log(path) for path in self.rig.wire_logs()]
        self.assertGreaterEqual(len(connections), 3)
        sent = sum(direction == ">" for messages in connections for direction, _ in messages)
        wrong = [problem for messages in connections for problem in schema.problems(messages)]
        self.assertEqual(wrong, [])
        self.row["valid"] = str(sent)
        figure(self.name, ", ".join(f"{key} {value}" for key, value in self.row.items()
                                    if key not in ("native", "name")))

    def test_4_nothing_is_left_when_berth_stops(self):
        self.rig.server.stop()
        self.assertEqual(describe(self.rig.agent_processes()), [])


def best_rung(capabilities):
    if "session" in capabilities:  # v2: whoever has sessions can resume them
        return "resume"
    if isinstance(capabilities.get("sessionCapabilities", {}).get("resume"), dict):
        return "resume"
    return "load" if capabilities.get("loadSession") else "history"


def add_classes(wanted):
    """One TestCase for each agent."""
    full = bool(os.environ.get("BERTH_FULL"))
    for name, case in CASES.items():
        if name in wanted or not wanted and (full or not case.full):
            title = "".join(part.capitalize() for part in re.findall(r"\w+", name))
            members = {"case": case, "name": name, "__doc__": None}
            globals()[title] = type(title, (AcpAgent, unittest.TestCase), members)


if __name__ == "__main__":
    names = [argument for argument in sys.argv[1:] if argument in CASES]
    record = "--record" in sys.argv
    sys.argv[1:] = [a for a in sys.argv[1:] if a not in names and a != "--record"]
    add_classes(names)
    try:
        main()
    finally:
        if record:
            agents_table.write()
