#!/usr/bin/python3
"""Runs an agent and writes down what goes in and out: tee.py FOLDER COMMAND ARGS...

Each message becomes a line {"t": milliseconds, "d": ">" (to the agent) or "<", "m": message} of
a file in FOLDER, one file for each process;
a line that is no JSON has "raw" in place of "m"; {"d": "=", "status": N} is the agent's end, unless
the whole tree was killed. The agent's exit status becomes its own.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time


class Log:
    def __init__(self, path):
        self._file = open(path, "a", encoding="utf-8", buffering=1)
        self._lock, self._start = threading.Lock(), time.monotonic()

    def end(self, status):
        self._write({"d": "=", "status": status})

    def write(self, direction, line):
        entry = {"t": round((time.monotonic() - self._start) * 1000), "d": direction}
        try:
            entry["m"] = json.loads(line)
        except ValueError:
            entry["raw"] = line.decode("utf-8", "replace")
        self._write(entry)

    def _write(self, entry):
        with self._lock:
            self._file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def pump(source, target, direction, log):
    """Copies bytes as they come and logs the lines among them; closes `target` at the end."""
    rest = b""
    while piece := os.read(source, 1 << 16):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:  # before it is passed on: the answer to it comes later in the log too
            log.write(direction, line)
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(target, view):]
        except BrokenPipeError:
            break
    if rest:
        log.write(direction, rest)
    os.close(target)


def main():
    name = f"{time.time_ns()}-{os.getpid()}.jsonl"
    log = Log(os.path.join(sys.argv[1], name))
    agent = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    signal.signal(signal.SIGTERM, lambda *_: agent.terminate())
    threading.Thread(target=pump, args=(0, agent.stdin.fileno(), ">", log), daemon=True).start()
    pump(agent.stdout.fileno(), 1, "<", log)
    status = agent.wait()
    log.end(status)
    os._exit(status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
