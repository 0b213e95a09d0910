"""Runs the tests of a file and ends with a line that ./test can count: "N passed, N failed"."""

import sys
import unittest


def figure(name, value):
    """A measured value in the test's output."""
    print(f"\n  figure: {name}: {value}", flush=True)


def main():
    """Call it at the end of a test file, in place of unittest.main()."""
    program = unittest.main(module="__main__", exit=False, verbosity=2)
    result = program.result
    failed = len({str(test) for test, _ in result.failures + result.errors})
    skipped = len(result.skipped)
    for test, reason in result.skipped:
        print(f"skipped: {test}: {reason}")
    sys.stderr.flush()
    print(f"{max(result.testsRun - failed - skipped, 0)} passed, {failed} failed", flush=True)
    sys.exit(1 if failed or result.testsRun == 0 else 0)
