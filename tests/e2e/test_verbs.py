#!/usr/bin/python3
"""Every verb that ends something, in every state of a session: what becomes of agent, turn, checkout and log, and what is left to do."""

import os
import sys
from dataclasses import dataclass

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Problem, session_path, text_of
from berth_server import describe, make_repository, processes_with, wait_until
from summary import main
from test_changes import Rig, git, read

FIRST = "remember heron\nspawn 1000"  # a tool in a session of its own
WORK = FIRST + "\nwrite a.txt one"
ENDLESS = "say begun\nsleep 600000"
SOON_OVER = "say begun\nsleep 400"


@dataclass
class Row:
    verb: str                     # below the session's path; DELETE with its query else
    before: str                   # the first prompt
    running: str = ""             # the prompt that runs when the verb comes
    killed: bool = False          # its agent was killed before
    nested: bool = False          # somebody made a repository in its checkout
    after: str = ""               # a verb that came before
    answer: str = "ok"            # or the code of the problem
    ending: str = ""              # of the running turn
    state: str = "open"           # or "gone": 404
    agent: bool = False           # lives
    checkout: bool = True
    salvage: int = 0              # refs
    log: str = "whole"            # or "gone"
    prompt: str = "resume"        # the rung that takes it, or the code of the problem
    back: str = ""                # the verb that brings the session back; else none does

    def __str__(self):
        words = [self.verb, "with work" if self.before == WORK else "clean",
                 "running" if self.running else "idle", "agent killed" if self.killed else "",
                 "a repository within" if self.nested else "",
                 f"after {self.after}" if self.after else ""]
        return ", ".join(word for word in words if word)


KILL = "agents/scripted/kill"
ROWS = [
    Row(KILL, WORK),
    Row(KILL, WORK, running=ENDLESS, ending="interrupted"),
    Row(KILL, FIRST, killed=True),

    Row("close", FIRST, state="closed", checkout=False, prompt="session_closed", back="revive"),
    Row("close", FIRST, running=SOON_OVER, ending="completed", state="closed", checkout=False,
        prompt="session_closed", back="revive"),
    Row("close", WORK, running=SOON_OVER, ending="completed", state="closed", salvage=1,
        prompt="session_closed", back="revive"),
    Row("close", FIRST, killed=True, state="closed", checkout=False, prompt="session_closed", back="revive"),
    Row("close", WORK, killed=True, state="closed", salvage=1, prompt="session_closed", back="revive"),
    Row("close", FIRST, after="close", state="closed", checkout=False, prompt="session_closed", back="revive"),

    Row("archive", WORK, state="archived", prompt="session_closed", back="unarchive"),
    Row("archive", WORK, running=SOON_OVER, ending="completed", state="archived",
        prompt="session_closed", back="unarchive"),
    Row("archive", FIRST, killed=True, state="archived", prompt="session_closed", back="unarchive"),
    Row("archive", FIRST, after="close", answer="session_closed", state="closed", checkout=False,
        prompt="session_closed", back="revive"),

    Row("?", FIRST, state="gone", checkout=False, prompt="session_not_found"),
    Row("?", FIRST, killed=True, state="gone", checkout=False, prompt="session_not_found"),
    Row("?", WORK, answer="worktree_has_work", agent=True, prompt="live"),
    Row("?", FIRST, running=ENDLESS, answer="worktree_has_work", agent=True, prompt="live"),
    Row("?force=1", WORK, state="gone", checkout=False, salvage=1, prompt="session_not_found"),
    Row("?force=1", WORK, running=ENDLESS, ending="cancelled", state="gone", checkout=False, salvage=1,
        prompt="session_not_found"),
    Row("?force=1", WORK, nested=True, answer="nested_repository"),
    Row("?force=nested", WORK, nested=True, state="gone", checkout=False, salvage=1, prompt="session_not_found"),
    Row("?", FIRST, after="close", state="gone", checkout=False, prompt="session_not_found"),
    Row("?force=1", WORK, after="archive", state="gone", checkout=False, salvage=1, prompt="session_not_found"),
    Row("?", FIRST, after="?", answer="session_not_found", state="gone", checkout=False,
        prompt="session_not_found"),

    Row("?purge=1", FIRST, state="gone", checkout=False, log="gone", prompt="session_not_found"),
    Row("?purge=1", WORK, answer="worktree_has_work", agent=True, prompt="live"),
    Row("?purge=1&force=1", WORK, running=ENDLESS, ending="cancelled", state="gone", checkout=False, salvage=1,
        log="gone", prompt="session_not_found"),
    Row("?purge=1", FIRST, after="?", state="gone", checkout=False, log="gone", prompt="session_not_found"),
    Row("?purge=1", FIRST, after="?purge=1", answer="session_not_found", state="gone", checkout=False, log="gone",
        prompt="session_not_found"),
]


class Verbs(Rig):

    def do(self, session, verb):
        """The code of the problem, or "ok"."""
        path = session_path(session)
        try:
            if verb.startswith("?"):
                self.client.call("DELETE", path + verb)
            else:
                self.client.post(f"{path}/{verb}")
        except Problem as problem:
            return problem.code
        return "ok"

    def begin(self, row):
        """A session as the row wants it: (id, folder, key, environment entry of its agent, turn, log)."""
        session, folder = self.open()
        self.turn(session, row.before)
        with open(f"/proc/{self.client.agents(session)[0]['pid']}/environ", encoding="utf-8") as environ:
            tag = next(entry for entry in environ.read().split("\0") if entry.startswith("BERTH_TAG="))
        self.assertEqual(len(processes_with(tag)), 2, "the agent and its tool")
        key = self.client.session(session)["key"]
        if row.killed:
            self.assertEqual(self.do(session, KILL), "ok")
        if row.nested:
            make_repository(os.path.join(folder, "inner"))
        if row.after:
            self.assertEqual(self.do(session, row.after), "ok")
        turn = None
        if row.running:
            with self.client.events(session) as stream:
                turn = self.client.prompt(session, row.running)["id"]
                stream.wait_for_text("begun")
        log = [] if row.after == "?purge=1" else self.client.log(session)
        return session, folder, key, tag, turn, log

    def check_turn(self, row, session, turn):
        log = self.client.log(session)
        endings = [event.data["state"] for event in log if event.type == "turn.ended" and event.turn == turn]
        self.assertEqual(endings, [row.ending] if row.ending else [])

    def check_log(self, row, session, before):
        path = session_path(session)
        if row.log == "gone":
            for way in ("events", "transcript"):
                self.assertEqual(self.client.raw("GET", f"{path}/{way}").status, 404)
            return
        log = self.client.log(session)
        self.assertEqual([event.seq for event in log], list(range(1, len(log) + 1)))
        self.assertEqual([event.content() for event in log[:len(before)]], [event.content() for event in before])
        self.assertIn("remember heron", self.client.raw("GET", f"{path}/transcript").body.decode())

    def check_prompt(self, row, session):
        """What a later prompt does: it is refused, or the agent comes back with its memory."""
        if row.prompt not in ("live", "resume"):
            with self.assertRaises(Problem) as caught:
                self.client.prompt(session, "recall")
            self.assertEqual(caught.exception.code, row.prompt)
            return
        if row.running and not row.ending:
            self.client.post(session_path(session, "cancel"))
            wait_until(lambda: self.client.session(session)["turn"] is None)
        before = self.client.log(session)[-1].seq
        self.client.post(session_path(session, "resume-queue"))
        self.turn(session, "recall")
        after = self.client.log(session, before)
        self.assertIn("heron", text_of(after))
        rungs = [event.data["rung"] for event in after if event.type == "agent.attached"]
        self.assertEqual(rungs, [] if row.prompt == "live" else [row.prompt])

    def check(self, row):
        session, folder, key, tag, turn, log = self.begin(row)
        self.assertEqual(self.do(session, row.verb), row.answer)
        listed = [s["id"] for s in self.client.get("/v1/sessions")["sessions"]]
        if row.state == "gone":
            self.assertEqual(self.client.raw("GET", session_path(session)).status, 404)
        else:
            self.assertEqual(self.client.session(session)["state"], row.state)
        self.assertEqual(session in listed, row.state in ("open", "closed"))
        if row.agent:
            self.assertEqual(len(processes_with(tag)), 2)
        else:
            self.assertEqual(describe(processes_with(tag)), [], "of the agent and its tool")
        if turn and row.log == "whole":
            self.check_turn(row, session, turn)
        self.assertEqual(os.path.exists(folder), row.checkout)
        registered = git(self.repository, "worktree", "list", "--porcelain").split()
        self.assertEqual(folder in registered, row.checkout)
        if row.checkout and row.before == WORK:
            self.assertEqual(read(folder, "a.txt"), "one\n")
        salvage = self.refs(f"refs/berth/x/{key}")
        self.assertEqual(len(salvage), row.salvage)
        for ref in salvage:
            self.assertEqual(git(self.repository, "show", ref + ":a.txt"), "one\n")
        if row.state != "gone":
            self.assertIn(f"refs/berth/s/{key}/1", self.refs(f"refs/berth/s/{key}"), "the snapshot of its first turn")
        self.check_log(row, session, log)
        self.check_prompt(row, session)
        for back in ("revive", "unarchive"):
            if back == row.back:
                self.assertEqual(self.do(session, back), "ok")
                self.check_prompt(Row(row.verb, row.before), session)
                self.assertEqual(read(folder, "README.md"), "# sample\n")
                if row.before == WORK:
                    self.assertEqual(read(folder, "a.txt"), "one\n")
            elif row.state == "gone":
                self.assertEqual(self.do(session, back), "session_not_found")
        if row.state == "gone":
            with self.assertRaises(Problem) as caught:
                self.client.open(id=session)
            self.assertEqual(caught.exception.code, "session_conflict", "an id is never given out again")

    def test_each_verb_in_each_state_of_a_session(self):
        for row in ROWS:
            with self.subTest(str(row)):
                self.check(row)

    def test_what_a_deleted_session_left_is_there_after_a_kill_of_the_server_and_goes_with_its_purge(self):
        session, _ = self.open()
        self.turn(session, FIRST)
        self.assertEqual(self.do(session, "?"), "ok")
        log = self.client.log(session)
        self.restart()
        self.assertEqual([e.content() for e in self.client.log(session)], [e.content() for e in log])
        self.assertEqual(self.do(session, "?purge=1"), "ok")
        self.restart()
        self.assertEqual(self.client.raw("GET", session_path(session, "events")).status, 404)
        self.assertEqual(self.do(session, "?purge=1"), "session_not_found")


if __name__ == "__main__":
    main()
