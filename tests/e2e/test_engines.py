#!/usr/bin/python3
"""Which engine berth runs on: chosen by itself where io_uring is denied, as asked for elsewhere, and it says so."""

import json
import os
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import BINARY, Server, make_repository, wait_until
from summary import main

DENY = os.path.join(os.path.dirname(os.path.dirname(BINARY)), "tests", "e2e", "deny_io_uring")


def run(*command, engine="", state=None):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BERTH_")}
    if engine:
        kept["BERTH_ENGINE"] = engine
    return subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
                          env={**kept, "BERTH_STATE": state or "/nonexistent/berth"})


def findings(*launcher, engine="", state=None):
    done = run(*launcher, BINARY, "doctor", "--json", engine=engine, state=state)
    document = json.loads(done.stdout)
    assert done.returncode == (0 if document["ok"] else 1), done
    return {f["name"]: (f["kind"], f["text"]) for f in document["findings"]}


class WhereIoUringIsDenied(unittest.TestCase):
    """Under a seccomp filter, as in a container; the agents inherit it."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server(launcher=[DENY], environment={"BERTH_ENGINE": "auto"}).start()
        cls.client = cls.server.client

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def test_the_server_chooses_asio_and_says_why_in_its_log(self):
        self.assertEqual(self.client.get("/v1/info")["engine"], "asio")
        self.assertIn("engine asio (epoll): a seccomp filter forbids io_uring", self.server.log_tail())

    def test_doctor_says_what_is_denied_and_which_engine_stands_in(self):
        kind, text = findings(DENY)["io_uring"]
        self.assertEqual(kind, "note")
        self.assertIn("a seccomp filter forbids io_uring", text)
        self.assertEqual(findings(DENY)["engine"], ("good", "asio (epoll), since io_uring cannot be used here"))
        self.assertIn("engine asio,", findings(DENY, state=self.server.state)["server"][1])

    def test_a_session_lives_its_whole_life_by_the_command_line(self):
        def berth(*arguments):
            done = run(DENY, BINARY, *arguments, state=self.server.state)
            self.assertEqual(done.returncode, 0, f"{arguments}: {done.stdout}{done.stderr}")
            return done.stdout
        repository = make_repository(os.path.join(self.server.folder, "repository"))
        berth("session", "new", "life", "--repo", repository)
        shown = berth("prompt", "life", "say hello\nwrite README.md changed\nsay bye")
        self.assertIn("hello", shown)
        self.assertIn("1 file changed", shown)
        self.assertIn("✔ completed", shown)
        self.assertIn("+changed", berth("diff", "life"))
        berth("session", "close", "life")

    def test_what_was_said_is_there_after_a_crash(self):
        with Server(launcher=[DENY]) as server:
            server.client.open(id="kept")
            server.client.prompt("kept", "say before")
            wait_until(lambda: server.client.get("/v1/sessions/kept")["turn"] is None)
            server.kill()
            server.start()
            self.assertEqual(server.client.get("/v1/info")["engine"], "asio")
            shown = run(DENY, BINARY, "prompt", "kept", "say after", state=server.state).stdout
            self.assertIn("after", shown)
            events = run(DENY, BINARY, "session", "show", "kept", "--json", state=server.state).stdout
            self.assertEqual(json.loads(events)["id"], "kept")

    def test_uring_that_was_asked_for_is_refused_in_words(self):
        done = run(DENY, BINARY, "serve", "--listen", "127.0.0.1:0", engine="uring", state=self.server.folder + "/no")
        self.assertEqual(done.returncode, 1)
        self.assertIn("the engine uring was asked for and cannot be had: a seccomp filter", done.stderr)
        kind, text = findings(DENY, engine="uring")["engine"]
        self.assertEqual(kind, "bad")
        self.assertIn("cannot be had", text)


class WhereItIsAllowed(unittest.TestCase):

    def test_the_engine_that_was_asked_for_is_taken(self):
        for engine in ("uring", "asio"):
            with Server(environment={"BERTH_ENGINE": engine}) as server:
                self.assertEqual(server.client.get("/v1/info")["engine"], engine)
            self.assertIn("as BERTH_ENGINE says", findings(engine=engine)["engine"][1])

    def test_uring_is_taken_when_nothing_was_asked_for(self):
        with Server(environment={"BERTH_ENGINE": ""}) as server:
            self.assertEqual(server.client.get("/v1/info")["engine"], "uring")
        self.assertEqual(findings()["engine"], ("good", "uring"))

    def test_an_unknown_engine_is_named(self):
        for command in (("serve",), ("doctor",)):
            done = run(BINARY, *command, engine="epoll")
            self.assertEqual(done.returncode, 1)
            self.assertIn("BERTH_ENGINE: there is no engine 'epoll': it is uring, asio or auto",
                          done.stdout + done.stderr)


if __name__ == "__main__":
    main()
