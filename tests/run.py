#!/usr/bin/python3
"""Runs berth's test suites and counts: a line a suite, the output of those that fail, the sum at the end."""
import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SANITIZER = {
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:strict_string_checks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1:external_symbolizer_path=/usr/bin/llvm-symbolizer-19",
    "ASAN_SYMBOLIZER_PATH": "/usr/bin/llvm-symbolizer-19",
}


# End-to-end suites that run on the second engine too; test_engines covers what is left of the choice.
ON_ASIO = ("e2e/cli", "e2e/faults", "e2e/http", "e2e/recovery", "e2e/slow_reader")


def gtest_suites(build):
    """Every program under tests/ whose name ends in _tests."""
    for folder, _, files in sorted(os.walk(os.path.join(build, "tests"))):
        for name in sorted(files):
            path = os.path.join(folder, name)
            if name.endswith("_tests") and os.access(path, os.X_OK):
                yield name.removesuffix("_tests"), [path, "--gtest_brief=1"], False
                if name == "process_tests":
                    as_nobody = ["/usr/bin/python3", os.path.join(ROOT, "tests", "unprivileged.py"), path]
                    # Control groups are not an ordinary user's; the main job has run those tests.
                    yield "process_unprivileged", [*as_nobody, "--gtest_brief=1", "--gtest_filter=-*Cgroup*"], False


def fuzz_suites(build):
    """Every parser's corpus through its fuzz target, each file a test."""
    folder = os.path.join(build, "tests", "fuzz")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if name.endswith("_replay"):
            parser = name.removesuffix("_replay")
            corpus = os.path.join(ROOT, "tests", "fuzz", "corpus", parser)
            yield f"fuzz/{parser}", [os.path.join(folder, name), corpus], False


def python_suites():
    """Every test_*.py of these folders; they use the machine's ports and cores, so one at a time."""
    for folder in ("tidy", "install", "contract", "instructions", "e2e", "real_agents"):
        base = os.path.join(ROOT, "tests", folder)
        for name in sorted(os.listdir(base)) if os.path.isdir(base) else []:
            if name.startswith("test_") and name.endswith(".py"):
                suite, command = f"{folder}/{name[5:-3]}", ["/usr/bin/python3", os.path.join(base, name)]
                yield suite, command, True
                if suite in ON_ASIO:
                    yield suite + " on asio", ["/usr/bin/env", "BERTH_ENGINE=asio", *command], True


def node_suites():
    """Every *.test.mjs of the web page: its modules alone, and the page in Chromium."""
    base = os.path.join(ROOT, "tests", "page")
    for name in sorted(os.listdir(base)):
        if name.endswith(".test.mjs"):
            yield f"page/{name[:-9]}", ["node", "--test-reporter=tap", os.path.join(base, name)], True


def count(output, code):
    """(passed, failed, skipped) of a suite's output; a suite that did not say so failed once."""
    passed = sum(int(n) for n in re.findall(r"\[  PASSED  \] (\d+) test", output))
    failed = sum(int(n) for n in re.findall(r"\[  FAILED  \] (\d+) test", output))
    skipped = sum(int(n) for n in re.findall(r"\[  SKIPPED \] (\d+) test", output))
    passed += sum(int(n) for n in re.findall(r"^(\d+) files$", output, re.M))
    passed += sum(int(n) for n in re.findall(r"^# pass (\d+)$", output, re.M))
    failed += sum(int(n) for n in re.findall(r"^# (?:fail|cancelled) (\d+)$", output, re.M))
    skipped += sum(int(n) for n in re.findall(r"^# skipped (\d+)$", output, re.M))
    ran = re.findall(r"^Ran (\d+) tests? in", output, re.M)
    if ran:
        bad = sum(int(n) for n in re.findall(r"(?:failures|errors|unexpected successes)=(\d+)", output))
        skipped = sum(int(n) for n in re.findall(r"skipped=(\d+)", output))
        failed, passed = bad, int(ran[-1]) - bad - skipped
    if code != 0 and failed == 0:
        failed = 1
    return passed, failed, skipped


def run_suite(suite, environment, timeout):
    name, command, _ = suite
    started = time.monotonic()
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
        output, code = done.stdout.decode("utf-8", "replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        output, code = (late.stdout or b"").decode("utf-8", "replace") + f"\nno end after {timeout} s\n", 1
    passed, failed, skipped = count(output, code)
    if code == 0 and passed + skipped == 0:
        output, failed = output + "\nno test ran\n", 1
    print(f"{'ok  ' if failed == 0 else 'FAIL'} {name:28} {passed:5} passed {failed:3} failed {skipped:3} skipped"
          f" {time.monotonic() - started:7.1f} s", flush=True)
    reasons = re.findall(r": Skipped\n(.+)\n", output)
    for reason in sorted(set(reasons)):
        print(f"     skipped: {reasons.count(reason)} times: {reason}", flush=True)
    if failed:
        print(output[-20000:], flush=True)
    else:
        for line in re.findall(r"^\s*((?:figure|skipped): .*)$", output, re.M):
            print("     " + line, flush=True)
    return passed, failed, skipped


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--tsan", help="a second folder, built with ThreadSanitizer: its suites run too, as tsan/NAME")
    parser.add_argument("only", nargs="*")
    options = parser.parse_args()
    build = os.path.join(ROOT, options.build)
    environment = {**os.environ, **SANITIZER, "BERTH": os.path.join(build, "server", "berth"), "BERTH_FULL": "1" if options.full else ""}
    threaded = gtest_suites(os.path.join(ROOT, options.tsan)) if options.tsan else []
    threaded = [(f"tsan/{name}", command, True) for name, command, _ in threaded]
    if options.tsan:
        print("     tsan: core http io shard; not process: TSan aborts on the raw clone(CLONE_VM | CLONE_VFORK)"
              " that starts children", flush=True)
    suites = [s for s in [*gtest_suites(build), *threaded, *fuzz_suites(build), *python_suites(), *node_suites()]
              if not options.only or any(word in s[0] for word in options.only)]
    timeout = 2400 if options.full else 900
    parallel = [s for s in suites if not s[2]]
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(lambda s: run_suite(s, environment, timeout), parallel))
    results += [run_suite(s, environment, timeout) for s in suites if s[2]]
    passed, failed, skipped = (sum(column) for column in zip(*results)) if results else (0, 1, 0)
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
