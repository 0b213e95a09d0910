#!/usr/bin/python3
"""The command line against a real server: what it prints, for people and as JSON, and its exit codes."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import BINARY, Server, make_repository, wait_until
from summary import main


class TypingTerminal:
    """A program on a terminal, and somebody who types."""

    def __init__(self, command, environment):
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment,
                                         start_new_session=True)
        os.close(slave)
        self.shown, self._seen = "", 0

    def type(self, text):
        os.write(self._master, text.encode())

    def expect(self, *texts, timeout=30):
        """Waits for each text, behind the one before it."""
        deadline = time.monotonic() + timeout
        for text in texts:
            while (at := self.shown.find(text, self._seen)) < 0:
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([self._master], [], [], left)[0]:
                    raise AssertionError(f"no {text!r} in {self.shown[self._seen:]!r}")
                try:
                    self.shown += os.read(self._master, 65536).decode("utf-8", "replace")
                except OSError as gone:
                    raise AssertionError(f"ended without {text!r}: {self.shown!r}") from gone
            self._seen = at + len(text)

    def wait(self):
        return self._process.wait(30)

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)


class CommandLine(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()
        cls.repository = make_repository(os.path.join(cls.server.folder, "repository"))
        cls.counter = 0

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def environment(self):
        kept = {name: value for name, value in os.environ.items()
                if name == "BERTH_ENGINE" or not name.startswith(("BERTH_", "NO_COLOR"))}
        return {**kept, "BERTH_STATE": self.server.state}

    def berth(self, *arguments, stdin="", expect=0):
        """Runs a command with pipes; returns what it wrote to stdout and stderr."""
        done = subprocess.run([BINARY, *arguments], input=stdin, capture_output=True, text=True,
                              timeout=30, env=self.environment())
        self.assertEqual(done.returncode, expect, f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def on_terminal(self, *arguments, **environment):
        """Runs a command with a terminal as stdout; returns what was shown."""
        master, slave = pty.openpty()
        process = subprocess.Popen([BINARY, *arguments], stdin=subprocess.DEVNULL, stdout=slave,
                                   stderr=slave, env={**self.environment(), **environment})
        os.close(slave)
        shown = b""
        try:
            while chunk := os.read(master, 65536):
                shown += chunk
        except OSError:
            pass  # the terminal's other end was closed
        os.close(master)
        process.wait(30)
        return shown.decode()

    def typing(self, *arguments):
        terminal = TypingTerminal([BINARY, *arguments], self.environment())
        self.addCleanup(terminal.close)
        return terminal

    def new_session(self, *options):
        CommandLine.counter += 1
        name = f"s{CommandLine.counter}"
        self.assertEqual(self.berth("session", "new", name, *options)[0], name + "\n")
        return name

    def test_a_prompt_streams_its_turn_and_tells_how_it_ended(self):
        session = self.new_session()
        shown, _ = self.berth("prompt", session, "say hello ; think hm ; plan one, two ; say bye")
        self.assertIn("hello", shown)
        self.assertIn("plan", shown)
        self.assertTrue(shown.endswith("✔ completed\n"), shown)
        self.assertNotIn("\033", shown)
        shown, _ = self.berth("prompt", session, stdin="say from stdin\n")
        self.assertIn("from stdin", shown)
        for steer in ("refuse", "error", "exit 3"):
            shown, _ = self.berth("prompt", session, steer, expect=1)
            self.assertIn("✘", shown)

    def test_text_is_shown_while_the_turn_runs(self):
        session = self.new_session()
        process = subprocess.Popen([BINARY, "prompt", session, "say early ; sleep 3000 ; say late"],
                                   stdout=subprocess.PIPE, env=self.environment())
        began = time.monotonic()
        seen = b""
        while b"early" not in seen:
            piece = os.read(process.stdout.fileno(), 4096)
            self.assertTrue(piece, f"the command ended: {seen}")
            seen += piece
        self.assertLess(time.monotonic() - began, 2)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(10), 130)
        process.stdout.close()
        self.assertEqual(self.server.client.get(f"/v1/sessions/{session}")["turn"]["state"], "running")

    def test_a_timeout_leaves_the_turn_running(self):
        session = self.new_session()
        _, told = self.berth("prompt", session, "sleep 2000 ; say done", "--timeout", "0.3", expect=124)
        self.assertIn(f"berth attach {session}", told)
        state = self.server.client.get(f"/v1/sessions/{session}")["turn"]["state"]
        self.assertEqual(state, "running")
        self.berth("session", "cancel", session)
        wait_until(lambda: self.server.client.get(f"/v1/sessions/{session}")["turn"] is None)

    def test_json_is_json_everywhere(self):
        session = self.new_session("--repo", self.repository)
        lines = self.berth("prompt", session, "write a.txt hello", "--json")[0].splitlines()
        events = [json.loads(line) for line in lines]
        self.assertEqual(events[-1]["type"], "change.recorded")
        self.assertEqual([e["data"]["state"] for e in events if e["type"] == "turn.ended"], ["completed"])
        for command in (("session", "list"), ("session", "show", session), ("diff", session),
                        ("permit", session), ("agent", "ls"), ("agent", "ls", session),
                        ("agent", "probe", "scripted"), ("doctor",), ("version",),
                        ("session", "close", session)):
            json.loads(self.berth(*command, "--json")[0])

    def test_diff_into_a_pipe_is_a_patch_that_git_applies(self):
        session = self.new_session("--repo", self.repository)
        shown, _ = self.berth("prompt", session, "write README.md changed\nwrite sub/new.txt two")
        self.assertIn("2 files changed, +2 -1", shown)
        patch, _ = self.berth("diff", session)
        self.assertIn("+changed", patch)
        subprocess.run(["git", "-C", self.repository, "apply", "--check", "-"], input=patch, text=True,
                       check=True)
        only, _ = self.berth("diff", session, "sub/new.txt")
        self.assertNotIn("README", only)
        self.assertIn("README.md  +1 -1", self.berth("diff", session, "--stat")[0])

    def test_colours_are_for_terminals_without_no_color(self):
        session = self.new_session("--repo", self.repository)
        self.berth("prompt", session, "write a.txt hello")
        self.assertIn("\033[32m+hello\033[0m", self.on_terminal("diff", session))
        self.assertNotIn("\033", self.on_terminal("diff", session, NO_COLOR="1"))
        self.assertNotIn("\033", self.on_terminal("diff", session, "--no-color"))

    def test_an_agent_cannot_steer_the_terminal(self):
        session = self.new_session()
        shown = self.on_terminal("prompt", session, "say a\033]0;owned\007b\u009b31mc", "--no-color")
        self.assertIn("a]0;ownedb31mc", shown)
        self.assertNotIn("\033", shown)
        self.assertNotIn("\x07", shown)
        self.assertNotIn("\u009b", shown)

    def test_permissions_are_listed_and_answered(self):
        session = self.new_session("--dir", self.repository)
        shown = []
        prompt = threading.Thread(target=lambda: shown.append(
            self.berth("prompt", session, "ask write asked.txt yes")[0]))
        prompt.start()
        try:
            wait_until(lambda: "berth permit" in self.berth("permit", session)[0])
            self.berth("permit", session, "--allow")
        finally:
            prompt.join(30)
        self.assertIn("✔ completed", shown[0])
        self.assertIn(f"berth permit {session} int_", shown[0])
        self.assertTrue(os.path.exists(os.path.join(self.repository, "asked.txt")))
        self.assertIn("nothing waits", self.berth("permit", session, "--allow", expect=1)[1])

    def test_attach_shows_what_was_and_what_comes(self):
        session = self.new_session()
        self.berth("prompt", session, "say first")
        process = subprocess.Popen([BINARY, "attach", session, "--after", "0"], stdout=subprocess.PIPE,
                                   stderr=subprocess.DEVNULL, text=True, env=self.environment())
        lines = []
        reader = threading.Thread(target=lambda: lines.extend(process.stdout))
        reader.start()
        wait_until(lambda: "first\n" in lines)
        self.berth("prompt", session, "say second", "--detach")
        wait_until(lambda: lines.count("✔ completed\n") == 2)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(10), 0)
        reader.join()
        process.stdout.close()
        self.assertIn("> say second\n", lines)
        self.assertIn("── turn 2 · scripted ──\n", lines)

    def test_attach_on_a_terminal_takes_prompts_and_answers(self):
        session = self.new_session("--dir", self.repository)
        terminal = self.typing("attach", session)
        terminal.type("say hi there\n")
        terminal.expect("── turn 1 · scripted ──", "hi there", "✔ completed")
        self.assertNotIn("> say hi there", terminal.shown)  # it stands there already
        terminal.type("ask write typed.txt yes\n")
        terminal.expect("? permission asks: ", "[1] ")
        terminal.type("1\n")
        terminal.expect("by user", "✔ completed")
        self.assertTrue(os.path.exists(os.path.join(self.repository, "typed.txt")))
        terminal.type("elicit which color?\n")
        terminal.expect("? elicitation asks: which color?", ":decline")
        terminal.type('{"color":"blue"}\n')
        terminal.expect("✔ completed")
        terminal.type("sleep 60000\n")
        terminal.expect("── turn 4 · scripted ──")
        terminal.type(":cancel\n")
        terminal.expect("✘ cancelled")
        terminal.type(":help\n")
        terminal.expect(":detach")
        terminal.type("\x04")  # Ctrl-D
        self.assertEqual(terminal.wait(), 0)

    def test_attach_shows_what_waits_and_finds_a_server_that_started_anew(self):
        with Server() as server:
            server.client.post("/v1/sessions", {"id": "kept", "directory": server.folder})
            server.client.prompt("kept", "ask write kept.txt yes")
            wait_until(lambda: server.client.get("/v1/sessions/kept/interactions?state=open")["interactions"])
            terminal = self.typing("attach", "kept", "--state", server.state)
            terminal.expect("[1] ")
            server.kill()
            server.start()  # on another port
            terminal.expect("✘ interrupted")
            terminal.type("say still here\n")
            terminal.expect("✔ completed")
            self.assertEqual(terminal.shown.count("✘ interrupted"), 1)
            terminal.type(":detach\n")
            self.assertEqual(terminal.wait(), 0)

    def test_config_print_says_where_each_value_comes_from_and_is_a_config(self):
        path = os.path.join(self.server.folder, "mine.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write('listen = "127.0.0.1:1"\n[limits]\nqueue_max = 3\nheartbeat = 2.5\n'
                       '[agents.mine]\ncommand = "/opt/mine"\nenv = { KEY = "s3cret" }\n')
        environment = {**self.environment(), "BERTH_LIMITS_QUEUE_MAX": "4", "BERTH_WORKTREES_WATCH": "false"}

        def values(*arguments):
            done = subprocess.run([BINARY, "config", "print", "--json", *arguments], capture_output=True, text=True,
                                  check=True, env=environment)
            return {v["key"]: (v["value"], v["origin"]) for v in json.loads(done.stdout)["values"]}
        found = values("--config", path, "--listen", "127.0.0.1:2")
        self.assertEqual(found["limits.queue_max"], ("4", "environment BERTH_LIMITS_QUEUE_MAX"))
        self.assertEqual(found["limits.heartbeat"], ("2.5", path + ":4"))
        self.assertEqual(found["limits.body_max"], ("33554432", "default"))
        self.assertEqual(found["worktrees.watch"], ("false", "environment BERTH_WORKTREES_WATCH"))
        self.assertEqual(found["listen"], ('"127.0.0.1:2"', "flag --listen"))
        self.assertEqual(found["state"], (json.dumps(self.server.state), "environment BERTH_STATE"))
        self.assertEqual(found["agents.mine.command"], ('"/opt/mine"', path + ":6"))
        self.assertEqual(found.pop('agents.mine.env."KEY"'), ("hidden", path + ":7"))
        shown, _ = self.berth("config", "print", "--config", path)
        self.assertNotIn("s3cret", shown)
        with open(path, "w", encoding="utf-8") as file:
            file.write(shown)  # what is printed can be read
        again = values("--config", path)
        self.assertEqual({key: value for key, (value, _) in again.items()} | {"listen": '"127.0.0.1:1"'},
                         {key: value for key, (value, _) in found.items()} | {"listen": '"127.0.0.1:1"'})
        environment["BERTH_LIMITS_QUEUE_MAX"] = "many"
        done = subprocess.run([BINARY, "config", "print"], capture_output=True, text=True, env=environment)
        self.assertEqual((done.returncode, done.stderr),
                         (1, "berth: environment: BERTH_LIMITS_QUEUE_MAX must be a number above 0\n"))

    def test_doctor_tells_what_is_asked_in_issues_and_mends_on_demand(self):
        found = {f["name"]: f for f in json.loads(self.berth("doctor", "--json")[0])["findings"]}
        for name in ("berth", "io_uring", "engine", "git", "kernel", "memory", "limits", "cgroup", "disk", "state",
                     "store", "programs", "server"):
            self.assertTrue(found[name]["text"], name)
        self.assertIn(os.uname().release, found["kernel"]["text"])
        self.assertNotIn("to mend", found)
        with Server() as server:
            endpoint, token = (os.path.join(server.state, name) for name in ("endpoint.json", "token"))
            server.kill()
            os.chmod(server.state, 0o755)
            os.chmod(token, 0o644)
            told, _ = self.berth("doctor", "--fix", "--state", server.state)
            self.assertEqual(told.count("would be mended"), 3, told)
            self.assertTrue(os.path.exists(endpoint))  # nothing was done yet
            told, _ = self.berth("doctor", "--fix", "--yes", "--state", server.state)
            self.assertEqual(told.count(": mended"), 3, told)
            self.assertFalse(os.path.exists(endpoint))
            self.assertEqual([os.stat(path).st_mode & 0o777 for path in (server.state, token)], [0o700, 0o600])
            self.assertEqual(self.berth("doctor", "--fix", "--state", server.state)[0], "")
            server.start()

    def test_errors_are_one_line(self):
        _, told = self.berth("session", "show", "nobody", expect=1)
        self.assertRegex(told, r"\Aberth: [^\n]*nobody[^\n]*404 session_not_found\]\n\Z")
        _, told = self.berth("session", "list", "--token", "wrong", expect=1)
        self.assertRegex(told, r"\Aberth: [^\n]*401 unauthorized\]\n\Z")
        _, told = self.berth("session", "list", "--url", "http://127.0.0.1:1", expect=1)
        self.assertRegex(told, r"\Aberth: no server answers at http://127.0.0.1:1 [^\n]*\n\Z")
        _, told = self.berth("session", "list", "--state", "/nonexistent", expect=1)
        self.assertRegex(told, r"\Aberth: no server found: [^\n]*\n\Z")
        self.berth("frobnicate", expect=2)
        self.berth("prompt", expect=2)
        self.berth("--help")

    def test_the_token_is_not_sent_to_another_server(self):
        with Server() as other:
            _, told = self.berth("session", "list", "--url", other.client.url, expect=1)
            self.assertIn("401 unauthorized", told)

    def test_delete_is_refused_while_work_would_be_lost(self):
        session = self.new_session("--repo", self.repository)
        self.berth("prompt", session, "write a.txt hello")
        self.assertIn("worktree_has_work", self.berth("session", "delete", session, expect=1)[1])
        self.berth("session", "delete", session, "--force")


if __name__ == "__main__":
    main()
