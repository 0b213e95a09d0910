#!/usr/bin/python3
"""Real agents run whole turns restricted and in a sandbox, where the model is reached through berth's proxy alone."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))

import recipes
from berth_client import session_path, text_of
from berth_server import Server, make_repository, wait_until
from model_server import ModelServer
from summary import main

AGENTS = ("opencode", "qwen")


class Confined(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        subprocess.run([os.path.join(HERE, "install.sh"), "node22", *AGENTS], check=True, stdout=subprocess.DEVNULL)
        cls.scratch = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="berth-confined-"))
        model = cls.enterClassContext(ModelServer(log=os.path.join(cls.scratch, "model.log")))
        config = ""
        for agent in AGENTS:
            for launch in ("restricted", "sandbox"):
                home = os.path.join(cls.scratch, f"{agent}-{launch}")
                os.mkdir(home)
                recipe = getattr(recipes, agent)(recipes.DEFAULT_AGENTS_DIR, home, model.port)
                recipe.write_files()
                config += recipe.to_toml(f"{agent}-{launch}", "\n".join([
                    f"launch = {json.dumps(launch)}", f"readable = {json.dumps([recipes.DEFAULT_AGENTS_DIR])}",
                    f"egress = {json.dumps([f'127.0.0.1:{model.port}'])}", ""]))
        cls.server = cls.enterClassContext(Server(config))
        cls.client = cls.server.client
        cls.repository = make_repository(os.path.join(cls.scratch, "repository"))

    def check(self, agent, launch):
        info = self.client.get("/v1/info")
        if launch == "sandbox" and not info["launch"]["sandbox"]:
            self.skipTest(info["launch"]["sandbox_reason"])
        if launch == "restricted" and info["launch"]["default"] != "restricted":
            self.skipTest(info["launch"]["reason"])
        session = f"{agent}-{launch}"
        directory = self.client.open(id=session, agent=session, repository=self.repository,
                                     permission="allow")["workspace"]["directory"]
        # One that lives on may ask its model for more, and is counted in the next test.
        self.addCleanup(self.client.post, session_path(session, "agents", session, "kill"))
        path = os.path.join(directory, "made.txt")
        turn = self.client.prompt(session, f"[[write {path} by the agent]] [[say All done.]]", wait=180)
        log = self.client.log(session)
        self.assertEqual((turn["state"], turn["reason"]), ("completed", "end_turn"), [e.data for e in log][-3:])
        self.assertIn("All done.", text_of(log))
        self.assertEqual(next(e.data["launch"] for e in log if e.type == "agent.attached"), launch)
        with open(path, encoding="utf-8") as file:
            self.assertIn("by the agent", file.read())
        wait_until(lambda: [f["path"] for f in self.client.get(f"/v1/sessions/{session}/changes")["files"]] == ["made.txt"])
        passed = self.client.get("/v1/info")["egress"]["allowed"] - info["egress"]["allowed"]
        self.assertEqual(passed > 0, launch == "sandbox", f"{passed} connections went through the proxy")

    def test_opencode_restricted(self):
        self.check("opencode", "restricted")

    def test_opencode_in_a_sandbox(self):
        self.check("opencode", "sandbox")

    def test_qwen_restricted(self):
        self.check("qwen", "restricted")

    def test_qwen_in_a_sandbox(self):
        self.check("qwen", "sandbox")


if __name__ == "__main__":
    main()
