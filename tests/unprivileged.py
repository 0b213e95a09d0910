#!/usr/bin/python3
"""Runs a test program as an ordinary user without capabilities: tests/unprivileged.py PROGRAM [ARGUMENT...]"""
import os
import subprocess
import sys

NOBODY = "65534"
AS_NOBODY = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]


def skip(reason):
    print(f"skipped: {reason}\n[  SKIPPED ] 1 test")
    return 0


def main():
    program = sys.argv[1]
    if os.geteuid() != 0:
        return skip("not root, so the process tests have run as an ordinary user already")
    if subprocess.run([*AS_NOBODY, "test", "-x", program], check=False).returncode != 0:
        return skip(f"user {NOBODY} cannot reach {program}")
    os.execvp(AS_NOBODY[0], [*AS_NOBODY, *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
