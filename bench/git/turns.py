"""What snapshots cost turns on a real server: how long a queued next turn waits for the one before it, and whether an
ending comes later where files are watched over.

    turns.measure(files, touched, turns) -> {"wait_ms": [p50, p99, max], ...}
"""
import os
import subprocess
import sys
import tempfile
from datetime import datetime

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))
from berth_client import session_path
from berth_server import Server

QUEUED_AT_ONCE = 10


def make_repository(path, files):
    for number in range(files):
        folder = os.path.join(path, f"d{number // 40}")
        if number % 40 == 0:
            os.makedirs(folder)
        with open(os.path.join(folder, f"f{number}"), "w", encoding="utf-8") as file:
            file.write(f"file {number}\n" * 150)
    for words in (["init", "-q", "-b", "main"], ["add", "-A"],
                  ["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-q", "-m", "base"]):
        subprocess.run(["git", "-C", path, *words], check=True)


def ms_of(event):
    return datetime.fromisoformat(event.time.replace("Z", "+00:00")).timestamp() * 1e3


def share(values, part):
    return round(sorted(values)[min(len(values) - 1, int(part * len(values)))], 3)


def spread(values):
    return [share(values, 0.5), share(values, 0.99), round(max(values), 3)]


def prompt(files, touched, turn):
    """The same files in each turn: the open change has so many, however many turns there were."""
    lines = ["sleep 30"]
    for number in range(touched):
        n = number * 397 % files
        lines.append(f"append d{n // 40}/f{n} turn {turn}")
    return "\n".join(lines)


def run_turns(client, session, files, touched, turns):
    """All events of that many turns, ten of them queued at a time."""
    for first in range(0, turns, QUEUED_AT_ONCE):
        for turn in range(first, first + QUEUED_AT_ONCE):
            # The last answers when it has ended: nobody asks meanwhile and takes the processor.
            wait = 60 if turn == first + QUEUED_AT_ONCE - 1 else None
            client.prompt(session, prompt(files, touched, turn), wait=wait)
    return client.log(session)


def waits_of(events):
    """From an ending to the start of the turn that was queued then."""
    waits, ended, queued = [], None, 0
    for event in events:
        if event.type == "turn.queued":
            queued += 1
        elif event.type == "turn.ended":
            ended = event if queued > 0 else None
        elif event.type == "turn.started":
            queued -= 1
            if ended:
                waits.append(ms_of(event) - ms_of(ended))
            ended = None
    return waits


def endings_of(events):
    """From the last word of the agent to the ending."""
    delays, word = [], None
    for event in events:
        if event.type == "update":
            word = event
        elif event.type == "turn.ended" and word:
            delays.append(ms_of(event) - ms_of(word))
    return delays


def measure(files, touched, turns):
    with tempfile.TemporaryDirectory(prefix="berth-turns-") as folder, Server() as server:
        make_repository(folder, files)
        figures = {"files": files, "touched": touched, "turns": turns}
        for mode in ("worktree", "overlay"):
            session = server.client.open(repository=folder, workspace=mode)
            if session["workspace"]["mode"] != mode:
                continue
            events = run_turns(server.client, session["id"], files, touched, turns)
            outcomes = [e.data["outcome"] for e in events if e.type == "change.recorded"]
            figures[mode] = {"wait_ms": spread(waits_of(events)), "ending_ms": spread(endings_of(events)),
                             "skipped": outcomes.count("skipped") + outcomes.count("failed"),
                             "snapshot_ms": spread([e.data["ms"] for e in events
                                                    if e.type == "change.recorded" and e.turn])}
            server.client.call("DELETE", session_path(session["id"]) + "?force=1")
        bare = os.path.join(folder, "bare")
        subprocess.run(["git", "clone", "-q", folder, bare], check=True)
        session = server.client.open(directory=bare)
        events = run_turns(server.client, session["id"], files, touched, turns)
        figures["directory"] = {"wait_ms": spread(waits_of(events)), "ending_ms": spread(endings_of(events))}
        return figures
