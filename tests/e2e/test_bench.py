#!/usr/bin/python3
"""berth bench, quickly: every host delivers, loss is counted, the JSON has what the tables want. Never how fast."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_server import BINARY, ROOT
from summary import main

sys.path.insert(0, os.path.join(ROOT, "bench", "load"))
import profile
import server_tables

BENCH = os.path.join(os.path.dirname(BINARY), "..", "bench", "load", "berth-bench")
FIGURES = {"updates_per_s", "cpu_us", "agents_cpu_us", "client_cpu_us", "p50_us", "p99_us", "unfairness", "lost", "disordered"}


def run_bench(*arguments):
    """The result of a run that must succeed."""
    with tempfile.TemporaryDirectory(prefix="berth-bench-test-") as folder:
        path = os.path.join(folder, "result.json")
        done = subprocess.run([BENCH, *arguments, "--json", path], capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        with open(path, encoding="utf-8") as file:
            return json.load(file)


class Bench(unittest.TestCase):
    def assert_complete(self, result, hosts):
        """Each host has each figure with its spread, and nobody lost anything."""
        took_part = {host["host"]: host["figures"] for host in result["scenarios"][0]["hosts"]}
        self.assertEqual(set(took_part), hosts)
        for host, figures in took_part.items():
            self.assertLessEqual(FIGURES, set(figures), host)
            for name, (low, median, high) in figures.items():
                self.assertTrue(0 <= low <= median <= high, (host, name))
            self.assertGreater(figures["cpu_us"][0], 0, host)
            if host != "sandbox-agent":  # it may lose; that is counted
                self.assertEqual(figures["lost"][2], 0, host)

    def test_berth_and_the_bare_loop_deliver_everything_in_every_round(self):
        result = run_bench("smoke,smoke-line", "--against", "bare", "--runs", "2")
        self.assert_complete(result, {"berth", "bare"})
        self.assertEqual({host["rounds"] for host in result["scenarios"][0]["hosts"]}, {2})
        for fact in ("kernel", "cpu", "cores", "compiler", "load_before", "load_after"):
            self.assertTrue(result["machine"][fact], fact)
        self.assertTrue(all(host["version"] for host in result["hosts"]))
        made = server_tables.blocks(result)
        self.assertIn("| `smoke`: ", made["streams"][2])

    def test_the_peers_deliver_a_small_load(self):
        if shutil.which("npm") is None:
            self.skipTest("npm is missing")
        subprocess.run([os.path.join(ROOT, "tests", "real_agents", "install.sh"), os.path.join(ROOT, "bench", "peers")],
                       check=True, stdout=subprocess.DEVNULL)
        result = run_bench("--scenario", "smoke", "--against", "node,node-jsonl,sandbox-agent")
        self.assert_complete(result, {"berth", "node", "node-jsonl", "sandbox-agent"})

    def test_every_kind_of_scenario_runs_and_loses_nothing(self):
        kinds = ["fanout", "line", "create", "death", "prompts", "stored", "replay", "crash", "diff", "mixed"]
        result = run_bench("--scenario", ",".join(f"smoke-{kind}" for kind in kinds), "--against", "none")
        found = {s["name"].removeprefix("smoke-"): s["hosts"][0]["figures"] for s in result["scenarios"]}
        self.assertEqual(list(found), kinds)
        for kind, figure, wanted in (("fanout", "lost", 0), ("line", "delivered", 1), ("death", "unseen", 0),
                                     ("stored", "last_session_found", 1), ("replay", "lost", 0),
                                     ("crash", "shown_but_lost", 0), ("crash", "turns_marked_ended", 5)):
            self.assertEqual(found[kind][figure], [wanted] * 3, (kind, figure))
        self.assertGreater(found["diff"]["patch_bytes"][0], 1000)
        self.assertIn("| `smoke-crash`: ", "\n".join(server_tables.blocks(result)["others"]))

    def test_pages_show_the_run_that_is_kept(self):
        with open(os.path.join(ROOT, "bench", "load", "result.json"), encoding="utf-8") as file:
            result = json.load(file)
        for name, marks in (("docs/performance.md", 4), ("README.md", 1)):
            with open(os.path.join(ROOT, name), encoding="utf-8") as file:
                page = file.read()
            self.assertEqual(page.count("<!-- server: "), marks)
            self.assertEqual(server_tables.filled(page, result), page,
                             f"bench/load/server_tables.py bench/load/result.json --write {name}")

    def test_berth_runs_the_bench_beside_it(self):
        done = subprocess.run([BINARY, "bench", "--list"], capture_output=True, text=True, timeout=60, check=True)
        self.assertIn("full-500", done.stdout)
        self.assertIn("sandbox-agent", done.stdout)

    def test_a_profile_says_what_the_kernel_was_asked_and_which_folder_ran(self):
        kernel, ours = "[kernel.kallsyms]", "/usr/bin/berth"
        places = profile.Places()
        for row, chain in (("kernel: TCP: `send`", [("tcp_write_xmit", kernel), ("__sys_sendto", kernel), ("berth::v0::io::f", ours)]),
                           ("kernel: wake a reader or an agent", [("_raw_spin_unlock", kernel), ("try_to_wake_up", kernel), ("__sys_sendto", kernel)]),
                           ("kernel: sleep and wake up", [("finish_task_switch", kernel), ("io_cqring_wait", kernel)]),
                           ("SQLite", [("sqlite3_step", "/usr/lib/libsqlite3.so.0")]),
                           ("allocation", [("_int_malloc", "/usr/lib/libc.so.6"), ("berth::server::Session::f", ours)]),
                           ("server/sessions", [("berth::server::Session::on_visible", ours)]),
                           ("io", [("berth::v0::io::(anonymous namespace)::anything", ours)]),
                           ("core", [("berth::v0::LineFramer::feed", ours)])):
            self.assertEqual(places.of(chain), row)

    def test_perf_sees_what_a_scenario_measures(self):
        run = [sys.executable, profile.__file__, "smoke-replay", "--bench", BENCH, "--frequency", "20000"]
        done = subprocess.run(run, capture_output=True, text=True, timeout=120)
        if "perf may not record" in done.stderr:
            self.skipTest(done.stderr.strip())
        self.assertEqual(done.returncode, 0, done.stderr)
        shares = [float(share) for share in re.findall(r"\| ([\d.]+) % \|", done.stdout)]
        self.assertAlmostEqual(sum(shares), 100, delta=2)
        self.assertRegex(done.stdout, r"samples of [\d.]+ µs each; threads: .*`berth` \d+ %")

    def test_the_page_of_profiles_names_scenarios(self):
        listed = subprocess.run([BENCH, "--list"], capture_output=True, text=True, timeout=60, check=True).stdout
        with open(os.path.join(ROOT, "docs", "profiles.md"), encoding="utf-8") as file:
            marks = re.findall(r"<!-- profile: ([\w-]+) -->", file.read())
        self.assertGreater(len(marks), 10)
        for mark in marks:
            self.assertIn(f"  {mark.removesuffix('-keeper')} ", listed)

    def test_a_peer_that_is_not_installed_is_said_so(self):
        result = run_bench("--scenario", "smoke", "--against", "node", "--peers", "/no/such/folder")
        self.assert_complete(result, {"berth"})
        self.assertIn("is not installed", result["hosts"][1]["missing"])
        self.assertIn("took no part", "\n".join(server_tables.blocks(result)["machine"]))

    def test_unknown_names_are_told(self):
        for arguments in (("--fast",), ("no-such-scenario",), ("smoke,no-such-scenario",), ("--against", "nobody")):
            done = subprocess.run([BENCH, *arguments], capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 2, arguments)


if __name__ == "__main__":
    main()
