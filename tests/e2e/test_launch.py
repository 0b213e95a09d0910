#!/usr/bin/python3
"""What agents may do with the machine: work that must work, and ways out that must not be, tried by real processes."""

import json
import os
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import text_of
from berth_server import Server, make_repository, wait_until
from summary import main

AGENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shell_agent.py")


def profile(name, **settings):
    lines = [f"[agents.{name}]", f"command = {json.dumps(AGENT)}"]
    return "\n".join(lines + [f"{key} = {json.dumps(value)}" for key, value in settings.items()]) + "\n"


class Machine(unittest.TestCase):
    """A server with a shell as its agent, and a home that is nobody's but this test's."""

    config = ""

    def setUp(self):
        self.server = Server(self.config, environment=self.environment())
        self.home = os.path.join(self.server.folder, "home")
        os.mkdir(self.home)
        self.server._environment["HOME"] = self.home
        self.enterContext(self.server)
        self.client = self.server.client
        self.repository = make_repository(os.path.join(self.server.folder, "repository"))

    def environment(self):
        return {}

    def open(self, session, agent, **options):
        options = {"repository": self.repository, **options}
        return self.client.open(id=session, agent=agent, **{k: v for k, v in options.items() if v is not None})

    def run_in(self, session, command):
        """(exit code, output) of a shell command by the session's agent."""
        turn = self.client.prompt(session, command, wait=60)
        self.assertEqual(turn["state"], "completed", self.server.log_tail())
        said = text_of(e for e in self.client.log(session) if e.turn == turn["id"])
        code, output = said.split("] ", 1)
        return int(code[1:]), output

    def works(self, session, command):
        code, output = self.run_in(session, command)
        self.assertEqual(code, 0, f"{command}\n{output}")
        return output

    def fails(self, session, command):
        code, output = self.run_in(session, command)
        self.assertNotEqual(code, 0, f"{command}\n{output}")
        return output

    def attached(self, session):
        return [e.data for e in self.client.log(session) if e.type == "agent.attached"][-1]

    def check_work(self, agent):
        """An agent edits and commits; the change is recorded, the checkout is not touched."""
        view = self.open("work", agent)
        self.assertEqual(self.works("work", "pwd").strip(), view["workspace"]["directory"])
        self.works("work", "echo more >> README.md && mkdir src && echo 'int x;' > src/x.c && git add -A && "
                           "git -c user.name=A -c user.email=a@example.org commit -qm 'By the agent' && git status --short")
        wait_until(lambda: sorted(file["path"] for file in self.client.get("/v1/sessions/work/changes")["files"])
                   == ["README.md", "src/x.c"], what=lambda: self.client.get("/v1/sessions/work/changes"))
        subject = subprocess.run(["git", "-C", self.repository, "log", "-1", "--format=%s", view["workspace"]["branch"]],
                                 check=True, capture_output=True, text=True).stdout
        self.assertEqual(subject.strip(), "By the agent")
        self.works("work", "echo scratch > $TMPDIR/x && cat $TMPDIR/x && mktemp")
        self.works("work", "sleep 300 & kill $!")

    def check_files(self, agent):
        """Neither what is berth's nor another session's can be read or changed."""
        self.open("mine", agent)
        theirs = self.open("theirs", "free")["workspace"]["directory"]
        self.works("theirs", "echo secret > note; cat note")
        note = os.path.join(theirs, "note")
        token = os.path.join(self.server.state, "token")
        for target in (note, token, os.path.join(self.server.state, "berth.db")):
            for attempt in (f"cat {target}", f"cp {target} here", f"ln {target} here", f"mv {target} here", f"rm {target}",
                            f"truncate -s 0 {target}", f"ln -sf {target} link && cat link", f"cat /proc/self/root{target}",
                            f"cat /proc/{self.server.pid}/root{target}", f"cd $(dirname {target}) && cat $(basename {target})"):
                self.fails("mine", attempt)
        self.fails("mine", f"echo x > {theirs}/new")
        self.fails("mine", f"ls {self.server.state}/worktrees | grep -q .")
        self.fails("mine", f"touch {self.repository}/planted")
        git = os.path.join(self.repository, ".git")
        for planted in ("hooks/post-commit", "config.new", "refs/heads/mine"):
            self.fails("mine", f"echo x > {git}/{planted}")
        self.fails("mine", f"git config -f {git}/config core.pager evil")
        self.fails("mine", "echo x > /usr/local/planted")
        self.fails("mine", "echo x > $HOME/planted")
        with open(note, encoding="utf-8") as file:
            self.assertEqual(file.read(), "secret\n")

    def check_processes(self, agent):
        """Neither berth nor other sessions' agents can be signalled, traced or looked into."""
        self.open("mine", agent)
        self.open("theirs", "free")
        self.works("theirs", "true")
        other = self.client.agents("theirs")[0]["pid"]
        self.works("mine", "true")
        for pid in (self.server.pid, other):
            self.fails("mine", f"kill -STOP {pid}")
            self.fails("mine", f"kill -KILL {pid}")
            self.fails("mine", f"grep -q . /proc/{pid}/environ")
            self.fails("mine", f"readlink /proc/{pid}/fd/0")
            self.fails("mine", f"head -c 1 /proc/{pid}/mem")
            self.fails("mine", "/usr/bin/python3 -c 'import ctypes, sys; libc = ctypes.CDLL(None); "
                               f"sys.exit(libc.ptrace(16, {pid}, 0, 0) != 0)'")
        self.assertEqual(self.client.agents("theirs")[0]["pid"], other)
        self.works("theirs", "true")

    def check_privileges(self, agent):
        self.open("mine", agent)
        self.works("mine", "grep -q 'NoNewPrivs:.1' /proc/self/status")
        self.fails("mine", "mount -t tmpfs none .")
        self.fails("mine", "echo 1 > /proc/sys/vm/drop_caches")
        self.fails("mine", "for disk in /dev/vda /dev/sda /dev/nvme0n1; do head -c 1 $disk && exit 0; done; exit 1")


class Restricted(Machine):
    config = profile("shell") + profile("free", launch="none")

    def setUp(self):
        super().setUp()
        self.open("probe", "shell", repository=None)
        self.works("probe", "true")
        if self.attached("probe")["launch"] != "restricted":
            self.skipTest(self.attached("probe")["launch_reason"])

    def test_is_what_an_agent_gets_that_asks_for_nothing(self):
        agent = self.client.agents("probe")[0]
        self.assertEqual(agent["launch"], "restricted")
        self.assertIn("Landlock", agent["launch_reason"])
        self.assertEqual(self.client.get("/v1/info")["launch"],
                         {"default": "restricted", "reason": agent["launch_reason"]})
        self.open("free", "free")
        self.works("free", f"touch {self.server.folder}/anywhere")
        self.assertEqual(self.attached("free")["launch"], "none")
        self.assertEqual(self.attached("free")["launch_reason"], "asked for")

    def test_a_session_makes_it_stronger_and_never_weaker(self):
        self.open("strong", "free", launch="restricted")
        self.fails("strong", f"touch {self.server.folder}/anywhere")
        self.assertEqual(self.attached("strong")["launch"], "restricted")
        self.open("weak", "shell", launch="none")
        self.works("weak", "true")
        self.assertEqual(self.attached("weak")["launch"], "restricted")
        refused = self.client.raw("POST", "/v1/sessions", {"id": "odd", "agent": "shell", "launch": "much"})
        self.assertEqual(refused.status, 422)
        self.assertIn("launch", refused.json()["detail"])

    def test_work_works(self):
        self.check_work("shell")

    def test_work_works_in_an_overlay(self):
        view = self.open("over", "shell", workspace="overlay")
        if view["workspace"]["mode"] != "overlay":
            self.skipTest("no overlays here")
        self.works("over", "echo more >> README.md && git -c user.name=A -c user.email=a@example.org commit -qam Over")
        self.client.call("DELETE", "/v1/sessions/over?force=1")

    def test_files_of_others_are_out_of_reach(self):
        self.check_files("shell")

    def test_processes_of_others_are_out_of_reach(self):
        self.check_processes("shell")

    def test_no_privilege_is_left(self):
        self.check_privileges("shell")

    def test_transcripts_that_it_is_told_of_can_be_read_and_no_others(self):
        mine, theirs = self.open("mine", "shell")["key"], self.open("theirs", "shell")["key"]
        for session in ("mine", "theirs"):
            self.works(session, "true")
        for key in (mine, theirs):  # as berth does, while the agent runs: by a rename
            folder = os.path.join(self.server.state, "transcripts", key)
            for words in ("old", "new"):
                with open(os.path.join(folder, "next"), "w", encoding="utf-8") as file:
                    file.write(words)
                os.rename(os.path.join(folder, "next"), os.path.join(folder, "transcript.md"))
        read = f"cat {self.server.state}/transcripts/"
        self.assertEqual(self.works("mine", read + mine + "/transcript.md").strip(), "new")
        self.fails("mine", read + theirs + "/transcript.md")
        self.fails("mine", f"echo x > {self.server.state}/transcripts/{mine}/transcript.md")

    def test_has_the_network(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def greet():
                connection = listener.accept()[0]
                with connection:
                    connection.sendall(b"hello")

            threading.Thread(target=greet, daemon=True).start()
            port = listener.getsockname()[1]
            self.works("probe", f"/usr/bin/python3 -c 'import socket; s = socket.create_connection((\"127.0.0.1\", {port})); "
                                "assert s.recv(5) == b\"hello\"'")

    def test_a_client_cannot_name_what_is_anothers(self):
        theirs = self.open("theirs", "free")["workspace"]["directory"]
        for folder in (theirs, self.server.state, os.path.join(self.server.state, "worktrees")):
            self.open("thief-" + os.path.basename(folder), "shell", repository=None, directory=folder)
            turn = self.client.prompt("thief-" + os.path.basename(folder), "true", wait=30)
            self.assertEqual(turn["state"], "failed")
            self.assertIn("part of berth's state", turn["reason"])
        link = os.path.join(self.server.folder, "link")
        os.symlink(self.server.state, link)
        for name, folder in (("linked", link), ("up", f"{theirs}/../../../state")):
            self.open(name, "shell", repository=None, directory=folder)
            self.assertEqual(self.client.prompt(name, "cat token", wait=30)["state"], "failed")


if __name__ == "__main__":
    main()
