#!/usr/bin/python3
"""The reactor's bench, quickly: every contestant delivers every message, berth allocates nothing. Never how fast."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import BINARY, ROOT
from summary import main

sys.path.insert(0, os.path.join(ROOT, "bench", "reactor"))
import tables

BENCH = os.path.join(os.path.dirname(BINARY), "..", "bench", "reactor", "berth-reactor-bench")
# By job, so that a contestant that dropped out is noticed.
STREAMS = {"epoll", "uring", "berth-asio", "asio-epoll", "asio-uring"}
EXPECTED = {
    "pipes-1000": STREAMS | {"reads", "uring-streams", "uring-1-shard", "uring-2-shards"},
    "pipes-1000-100": STREAMS | {"reads", "uring-streams"},
    "raw-1000": STREAMS | {"reads"},
    "fan-out-1000": STREAMS,
    "burst-1000": STREAMS | {"writev"},
    "ping-pong": STREAMS | {"uring-streams", "uring-buffers"},
    "timers-cancel-10k": {"epoll", "uring", "berth-asio", "asio-epoll"},
    "timers-cancel-100k": {"epoll", "uring", "berth-asio", "asio-epoll"},
    "timers-fire-10k": {"epoll", "uring", "berth-asio", "asio-epoll"},
    "timers-fire-100k": {"epoll", "uring", "berth-asio", "asio-epoll"},
    "post-batch": STREAMS | {"uring-remote"},
    "post-ball": STREAMS | {"uring-remote"},
    "spawn-100": {"epoll", "uring"},
}


def page():
    with open(os.path.join(ROOT, "docs", "performance.md"), encoding="utf-8") as file:
        return file.read()


class ReactorBench(unittest.TestCase):
    def test_every_contestant_does_every_job_and_berth_allocates_nothing(self):
        with tempfile.TemporaryDirectory(prefix="berth-bench-") as folder:
            path = os.path.join(folder, "result.json")
            # The program itself ends with 1 when a message is lost or counted twice.
            done = subprocess.run([BENCH, "--quick", "--json", path], capture_output=True, text=True, timeout=300)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(path, encoding="utf-8") as file:
                result = json.load(file)
        took_part = {s["name"]: {c["name"] for c in s["contestants"]} for s in result["scenarios"]}
        self.assertEqual(took_part, EXPECTED)
        for scenario in result["scenarios"]:
            self.assert_complete(scenario)
        for fact in ("kernel", "cpu", "cores", "compiler", "load_before", "load_after"):
            self.assertTrue(result["machine"][fact], fact)
        made = tables.filled(page(), result)
        for scenario in result["scenarios"]:
            if scenario["unit"] != "child":  # told in a sentence: the keeper's CPU is not the contestant's
                self.assertIn(f"| `{scenario['name']}`: {scenario['what']}; ", made)
        self.assertNotEqual(made, page(), "other figures make other tables")

    def assert_complete(self, scenario):
        """Each figure is there with its spread."""
        spreads = ["cpu_ns", "per_second", "ratio"]
        if scenario["name"] in ("ping-pong", "post-ball", "spawn-100"):
            spreads += ["p50_ns", "p50_ratio", "p99_ns"]
        for contestant in scenario["contestants"]:
            for name in spreads:
                low, median, high = contestant[name]
                self.assertTrue(0 < low <= median <= high, (scenario["name"], contestant["name"], name))
            if contestant["name"] in ("uring", "berth-asio") and scenario["unit"] != "child":
                self.assertEqual(contestant["allocations"], 0, scenario["name"])
        self.assertEqual(scenario["contestants"][0]["name"], "epoll")
        self.assertEqual(scenario["contestants"][0]["ratio"], [1, 1, 1])

    def test_the_page_shows_the_run_that_is_kept(self):
        with open(os.path.join(ROOT, "bench", "reactor", "result.json"), encoding="utf-8") as file:
            result = json.load(file)
        self.assertEqual(page(), tables.filled(page(), result),
                         "bench/reactor/tables.py bench/reactor/result.json --write docs/performance.md")
        self.assertGreaterEqual(min(s["rounds"] for s in result["scenarios"]), 3)
        self.assertEqual(len(result["scenarios"]), 19, "the whole run")

    def test_a_wrong_option_is_told(self):
        done = subprocess.run([BENCH, "--fast"], capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 2)
        self.assertIn("usage:", done.stderr)


if __name__ == "__main__":
    main()
