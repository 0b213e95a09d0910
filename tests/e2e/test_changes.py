#!/usr/bin/python3
"""What happens to a session's files: who changed what, apply, discard, restore, close and delete, on real repositories."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Problem, session_path
from berth_server import BINARY, Server, make_repository, wait_until
from summary import figure, main

AGENT = os.path.join(os.path.dirname(BINARY), "..", "bench", "agents", "berth-scripted-agent")
SECOND = f'[agents.second]\ncommand = "{AGENT}"\n'
TEST_IDENTITY = {"GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@example.org",
                 "GIT_COMMITTER_NAME": "Test", "GIT_COMMITTER_EMAIL": "test@example.org"}


def git(folder, *arguments, text=None, check=True):
    done = subprocess.run(["git", "-C", folder, *arguments], input=text, text=True, check=False,
                          capture_output=True, env={**os.environ, **TEST_IDENTITY})
    if check and done.returncode != 0:
        raise AssertionError(f"git {arguments}: {done.stderr}")
    return done.stdout


def read(*parts):
    with open(os.path.join(*parts), encoding="utf-8") as file:
        return file.read()


def write(text, *parts):
    with open(os.path.join(*parts), "w", encoding="utf-8") as file:
        file.write(text)


class Rig(unittest.TestCase):
    """A server and a repository; `open` makes a session in a worktree of it."""

    CONFIG = SECOND

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="berth-changes-"))
        self.repository = os.path.join(self.folder, "repository")
        os.mkdir(self.repository)
        make_repository(self.repository)
        self.server = self.enterContext(Server(self.CONFIG))
        self.client = self.server.client

    def open(self, **options):
        session = self.client.open(repository=self.repository, **options)
        self.assertEqual(session["workspace"]["mode"], "worktree")
        return session["id"], session["workspace"]["directory"]

    def turn(self, session, prompt, **options):
        """Runs a turn to its end and waits for its snapshot; returns its number."""
        number = self.client.prompt(session, prompt, wait=20, **options)["number"]
        self.recorded(session, number)
        return number

    def recorded(self, session, number):
        def found():
            for event in self.client.log(session):
                if event.type == "change.recorded" and event.turn and \
                        event.data["turn_number"] == number:
                    return event
            return None
        return wait_until(found, 20, lambda: f"no change.recorded of turn {number}")

    def change(self, session, query=""):
        return self.client.get(session_path(session, "changes") + query)

    def files(self, session, query=""):
        return {file["path"]: file for file in self.change(session, query)["files"]}

    def apply(self, session, **body):
        return self.client.post(session_path(session, "changes/apply"), body)

    def in_background(self, method, path, body=None):
        """A request of a process of its own, whose answer nobody may live to see."""
        code = ("import sys, json; sys.path.insert(0, sys.argv[1]); from berth_client import Client;"
                "Client(*sys.argv[2:4]).call(sys.argv[4], sys.argv[5], json.loads(sys.argv[6]))")
        here = os.path.dirname(os.path.abspath(__file__))
        return subprocess.Popen([sys.executable, "-c", code, here, self.client.url, self.client.token,
                                 method, path, json.dumps(body)], stderr=subprocess.DEVNULL)

    def kill(self):
        """kill -9. As with git itself, a kill in the moment of writing a person's branch leaves its lock file to that
        person; those of berth's own refs are berth's to remove."""
        self.server.kill()
        heads = os.path.join(self.repository, ".git", "refs", "heads")
        for parent, folders, names in os.walk(heads):
            if parent == heads and "berth" in folders:
                folders.remove("berth")
            for name in names:
                if name.endswith(".lock"):
                    os.unlink(os.path.join(parent, name))

    def restart(self):
        self.kill()
        self.server.start()
        self.client = self.server.client

    def refs(self, pattern="refs/berth"):
        return git(self.repository, "for-each-ref", "--format=%(refname)", pattern).split()


class Badges(Rig):

    def test_each_file_names_the_turns_and_agents_that_touched_it(self):
        session, _ = self.open()
        self.turn(session, "write a.txt one\nwrite shared.txt one")
        self.turn(session, "write b.txt two\nwrite shared.txt two", agent="second")
        self.turn(session, "append a.txt three")
        files = self.files(session)
        self.assertEqual(set(files), {"a.txt", "b.txt", "shared.txt"})
        self.assertEqual((files["a.txt"]["turn"], files["a.txt"]["agent"]), (3, "scripted"))
        self.assertEqual(files["a.txt"]["touched_by"],
                         [{"turn": 1, "agent": "scripted"}, {"turn": 3, "agent": "scripted"}])
        self.assertIsNone(files["a.txt"]["note"])
        self.assertEqual(files["b.txt"]["touched_by"], [{"turn": 2, "agent": "second"}])
        self.assertEqual(files["shared.txt"]["agent"], "second")
        self.assertEqual(files["shared.txt"]["note"],
                         "changed by scripted (turn 1) and by second (turn 2)")

    def test_what_a_person_changes_between_turns_has_no_agent(self):
        session, folder = self.open()
        self.turn(session, "write a.txt one\nwrite b.txt one")
        write("by hand\n", folder, "a.txt")
        write("by hand\n", folder, "own.txt")
        self.turn(session, "append b.txt two")
        files = self.files(session)
        self.assertEqual(files["own.txt"]["touched_by"], [{"turn": 1, "agent": None}])
        self.assertEqual(files["a.txt"]["touched_by"],
                         [{"turn": 1, "agent": "scripted"}, {"turn": 1, "agent": None}])
        self.assertIsNone(files["a.txt"]["agent"])
        self.assertEqual(files["a.txt"]["note"], "changed by scripted (turn 1) and by hand after turn 1")
        self.assertEqual(files["b.txt"]["touched_by"],
                         [{"turn": 1, "agent": "scripted"}, {"turn": 2, "agent": "scripted"}])
        outside = [e for e in self.client.log(session) if e.type == "change.recorded" and not e.turn]
        self.assertEqual([e.data["touched"] for e in outside], [["a.txt", "own.txt"]])

    def test_a_person_is_first_too_and_is_seen_without_a_turn(self):
        session, folder = self.open()
        write("mine\n", folder, "own.txt")
        self.assertEqual(self.files(session), {})
        files = self.files(session, "?refresh=1")
        self.assertEqual(files["own.txt"]["touched_by"], [{"turn": 0, "agent": None}])
        self.turn(session, "say nothing")
        self.assertEqual(self.files(session)["own.txt"]["touched_by"], [{"turn": 0, "agent": None}])

    def test_queued_turns_get_their_own_files(self):
        session, _ = self.open()
        agents = ["scripted", "second"]
        last = 12
        for number in range(1, last + 1):
            self.client.prompt(session, f"write f{number}.txt x\nappend log.txt {number}",
                               agent=agents[number % 2])
        self.recorded(session, last)
        files = self.files(session)
        for number in range(1, last + 1):
            self.assertEqual(files[f"f{number}.txt"]["touched_by"],
                             [{"turn": number, "agent": agents[number % 2]}])
        self.assertEqual([t["turn"] for t in files["log.txt"]["touched_by"]],
                         list(range(1, last + 1)))

    def test_a_renamed_file_keeps_its_history(self):
        session, folder = self.open()
        text = "".join(f"line {i}\n" for i in range(50))
        self.turn(session, "say nothing")
        write(text, folder, "old.txt")
        self.turn(session, "append old.txt more")
        os.rename(os.path.join(folder, "old.txt"), os.path.join(folder, "new.txt"))
        self.turn(session, "say nothing")
        touched = self.files(session)["new.txt"]["touched_by"]
        self.assertIn({"turn": 2, "agent": "scripted"}, touched)
        self.assertEqual(touched[-1], {"turn": 2, "agent": None})

    def test_badges_survive_a_kill_of_the_server(self):
        session, folder = self.open()
        self.turn(session, "write a.txt one")
        self.server.kill()
        write("by hand\n", folder, "own.txt")
        self.server.start()
        self.client = self.server.client
        self.turn(session, "write b.txt two", agent="second")
        files = self.files(session)
        self.assertEqual(files["a.txt"]["touched_by"], [{"turn": 1, "agent": "scripted"}])
        self.assertEqual(files["own.txt"]["touched_by"], [{"turn": 1, "agent": None}])
        self.assertEqual(files["b.txt"]["touched_by"], [{"turn": 2, "agent": "second"}])

    def test_a_turn_that_a_kill_interrupts_gets_its_files(self):
        session, _ = self.open()
        self.turn(session, "write a.txt one")
        with self.client.events(session) as stream:
            self.client.prompt(session, "write b.txt two\nsay written\nhang")
            stream.wait_for_text("written")
            self.server.kill()
        self.server.start()
        self.client = self.server.client
        self.recorded(session, 2)
        files = self.files(session)
        self.assertEqual(files["b.txt"]["touched_by"], [{"turn": 2, "agent": "scripted"}])
        self.assertEqual(files["a.txt"]["touched_by"], [{"turn": 1, "agent": "scripted"}])


class Impatient(Rig):

    CONFIG = SECOND + "[limits]\nsnapshot_wait_max = 0.0001\n"

    def test_a_snapshot_that_is_not_waited_for_is_skipped_and_the_next_names_both_turns(self):
        session, _ = self.open()
        with self.client.events(session) as stream:
            self.client.prompt(session, "write a.txt one\nsleep 300")
            self.client.prompt(session, "write b.txt two\nsleep 300", agent="second")
            stream.wait_for(lambda e: e.type == "change.recorded" and e.data["turn_number"] == 2)
            events = [e for e in stream.seen if e.type == "change.recorded" and e.turn]
        self.assertEqual([e.data["outcome"] for e in events], ["skipped", "recorded"])
        self.assertIn("snapshot_wait_max", events[0].data["reason"])
        both = [{"turn": 1, "agent": "scripted"}, {"turn": 2, "agent": "second"}]
        self.assertEqual(events[1].data["turns"], both)
        change = self.change(session)
        self.assertEqual((change["outcome"], change["pending_turns"]), ("recorded", []))
        self.assertEqual(self.files(session)["a.txt"]["touched_by"], both)
        self.assertEqual(self.files(session)["b.txt"]["touched_by"], both)
        turns = self.client.get(session_path(session, "turns"))["turns"]
        self.assertEqual([turn["snapshot"] is None for turn in turns], [False, True])


class Reading(Rig):

    def test_any_turn_against_any_turn_as_list_as_patch_and_as_mail(self):
        session, _ = self.open()
        for number in range(1, 5):
            self.turn(session, f"write f{number}.txt {number}\nappend log.txt {number}")
        between = self.files(session, "?from=turn:2&to=turn:4")
        self.assertEqual(set(between), {"f3.txt", "f4.txt", "log.txt"})
        self.assertEqual((between["log.txt"]["additions"], between["log.txt"]["deletions"]), (2, 0))
        self.assertEqual(set(self.files(session, "?from=before:3&to=turn:3")), {"f3.txt", "log.txt"})
        backwards = self.files(session, "?from=turn:4&to=turn:3")
        self.assertEqual(backwards["f4.txt"]["status"], "deleted")
        path = session_path(session, "changes/patch")
        patch = self.client.raw("GET", path + "?from=turn:2&to=turn:4&path=f3.txt&path=log.txt").body.decode()
        self.assertIn("+++ b/f3.txt", patch)
        self.assertNotIn("f4.txt", patch)
        mail = self.client.raw("GET", session_path(session, "changes/mail") + "?message=All+of+it").body.decode()
        git(self.repository, "am", text=mail)
        self.assertEqual(read(self.repository, "log.txt").split(), ["1", "2", "3", "4"])
        message = git(self.repository, "log", "-1", "--format=%an|%s|%b")
        self.assertIn("berth|All of it|", message)
        self.assertIn("Berth-Agent: scripted", message)

    def test_lists_and_patches_have_limits_that_they_tell_of(self):
        session, _ = self.open()
        self.turn(session, "\n".join(f"write f{i}.txt {'x' * 100}" for i in range(20)))
        change = self.change(session, "?limit=5")
        self.assertEqual((len(change["files"]), change["files_total"], change["files_truncated"]), (5, 20, True))
        reply = self.client.raw("GET", session_path(session, "changes/patch") + "?bytes=1000")
        self.assertEqual(reply.headers.get("x-berth-truncated"), "1")
        self.assertLessEqual(len(reply.body), 1000)

    def test_questions_that_make_no_sense_are_told_so(self):
        session, _ = self.open()
        plain = self.client.open()["id"]
        for path, status, code in [
                (session_path(session, "changes?from=turn:x"), 422, "bad_field"),
                (session_path(session, "changes?from=turn:7"), 404, "snapshot_not_found"),
                (session_path(session, "changes/patch?to=never"), 422, "bad_field"),
                (session_path(plain, "changes"), 404, "no_worktree"),
                (session_path(plain, "worktree"), 404, "no_worktree")]:
            with self.assertRaises(Problem) as caught:
                self.client.get(path)
            self.assertEqual((caught.exception.status, caught.exception.code), (status, code), path)
        for verb, body in [("apply", {"to": "moon"}), ("apply", {"to": "branch"}), ("apply", {"paths": []}),
                           ("apply", {"paths": "a"}), ("discard", {"dry_run": 1}), ("restore", {}),
                           ("apply", {"author": "me", "branch": "main"}), ("discard", {"paths": [1]})]:
            with self.assertRaises(Problem) as caught:
                self.client.post(session_path(session, "changes", verb), body)
            self.assertEqual((caught.exception.status, caught.exception.code), (422, "bad_field"), body)


class Applying(Rig):

    def test_a_commit_on_the_branch_moves_the_checkout_and_the_baseline(self):
        session, _ = self.open(title="Make it better")
        self.turn(session, "write a.txt one\nwrite README.md changed")
        dry = self.apply(session, branch="main", dry_run=True)
        self.assertEqual((dry["applied"], sorted(dry["files"])), (False, ["README.md", "a.txt"]))
        self.assertFalse(os.path.exists(os.path.join(self.repository, "a.txt")))
        done = self.apply(session, branch="main", author={"name": "A Person", "email": "a@example.org"},
                          trailers={"Reviewed-by": "B"})
        self.assertTrue(done["applied"])
        self.assertEqual(git(self.repository, "rev-parse", "main").strip(), done["commit"])
        self.assertEqual(git(self.repository, "status", "--porcelain"), "")
        self.assertEqual(read(self.repository, "a.txt"), "one\n")
        told = git(self.repository, "log", "-1", "--format=%an <%ae>|%s|%(trailers:unfold,separator=%x2C)")
        self.assertEqual(told.strip(), "A Person <a@example.org>|Make it better|"
                         f"Reviewed-by: B,Berth-Agent: scripted,Berth-Session: {session}")
        self.assertEqual(self.files(session), {})
        self.turn(session, "say nothing")
        self.assertEqual(self.files(session), {}, "an empty turn has an empty change")
        self.turn(session, "append a.txt two")
        files = self.files(session)
        self.assertEqual(set(files), {"a.txt"})
        self.assertEqual(files["a.txt"]["touched_by"], [{"turn": 3, "agent": "scripted"}])
        self.assertTrue(self.apply(session, branch="main")["applied"])
        self.assertEqual(read(self.repository, "a.txt"), "one\ntwo\n")

    def test_working_files_take_some_of_it_and_the_rest_stays_open(self):
        session, folder = self.open()
        self.turn(session, "write a.txt one\nwrite b.txt one")
        write("by hand\n", folder, "own.txt")
        head = git(self.repository, "rev-parse", "HEAD")
        done = self.apply(session, paths=["a.txt", "own.txt"])
        self.assertEqual((done["to"], sorted(done["files"])), ("working_files", ["a.txt", "own.txt"]))
        self.assertEqual(git(self.repository, "rev-parse", "HEAD"), head)
        self.assertEqual(git(self.repository, "status", "--porcelain").split("\n")[:-1], ["?? a.txt", "?? own.txt"])
        self.assertEqual(set(self.files(session)), {"b.txt"})
        again = self.apply(session)
        self.assertEqual(again["files"], ["b.txt"])
        self.assertTrue(self.apply(session)["unchanged"])

    def test_a_conflict_is_reported_and_nothing_is_half_done(self):
        session, _ = self.open()
        self.turn(session, "write README.md theirs\nwrite a.txt one")
        write("ours\n", self.repository, "README.md")
        git(self.repository, "commit", "-qam", "Ours")
        tip = git(self.repository, "rev-parse", "main")
        with self.assertRaises(Problem) as caught:
            self.apply(session, branch="main")
        self.assertEqual((caught.exception.status, caught.exception.code), (409, "apply_conflicts"))
        self.assertEqual(caught.exception.body["body"]["conflicts"], [{"path": "README.md", "reason": "content"}])
        self.assertEqual(git(self.repository, "rev-parse", "main"), tip)
        self.assertFalse(os.path.exists(os.path.join(self.repository, "a.txt")))
        self.assertEqual(set(self.files(session)), {"README.md", "a.txt"}, "the change is still open")

    def test_a_kill_during_an_apply_leaves_it_done_or_undone(self):
        session, _ = self.open()
        names = [f"f{i:03}.txt" for i in range(200)]

        def holding(text):
            return [name for name in names if os.path.exists(os.path.join(self.repository, name))
                    and text in read(self.repository, name)]

        in_the_middle = 0
        for attempt in range(4):
            mark = f"round {attempt}"
            self.turn(session, "\n".join(f"append {name} {mark}" for name in names))
            tip = git(self.repository, "rev-parse", "main")
            asking = self.in_background("POST", session_path(session, "changes/apply"), {"branch": "main"})
            wait_until(lambda: asking.poll() is not None or len(holding(mark)) > attempt * 40, 20)
            self.kill()
            in_the_middle += asking.wait() != 0 and len(holding(mark)) < len(names)
            self.server.start()
            self.client = self.server.client
            moved = git(self.repository, "rev-parse", "main") != tip
            self.assertEqual(len(holding(mark)), len(names) if moved else 0)
            self.assertEqual(git(self.repository, "status", "--porcelain"), "")
            self.assertEqual(os.listdir(os.path.join(self.server.state, "apply")), [])
            self.apply(session, branch="main")
            self.assertEqual((len(holding(mark)), self.files(session)), (len(names), {}))
            self.assertEqual(git(self.repository, "status", "--porcelain"), "")
        figure("kills in the middle of an apply, of 4", in_the_middle)


class GoingBack(Rig):

    def test_discarding_some_files_and_then_all(self):
        session, folder = self.open()
        self.turn(session, "write a.txt one\nwrite b.txt one\nwrite README.md changed")
        dry = self.client.post(session_path(session, "changes/discard"), {"paths": ["a.txt"], "dry_run": True})
        self.assertEqual(dry["files"], [{"path": "a.txt", "removed": True}])
        self.assertTrue(os.path.exists(os.path.join(folder, "a.txt")))
        self.client.post(session_path(session, "changes/discard"), {"paths": ["a.txt"]})
        self.assertFalse(os.path.exists(os.path.join(folder, "a.txt")))
        self.assertEqual(set(self.files(session)), {"b.txt", "README.md"})
        done = self.client.post(session_path(session, "changes/discard"))
        self.assertEqual(self.files(session), {})
        self.assertEqual(git(folder, "status", "--porcelain"), "")
        self.assertEqual(git(self.repository, "show", done["salvage_ref"] + ":b.txt"), "one\n")

    def test_restoring_a_turn_brings_files_and_badges_back(self):
        session, folder = self.open()
        self.turn(session, "write a.txt one")
        self.turn(session, "append a.txt two\nwrite b.txt two", agent="second")
        write("mine\n", folder, "own.txt")
        path = session_path(session, "changes/restore")
        dry = self.client.post(path, {"turn": 1, "dry_run": True})
        self.assertEqual({f["path"]: f["removed"] for f in dry["files"]},
                         {"a.txt": False, "b.txt": True, "own.txt": True})
        self.assertEqual(read(folder, "a.txt"), "one\ntwo\n")
        done = self.client.post(path, {"turn": 1})
        self.assertEqual(read(folder, "a.txt"), "one\n")
        self.assertEqual(sorted(os.listdir(folder)), [".git", "README.md", "a.txt"])
        files = self.files(session)
        self.assertEqual(set(files), {"a.txt"})
        self.assertEqual(files["a.txt"]["touched_by"], [{"turn": 1, "agent": "scripted"}])
        self.assertEqual(git(self.repository, "show", done["salvage_ref"] + ":own.txt"), "mine\n")
        self.turn(session, "append a.txt three")
        self.assertEqual([t["turn"] for t in self.files(session)["a.txt"]["touched_by"]], [1, 3])

    def test_nothing_is_restored_under_a_running_turn(self):
        session, folder = self.open()
        self.turn(session, "write a.txt one")
        with self.client.events(session) as stream:
            self.client.prompt(session, "say begun\nsleep 60000")
            stream.wait_for_text("begun")
            with self.assertRaises(Problem) as caught:
                self.client.post(session_path(session, "changes/discard"))
            self.assertEqual((caught.exception.status, caught.exception.code), (409, "turn_running"))
            self.client.post(session_path(session, "cancel"))
        self.assertEqual(read(folder, "a.txt"), "one\n")


class Lifecycle(Rig):

    def worktree(self, session):
        return self.client.get(session_path(session, "worktree"))

    def test_the_guard_tells_all_it_knows(self):
        session, folder = self.open()
        clean = self.worktree(session)
        self.assertTrue(clean["exists"] and clean["loses_nothing"])
        self.turn(session, "write a.txt one\nwrite README.md changed")
        git(folder, "commit", "-q", "--allow-empty", "-m", "Work")
        told = self.worktree(session)
        self.assertEqual((told["dirty"], told["changed"], told["untracked"], told["unpushed"],
                          told["open_change"]["files"], told["running"], told["loses_nothing"]),
                         (True, 1, 1, 1, 2, False, False))
        self.assertEqual(told["head"], git(folder, "rev-parse", "HEAD").strip())
        os.rename(folder, folder + ".away")
        self.assertFalse(self.worktree(session)["exists"])
        os.rename(folder + ".away", folder)
        write("not a pointer\n", folder, ".git")
        told = self.worktree(session)
        self.assertEqual((told["unknown"], told["loses_nothing"]), (True, False))

    def test_what_is_not_fetched_is_told_and_marked(self):
        """A shallow clone with a submodule and a file of git-lfs: all three are said, none is fetched or lost."""
        source, shallow = os.path.join(self.folder, "source"), os.path.join(self.folder, "shallow")
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 5\n"
        os.mkdir(source)
        make_repository(source)
        write(pointer, source, "big.bin")
        git(source, "-c", "protocol.file.allow=always", "submodule", "add", "-q", self.repository, "parts")
        git(source, "add", "-A")
        git(source, "commit", "-q", "-m", "With parts")
        git(self.folder, "clone", "-q", "--depth", "1", "file://" + source, shallow)
        session = self.client.open(repository=shallow)["id"]
        told = self.worktree(session)
        self.assertEqual(told["not_there"], {"submodules": ["parts"], "lfs_pointers": ["big.bin"], "shallow": True})
        self.assertTrue(told["loses_nothing"])
        self.turn(session, "write big.bin plain now\nwrite other.bin text")
        folder = self.client.session(session)["workspace"]["directory"]
        write(pointer.replace("a", "b"), folder, "third.bin")
        os.rmdir(os.path.join(folder, "parts"))
        kinds = {path: file["kind"] for path, file in self.files(session, "?refresh=1").items()}
        self.assertEqual(kinds, {"big.bin": None, "other.bin": None, "third.bin": "lfs", "parts": "submodule"})
        session, _ = self.open()
        self.assertEqual(self.worktree(session)["not_there"], {"submodules": [], "lfs_pointers": [], "shallow": False})

    def test_delete_is_refused_with_the_report_and_salvages_when_forced(self):
        session, folder = self.open()
        key = self.client.session(session)["key"]
        self.turn(session, "write a.txt one")
        with self.assertRaises(Problem) as caught:
            self.client.call("DELETE", session_path(session))
        self.assertEqual((caught.exception.status, caught.exception.code), (409, "worktree_has_work"))
        self.assertEqual(caught.exception.body["body"]["untracked"], 1)
        self.turn(session, "say still here")
        self.client.call("DELETE", session_path(session) + "?force=1")
        self.assertFalse(os.path.exists(folder))
        salvage = self.refs(f"refs/berth/x/{key}")
        self.assertEqual(len(salvage), 1)
        self.assertEqual(git(self.repository, "show", salvage[0] + ":a.txt"), "one\n")
        with self.assertRaises(Problem) as caught:
            self.client.session(session)
        self.assertEqual(caught.exception.status, 404)

    def test_close_removes_what_is_clean_and_revive_makes_it_again(self):
        session, folder = self.open()
        self.turn(session, "remember heron\nsay nothing")
        closed = self.client.post(session_path(session, "close"))
        self.assertEqual((closed["state"], closed["workspace"]["ready"]), ("closed", False))
        self.assertFalse(os.path.exists(folder))
        with self.assertRaises(Problem) as caught:
            self.client.prompt(session, "say no")
        self.assertEqual(caught.exception.code, "session_closed")
        revived = self.client.post(session_path(session, "revive"))
        self.assertEqual((revived["state"], revived["workspace"]["ready"]), ("open", True))
        self.assertEqual(read(folder, "README.md"), "# sample\n")
        self.turn(session, "recall\nwrite b.txt two")
        self.assertIn("heron", str([e.data for e in self.client.log(session)]))
        self.assertEqual(set(self.files(session)), {"b.txt"})

    def test_close_keeps_what_holds_work_and_says_so(self):
        session, folder = self.open()
        key = self.client.session(session)["key"]
        self.turn(session, "write a.txt one")
        write("mine\n", folder, "own.txt")
        closed = self.client.post(session_path(session, "close"))
        self.assertEqual((closed["state"], closed["workspace"]["ready"]), ("closed", True))
        self.assertTrue(closed["workspace"]["kept"])
        self.assertEqual(read(folder, "a.txt"), "one\n")
        salvage = self.refs(f"refs/berth/x/{key}")
        self.assertEqual(git(self.repository, "show", salvage[0] + ":own.txt"), "mine\n")
        self.assertIn("own.txt", self.files(session))
        self.client.post(session_path(session, "revive"))
        self.turn(session, "append a.txt two")
        self.assertEqual(read(folder, "a.txt"), "one\ntwo\n")

    def test_a_folder_that_somebody_removed_is_no_work_and_comes_back_with_its_files(self):
        session, folder = self.open()
        self.turn(session, "write a.txt one")
        shutil.rmtree(folder)
        closed = self.client.post(session_path(session, "close"))
        self.assertEqual((closed["workspace"]["ready"], closed["workspace"]["kept"]), (False, None))
        self.assertNotIn(folder, git(self.repository, "worktree", "list", "--porcelain"))
        self.client.post(session_path(session, "revive"))
        self.assertEqual(read(folder, "a.txt"), "one\n")
        self.turn(session, "append a.txt two")
        self.client.post(session_path(session, "close"))
        shutil.rmtree(folder)
        self.client.post(session_path(session, "revive"))
        self.assertEqual(read(folder, "a.txt"), "one\ntwo\n")

    def test_archived_sessions_are_hidden_and_come_back_whole(self):
        session, folder = self.open()
        self.turn(session, "write a.txt one")
        self.assertEqual(self.client.post(session_path(session, "archive"))["state"], "archived")
        listed = lambda query="": [s["id"] for s in self.client.get("/v1/sessions" + query)["sessions"]]
        self.assertNotIn(session, listed())
        self.assertIn(session, listed("?archived=1"))
        self.assertEqual(read(folder, "a.txt"), "one\n")
        with self.assertRaises(Problem):
            self.client.prompt(session, "say no")
        self.assertEqual(self.client.post(session_path(session, "unarchive"))["state"], "open")
        self.turn(session, "append a.txt two")
        self.assertEqual(read(folder, "a.txt"), "one\ntwo\n")

    def test_the_reaper_takes_what_no_session_needs_and_nothing_with_work(self):
        kept, kept_folder = self.open()
        self.turn(kept, "write a.txt one")
        lost, lost_folder = self.open()
        self.turn(lost, "write b.txt one")
        clean, clean_folder = self.open()
        self.server.kill()
        # A store that knows nothing of two of them, as after a restore from an old copy.
        database = os.path.join(self.server.state, "berth.db")
        subprocess.run([sys.executable, "-c", "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]);"
                        "c.execute('UPDATE sessions SET state=3 WHERE id IN (?,?)', sys.argv[2:]); c.commit()",
                        database, lost, clean], check=True)
        self.server.start()
        self.client = self.server.client
        young = self.client.post("/v1/reap", {})
        self.assertEqual([i for i in young["items"] if i["verdict"] == "would remove"], [])
        dry = self.client.post("/v1/reap", {"age_min_s": 0})
        found = {item["name"]: item for item in dry["items"] if item["kind"] == "worktree"}
        self.assertEqual({name: item["verdict"] for name, item in found.items()},
                         {lost_folder: "kept", clean_folder: "would remove"})
        self.assertIn("has_work", found[lost_folder]["reason"])
        self.assertGreater(found[clean_folder]["bytes"], 0)
        self.assertTrue(os.path.exists(clean_folder))
        self.client.post("/v1/reap", {"age_min_s": 0, "dry_run": False})
        self.assertEqual([os.path.exists(f) for f in (kept_folder, lost_folder, clean_folder)],
                         [True, True, False])
        self.assertEqual(os.listdir(os.path.join(self.server.state, "trash")), [])


class CommandLine(Rig):
    """The same by `berth`, as a person types it."""

    def berth(self, *arguments, expect=0, text=""):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BERTH_")}
        done = subprocess.run([BINARY, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False,
                              env={**kept, "BERTH_STATE": self.server.state})
        self.assertEqual(done.returncode, expect, f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def test_a_change_is_applied_discarded_restored_and_mailed(self):
        session, folder = self.open(title="Better")
        self.turn(session, "write a.txt one\nwrite b.txt one")
        self.turn(session, "append a.txt two")
        self.assertIn("1 file would change", self.berth("restore", session, "1", "--dry-run"))
        self.assertEqual(read(folder, "a.txt"), "one\ntwo\n")
        self.assertIn("is kept as refs/berth/x/", self.berth("restore", session, "1"))
        self.assertEqual(read(folder, "a.txt"), "one\n")
        self.berth("discard", session, "b.txt")
        self.assertFalse(os.path.exists(os.path.join(folder, "b.txt")))
        mail = self.berth("diff", "--mail", session)
        self.assertTrue(mail.startswith("From "), mail[:200])
        self.assertIn("would be applied", self.berth("apply", session, "--branch", "main", "--dry-run"))
        said = self.berth("apply", session, "--branch", "main", "-m", "By hand", "--author", "Me <me@example.org>")
        self.assertIn("applied to main as " + git(self.repository, "rev-parse", "main").strip(), said)
        self.assertEqual(git(self.repository, "log", "-1", "--format=%an <%ae> %s").strip(), "Me <me@example.org> By hand")
        self.assertIn("nothing to apply", self.berth("apply", session))

    def test_a_conflict_and_a_guarded_delete_are_told_and_fail(self):
        session, folder = self.open()
        self.turn(session, "write README.md theirs")
        write("ours\n", self.repository, "README.md")
        git(self.repository, "commit", "-qam", "Ours")
        self.assertIn("README.md", self.berth("apply", session, "--branch", "main", expect=1))
        self.berth("session", "delete", session, expect=1)
        self.assertEqual(read(folder, "README.md"), "theirs\n")
        self.assertIn("worktree is kept", self.berth("session", "close", session))
        self.berth("session", "revive", session)
        self.berth("session", "archive", session)
        self.berth("session", "unarchive", session)
        self.berth("session", "delete", "--force", session)
        self.assertFalse(os.path.exists(folder))

    def test_what_is_left_over_is_listed_with_its_size_and_removed_when_asked(self):
        session, folder = self.open()
        self.server.kill()
        subprocess.run([sys.executable, "-c", "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]);"
                        "c.execute('UPDATE sessions SET state=3'); c.commit()",
                        os.path.join(self.server.state, "berth.db")], check=True)
        self.server.start()
        shown = self.berth("doctor", "--reap", "--age", "0")
        self.assertRegex(shown, "would remove +worktree +[0-9]+ KiB +" + folder)
        self.assertTrue(os.path.exists(folder))
        self.assertIn("KiB freed", self.berth("doctor", "--reap", "--yes", "--age", "0"))
        self.assertFalse(os.path.exists(folder))


class Killed(Rig):
    """kill -9 of the server in the middle of what takes files away."""

    NAMES = [f"f{i:03}.txt" for i in range(200)]

    def fill(self, session, text):
        return self.turn(session, "\n".join(f"append {name} {text}" for name in self.NAMES))

    def test_a_restore_that_was_cut_is_finished_by_the_next_and_nothing_is_lost(self):
        session, folder = self.open()
        first = self.fill(session, "one")
        self.fill(session, "two")
        path = session_path(session, "changes/restore")

        def back():
            return sum(read(folder, name) == "one\n" for name in self.NAMES)

        asking = self.in_background("POST", path, {"turn": first})
        wait_until(lambda: asking.poll() is not None or back() > 30, 20)
        self.restart()
        figure("files restored of 200 when the server was killed", back())
        asking.wait()
        self.client.post(path, {"turn": first})
        self.assertEqual(back(), len(self.NAMES))
        self.assertEqual([f["touched_by"] for f in self.change(session)["files"]],
                         [[{"turn": first, "agent": "scripted"}]] * len(self.NAMES))
        key = self.client.session(session)["key"]
        salvaged = git(self.repository, "show", f"refs/berth/x/{key}/1:{self.NAMES[-1]}")
        self.assertEqual(salvaged, "one\ntwo\n")
        self.assertEqual(self.fill(session, "three"), 3)

    def agent_ended(self, session):
        """A deleted session has no log any more: its agent has ended too."""
        try:
            return any(event.type == "agent.exited" for event in self.client.log(session))
        except Problem as problem:
            return problem.status == 404

    def whole(self, session, folder):
        """A session that can go on: open with all its files, whatever the verb was."""
        self.assertEqual(self.client.session(session)["state"], "open")
        self.assertEqual(read(folder, "README.md"), "# sample\n")
        self.turn(session, "append more.txt x")

    def test_a_close_that_was_cut_is_gone_on_with_or_never_was(self):
        seen = set()
        for attempt in range(5):
            session, folder = self.open()
            self.turn(session, "say hello")
            asking = self.in_background("POST", session_path(session, "close"), {})
            wait_until(lambda: asking.poll() is not None or self.agent_ended(session), 20)
            if attempt % 2:
                wait_until(lambda: asking.poll() is not None or not os.path.exists(folder), 20)
            self.restart()
            asking.wait()
            wait_until(lambda: self.client.session(session)["state"] != "closing", 20)
            state = self.client.session(session)["state"]
            seen.add(state)
            if state == "closed":
                self.assertFalse(os.path.exists(folder))
                self.assertNotIn(folder, git(self.repository, "worktree", "list", "--porcelain"))
                self.client.post(session_path(session, "revive"))
            self.whole(session, folder)
        figure("states after kills during a close", ", ".join(sorted(seen)))

    def test_a_forced_delete_that_was_cut_salvaged_all_or_never_was(self):
        for attempt in range(4):
            session, folder = self.open()
            key = self.client.session(session)["key"]
            self.fill(session, "work")
            asking = self.in_background("DELETE", session_path(session) + "?force=1")
            ref = f"refs/berth/x/{key}"
            steps = [lambda: self.agent_ended(session), lambda: self.refs(ref), lambda: not os.path.exists(folder)]
            wait_until(lambda: asking.poll() is not None or steps[attempt % 3](), 20)
            self.restart()
            asking.wait()

            def settled():
                try:
                    return self.client.session(session)["state"] != "deleting"
                except Problem as problem:
                    return problem.status == 404

            wait_until(settled, 20)
            if os.path.exists(folder):
                self.assertEqual(read(folder, self.NAMES[7]), "work\n")
                self.client.call("DELETE", session_path(session) + "?force=1")
            self.assertFalse(os.path.exists(folder))
            self.assertEqual(git(self.repository, "show", f"{self.refs(ref)[0]}:{self.NAMES[7]}"), "work\n")
            self.assertNotIn(folder, git(self.repository, "worktree", "list", "--porcelain"))


class Overlay(Rig):
    """Workspaces on a shared checkout, where the machine allows it; elsewhere they say why not."""

    def open_overlay(self):
        session = self.client.open(repository=self.repository, workspace="overlay")
        opened = self.client.log(session["id"])[0].data
        if session["workspace"]["mode"] != "overlay":
            self.assertTrue(opened["fallback"])
            self.assertEqual(session["workspace"]["mode"], "worktree")
            self.skipTest("no overlays here: " + opened["fallback"])
        self.assertIsNone(opened["fallback"])
        return session["id"], session["workspace"]["directory"]

    def test_an_overlay_is_a_worktree_like_any_other(self):
        session, folder = self.open_overlay()
        self.addCleanup(lambda: subprocess.run(["umount", "-l", folder], check=False, stderr=subprocess.DEVNULL))
        self.assertTrue(os.path.ismount(folder))
        self.assertEqual(git(folder, "status", "--porcelain"), "")
        self.turn(session, "write a.txt one\nwrite README.md changed")
        write("by hand\n", folder, "own.txt")
        os.unlink(os.path.join(folder, "a.txt"))
        self.turn(session, "append README.md more", agent="second")
        files = self.files(session)
        self.assertEqual({name: file["status"] for name, file in files.items()},
                         {"README.md": "modified", "own.txt": "added"})
        self.assertEqual(files["own.txt"]["touched_by"], [{"turn": 1, "agent": None}])
        self.assertEqual([t["agent"] for t in files["README.md"]["touched_by"]], ["scripted", "second"])
        self.client.post(session_path(session, "changes/discard"))
        self.assertEqual(git(folder, "status", "--porcelain"), "")
        self.client.call("DELETE", session_path(session))
        self.assertFalse(os.path.exists(folder))

    def test_a_lost_mount_is_mounted_again_before_anybody_looks(self):
        session, folder = self.open_overlay()
        self.addCleanup(lambda: subprocess.run(["umount", "-l", folder], check=False, stderr=subprocess.DEVNULL))
        self.turn(session, "write a.txt one")
        self.server.kill()
        subprocess.run(["umount", "-l", folder], check=True)
        self.assertEqual(os.listdir(folder), [])
        self.server.start()
        self.client = self.server.client
        self.assertEqual(self.client.get(session_path(session, "worktree"))["untracked"], 1)
        subprocess.run(["umount", "-l", folder], check=True)
        self.turn(session, "append a.txt two")
        self.assertEqual(read(folder, "a.txt"), "one\ntwo\n")
        self.assertEqual(set(self.files(session)), {"a.txt"})

    def test_close_takes_the_mount_away_and_revive_brings_it_back(self):
        session, folder = self.open_overlay()
        self.addCleanup(lambda: subprocess.run(["umount", "-l", folder], check=False, stderr=subprocess.DEVNULL))
        self.turn(session, "say nothing")
        self.assertFalse(self.client.post(session_path(session, "close"))["workspace"]["ready"])
        self.assertFalse(os.path.exists(folder))
        self.client.post(session_path(session, "revive"))
        self.assertTrue(os.path.ismount(folder))
        self.turn(session, "append README.md more")
        self.assertEqual(set(self.files(session)), {"README.md"})
        self.client.call("DELETE", session_path(session) + "?force=1")
        self.assertFalse(os.path.exists(folder))


if __name__ == "__main__":
    main()
