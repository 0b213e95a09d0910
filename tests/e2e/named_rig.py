"""A server with command-line agents, and what the tests of named agents do with it."""

import json
import os
import subprocess
import unittest

from berth_client import session_path, text_of
from berth_server import BINARY, Server, wait_until

AGENT = os.path.join(os.path.dirname(os.path.dirname(BINARY)), "bench/agents/berth-scripted-checkpoint")
CONFIG = f"""
[agents.warm]
driver = "checkpoint"
command = "{AGENT}"
provider = "none"
model = "scripted"
exit_grace = 20
fifo_prompt_max = 100000
[agents.dying]
driver = "checkpoint"
command = "/bin/true"
"""


def argv(pid):
    """The words of an agent's command line. A process has none in the moment in which it becomes the agent."""
    def words():
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            found = file.read().split("\0")[:-1]
        return found if "--run-id" in found else None
    return wait_until(words)


class NamedRig(unittest.TestCase):
    CONFIG = ""  # added to the above

    def setUp(self):
        self.server = Server(CONFIG + self.CONFIG).start()

    def tearDown(self):
        if self.server.process.poll() is not None:
            self.fail(f"berth ended with {self.server.process.returncode}: {self.server.log_tail()}")
        self.server.close()

    @property
    def client(self):
        return self.server.client

    def restart_server(self, kill=False):
        if kill:
            self.server.kill()
        else:
            self.assertEqual(self.server.stop(), 0)
        self.server.start()

    # --- the command line ---

    def environment(self):
        kept = {name: value for name, value in os.environ.items()
                if name == "BERTH_ENGINE" or not name.startswith(("BERTH_", "NO_COLOR"))}
        return {**kept, "BERTH_STATE": self.server.state}

    def berth(self, *arguments, expect=0):
        """What a command wrote to stdout."""
        done = self._run(arguments)
        self.assertEqual(done.returncode, expect, f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout

    def refused(self, *arguments):
        """What a command that failed wrote to stderr."""
        done = self._run(arguments)
        self.assertEqual(done.returncode, 1, f"{arguments}: {done.stdout}{done.stderr}")
        return done.stderr

    def _run(self, arguments):
        return subprocess.run([BINARY, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120, env=self.environment())

    def start(self, name, *options):
        """Starts it (of the profile `warm`, if it is new and none is named)."""
        known = [agent["name"] for agent in json.loads(self.berth("agent", "status", "--json"))["agents"]]
        if name not in known and "--profile" not in options:
            options = ("--profile", "warm", *options)
        self.berth("agent", "start", name, *options)

    # --- the agent ---

    def status(self, name):
        return self.client.get(f"/v1/agents/{name}")

    def session_of(self, name):
        return self.status(name)["session"]

    def pid_of(self, name):
        """Of its process, once there is one."""
        return wait_until(lambda: self.status(name)["pid"], timeout=30, what=self.server.log_tail)

    def log(self, name):
        return self.client.log(self.session_of(name))

    def prompt(self, name, text):
        """The id of the turn."""
        return self.client.prompt(self.session_of(name), text)["id"]

    def turn(self, name, turn):
        return self.client.get(session_path(self.session_of(name), "turns", turn))

    def ended(self, name, turn):
        wait_until(lambda: self.turn(name, turn)["ended_at"], timeout=60, what=self.server.log_tail)
        return self.turn(name, turn)

    def wait_for_text(self, name, turn):
        wait_until(lambda: any(e.turn == turn and e.update for e in self.log(name)), timeout=60)

    def say(self, name, text):
        """What it answered."""
        turn = self.prompt(name, text)
        self.assertEqual(self.ended(name, turn)["state"], "completed")
        return text_of([e for e in self.log(name) if e.turn == turn])
