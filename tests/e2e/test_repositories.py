#!/usr/bin/python3
"""Repositories of other kinds than a folder that libgit2 reads: named by a URL, or for the git command only; and how
long what berth leaves in them stays."""

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import Problem, session_path
from berth_server import BINARY, ROOT, Server, make_repository, wait_until
from summary import figure, main
from test_changes import Rig, SECOND, git, read, write
from test_tls import make_certificate

HTTPS_SERVER = os.path.join(ROOT, "tests", "unit", "git", "git_https_server.py")


class Clones(Rig):
    """Sessions on a repository that is named by a URL."""

    def setUp(self):
        super().setUp()
        self.url = "file://" + self.repository

    def open_url(self, **options):
        return self.client.open(**{"repository": self.url, **options})

    def refused(self, **options):
        with self.assertRaises(Problem) as caught:
            self.open_url(**options)
        return caught.exception

    def commit(self, text):
        write(text, self.repository, "README.md")
        git(self.repository, "commit", "-qam", text.strip())
        return git(self.repository, "rev-parse", "HEAD").strip()

    def clones(self):
        folder = os.path.join(self.server.state, "clones")
        return sorted(n for n in os.listdir(folder) if n.endswith(".git")) if os.path.isdir(folder) else []

    def test_a_session_works_on_a_clone_and_leaves_the_remote_alone(self):
        before = git(self.repository, "for-each-ref")
        session = self.open_url()
        workspace = session["workspace"]
        self.assertEqual(workspace["url"], self.url)
        self.assertEqual(os.path.basename(workspace["repository"]), self.clones()[0])
        self.assertEqual(workspace["base_commit"], git(self.repository, "rev-parse", "main").strip())
        self.turn(session["id"], "append README.md more")
        self.assertEqual(set(self.files(session["id"])), {"README.md"})
        patch = self.client.raw("GET", session_path(session["id"], "changes/patch")).body.decode()
        git(self.repository, "apply", "--check", "-", text=patch)
        self.assertEqual(git(self.repository, "for-each-ref"), before)
        again = self.open_url(id=session["id"])
        self.assertEqual(again["workspace"], session["workspace"])
        self.restart()
        self.turn(session["id"], "append README.md again")

    def test_twenty_sessions_at_once_make_one_clone(self):
        opened, failed = [], []

        def one():
            try:
                opened.append(self.open_url()["workspace"])
            except Problem as problem:
                failed.append(str(problem))

        threads = [threading.Thread(target=one) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])
        self.assertEqual(len({workspace["repository"] for workspace in opened}), 1)
        self.assertEqual(len({workspace["directory"] for workspace in opened}), 20)
        self.assertEqual(len(self.clones()), 1)

    def test_what_is_newer_is_fetched_when_it_may_matter(self):
        first = self.open_url()["workspace"]["base_commit"]
        second = self.commit("second\n")
        # Fetched less than a minute ago; a branch is what it was then, unless the fetch is asked for.
        self.assertEqual(self.open_url(fetch="never")["workspace"]["base_commit"], first)
        self.assertEqual(self.open_url(fetch="always")["workspace"]["base_commit"], second)
        third = self.commit("third\n")
        # A commit that is not there yet is looked for at once.
        self.assertEqual(self.refused(base=third, fetch="never").code, "rev_not_found")
        self.assertEqual(self.open_url(base=third)["workspace"]["base_commit"], third)
        git(self.repository, "branch", "new-one")
        self.assertEqual(self.open_url(base="new-one")["workspace"]["base_commit"], third)
        missing = self.refused(base="no-such-branch")
        self.assertEqual((missing.status, missing.code), (404, "rev_not_found"))
        self.assertIn("base: ", str(missing))
        # A commit that is there needs no remote; a fetch that is asked for does, and says so.
        os.rename(self.repository, self.repository + "-gone")
        self.assertEqual(self.open_url(base=second)["workspace"]["base_commit"], second)
        gone = self.refused(fetch="always")
        self.assertEqual(gone.code, "remote_not_found")
        self.assertIn("repository: ", str(gone))

    def test_mistakes_name_the_field(self):
        for options, code, said in (
                ({"repository": "http://host/repo"}, "bad_field", "repository"),
                ({"repository": "https://user:secret@host/repo"}, "bad_field", "repository"),
                ({"repository": "file://host/repo"}, "bad_url", "repository"),
                ({"repository": "file:///no/such/repository"}, "remote_not_found", "repository"),
                ({"repository": self.repository, "fetch": "always"}, "bad_field", "fetch"),
                ({"fetch": "sometimes"}, "bad_field", "fetch")):
            problem = self.refused(**options)
            self.assertEqual(problem.code, code, options)
            self.assertIn(said, str(problem))
            self.assertNotIn("secret", str(problem))
        self.assertEqual(self.clones(), [])

    def test_the_command_line_takes_a_url(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BERTH_")}
        done = subprocess.run([BINARY, "session", "new", "by-url", "--repository", self.url, "--fetch", "always"],
                              capture_output=True, text=True, check=False,
                              env={**environment, "BERTH_STATE": self.server.state})
        self.assertEqual((done.returncode, done.stdout.strip()), (0, "by-url"), done.stderr)
        self.assertEqual(self.client.session("by-url")["workspace"]["url"], self.url)


class Https(unittest.TestCase):
    """A remote that asks for a password, which the configuration names and never holds."""

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory(prefix="berth-https-"))
        self.repository = make_repository(os.path.join(self.folder, "repository"))
        git(self.folder, "clone", "-q", "--bare", "repository", os.path.join(self.folder, "served", "project.git"))
        certificate, key = make_certificate(self.folder, "remote")
        self.log = os.path.join(self.folder, "requests")
        remote = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", sys.executable, HTTPS_SERVER,
                                   os.path.join(self.folder, "served"), certificate, key, self.log],
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(remote.wait)
        self.addCleanup(remote.kill)
        self.addCleanup(remote.stdout.close)
        self.port = int(remote.stdout.readline())
        self.url = f"https://localhost:{self.port}/auth/project.git"
        self.config = f'[clones]\nca_file = "{certificate}"\n[remotes."localhost:{self.port}"]\nuser = "agent"\n'

    def serve(self, access, environment=None):
        server = self.enterContext(Server(self.config + access, environment=environment))
        return server, server.client

    def secrets_in(self, folder):
        return subprocess.run(["grep", "-rl", "sesame", folder], capture_output=True, text=True, check=False).stdout

    def test_a_password_is_taken_from_where_the_configuration_says(self):
        file = os.path.join(self.folder, "token")
        write("sesame\n", file)
        for access, environment in ((f'password_file = "{file}"\n', None),
                                    ('password_env = "REMOTE_TOKEN"\n', {"REMOTE_TOKEN": "sesame"})):
            server, client = self.serve(access, environment)
            session = client.open(repository=self.url)
            self.assertEqual(read(session["workspace"]["directory"], "README.md"), "# sample\n")
            self.assertEqual(self.secrets_in(server.folder), "")

    def test_without_it_the_remote_denies_and_the_answer_says_so(self):
        server, client = self.serve('password_env = "REMOTE_TOKEN"\n', {"REMOTE_TOKEN": "wrong-sesame"})
        with self.assertRaises(Problem) as caught:
            client.open(repository=self.url)
        self.assertEqual(caught.exception.code, "remote_denied")
        self.assertNotIn("sesame", str(caught.exception))
        self.assertEqual(self.secrets_in(server.folder), "")

    def test_a_silent_remote_ends_in_time_and_holds_up_nobody_else(self):
        self.config = self.config.replace("[clones]\n", "[clones]\ntime_max = 2\n")
        _, client = self.serve('password_env = "REMOTE_TOKEN"\n', {"REMOTE_TOKEN": "sesame"})
        answers = {}

        def ask(name):
            try:
                answers[name] = client.open(repository=f"https://localhost:{self.port}/silent/{name}.git")
            except Problem as problem:
                answers[name] = problem.code

        threads = [threading.Thread(target=ask, args=(name,)) for name in ("a", "b", "c")]
        for thread in threads:
            thread.start()
        session = client.open(repository=self.repository)["id"]
        self.assertEqual(client.prompt(session, "write a.txt one", wait=20)["state"], "completed")
        for thread in threads:
            thread.join()
        self.assertEqual(set(answers.values()), {"git_timed_out"})


class ForTheGitCommand(Rig):
    """What libgit2 cannot read goes to the git command, with the same answers."""

    def whole_turn(self):
        session = self.client.open(repository=self.repository)
        folder = session["workspace"]["directory"]
        self.assertEqual(session["workspace"]["mode"], "worktree")
        self.assertEqual(git(folder, "status", "--porcelain"), "")
        self.turn(session["id"], "append README.md more\nwrite new.txt one")
        write("by hand\n", folder, "own.txt")
        self.turn(session["id"], "append new.txt two", agent="second")
        files = self.files(session["id"])
        self.assertEqual({name: file["status"] for name, file in files.items()},
                         {"README.md": "modified", "new.txt": "added", "own.txt": "added"})
        self.assertEqual(files["own.txt"]["touched_by"], [{"turn": 1, "agent": None}])
        self.assertEqual([t["agent"] for t in files["new.txt"]["touched_by"]], ["scripted", "second"])
        self.assertEqual(set(self.files(session["id"], "?from=turn:1")), {"new.txt", "own.txt"})
        patch = self.client.raw("GET", session_path(session["id"], "changes/patch")).body.decode()
        git(self.repository, "apply", "--check", "-", text=patch)
        report = self.client.get(session_path(session["id"], "worktree"))
        self.assertEqual((report["unknown"], report["untracked"]), (False, 2))
        return session, folder

    def ends(self, session, folder):
        with self.assertRaises(Problem) as caught:
            self.client.call("DELETE", session_path(session["id"]))
        self.assertEqual(caught.exception.code, "worktree_has_work")
        self.client.call("DELETE", session_path(session["id"]) + "?force=1")
        self.assertFalse(os.path.exists(folder))
        salvage = self.refs(f"refs/berth/x/{session['key']}")[0]
        self.assertEqual(git(self.repository, "show", salvage + ":own.txt"), "by hand\n")
        self.assertEqual(os.listdir(os.path.join(self.server.state, "scratch")), [])

    def comes_back_and_is_applied(self, session, folder):
        """Discard, restore and apply in both ways, then there is nothing left to apply."""
        path = session_path(session["id"], "changes/")
        changed = set(self.files(session["id"]))
        self.client.post(path + "discard")
        self.assertEqual(git(folder, "status", "--porcelain"), "")
        self.client.post(path + "restore", {"turn": 2})
        self.assertEqual(set(self.files(session["id"])), changed)
        done = self.apply(session["id"], branch="main", message="Add it")
        self.assertEqual(set(done["files"]), changed)
        self.assertEqual(git(self.repository, "rev-parse", "main").strip(), done["commit"])
        self.assertEqual(git(self.repository, "status", "--porcelain"), "")
        self.assertEqual(self.files(session["id"]), {})
        self.turn(session["id"], "write later.txt four")
        self.assertEqual(self.apply(session["id"], to="working_files")["files"], ["later.txt"])
        self.assertEqual(git(self.repository, "status", "--porcelain"), "?? later.txt\n")

    def test_a_sha256_repository(self):
        self.repository = os.path.join(self.folder, "sha256")
        git(self.folder, "init", "-q", "-b", "main", "--object-format=sha256", self.repository)
        write("# sample\n", self.repository, "README.md")
        git(self.repository, "add", ".")
        git(self.repository, "commit", "-qm", "Start")
        session, folder = self.whole_turn()
        self.assertEqual(len(session["workspace"]["base_commit"]), 64)
        self.comes_back_and_is_applied(session, folder)
        self.restart()
        self.turn(session["id"], "append new.txt three")
        self.ends(session, folder)

    def test_a_clean_one_is_closed_and_revived(self):
        self.repository = os.path.join(self.folder, "sha256")
        git(self.folder, "init", "-q", "-b", "main", "--object-format=sha256", self.repository)
        git(self.repository, "commit", "-q", "--allow-empty", "-m", "Start")
        session = self.client.open(repository=self.repository)
        self.turn(session["id"], "say nothing")
        self.assertFalse(self.client.post(session_path(session["id"], "close"))["workspace"]["ready"])
        self.client.post(session_path(session["id"], "revive"))
        self.turn(session["id"], "write a.txt one")
        self.assertEqual(set(self.files(session["id"])), {"a.txt"})

    def test_a_partial_clone(self):
        partial = os.path.join(self.folder, "partial")
        git(self.repository, "config", "uploadpack.allowFilter", "true")
        git(self.folder, "clone", "-q", "--filter=blob:none", "file://" + self.repository, partial)
        self.repository = partial
        session, folder = self.whole_turn()
        self.ends(session, folder)

    def test_a_sparse_checkout_that_an_agent_makes(self):
        os.makedirs(os.path.join(self.repository, "big"))
        write("big\n", self.repository, "big", "file.txt")
        git(self.repository, "add", ".")
        git(self.repository, "commit", "-qm", "Big")
        session, folder = self.open()
        self.turn(session, "write a.txt one")
        git(folder, "sparse-checkout", "set", "--cone", "nothing")
        self.assertFalse(os.path.exists(os.path.join(folder, "big")))
        self.turn(session, "append a.txt two")
        # What is not there on purpose is not deleted.
        self.assertEqual(set(self.files(session)), {"a.txt"})
        git(folder, "sparse-checkout", "disable")
        self.turn(session, "append a.txt three")
        self.assertEqual(set(self.files(session)), {"a.txt"})

    def test_the_doctor_names_what_there_is(self):
        done = subprocess.run([BINARY, "--state", self.server.state, "doctor", "--json"], capture_output=True,
                              text=True, check=True)
        self.assertIn(git(self.folder, "version").strip(), done.stdout)
        self.assertIn("libgit2 1.", done.stdout)


class Retention(Rig):
    CONFIG = SECOND + "[retention]\nsnapshot_age_max = 3\nsalvage_age_max = 6\ntidy_every = 0.2\n"

    def test_refs_of_a_deleted_session_go_when_their_time_is_over_and_not_before(self):
        kept, _ = self.open()
        self.turn(kept, "write a.txt one")
        gone, _ = self.open()
        self.turn(gone, "write b.txt one")
        keys = {name: self.client.session(name)["key"] for name in (kept, gone)}
        asked = int(time.time())
        self.client.call("DELETE", session_path(gone) + "?force=1")

        def newest(ref):
            """Seconds since 1970 of the newest commit there, as berth counts them; None when all are gone."""
            times = git(self.repository, "for-each-ref", "--format=%(committerdate:unix)", ref).split()
            return max(map(int, times)) if times else None

        for name, least in ((f"refs/berth/s/{keys[gone]}", 3), (f"refs/berth/x/{keys[gone]}", 6)):
            # A machine that stands still may have let it go before the first look.
            made = newest(name) or asked
            wait_until(lambda ref=name: newest(ref) is None, 60)
            stayed = int(time.time()) - made
            self.assertGreaterEqual(stayed, least, name)
            figure(f"seconds that {name[:12]} stayed, {least} asked for", stayed)
        self.assertTrue(self.refs(f"refs/berth/s/{keys[kept]}"))
        self.turn(kept, "append a.txt two")
        self.assertEqual(set(self.files(kept)), {"a.txt"})


class CloneRetention(Rig):
    CONFIG = SECOND + "[clones]\nidle_max = 1\n[retention]\nsnapshot_age_max = 1\nsalvage_age_max = 1\n"

    def reap(self, **options):
        """What is said of the one clone; None when it is not there any more."""
        items = self.client.post("/v1/reap", {"age_min_s": 0, **options})["items"]
        self.assertEqual([i for i in items if i["verdict"] == "failed"], [])
        found = [item for item in items if item["kind"] == "clone"]
        return found[0] if found else None

    def test_a_clone_goes_when_no_session_needs_it_and_comes_back(self):
        session = self.client.open(repository="file://" + self.repository)
        self.turn(session["id"], "write a.txt one")
        clone = session["workspace"]["repository"]
        # Idle for long enough, but somebody works on it, and closed it can be revived.
        wait_until(lambda: self.reap()["age_s"] >= 2, 60)
        self.client.call("POST", session_path(session["id"], "close"))
        wait_until(lambda: self.client.session(session["id"])["state"] == "closed", 60)
        seen = self.reap(dry_run=False)
        self.assertEqual((seen["name"], seen["verdict"]), (clone, "kept"))
        self.assertIn("a session uses it (" + self.repository, seen["reason"])
        self.assertGreater(seen["bytes"], 0)
        # Deleted, its salvage keeps the clone for as long as that is kept.
        self.client.call("DELETE", session_path(session["id"]) + "?force=1")
        wait_until(lambda: self.reap(dry_run=False)["verdict"] == "removed", 60)
        self.assertFalse(os.path.exists(clone))
        self.assertIsNone(self.reap())
        again = self.client.open(repository="file://" + self.repository)
        self.assertEqual(again["workspace"]["repository"], clone)
        self.turn(again["id"], "write a.txt two")
        self.assertEqual(self.reap()["verdict"], "kept")
        metrics = self.client.raw("GET", "/metrics").body.decode()
        self.assertIn("\nberth_clones 1\n", metrics)
        self.assertGreater(int(re.search(r"^berth_clones_bytes (\d+)$", metrics, re.M)[1]), 0)


class LongRetention(Rig):

    def test_nothing_goes_before_its_time(self):
        session, _ = self.open()
        self.turn(session, "write a.txt one")
        key = self.client.session(session)["key"]
        self.client.call("DELETE", session_path(session) + "?force=1")
        before = self.refs()
        self.assertTrue(any(key in ref and "/x/" in ref for ref in before))
        self.client.post("/v1/reap", {"age_min_s": 0, "dry_run": False})
        self.assertEqual(self.refs(), before)


if __name__ == "__main__":
    main()
