#!/usr/bin/python3
"""./run demo: an agent works in a worktree of its own, the server is killed, the session goes on.

Server, store, processes, git and HTTP are the real ones. The agent is the scripted one, or the unmodified opencode
with a scripted model behind it; both do what their prompts say, so that the demo needs no account and no network.
"""
import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
for folder in ("e2e", "real_agents"):
    sys.path.insert(0, os.path.join(ROOT, "tests", folder))

from berth_client import StreamEnded
from berth_server import Server, wait_until

COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if COLOUR else text


def chapter(number, title):
    print("\n" + paint("1;36", f"{number}  {title}"))


def tell(text):
    print(paint("2", "   " + text), flush=True)


class Screen(threading.Thread):
    """Shows the session's events as they arrive, until the stream ends or the turn does."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream, self.at_line_start, self.ended, self.speaking = stream, True, None, None
        self.turn_ended = threading.Event()

    def say(self, text):
        sys.stdout.write(text)
        sys.stdout.flush()
        self.at_line_start = text.endswith("\n")

    def line(self, text):
        self.say(("" if self.at_line_start else "\n") + text + "\n")

    def run(self):
        try:
            while True:
                self.show(self.stream.take(timeout=120))
        except (StreamEnded, TimeoutError):
            pass

    def show(self, event):
        data = event.data
        if event.type == "update":
            kind = data.get("sessionUpdate")
            if kind in ("agent_message_chunk", "agent_thought_chunk"):
                text = data["content"].get("text", "").replace("\n", "\n   ")
                if kind != self.speaking and not self.at_line_start:
                    self.say("\n")
                self.speaking = kind
                lead = "   " if self.at_line_start else ""
                self.say(lead + (paint("3;90", text) if kind == "agent_thought_chunk" else text))
            elif kind == "tool_call":
                self.line(paint("33", f"   ⚙ {data.get('title', 'tool')}"))
            elif kind == "tool_call_update" and data.get("status") in ("completed", "failed"):
                self.line(paint("32" if data["status"] == "completed" else "31", f"     {data['status']}"))
        elif event.type == "agent.attached":
            how = {"new": "with a new session", "resume": "and took its own session up again (session/resume)",
                   "load": "and loaded its own session (session/load)", "history": "and was told the story so far"}
            self.line(paint("2", f"   agent started, pid {data['pid']}, {how[data['rung']]}"))
        elif event.type == "turn.ended":
            self.line(paint("2", f"   turn {data['number']} {data['state']}"
                                 + (f": {data['reason']}" if data["state"] != "completed" else "")))
            self.ended = event
            self.turn_ended.set()


def show_diff(client, session, turn_number):
    """Waits for the snapshot of the turn and prints the change against the base."""
    path = f"/v1/sessions/{session}/changes"
    change = wait_until(lambda: (c := client.get(path))["turn_number"] >= turn_number and c, 30)
    for file in change["files"]:
        print(f"   {file['status']:9} {file['path']:16} " + paint("32", f"+{file['additions']}") + " "
              + paint("31", f"-{file['deletions']}"))
    patch = client.raw("GET", path + "/patch").body.decode()
    for line in patch.splitlines():
        if line.startswith(("+++", "---", "index", "new file", "diff")):
            continue
        code = {"+": "32", "-": "31", "@": "36"}.get(line[:1], "2")
        print(paint(code, "     " + line))


def make_repository(path):
    def git(*arguments):
        subprocess.run(["git", "-C", path, "-c", "user.name=You", "-c", "user.email=you@example.org", *arguments], check=True)

    subprocess.run(["git", "init", "-q", "-b", "main", path], check=True)
    with open(os.path.join(path, "README.md"), "w", encoding="utf-8") as file:
        file.write("# harbour\n\nA small repository to try berth on.\n")
    git("add", ".")
    git("commit", "-q", "-m", "Start")


SCRIPTED = {
    "first": "think A short plan first, then the file.\nplan write the log, check it\n"
             "say I will start a ship's log.\nwrite log.md # Log of the Pelican\nremember pelican",
    "second": "say Now a long watch, line by line.\nappend log.md day 1: calm sea\nstream 400 48 60",
    "third": "recall\nappend log.md day 2: the server fell over, the log did not\nwrite crew.txt pelican",
}
OPENCODE = {
    "first": r"Start a log. [[think A short plan first, then the file.]] [[say I will start a ship's log.]] "
             r"[[write log.md # Log of the Pelican]] [[say Done: log.md is there.]]",
    "second": r"Keep watch. [[say Now a long watch, line by line.]] [[write crew.txt pelican]] [[slow 400 25]]",
    "third": r"Go on. [[count]] [[write day2.md the server fell over, the log did not]] [[say Day 2 is written.]]",
}


def prepare_opencode(stack, home):
    """(configuration, prompts): installs the pinned opencode once, starts the scripted model."""
    import recipes
    from model_server import ModelServer
    subprocess.run([os.path.join(ROOT, "tests/real_agents/install.sh")], check=True)
    os.mkdir(home)
    model = stack.enter_context(ModelServer(log=os.path.join(home, "model.log")))
    return recipes.opencode(recipes.DEFAULT_AGENTS_DIR, home, model.port).to_toml("opencode"), OPENCODE


def run_turn(client, session, prompt, after):
    """Shows a turn from prompt to ending; the events seen."""
    with client.events(session, after=after) as stream:
        screen = Screen(stream)
        screen.start()
        client.prompt(session, prompt)
        if not screen.turn_ended.wait(120):
            raise SystemExit("the turn did not end within two minutes")
        return screen


def main():
    parser = argparse.ArgumentParser(prog="./run demo")
    parser.add_argument("--agent", choices=("scripted", "opencode"), default="scripted")
    parser.add_argument("--build", default="build")
    options = parser.parse_args()
    os.environ["BERTH"] = os.path.join(ROOT, options.build, "server", "berth")
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="berth-demo-"))
        repository = os.path.join(scratch, "harbour")
        make_repository(repository)
        print(paint("1", "berth demo") + (": the agent is the scripted one (--agent opencode drives the real opencode)"
              if options.agent == "scripted" else ": the agent is the unmodified opencode, the model behind it is scripted"))
        print(paint("2", "server, store, processes, git and HTTP are real"))
        config, prompts = ("", SCRIPTED) if options.agent == "scripted" else prepare_opencode(
            stack, os.path.join(scratch, "home"))
        story(stack.enter_context(Server(config)), options.agent, repository, prompts)
    print("\n" + paint("1;32", f"That was it, in {time.monotonic() - started:.0f} s. Nothing is left running."))


def story(server, agent, repository, prompts):
    client = server.client
    chapter(1, "A session with a worktree of its own")
    session = client.open(id="demo", agent=agent, repository=repository, permission="allow", title="demo")
    workspace = session["workspace"]
    tell(f"server at {client.url}, pid {server.pid}, state in {server.state}")
    tell(f"repository {repository}")
    tell(f"worktree   {workspace['directory']}")
    tell(f"branch     {workspace['branch']} at {workspace['base_commit'][:12]}")

    chapter(2, "A turn, live, and its diff")
    run_turn(client, "demo", prompts["first"], 0)
    show_diff(client, "demo", 1)

    chapter(3, "kill -9 of the server in the middle of a turn")
    shown = client.get("/v1/sessions/demo")["last_seq"]
    pid = client.agents("demo")[0]["pid"]
    stream = client.events("demo", after=shown)
    screen = Screen(stream)
    screen.start()
    client.prompt("demo", prompts["second"])
    wait_until(lambda: sum(e.update == "agent_message_chunk" for e in stream.seen) >= 40, 60)
    server.kill()
    screen.join(5)
    stream.close()
    screen.line(paint("1;31", f"   ✗ kill -9 {server.pid}: the server is gone"))
    seen = stream.seen
    tell(f"this client had been shown {shown + len(seen)} events")
    tell(f"the turn's agent was pid {pid}")

    chapter(4, "The server starts again")
    began = time.monotonic()
    server.start()
    client = server.client
    tell(f"ready after {(time.monotonic() - began) * 1000:.0f} ms, pid {server.pid}")
    log = client.log("demo")
    whole = [e.seq for e in log] == list(range(1, len(log) + 1))
    kept = [e.content() for e in log[shown:shown + len(seen)]] == [e.content() for e in seen]
    ending = next(e for e in log if e.type == "turn.ended" and e.data["number"] == 2)
    print("   " + paint("32", "✓") + f" the log has {len(log)} events, " + ("without a gap" if whole else "WITH A GAP"))
    print("   " + paint("32", "✓") + " every event that was shown is there, byte for byte" if kept else "   ✗ EVENTS ARE MISSING")
    print("   " + paint("32", "✓") + f" turn 2 reads {ending.data['state']}: {ending.data['reason']}")
    if not (whole and kept):
        raise SystemExit(1)

    chapter(5, "And the session goes on")
    last = wait_until(lambda: (log := client.log("demo")) and log[-1].type == "change.recorded" and log, 30)[-1].seq
    screen = run_turn(client, "demo", prompts["third"], last)
    if screen.ended.data["state"] != "completed":
        raise SystemExit(1)
    show_diff(client, "demo", 3)
    tell("your checkout of the repository was never touched: " + (
        subprocess.run(["git", "-C", repository, "status", "--porcelain"], capture_output=True, text=True).stdout.strip() or "git status is clean"))


if __name__ == "__main__":
    main()
