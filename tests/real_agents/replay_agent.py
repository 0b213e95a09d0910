#!/usr/bin/python3
"""Plays the agent's side of a transcript on stdio: replay_agent.py TRANSCRIPT COUNTER WRONG

COUNTER is a file that counts the processes: each plays its own part. What berth says must be what
was recorded, in the order of the transcript: method, prompt, or answer; anything else is written to
WRONG, and the process exits. A part that the transcript does not bring to an end dies of SIGKILL.
"""

import json
import os
import signal
import sys


def part_of(transcript, number):
    """The (direction, message) pairs of the process with this number, and if it is the last."""
    parts = []
    with open(transcript, encoding="utf-8") as file:
        for entry in map(json.loads, file):
            if entry["d"] == "+":
                parts.append([])
            else:
                parts[-1].append((entry["d"], entry["m"]))
    return parts[number], number + 1 == len(parts)


def next_number(counter):
    number = 0
    if os.path.exists(counter):
        with open(counter, encoding="ascii") as file:
            number = int(file.read())
    with open(counter, "w", encoding="ascii") as file:
        file.write(str(number + 1))
    return number


def same(recorded, heard):
    """Does berth say now what it said then? Folders, ids and words of errors may differ."""
    if recorded.get("method") != heard.get("method"):
        return False
    if "method" not in recorded:
        if "result" in recorded:
            return recorded["id"] == heard["id"] and recorded["result"] == heard.get("result")
        return recorded["id"] == heard["id"] and "error" in heard
    ours, theirs = recorded.get("params", {}), heard.get("params", {})
    prompt = ours.get("prompt", [])
    # What the agent is told of a turn that was cut off stands before the prompt.
    if theirs.get("prompt", [])[-len(prompt):] != prompt:
        return False
    compared = ("sessionId", "modeId", "configId", "value")
    return all(ours.get(key) == theirs.get(key) for key in compared)


def main():
    transcript, counter, wrong = sys.argv[1:]
    messages, last = part_of(transcript, next_number(counter))
    ids = {}  # recorded id of a request of berth: the one that it has now
    for direction, message in messages:
        if direction == ">":
            line = sys.stdin.readline()
            if not line:
                sys.exit(0)
            heard = json.loads(line)
            if not same(message, heard):
                with open(wrong, "a", encoding="utf-8") as file:
                    file.write(f"recorded {json.dumps(message)}\nheard    {json.dumps(heard)}\n")
                sys.exit(3)
            if "method" in message and "id" in message:
                ids[message["id"]] = heard["id"]
        else:
            if "method" not in message and message.get("id") in ids:
                message = {**message, "id": ids[message["id"]]}
            sys.stdout.write(json.dumps(message, ensure_ascii=False) + "\n")
            sys.stdout.flush()
    if not last:
        os.kill(os.getpid(), signal.SIGKILL)
    while sys.stdin.readline():  # session/close, perhaps; then the end
        pass


if __name__ == "__main__":
    main()
