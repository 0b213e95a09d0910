#!/usr/bin/python3
"""berth as the first process of a PID namespace in which io_uring is denied, as in a container."""

import fnmatch
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Client
from berth_server import BINARY, ROOT, wait_until
from summary import main

DENY = os.path.join(os.path.dirname(os.path.dirname(BINARY)), "tests", "e2e", "deny_io_uring")
UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


class FirstProcess(unittest.TestCase):

    def setUp(self):
        if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("no PID namespace here")
        folder = tempfile.TemporaryDirectory(prefix="berth-first-")
        self.addCleanup(folder.cleanup)
        self.state = os.path.join(folder.name, "state")
        self.log = os.path.join(folder.name, "log")
        with open(self.log, "wb") as log:
            self.outer = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *UNSHARE, DENY, BINARY, "serve", "--state", self.state, "--listen",
                 "127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(self.end)
        self.client = wait_until(self.ready, 30, self.told)
        self.first, = self.children(self.outer.pid)

    def end(self):
        self.outer.kill()  # --kill-child takes the namespace with it
        self.outer.wait()

    def told(self):
        with open(self.log, encoding="utf-8") as file:
            return file.read()

    def ready(self):
        self.assertIsNone(self.outer.poll(), "it ended")
        try:
            with open(os.path.join(self.state, "endpoint.json"), encoding="utf-8") as file:
                endpoint = json.load(file)
            with open(endpoint["token_file"], encoding="utf-8") as file:
                client = Client(endpoint["url"], file.read().strip())
            return client if client.raw("GET", "/readyz").status == 200 else None
        except (FileNotFoundError, ConnectionError, json.JSONDecodeError):
            return None

    @staticmethod
    def children(pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]

    def states(self):
        """state by pid of the first process' children; Z is one that nobody has reaped."""
        found = {}
        for pid in self.children(self.first):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
                    found[pid] = file.read().rpartition(")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                continue
        return found

    def test_runs_turns_on_the_engine_that_is_left(self):
        self.assertEqual(self.client.get("/v1/info")["engine"], "asio")
        self.client.open(id="one")
        self.assertEqual(self.client.prompt("one", "say hello", wait=60)["state"], "completed")

    def test_reaps_whoever_loses_his_parent(self):
        before = set(self.states())
        with subprocess.Popen(["nsenter", "-t", str(self.first), "-p", "sh", "-c", "(sh -c 'echo orphan; exec cat' &) ; exit 0"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as entered:
            self.assertEqual(entered.stdout.readline(), b"orphan\n")
            entered.communicate()
        wait_until(lambda: set(self.states()) <= before, 30, self.states)
        self.assertNotIn("Z", self.states().values())

    def test_ends_in_order_when_it_is_told_to(self):
        self.client.open(id="one")
        self.client.prompt("one", "say hello", wait=60)
        os.kill(self.first, signal.SIGTERM)
        self.assertEqual(self.outer.wait(60), 0, self.told())
        self.assertFalse(os.path.exists(os.path.join(self.state, "endpoint.json")), "it takes its address away")

    def test_its_end_by_a_signal_is_told(self):
        server, = self.children(self.first)[:1]
        os.kill(server, signal.SIGKILL)
        self.assertEqual(self.outer.wait(60), 128 + signal.SIGKILL)


class Image(unittest.TestCase):
    def test_is_made_of_what_there_is(self):
        with open(os.path.join(ROOT, "server", "package", "Containerfile"), encoding="utf-8") as file:
            text = re.sub(r"\\\n", " ", file.read())
        self.assertEqual(re.findall(r"^FROM (.*)$", text, re.M), ["debian:bookworm-slim"])
        copied, place = re.search(r"^COPY (\S+) (\S+)$", text, re.M).groups()
        with open(os.path.join(ROOT, "server", "package", "debian.sh"), encoding="utf-8") as file:
            name = re.search(r"^package=\$out/(.*)$", file.read(), re.M)[1]
        self.assertTrue(fnmatch.fnmatch(re.sub(r"\$\{?\w+\}?", "x", name), copied), (name, copied))
        installed = re.search(r"apt-get install (.*?)&&", text)[1].split()
        self.assertIn(place, installed)
        for package in (word for word in installed if word[0] not in "-/"):
            known = subprocess.run(["apt-cache", "show", package], capture_output=True, check=False)
            self.assertEqual(known.returncode, 0, f"Debian has no {package}")
        home, user = re.search(r"useradd .*--home-dir (\S+) --create-home (\w+)", text).groups()
        self.assertEqual(re.findall(r"^USER (.*)$", text, re.M), [user])
        self.assertEqual(re.findall(r"^VOLUME (.*)$", text, re.M), [home])
        self.assertEqual(re.findall(r"BERTH_STATE=(\S+)", text), [home])
        port, = re.findall(r"^EXPOSE (\d+)$", text, re.M)
        self.assertIn(f"0.0.0.0:{port}", text)

    def test_names_what_the_package_has(self):
        with open(os.path.join(ROOT, "server", "package", "Containerfile"), encoding="utf-8") as file:
            text = file.read()
        program, = re.findall(r'^ENTRYPOINT \["/(.*?)"\]', text, re.M)
        with open(os.path.join(ROOT, "server", "package", "debian.sh"), encoding="utf-8") as file:
            self.assertIn(f" {program}\n", file.read())
        arguments = json.loads(re.search(r"^CMD (\[.*\])$", text, re.M)[1])
        self.assertEqual(subprocess.run([BINARY, *arguments, "--help"], capture_output=True, check=False).returncode, 0)
        with tempfile.TemporaryDirectory() as empty:
            told = subprocess.run([BINARY, "config", "print", "--json"], capture_output=True, check=True, text=True,
                                  env={"HOME": empty, "BERTH_ALLOW_PUBLIC": "true"}).stdout
        values = {value["key"]: value["value"] for value in json.loads(told)["values"]}
        self.assertEqual(values["allow_public"], "true")


if __name__ == "__main__":
    main()
