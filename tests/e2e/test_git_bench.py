#!/usr/bin/python3
"""The bench of the git layer, quickly: every part has its figures, and the page shows the run that is kept. Never how fast."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import BINARY, ROOT
from summary import main

sys.path.insert(0, os.path.join(ROOT, "bench", "git"))
import tables

RUN = os.path.join(ROOT, "bench", "git", "run.py")
BUILD = os.path.join(os.path.dirname(os.path.abspath(BINARY)), "..")
PARTS = ["create", "changes", "changes-50k", "history", "cold", "turns"]
BLOCKS = {"machine", "warm", "cold", "history", "numbers", "turns", "targets"}


def page():
    with open(os.path.join(ROOT, "docs", "performance.md"), encoding="utf-8") as file:
        return file.read()


def run(*arguments):
    return subprocess.run([sys.executable, RUN, "--build", BUILD, *arguments], capture_output=True, text=True, timeout=300)


class GitBench(unittest.TestCase):
    def test_every_part_has_its_figures_and_keeps_those_of_the_others(self):
        with tempfile.TemporaryDirectory(prefix="berth-bench-") as folder:
            path = os.path.join(folder, "result.json")
            for part in PARTS:
                if part == "cold":
                    continue  # it would take everybody's page cache
                done = run("--quick", "--json", path, part)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(path, encoding="utf-8") as file:
                result = json.load(file)
        self.assertEqual(list(result), [part for part in PARTS if part != "cold"])
        for part in ("create", "changes", "changes-50k", "history"):
            self.assertTrue(result[part]["machine"]["cpu"])
            self.assertTrue(result[part]["rows"])
            for row in result[part]["rows"]:
                if "unit" not in row:
                    low, median, high = row["wall_ratio"]
                    self.assertTrue(0 < low <= median <= high, row)
        figures = result["turns"]["turns"]
        self.assertEqual(figures["worktree"]["skipped"], 0)
        self.assertEqual(set(tables.blocks(result)), BLOCKS)
        self.assertNotEqual(tables.filled(page(), result), page(), "other figures make other tables")

    def test_without_the_right_to_drop_the_page_cache_cold_is_skipped_and_says_why(self):
        command = [os.path.join(BUILD, "bench", "git", "create_bench"), "--files", "101", "--rounds", "1", "--cold"]
        if os.geteuid() == 0:
            # /proc/sys is not writable for others, whatever else they may.
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "TMPDIR": "/tmp"})
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("skipped: --cold", done.stdout)

    def test_the_page_shows_the_run_that_is_kept(self):
        with open(os.path.join(ROOT, "bench", "git", "result.json"), encoding="utf-8") as file:
            result = json.load(file)
        self.assertEqual(page(), tables.filled(page(), result),
                         "bench/git/tables.py bench/git/result.json --write docs/performance.md")
        self.assertLessEqual({"create", "changes"}, set(result), "what the bars are about")

    def test_a_wrong_part_is_told(self):
        done = run("fastest")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no part fastest", done.stderr)


if __name__ == "__main__":
    main()
