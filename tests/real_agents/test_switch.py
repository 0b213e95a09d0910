#!/usr/bin/python3
"""Two real agents in one session, one after the other: opencode, qwen, and opencode again."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

import recipes
from berth_client import session_path, text_of
from berth_server import Server, describe, make_repository, processes_with, wait_until
from model_server import ModelServer
from summary import figure, main

WORD = "kingfisher"


class Switch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        installer = os.path.join(HERE, "install.sh")
        subprocess.run([installer, "opencode", "node22", "qwen"], check=True,
                       stdout=subprocess.DEVNULL)
        cls.scratch = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="berth-switch-"))
        model = cls.enterClassContext(ModelServer(log=os.path.join(cls.scratch, "model.log")))
        config = ""
        for name in ("opencode", "qwen"):
            os.mkdir(cls.home(name))
            recipe = getattr(recipes, name)(recipes.DEFAULT_AGENTS_DIR, cls.home(name), model.port,
                                            ask=True)
            recipe.write_files()
            config += recipe.to_toml(name) + "\n"
        cls.client = cls.enterClassContext(Server(config)).client

    @classmethod
    def home(cls, name):
        return os.path.join(cls.scratch, name)

    def turn(self, agent, prompt):
        """Runs a turn with this agent: its events. What berth tells of the past holds old steps."""
        before = len(self.stream.seen)
        turn = self.client.prompt(self.session, f"[[now]] {prompt}", agent=agent)["id"]
        ended = self.stream.wait_for("turn.ended", timeout=180, turn=turn)
        self.assertEqual((ended.data["state"], ended.data["reason"]), ("completed", "end_turn"))
        self.assertEqual(ended.agent, agent)
        return self.stream.seen[before:]

    def attached(self, events):
        return [(e.agent, e.data["rung"], e.data["native_session_id"])
                for e in events if e.type == "agent.attached"]

    def chip(self, agent):
        return next(a["next"] for a in self.client.agents(self.session) if a["agent"] == agent)

    def change_of_turn(self, number):
        """The badge of what this turn changed, and the paths."""
        def is_it(event):
            return event.type == "change.recorded" and event.data["turn_number"] == number

        recorded = next(filter(is_it, self.stream.seen), None) or self.stream.wait_for(is_it)
        self.assertEqual(recorded.data["outcome"], "recorded")
        path = session_path(self.session, "changes", "patch") + f"?from={number - 1}&to={number}"
        patch = self.client.raw("GET", path).body.decode()
        return recorded.agent, re.findall(r"^\+\+\+ b/(.*)$", patch, re.MULTILINE)

    def kill(self, agent):
        for pid in processes_with(f"HOME={self.home(agent)}"):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        wait_until(lambda: not processes_with(f"HOME={self.home(agent)}"), 20,
                   lambda: describe(processes_with(f"HOME={self.home(agent)}")))
        self.stream.wait_for(lambda e: e.type == "agent.exited" and e.agent == agent)

    def test_each_keeps_its_memory_and_all_share_one_worktree(self):
        repository = make_repository(os.path.join(self.scratch, "repository"))
        opened = self.client.open(agent="opencode", repository=repository, permission="allow")
        self.session, directory = opened["id"], opened["workspace"]["directory"]
        self.stream = self.enterContext(self.client.events(self.session))

        def path(name):
            return os.path.join(directory, name)

        events = self.turn("opencode",
                           f"Mind that the word is {WORD}. [[write {path('one.md')} one]]")
        (_, rung, native), = self.attached(events)
        self.assertEqual(rung, "new")

        events = self.turn("qwen", f"[[read {path('one.md')}]] [[write {path('two.md')} two]] "
                           "[[recall]]")
        (_, rung, other), = self.attached(events)
        self.assertEqual(rung, "history", "a late joiner is told the story")
        self.assertNotEqual(other, native)
        self.assertIn(WORD, text_of(events))
        self.assertEqual(self.chip("opencode"), "live")

        events = self.turn("opencode", "[[recall]]")
        self.assertEqual(self.attached(events), [], "it is still the same process")
        self.assertIn(WORD, text_of(events))

        self.kill("opencode")
        self.assertEqual(self.chip("opencode"), "resumed")
        self.turn("qwen", "[[say Meanwhile.]]")
        events = self.turn("opencode", f"[[write {path('three.md')} three]] [[recall]]")
        self.assertEqual(self.attached(events), [("opencode", "resume", native)])
        self.assertIn(WORD, text_of(events))

        self.assertEqual([self.change_of_turn(number) for number in (1, 2, 5)],
                         [("opencode", ["one.md"]), ("qwen", ["two.md"]),
                          ("opencode", ["three.md"])])
        self.assertTrue({"one.md", "two.md", "three.md"} <= set(os.listdir(directory)))
        figure("opencode, qwen, opencode, killed, qwen, opencode",
               "one native session, one worktree, 3 changes, each with its badge")


if __name__ == "__main__":
    main()
