#!/usr/bin/python3
"""Instructions of the main paths, counted by callgrind and held against tests/instructions/baseline.txt.

    tests/instructions/test_paths.py            compares
    tests/instructions/test_paths.py --write    counts and writes the baseline anew, tolerances kept

A count does not depend on what else the machine does, so a slow commit shows where times would not. What the simulated
machine does itself is left out. Counts belong to one compiler and its libraries: elsewhere the suite is skipped.
"""
import collections
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BASELINE = os.path.join(ROOT, "tests", "instructions", "baseline.txt")
BUILD = os.path.dirname(os.path.dirname(os.environ.get("BERTH", os.path.join(ROOT, "build", "server", "berth"))))
PROGRAM = os.path.join(BUILD, "bench", "instructions", "berth-instructions")
TOLERANCE = 6.0  # percent, of new rows
SIMULATED = re.compile(r"\bio::Sim[A-Z]|\bserver::SimVfs|\bsim_test::|\bberth::bench::")
# One choice on all machines: libraries pick their code by the processor.
ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join(
        "-" + name for name in ("AVX512F", "AVX2", "AVX2_Usable", "AVX", "AVX_Fast_Unaligned_Load", "BMI2", "ERMS", "FSRM",
                                "SSE4_1", "SSE4_2", "SSSE3")),
    "LC_ALL": "C",
    "OPENSSL_ia32cap": "0x0",
    "SIMDJSON_FORCE_IMPLEMENTATION": "westmere",
}


def about():
    """What counts depend on beside our sources."""
    told = subprocess.run([PROGRAM, "--about"], capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    return told + ", " + subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True).stdout.strip()


def names():
    listed = subprocess.run([PROGRAM, "--list"], capture_output=True, text=True, check=True, timeout=60).stdout
    return listed.split()


class Profile:
    """One path's costs, by function."""

    def __init__(self, path, times):
        self.own = collections.Counter()  # without the simulator
        function, callee, symbols, calls = "", "", {}, []
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = iter(file)
            for line in lines:
                if match := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line):
                    if match[3]:
                        symbols[match[2]] = match[3]
                    if match[1]:
                        callee = match[2]
                    else:
                        function = match[2]
                elif line.startswith("calls="):
                    calls.append((function, callee, int(next(lines).split()[1])))
                elif re.match(r"[0-9+*-]", line):
                    self.own[function] += int(line.split()[1])
        self.names = symbols
        simulated = {key for key, name in symbols.items() if SIMULATED.search(name)}
        self.total = sum(cost for key, cost in self.own.items() if key not in simulated) / times
        # What the simulator asks libraries to do is its own, too.
        self.total -= sum(cost for caller, key, cost in calls
                          if caller in simulated and key not in simulated and not self.is_ours(key)) / times
        self.own = {key: cost / times for key, cost in self.own.items() if key not in simulated}

    def is_ours(self, key):
        return re.search(r"berth|sqlite|simdjson|\[clone", self.names.get(key, "")) is not None

    def most(self, count):
        largest = sorted(self.own.items(), key=lambda item: -item[1])[:count]
        return "\n".join(f"{cost:12.1f}  {self.names.get(key, key)[:110]}" for key, cost in largest)


def count_all():
    """{path: Profile}, in the program's order."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", "--zero-before=berth_count_begins", "--dump-before=berth_count_ends",
                   "--dump-line=no", f"--callgrind-out-file={folder}/out", PROGRAM]
        done = subprocess.run(command, cwd=folder, env={**ENVIRONMENT, "PATH": os.environ["PATH"]}, capture_output=True,
                              text=True, timeout=800)
        if done.returncode != 0:
            raise RuntimeError(f"the program failed:\n{done.stdout}{done.stderr[-4000:]}")
        rows = [line.split() for line in done.stdout.splitlines()]
        return {name: Profile(f"{folder}/out.{part}", int(times)) for part, (name, times) in enumerate(rows, 1)}


def read_baseline():
    """What it was counted with, and {path: (instructions, tolerance in percent)}."""
    with open(BASELINE, encoding="utf-8") as file:
        lines = file.read().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    told = [line.removeprefix("# with: ") for line in lines if line.startswith("# with: ")]
    return told[0], {name: (float(count), float(tolerance)) for name, count, tolerance in rows}


def write_baseline():
    known = read_baseline()[1] if os.path.exists(BASELINE) else {}
    with open(BASELINE + ".new", "w", encoding="utf-8") as file:
        file.write("# Instructions of one repetition of each path, and how many percent more are still taken.\n"
                   "# Written by: tests/instructions/test_paths.py --write\n"
                   f"# with: {about()}\n")
        for name, profile in count_all().items():
            tolerance = known[name][1] if name in known else TOLERANCE
            file.write(f"{name:22} {profile.total:12.1f} {tolerance:6.1f}\n")
    os.rename(BASELINE + ".new", BASELINE)


def excess(counted, baseline):
    """Percent above the baseline."""
    return (counted / baseline - 1) * 100


class Paths(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if shutil.which("valgrind") is None:
            raise unittest.SkipTest("valgrind is not installed")
        told, cls.baseline = read_baseline()
        if about() != told:
            raise unittest.SkipTest(f"the baseline is of: {told}; this is: {about()}")
        cls.counted = count_all()

    def test_no_path_needs_more_than_its_baseline_allows(self):
        self.assertEqual(sorted(self.counted), sorted(self.baseline), "run tests/instructions/test_paths.py --write")
        above = {name: excess(self.counted[name].total, count) for name, (count, _) in self.baseline.items()}
        for name, (count, tolerance) in self.baseline.items():
            if above[name] < -tolerance:
                print(f"figure: {name} needs {-above[name]:.1f} % less than its baseline: renew it by test_paths.py --write")
        worst = max(above, key=above.get)
        print(f"figure: {len(above)} paths; {worst} is the highest above its baseline, by {above[worst]:.2f} %")
        for name, (count, tolerance) in self.baseline.items():
            with self.subTest(name):
                self.assertLessEqual(
                    above[name], tolerance,
                    f"\n{name} needs {self.counted[name].total:.0f} instructions; its baseline is {count:.0f}, and {tolerance} % more. "
                    "If that is meant: tests/instructions/test_paths.py --write, and say why in the commit.\n"
                    f"Where they go, by function:\n{self.counted[name].most(14)}")


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        write_baseline()
    else:
        unittest.main()
