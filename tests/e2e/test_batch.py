#!/usr/bin/python3
"""berth batch: every task exactly one prediction, whoever is killed meanwhile, and each patch applies."""

import json
import os
import resource
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import BINARY, Server, make_repository, wait_until
from summary import figure, main

TASKS = 200 if os.environ.get("BERTH_FULL") else 24


def git(repository, *arguments, **options):
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    return subprocess.run(["git", "-C", repository, *identity, *arguments], check=True, text=True,
                          capture_output=True, **options).stdout.strip()


class Batch(unittest.TestCase):

    def setUp(self):
        self.server = Server().start()
        self.repository = make_repository(os.path.join(self.server.folder, "repository"))
        self.tasks = os.path.join(self.server.folder, "tasks.jsonl")
        self.output = os.path.join(self.server.folder, "tasks.predictions.jsonl")

    def tearDown(self):
        self.server.close()

    def write_tasks(self, tasks):
        with open(self.tasks, "w", encoding="utf-8") as file:
            file.writelines(json.dumps({"repository": self.repository, **task}) + "\n" for task in tasks)

    def environment(self):
        kept = {name: value for name, value in os.environ.items()
                if name == "BERTH_ENGINE" or not name.startswith(("BERTH_", "NO_COLOR"))}
        return {**kept, "BERTH_STATE": self.server.state}

    def begin(self, *arguments):
        process = subprocess.Popen([BINARY, "batch", self.tasks, *arguments], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, env=self.environment())
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def batch(self, *arguments, expect=0):
        done = subprocess.run([BINARY, "batch", self.tasks, *arguments], capture_output=True, text=True,
                              timeout=600, env=self.environment())
        self.assertEqual(done.returncode, expect, f"{done.stdout}{done.stderr}{self.server.log_tail()}")
        return done.stdout, done.stderr

    def lines(self):
        """Whole lines of the output."""
        try:
            with open(self.output, encoding="utf-8") as file:
                return [json.loads(line) for line in file.read().split("\n")[:-1]]
        except FileNotFoundError:
            return []

    def check_patch(self, prediction, base):
        """The patch makes of its base commit what the task asked for."""
        tree = os.path.join(self.server.folder, "check")
        git(self.repository, "worktree", "add", "-q", "--detach", tree, base)
        try:
            git(tree, "apply", "-", input=prediction["model_patch"])
            changed = {}
            for name in git(tree, "ls-files", "-o", "-m").split():
                with open(os.path.join(tree, name), encoding="utf-8") as file:
                    changed[name] = file.read()
            return changed
        finally:
            git(self.repository, "worktree", "remove", "--force", tree)

    def test_every_task_has_one_prediction_though_batch_and_server_are_killed(self):
        bases = [git(self.repository, "rev-parse", "HEAD")]
        for number in range(3):
            with open(os.path.join(self.repository, "README.md"), "a", encoding="utf-8") as file:
                file.write(f"line {number}\n")
            git(self.repository, "commit", "-q", "-a", "-m", f"Say {number}")
            bases.append(git(self.repository, "rev-parse", "HEAD"))
        tasks = [{"instance_id": f"owner__repo-{i}", "base_commit": bases[i % len(bases)],
                  "prompt": f"write sub/out-{i}.txt made by {i}\nsleep 300\nappend README.md end of {i}"}
                 for i in range(TASKS)]
        self.write_tasks(tasks)

        first = self.begin("-j", "4")
        wait_until(lambda: len(self.lines()) >= TASKS // 4, 120)
        first.kill()
        first.wait()
        self.server.kill()
        with open(self.output, "a", encoding="utf-8") as file:
            file.write('{"instance_id":"owner__repo-')  # as a batch leaves it that is killed in a write

        self.server.start()
        second = self.begin("-j", "4", "--json")
        before = len(self.lines())
        wait_until(lambda: len(self.lines()) >= min(before + TASKS // 4, TASKS - 1), 120)
        self.server.kill()
        self.server.start()  # on another port
        told, complaints = second.communicate(timeout=600)
        self.assertEqual(second.returncode, 0, told + complaints)
        summary = json.loads(told.splitlines()[-1])
        self.assertEqual(summary["before"] + summary["completed"], TASKS)
        self.assertEqual((summary["failed"], summary["open"]), (0, 0))

        predictions = self.lines()
        self.assertEqual(sorted(p["instance_id"] for p in predictions), sorted(t["instance_id"] for t in tasks))
        by_id = {p["instance_id"]: p for p in predictions}
        for i, task in enumerate(tasks):
            prediction = by_id[task["instance_id"]]
            self.assertEqual(set(prediction), {"instance_id", "model_name_or_path", "model_patch"})
            changed = self.check_patch(prediction, task["base_commit"])
            self.assertEqual(set(changed), {"README.md", f"sub/out-{i}.txt"})
            self.assertEqual(changed[f"sub/out-{i}.txt"].rstrip("\n"), f"made by {i}")
            self.assertEqual(changed["README.md"].count("end of"), 1)
        figure("tasks with exactly one prediction that applies", len(predictions))

        told, _ = self.batch()  # nothing is left to do, and nothing is done
        self.assertIn(f"0 completed, 0 failed, {TASKS} before", told)
        self.assertEqual(len(self.lines()), TASKS)

    def test_what_failed_is_recorded_and_tried_again_on_demand(self):
        flag = os.path.join(self.server.folder, "flag")
        self.write_tasks([{"instance_id": "good", "prompt": "write a.txt hello"},
                          {"instance_id": "refused", "prompt": "refuse"},
                          {"instance_id": "dies", "prompt": "exit 3"},
                          {"instance_id": "nowhere", "prompt": "say hi", "repository": flag},
                          {"instance_id": "odd / name", "prompt": "write b.txt two"}])
        told, _ = self.batch(expect=1)
        self.assertIn("✔ good  1 file", told)
        self.assertIn("✘ refused  refused", told)
        self.assertNotIn("\033", told)
        self.assertEqual(sorted(p["instance_id"] for p in self.lines()), ["good", "odd / name"])
        with open(self.output + ".run", encoding="utf-8") as file:
            run, *failures = [json.loads(line) for line in file]
        self.assertTrue(run["run"])
        states = [(f["instance_id"], f["attempt"], f["state"]) for f in failures]
        self.assertEqual(sorted(states), [("dies", 1, "interrupted"), ("dies", 2, "interrupted"),
                                          ("dies", 3, "interrupted"), ("nowhere", 1, "error"),
                                          ("refused", 1, "refused")])
        make_repository(flag)
        told, complaints = self.batch(expect=1)
        self.assertIn("2 tasks failed before", complaints)
        self.assertNotIn("nowhere", [p["instance_id"] for p in self.lines()])
        self.batch("--retry-failed", "--json", expect=1)
        self.assertEqual(sorted(p["instance_id"] for p in self.lines()), ["good", "nowhere", "odd / name"])

    def test_a_patch_that_json_cannot_carry_is_a_failure(self):
        with open(os.path.join(self.repository, "latin.txt"), "wb") as file:
            file.write(b"caf\xe9\n")
        git(self.repository, "add", ".")
        git(self.repository, "commit", "-q", "-m", "Speak Latin-1")
        self.write_tasks([{"instance_id": "latin", "prompt": "append latin.txt more"}])
        self.assertIn("the patch is no UTF-8", self.batch(expect=1)[0])
        self.assertEqual(self.lines(), [])

    def test_a_prediction_that_the_disk_has_no_room_for_is_kept_by_its_session(self):
        base = git(self.repository, "rev-parse", "HEAD")
        self.write_tasks([{"instance_id": "big", "base_commit": base, "prompt": "write big.txt " + "x" * 20_000}])

        def small_disk():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
            resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

        done = subprocess.run([BINARY, "batch", self.tasks], capture_output=True, text=True, timeout=60,
                              env=self.environment(), preexec_fn=small_disk)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn(self.output, done.stderr)
        session, = self.server.client.get("/v1/sessions")["sessions"]
        self.assertEqual((session["state"], self.lines()), ("open", []))
        self.batch()
        prediction, = self.lines()
        self.assertEqual(self.check_patch(prediction, base), {"big.txt": "x" * 20_000 + "\n"})
        self.assertEqual(len(self.server.client.get("/v1/sessions")["sessions"]), 1, "the turn ran once")

    def test_a_task_that_takes_too_long_is_cancelled(self):
        self.write_tasks([{"instance_id": "slow", "prompt": "sleep 60000", "timeout": 1}])
        told, _ = self.batch(expect=124)
        self.assertIn("timed_out: no ending within 1 s", told)
        sessions = self.server.client.get("/v1/sessions")["sessions"]
        self.assertEqual([s["turn"] for s in sessions], [None])

    def test_ctrl_c_leaves_the_turn_to_the_next_batch(self):
        self.write_tasks([{"instance_id": "one", "prompt": "write a.txt one\nsleep 4000\nwrite b.txt two"}])
        first = self.begin()
        wait_until(lambda: any(s["turn"] for s in self.server.client.get("/v1/sessions")["sessions"]))
        first.send_signal(signal.SIGINT)
        _, told = first.communicate(timeout=30)
        self.assertEqual(first.returncode, 130)
        self.assertIn("goes on from here", told)
        self.batch("--keep")
        sessions = self.server.client.get("/v1/sessions")["sessions"]
        self.assertEqual(len(sessions), 1)
        turns = self.server.client.get(f"/v1/sessions/{sessions[0]['id']}/turns")["turns"]
        self.assertEqual([turn["state"] for turn in turns], ["completed"])
        self.assertIn("b.txt", self.lines()[0]["model_patch"])

    def test_two_at_once_and_bad_tasks_are_refused(self):
        self.write_tasks([{"instance_id": "one", "prompt": "sleep 60000"}])
        first = self.begin()
        wait_until(lambda: os.path.exists(self.output + ".run") and os.path.getsize(self.output + ".run"))
        self.assertIn("another process is writing it", self.batch(expect=1)[1])
        first.kill()
        first.wait()
        self.assertIn("is of the run", self.batch("--run", "other", expect=1)[1])
        for wrong, why in (('{"instance_id":"a"}', "repository is missing"), ("{", "is no JSON"),
                           ('{"instance_id":"a","repository":"/","prompt":7}', "are strings")):
            with open(self.tasks, "w", encoding="utf-8") as file:
                file.write("\n" + wrong + "\n")
            self.assertIn("tasks:2: ", told := self.batch(expect=1)[1])
            self.assertIn(why, told)
        self.batch("--run", "no spaces", expect=2)


if __name__ == "__main__":
    main()
