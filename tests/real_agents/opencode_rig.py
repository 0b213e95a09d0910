"""berth and the unmodified opencode, over ACP or as its server: what the tests of both share."""

import os
import signal
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

import recipes
from berth_client import session_path
from berth_server import Server, describe, make_repository, processes_with
from model_server import ModelServer


class OpencodeRig(unittest.TestCase):
    """Each test has its own home, repository, model server, berth and opencode."""

    profile = "opencode"
    ask = False
    extra = ""  # more of the profile

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix=f"berth-{self.profile}-")
        self.addCleanup(scratch.cleanup)
        self.scratch = scratch.name
        self.home = os.path.join(scratch.name, "home")
        os.mkdir(self.home)
        self.repository = make_repository(os.path.join(scratch.name, "repository"))
        self.model = self.enterContext(ModelServer(log=os.path.join(scratch.name, "model.log")))
        recipe = recipes.opencode(recipes.DEFAULT_AGENTS_DIR, self.home, self.model.port, self.ask)
        self.assertTrue(os.path.exists(recipe.command), "run tests/real_agents/install.sh first")
        self.adapt(recipe)
        self.addCleanup(self.expect_no_agent_left)  # runs when berth has stopped
        self.server = self.enterContext(Server(recipe.to_toml(self.profile, self.extra)))
        self.client = self.server.client

    def adapt(self, recipe):
        """Changes how opencode is started."""

    def open(self, **options):
        """A session in a worktree of the repository and its stream: (id, EventStream)."""
        options.setdefault("repository", self.repository)
        session = self.client.open(agent=self.profile, **options)["id"]
        return session, self.enterContext(self.client.events(session))

    def turn(self, session, stream, prompt, timeout=90):
        """Runs a turn to its ending: (that event, events of the turn, ms from prompt to ending)."""
        start, before = time.monotonic(), len(stream.seen)
        turn = self.client.prompt(session, prompt)["id"]
        ended = stream.wait_for("turn.ended", timeout=timeout, turn=turn)
        return ended, stream.seen[before:], (ended.arrived - start) * 1000

    def answer(self, session, stream, kind):
        opened = stream.wait_for("interaction.opened", timeout=90)
        self.client.post(session_path(session, "interactions", opened.data["id"]), {"kind": kind})
        return opened

    def pid_of(self, session):
        return self.client.agents(session)[0]["pid"]

    def sleepers(self):
        return [line for line in describe(self.agent_processes()) if "sleep 1000" in line]

    def expect_no_agent_left(self):
        left = self.agent_processes()
        names = describe(left)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self.assertEqual(names, [], "berth has stopped, its agents have not")

    def agent_processes(self):
        return processes_with(f"HOME={self.home}")
