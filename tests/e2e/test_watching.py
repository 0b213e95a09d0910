#!/usr/bin/python3
"""Snapshots by way of notifications: whatever happens to the files, git's own look at all of them finds the same."""

import os
import random
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from berth_client import session_path
from summary import figure, main
from test_changes import Rig, SECOND, git, read, write


class WatchingRig(Rig):
    def full_tree(self, folder):
        """The tree of all files, as git finds it with an index that knows nothing."""
        with tempfile.TemporaryDirectory() as private:
            os.environ["GIT_INDEX_FILE"] = os.path.join(private, "index")
            try:
                git(folder, "add", "--all")
                return git(folder, "write-tree").strip()
            finally:
                del os.environ["GIT_INDEX_FILE"]

    def recorded_by(self, session, prompt):
        """Runs a turn; its change.recorded."""
        number = self.client.prompt(session, prompt, wait=20)["number"]
        return self.recorded(session, number).data

    def outside(self, session):
        """The last change.recorded of no turn."""
        return [e.data for e in self.client.log(session) if e.type == "change.recorded" and not e.turn][-1]

    def check(self, session, folder, prompt="say nothing", scan="hinted", reason=None):
        event = self.recorded_by(session, prompt)
        self.assertEqual((event["scan"], event["scan_reason"]), (scan, reason), event)
        self.assertEqual(self.change(session)["tree"], self.full_tree(folder))
        return event


class Watching(WatchingRig):

    def test_what_happens_during_turns_and_between_them_is_found_by_its_names(self):
        session, folder = self.open()
        self.check(session, folder, "write a.txt one\nwrite deep/er/b.txt two")
        write("by hand\n", folder, "deep", "er", "own.txt")
        os.unlink(os.path.join(folder, "README.md"))
        event = self.check(session, folder, "append a.txt more")
        self.assertEqual(event["touched"], ["a.txt"])
        outside = self.outside(session)
        self.assertEqual(outside["scan"], "hinted")
        self.assertEqual(sorted(outside["touched"]), ["README.md", "deep/er/own.txt"])
        files = self.files(session)
        self.assertEqual(files["deep/er/own.txt"]["touched_by"], [{"turn": 1, "agent": None}])
        self.assertEqual(files["README.md"]["status"], "deleted")
        self.assertEqual(self.check(session, folder)["touched"], [])

    def test_folders_that_are_made_moved_and_removed(self):
        session, folder = self.open()
        self.check(session, folder)
        os.makedirs(os.path.join(folder, "new", "inner"))
        for i in range(50):
            write(f"{i}\n", folder, "new", "inner", f"f{i}.txt")
        self.check(session, folder)
        os.rename(os.path.join(folder, "new"), os.path.join(folder, "other"))
        self.check(session, folder)
        write("changed\n", folder, "other", "inner", "f7.txt")
        os.rename(os.path.join(folder, "other", "inner"), os.path.join(folder, "inner"))
        write("changed again\n", folder, "inner", "f8.txt")
        self.check(session, folder)
        shutil.rmtree(os.path.join(folder, "inner"))
        write("a file by the name of a folder\n", folder, "inner")
        self.check(session, folder)
        away = os.path.join(self.folder, "away")
        os.makedirs(os.path.join(away, "sub"))
        write("made elsewhere\n", away, "sub", "file.txt")
        os.rename(away, os.path.join(folder, "moved-in"))
        self.check(session, folder)
        write("and watched from then on\n", folder, "moved-in", "sub", "file.txt")
        self.check(session, folder)

    def test_modes_links_ignore_rules_and_what_git_does_in_the_folder(self):
        session, folder = self.open()
        self.check(session, folder, "write run.sh x\nwrite build/out.txt x\nwrite keep.log x")
        os.chmod(os.path.join(folder, "run.sh"), 0o755)
        os.symlink("run.sh", os.path.join(folder, "link"))
        self.check(session, folder)
        os.makedirs(os.path.join(folder, "sub"))
        write("*.log\n", folder, "sub", ".gitignore")
        write("ignored\n", folder, "sub", "x.log")
        self.check(session, folder)
        write("", folder, "sub", ".gitignore")
        self.check(session, folder)
        write("build/\n", folder, ".gitignore")
        self.check(session, folder)
        self.assertEqual(self.outside(session)["scan_reason"], "rules_changed")
        git(folder, "add", "run.sh")
        git(folder, "commit", "-qm", "Theirs")
        write("more\n", folder, "run.sh")
        git(folder, "stash")
        self.check(session, folder)
        git(folder, "stash", "pop")
        self.check(session, folder)

    def test_thousands_of_files_at_once(self):
        session, folder = self.open()
        self.check(session, folder)
        for i in range(3000):
            parent = os.path.join(folder, f"d{i % 60}", f"e{i % 7}")
            os.makedirs(parent, exist_ok=True)
            write(f"{i}\n", parent, f"f{i}.txt")
        self.check(session, folder)
        for i in range(0, 3000, 3):
            write("changed\n", folder, f"d{i % 60}", f"e{i % 7}", f"f{i}.txt")
        self.check(session, folder, "append README.md more")

    def test_random_edits(self):
        seed = int(os.environ.get("BERTH_SEED", random.randrange(1 << 32)))
        figure("seed of random edits", seed)
        chance = random.Random(seed)
        session, folder = self.open()
        self.check(session, folder)
        for _ in range(12):
            for _ in range(chance.randrange(1, 25)):
                self.edit(chance, folder)
            self.check(session, folder, chance.choice(["say nothing", "append README.md more"]))

    @staticmethod
    def edit(chance, folder):
        def somewhere():
            return os.path.join(folder, *chance.choices("abc", k=chance.randrange(1, 4)))

        one, two = somewhere(), somewhere()
        try:
            match chance.randrange(6):
                case 0 | 1:
                    os.makedirs(os.path.dirname(one), exist_ok=True)
                    write(f"{chance.random()}\n", one)
                case 2:
                    os.makedirs(one, exist_ok=True)
                case 3:
                    os.rename(one, two)
                case 4:
                    shutil.rmtree(one) if os.path.isdir(one) else os.unlink(one)
                case 5:
                    os.chmod(one, chance.choice([0o755, 0o644]) | (0o111 if os.path.isdir(one) else 0))
        except OSError:
            pass  # a file where a folder should be, or nothing there

    def test_a_restart_is_a_gap_and_all_is_looked_at_once(self):
        session, folder = self.open()
        self.check(session, folder, "write a.txt one")
        self.server.kill()
        write("while nobody watched\n", folder, "b.txt")
        self.server.start()
        self.client = self.server.client
        self.check(session, folder, "append a.txt two")
        outside = self.outside(session)
        self.assertEqual((outside["scan"], outside["scan_reason"]), ("full", "not_watched"))
        self.assertEqual(outside["touched"], ["b.txt"])
        self.check(session, folder, "append b.txt three")

    def test_another_folder_in_its_place_is_a_gap(self):
        session, folder = self.open()
        self.check(session, folder, "write a.txt one")
        os.rename(folder, folder + "-old")
        shutil.copytree(folder + "-old", folder, symlinks=True)
        shutil.rmtree(folder + "-old")
        write("new\n", folder, "b.txt")
        self.check(session, folder)
        outside = self.outside(session)
        self.assertEqual((outside["scan"], outside["scan_reason"]), ("full", "watch_folder_moved"))
        self.assertEqual(set(self.files(session)), {"a.txt", "b.txt"})

    def test_a_person_who_asks_gets_a_look_at_everything(self):
        session, folder = self.open()
        self.check(session, folder, "write a.txt one")
        write("by hand\n", folder, "b.txt")
        self.change(session, "?refresh=1")
        outside = self.outside(session)
        self.assertEqual((outside["scan"], outside["scan_reason"]), ("full", "asked_for"))
        self.client.post(session_path(session, "changes/restore"), {"turn": 1})
        self.assertEqual(self.change(session)["tree"], self.full_tree(folder))
        self.check(session, folder, "append a.txt more")
        self.assertEqual(read(folder, "a.txt"), "one\nmore\n")


class Bounded(WatchingRig):
    CONFIG = SECOND + "[worktrees]\nwatch_paths_max = 20\nwatch_tree_folders_max = 10\n"

    def test_more_than_is_kept_is_a_gap_and_watching_goes_on(self):
        session, folder = self.open()
        self.check(session, folder)
        for i in range(30):
            write("x\n", folder, f"f{i}.txt")
        self.check(session, folder)
        outside = self.outside(session)
        self.assertEqual((outside["scan"], outside["scan_reason"]), ("full", "watch_too_many_paths"))
        self.assertEqual(len(outside["touched"]), 30)
        write("changed\n", folder, "f7.txt")
        self.check(session, folder, "append f8.txt more")

    def test_too_many_folders_are_not_watched_and_it_says_so(self):
        session, folder = self.open()
        self.check(session, folder)
        for i in range(12):
            os.mkdir(os.path.join(folder, f"d{i}"))
            write("x\n", folder, f"d{i}", "f.txt")
        self.check(session, folder, scan="full", reason="watch_tree_limit")
        write("changed\n", folder, "d7", "f.txt")
        self.check(session, folder, "append d8/f.txt more", scan="full", reason="watch_tree_limit")


class Unwatched(WatchingRig):
    CONFIG = SECOND + "[worktrees]\nwatch = false\n"

    def test_everything_is_looked_at_where_watching_is_off(self):
        session, folder = self.open()
        self.check(session, folder, "write a.txt one", scan="full", reason="not_watched")
        write("by hand\n", folder, "b.txt")
        self.check(session, folder, "append a.txt two", scan="full", reason="not_watched")


if __name__ == "__main__":
    main()
