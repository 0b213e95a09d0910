#!/usr/bin/python3
"""Named agents: kept running under a name, prompted from the command line, and forgetful only when asked to be."""

import json
import os
import pty
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Problem, session_path
from berth_server import BINARY, alive, make_repository, wait_until
from named_rig import NamedRig, argv
from summary import main


class Named(NamedRig):

    def test_an_agent_runs_without_a_prompt_and_comes_back_when_it_dies(self):
        told = json.loads(self.berth("agent", "start", "alice", "--profile", "warm", "--json", "--", "--extra", "a b"))
        self.assertEqual((told["name"], told["session"], told["profile"]), ("alice", "alice", "warm"))
        pid = self.pid_of("alice")
        words = argv(pid)
        self.assertEqual(words[1:7], ["--provider", "none", "--model", "scripted", "--run-id", words[6]])
        self.assertEqual(words[7:9], ["--json", "--checkpoint-dir"])
        self.assertEqual(words[-2:], ["--extra", "a b"])
        self.assertEqual(self.say("alice", "remember heron"), "remembered")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.pid_of("alice") != pid, timeout=30)
        self.assertIn("--resume", argv(self.pid_of("alice")))
        self.assertEqual(self.say("alice", "recall"), "heron")

    def test_an_agent_outlives_berth_with_its_memory(self):
        self.start("alice")
        self.start("bob", "--model", "other")
        self.say("alice", "remember heron")
        self.berth("agent", "stop", "bob")
        self.restart_server(kill=True)
        pid = self.pid_of("alice")
        self.assertIn("--resume", argv(pid))
        self.assertEqual(self.say("alice", "recall"), "heron")
        self.assertEqual(self.status("bob")["state"], "stopped")
        self.start("bob")
        self.assertIn("other", argv(self.pid_of("bob")))

    def test_starting_again_is_the_same_and_other_options_are_refused(self):
        self.start("alice", "--model", "m")
        pid = self.pid_of("alice")
        self.start("alice")
        self.start("alice", "--model", "m")
        self.assertEqual(self.pid_of("alice"), pid)
        self.assertIn("agent_conflict", self.refused("agent", "start", "alice", "--model", "n"))
        self.assertIn("is the name of a profile", self.refused("agent", "start", "scripted", "--profile", "warm"))
        self.assertIn("not checkpoint", self.refused("agent", "start", "carol", "--profile", "scripted"))
        self.assertIn("no profile", self.refused("agent", "start", "carol"))
        self.assertIn("bad_field", self.refused("agent", "start", "no.dots", "--profile", "warm"))
        for verb in ("stop", "restart", "reset", "rm", "purge", "status", "logs"):
            self.assertIn("agent_not_found", self.refused("agent", verb, "nobody"))
        listed = json.loads(self.berth("agent", "status", "--json"))["agents"]
        self.assertEqual([agent["name"] for agent in listed], ["alice"])

    def test_a_configured_profile_can_be_run_under_its_own_name(self):
        self.berth("agent", "start", "warm")
        self.assertEqual(self.say("warm", "count"), "1")
        self.assertIn("the configured ones", self.refused("agent", "start", "lukewarm", "--model", "m"))

    def test_stop_lets_the_turn_end_and_prompts_wait(self):
        self.start("alice")
        turn = self.prompt("alice", "slow 700")
        self.wait_for_text("alice", turn)
        later = self.prompt("alice", "say later")
        pid = self.pid_of("alice")
        self.berth("agent", "stop", "alice")
        self.assertEqual(self.turn("alice", turn)["state"], "completed")
        self.assertEqual(self.status("alice")["state"], "stopped")
        self.assertFalse(alive(pid))
        exited = [e.data for e in self.log("alice") if e.type == "agent.exited"]
        self.assertEqual([(e["expected"], e["status"]) for e in exited], [(True, "exit code 0")], "TERM: it ended itself")
        self.assertEqual(self.turn("alice", later)["state"], "queued")
        self.restart_server()
        self.assertEqual(self.turn("alice", later)["state"], "queued")
        self.start("alice")
        self.assertEqual(self.ended("alice", later)["state"], "completed")

    def test_stop_now_interrupts(self):
        self.start("alice")
        turn = self.prompt("alice", "slow 60000")
        self.wait_for_text("alice", turn)
        waiting = subprocess.Popen([BINARY, "agent", "stop", "alice"], env=self.environment(),
                                   stdout=subprocess.DEVNULL)
        wait_until(lambda: not self.status("alice")["wanted"])
        self.berth("agent", "stop", "alice", "--now")
        self.assertEqual(waiting.wait(30), 0, "who waited for the turn need not any more")
        self.assertEqual(self.turn("alice", turn)["state"], "interrupted")
        self.assertEqual(self.status("alice")["state"], "stopped")

    def test_restart_keeps_the_memory_and_reset_does_not(self):
        self.start("alice")
        self.say("alice", "remember heron")
        pid = self.pid_of("alice")
        self.berth("agent", "restart", "alice")
        self.assertNotEqual(self.pid_of("alice"), pid)
        self.assertEqual(self.say("alice", "recall"), "heron")
        self.berth("agent", "reset", "alice")
        self.assertNotIn("--resume", argv(self.pid_of("alice")))
        self.assertEqual(self.say("alice", "what do you know?"), "what do you know?", "and it was told nothing")
        self.assertEqual(self.say("alice", "recall"), "")
        events = self.log("alice")
        self.assertIn("agent.forgot", [event.type for event in events])
        self.assertIn("remember heron", json.dumps([event.data for event in events]), "its log stays")
        aside = [name for name in os.listdir(self.status("alice")["folder"]) if name.startswith("reset-")]
        self.assertEqual(len(aside), 1)
        kept = os.path.join(self.status("alice")["folder"], aside[0], "checkpoints", "session-latest.json")
        with open(kept, encoding="utf-8") as file:
            self.assertEqual(json.load(file)["memory"], ["heron"])
        self.restart_server(kill=True)
        self.pid_of("alice")
        self.say("alice", "remember crane")
        self.assertEqual(self.say("alice", "recall"), "crane")

    def test_rm_takes_checkpoints_and_files_and_leaves_the_log(self):
        self.start("alice")
        self.say("alice", "remember heron")
        folder, pid = self.status("alice")["folder"], self.pid_of("alice")
        self.assertTrue(os.path.exists(folder + "/checkpoints/session-latest.json"))
        self.assertIn("agent_running", self.refused("agent", "rm", "alice"))
        self.assertTrue(alive(pid))
        self.berth("agent", "stop", "alice")
        self.berth("agent", "rm", "alice")
        self.assertFalse(os.path.exists(folder))
        self.assertFalse(os.path.exists(os.path.join(self.server.state, "named", "alice")))
        self.assertIn("agent_not_found", self.refused("agent", "status", "alice"))
        self.assertEqual(self.client.session("alice")["state"], "archived")
        self.assertIn("remember heron", json.dumps([event.data for event in self.client.log("alice")]))
        told = json.loads(self.berth("agent", "start", "alice", "--profile", "warm", "--json"))
        self.assertEqual(told["session"], "alice.2", "ids of sessions are never used again")
        self.assertEqual(self.say("alice", "recall"), "")
        pid = self.pid_of("alice")
        self.berth("agent", "rm", "alice", "--force")
        self.assertFalse(alive(pid))
        self.restart_server()
        self.assertEqual(json.loads(self.berth("agent", "status", "--json"))["agents"], [])

    def test_purge_leaves_nothing(self):
        self.start("alice")
        self.say("alice", "remember a-secret-heron")
        self.say("alice", "tool x")
        folder = self.status("alice")["folder"]
        self.assertIn("agent_running", self.refused("agent", "purge", "alice"))
        self.berth("agent", "purge", "alice", "--force")
        self.assertFalse(os.path.exists(folder))
        with self.assertRaises(Problem) as gone:
            self.client.session("alice")
        self.assertEqual(gone.exception.status, 404)
        told = json.loads(self.berth("agent", "start", "alice", "--profile", "warm", "--json"))
        self.assertEqual(told["session"], "alice.2")
        self.assertEqual(self.say("alice", "recall"), "")
        self.assertEqual(self.server.stop(), 0)
        with sqlite3.connect(os.path.join(self.server.state, "berth.db")) as store:
            for table in ("events", "turns", "bindings", "interactions", "changes"):
                self.assertEqual(store.execute(f"SELECT count(*) FROM {table} WHERE session=1").fetchone(), (0,), table)
            self.assertEqual(store.execute("SELECT id, state FROM sessions WHERE no=1").fetchone(), ("alice", 3))
        store.close()
        for where, _, files in os.walk(self.server.state):
            for name in files:
                if not name.startswith("berth.db") and os.path.isfile(os.path.join(where, name)):
                    with open(os.path.join(where, name), "rb") as file:
                        self.assertNotIn(b"a-secret-heron", file.read(), name)
        self.assertIn("nothing is damaged", self.berth("store", "check"))
        self.server.start()

    def test_int_ends_the_turn_term_ends_after_it_and_hup_means_nothing(self):
        self.start("alice")
        self.say("alice", "say here")  # a program that only begins has no handlers of signals yet
        pid = self.pid_of("alice")
        os.kill(pid, signal.SIGHUP)
        os.kill(pid, signal.SIGINT)
        self.assertEqual(self.say("alice", "say still here"), "still here")
        turn = self.prompt("alice", "slow 60000")
        self.wait_for_text("alice", turn)
        after = self.prompt("alice", "remember heron")
        self.client.cancel("alice", turn)
        self.assertEqual(self.ended("alice", turn)["state"], "cancelled")
        self.assertEqual(self.ended("alice", after)["state"], "completed", "its queue goes on")
        self.assertEqual(self.pid_of("alice"), pid)
        turn = self.prompt("alice", "slow 400")
        self.wait_for_text("alice", turn)
        os.kill(pid, signal.SIGTERM)  # from outside: the turn ends, the process too, and another comes
        self.assertEqual(self.ended("alice", turn)["state"], "completed")
        wait_until(lambda: self.pid_of("alice") != pid, timeout=30)
        self.assertEqual(self.say("alice", "recall"), "heron")

    def test_a_checkpoint_is_kept_also_when_a_turn_fails_or_its_budget_is_used_up(self):
        self.start("alice")
        self.say("alice", "remember heron")
        failed = self.ended("alice", self.prompt("alice", "fail no such model"))
        self.assertEqual(failed["state"], "failed")
        self.assertIn("no such model", failed["reason"])
        spent = self.ended("alice", self.prompt("alice", "budget"))
        self.assertEqual((spent["state"], spent["reason"]), ("completed", "max_tokens"))
        pid = self.pid_of("alice")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: self.pid_of("alice") != pid, timeout=30)  # a prompt now may reach the dying one
        self.assertEqual(self.say("alice", "count"), "4")
        self.assertEqual(self.say("alice", "recall"), "heron")

    def test_an_agent_that_cannot_stay_is_started_more_and_more_seldom(self):
        self.start("alice", "--profile", "dying")
        wait_until(lambda: len(self.exits("alice")) >= 3, timeout=30)
        self.assertLess(len(self.exits("alice")), 10)
        self.assertIn(self.status("alice")["state"], ("crashed", "starting", "idle"))
        self.berth("agent", "stop", "alice")
        seen = len(self.exits("alice"))
        self.assertEqual(self.status("alice")["state"], "stopped")
        self.assertEqual(len(self.exits("alice")), seen)

    def test_each_agent_may_have_a_worktree(self):
        repository = make_repository(os.path.join(self.server.folder, "repository"))
        self.start("alice", "--repo", repository)
        self.assertEqual(os.readlink(f"/proc/{self.pid_of('alice')}/cwd"), self.status("alice")["directory"])
        self.assertTrue(os.path.exists(os.path.join(self.status("alice")["directory"], "README.md")))

    def exits(self, name):
        return [event for event in self.log(name) if event.type == "agent.exited"]

    # --- the command line ---

    def test_prompt_and_logs_show_what_people_read(self):
        self.start("alice")
        self.assertIn("hello there", self.berth("agent", "prompt", "alice", "say", "hello", "there"))
        self.assertIn("hello there", self.berth("prompt", "alice", "say hello there"), "it is a session, too")
        shown = self.berth("agent", "logs", "alice")
        self.assertIn("> say hello there", shown)
        self.assertIn("hello there\n", shown)
        last = self.berth("agent", "logs", "alice", "-n", "1", "--json").splitlines()
        self.assertEqual([json.loads(line)["seq"] for line in last], [self.client.session("alice")["last_seq"]])
        self.assertIn("alice", self.berth("agent", "status"))

    def test_attach_shows_the_agent_and_takes_prompts_from_the_terminal(self):
        self.start("alice")
        master, slave = pty.openpty()
        process = subprocess.Popen([BINARY, "agent", "attach", "alice"], stdin=slave, stdout=slave, stderr=slave,
                                   env=self.environment())
        os.close(slave)
        shown = b""

        def read_until(text):
            nonlocal shown
            while text not in shown:
                shown += os.read(master, 65536)

        try:
            read_until(b"detaches")
            os.write(master, b"say typed by hand\n")
            read_until("✔ completed".encode())
            os.write(master, b"say again\n")
            read_until(b"again\r\n\x1b" if b"\x1b" in shown else b"\r\nagain\r\n")
            os.write(master, b"\x04")  # Ctrl-D
            self.assertEqual(process.wait(30), 0)
        finally:
            process.kill()
            process.wait()
            os.close(master)
        said = [e.data["prompt"][0]["text"] for e in self.log("alice") if e.type == "turn.queued"]
        self.assertEqual(said, ["say typed by hand", "say again"])
        self.assertNotEqual(self.status("alice")["state"], "stopped", "it only detached")

    def test_units_of_systemd_are_as_systemd_wants_them(self):
        with tempfile.TemporaryDirectory(prefix="berth-units-") as folder:
            paths = [os.path.join(folder, name) for name in ("berth.service", "berth-agent-alice.service")]
            for path, words in zip(paths, (["--config", "/etc/berth 100%.toml"], ["alice"])):
                with open(path, "w", encoding="utf-8") as file:
                    file.write(self.berth("agent", "unit", *words))
            with open(paths[1], encoding="utf-8") as file:
                unit = file.read()
            self.assertIn(f'ExecStart="{os.path.realpath(BINARY)}" --state "{self.server.state}" agent start alice\n', unit)
            if shutil.which("systemd-analyze") is None:
                self.skipTest("systemd-analyze is not installed")
            told = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True,
                                  timeout=60)
            about_ours = [line for line in (told.stdout + told.stderr).splitlines() if folder in line or "berth" in line]
            self.assertEqual((told.returncode, about_ours), (0, []))
        self.assertIn("matches", self.refused("agent", "unit", "../alice"))


if __name__ == "__main__":
    main()
