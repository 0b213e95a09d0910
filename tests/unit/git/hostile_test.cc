#include "temp_repository.h"

#include <berth/git/apply.h>
#include <berth/git/archive.h>
#include <berth/git/diff.h>
#include <berth/git/guard.h>
#include <berth/git/reaper.h>
#include <berth/git/registration.h>
#include <berth/git/removal.h>
#include <berth/git/repository.h>
#include <berth/git/restore.h>

#include <atomic>
#include <filesystem>
#include <mutex>
#include <thread>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

template <typename T>
std::string code_of(const Result<T>& result) {
  return result ? "" : std::string(result.error().code);
}

using Hostile = GitTest;

TEST_F(Hostile, NoIdGetsIntoAName) {
  const std::string before = sh(root_, "find . -not -path \"*/.git/*\" | sort");
  for (const std::string& id :
       {std::string(".."), std::string("a:b"), std::string("x.lock"), std::string("salvage"),
        std::string("base"), std::string(), std::string("../../../../../../evil1234567"),
        std::string("01hzzzzzzzzzzzzzzzzzzzz/.."), std::string("01hzzzzzzzzzzzzzzzzzzzzzz\n"),
        std::string("01hzzzzzzzzzzzzzzzzzzzzz\0", 25) + "1",
        std::string("--upload-pack=evil12345678"), std::string("01HZZZZZZZZZZZZZZZZZZZZZZ1")}) {
    const WorktreeRef worktree{repo(), root_ + "/trees/x", id};
    WorkLoss report;
    EXPECT_EQ(code_of(create_worktree({.worktree = worktree})), "bad_key") << id;
    EXPECT_EQ(code_of(adopt_worktree(worktree, "")), "bad_key") << id;
    EXPECT_EQ(code_of(repair_worktree(worktree, true)), "bad_key") << id;
    EXPECT_EQ(code_of(lock_worktree(worktree, "")), "bad_key") << id;
    EXPECT_EQ(code_of(move_worktree(worktree, root_ + "/y")), "bad_key") << id;
    EXPECT_EQ(code_of(worktree_state({.worktree = worktree})), "bad_key") << id;
    EXPECT_EQ(code_of(remove_worktree({.worktree = worktree, .force = true}, report)), "bad_key");
    EXPECT_EQ(code_of(take_snapshot({.worktree = worktree, .name = "1"})), "bad_key") << id;
    EXPECT_EQ(code_of(salvage_worktree({.worktree = worktree})), "bad_key") << id;
  }
  create();
  for (const char* name : {"..", "a:b", "x.lock", "base", "-x", "a/b", "", "A"}) {
    EXPECT_EQ(code_of(take_snapshot({.worktree = ref(), .name = name})), "bad_ref_name") << name;
  }
  WorkLoss report;
  ASSERT_TRUE(remove_worktree({.worktree = ref(), .private_index = index()}, report));
  fs::remove_all(root_ + "/trees/.berth-trash");
  sh(repo(), "git update-ref -d refs/berth/s/" + key() + "/base");
  EXPECT_EQ(sh(root_, "find . -not -path \"*/.git/*\" | sort"), before);
  EXPECT_EQ(git("for-each-ref --format=%\\(refname\\)"), "refs/heads/main\n");
}

TEST_F(Hostile, TheSameKeyInTwoProjectsIsTwoWorktrees) {
  sh(root_, "git clone -q repo other");
  create();
  const WorktreeRef other{root_ + "/other", root_ + "/trees/two", key()};
  ASSERT_TRUE(create_worktree({.worktree = other}));
  write(tree() + "/mine", "m\n");
  // Neither is taken for the other's.
  const WorktreeRef crossed{root_ + "/other", tree(), key()};
  EXPECT_EQ(code_of(verify_worktree(crossed)), "worktree_not_linked");
  WorkLoss report;
  EXPECT_EQ(code_of(remove_worktree({.worktree = crossed, .force = true}, report)),
            "worktree_not_linked");
  EXPECT_EQ(code_of(repair_worktree(crossed, true)), "worktree_not_linked");
  ASSERT_TRUE(remove_worktree({.worktree = other}, report));
  EXPECT_EQ(read(tree() + "/mine"), "m\n");
  EXPECT_TRUE(verify_worktree(ref()));
}

class Planted : public GitTest {
 protected:
  /// As an agent in a linked worktree can: it writes the common configuration, hooks and refs.
  void plant() {
    const std::string script = root_ + "/planted.sh";
    write(script, "#!/bin/sh\ntouch " + mark() + "\ncat\n");
    fs::permissions(script, fs::perms(0755));
    for (const char* setting : {"core.fsmonitor",
                                "core.sshCommand",
                                "core.pager",
                                "core.editor",
                                "core.askPass",
                                "core.gitProxy",
                                "core.alternateRefsCommand",
                                "diff.external",
                                "diff.evil.command",
                                "diff.evil.textconv",
                                "filter.evil.clean",
                                "filter.evil.smudge",
                                "filter.evil.process",
                                "merge.evil.driver",
                                "gpg.program",
                                "credential.helper",
                                "sequence.editor",
                                "uploadpack.packObjectsHook",
                                "remote.origin.uploadpack",
                                "init.templateDir"}) {
      in_tree(std::string("config ") + setting + " " + script);
    }
    in_tree("config core.hooksPath " + root_ +
            "/hooks && git config commit.gpgSign true && git "
            "config core.attributesFile " +
            root_ + "/attributes && git config core.worktree " + root_ + "/elsewhere");
    fs::create_directories(root_ + "/elsewhere");
    write(root_ + "/attributes", "* filter=evil diff=evil merge=evil\n");
    write(repo() + "/.git/info/attributes", "* filter=evil diff=evil merge=evil\n");
    write(tree() + "/.gitattributes", "* filter=evil diff=evil merge=evil\n");
    for (const char* hook : {"post-checkout", "post-index-change", "pre-commit", "post-commit",
                             "reference-transaction", "post-applypatch", "post-merge"}) {
      fs::create_directories(root_ + "/hooks");
      fs::copy_file(script, root_ + "/hooks/" + hook);
      fs::copy_file(script, repo() + "/.git/hooks/" + hook, fs::copy_options::overwrite_existing);
    }
  }
};

TEST_F(Planted, NothingRunsInAnyCall) {
  const std::string base = create().base_commit;
  const std::string before = snapshot("1").tree;
  plant();
  write(tree() + "/a.txt", "edited\n");
  write(tree() + "/new", "n\n");
  const Snapshot taken = snapshot("2");
  EXPECT_NE(taken.tree, before);
  EXPECT_EQ(code_of(inspect_repository(repo())), "");
  EXPECT_EQ(code_of(inspect_contents(repo(), "HEAD")), "");
  EXPECT_EQ(code_of(worktree_state({.worktree = ref(), .base = base})), "");
  EXPECT_EQ(
      code_of(diff({.worktree = ref(), .from = base, .to = "worktree", .private_index = index()})),
      "");
  EXPECT_EQ(
      code_of(apply_change(
          {.repository = repo(),
           .base = base,
           .change = taken.commit,
           .to = ApplyTo::branch,
           .branch = "main",
           .commit = {.author_name = "a", .author_email = "a@a", .message = "m", .time_s = 1}})),
      "worktree_not_linked");  // main is checked out, it is said, where it is not
  EXPECT_EQ(code_of(restore_worktree({.worktree = ref(), .to = before, .private_index = index()})),
            "");
  EXPECT_EQ(code_of(lock_worktree(ref(), "x")), "");
  EXPECT_EQ(code_of(unlock_worktree(ref())), "");
  EXPECT_EQ(code_of(move_worktree(ref(), root_ + "/trees/moved")), "");
  EXPECT_EQ(code_of(move_worktree({repo(), root_ + "/trees/moved", key()}, tree())), "");
  EXPECT_EQ(code_of(repair_worktree(ref(), true)), "");
  write(tree() + "/new", "again\n");
  Result<Archived> archived = archive_worktree({.worktree = ref(), .base = base, .time_s = 1});
  ASSERT_EQ(code_of(archived), "");
  EXPECT_EQ(code_of(restore_archive({.worktree = ref(), .commit = archived->commit, .base = base})),
            "");
  EXPECT_EQ(read(tree() + "/new"), "again\n");
  EXPECT_EQ(code_of(survey_worktrees({.repositories = {repo()}, .roots = {root_ + "/trees"}})), "");
  WorkLoss report;
  EXPECT_EQ(code_of(remove_worktree({.worktree = ref(), .base = base, .force = true}, report)), "");
  EXPECT_FALSE(exists(mark()));
  EXPECT_TRUE(fs::is_empty(root_ + "/elsewhere"));
}

TEST_F(Planted, RefsThatPointElsewhereAreNotWrittenThrough) {
  const std::string main = git("rev-parse main");
  const std::string s = "refs/berth/s/" + key() + "/";
  const std::string x = "refs/berth/x/" + key() + "/";
  for (const std::string& name :
       {s + "base", s + "1", s + "2", x + "1", x + "archive", "refs/heads/berth/" + key()}) {
    git("symbolic-ref " + name + " refs/heads/main");
  }
  const std::string base = create().base_commit;
  write(tree() + "/new", "n\n");
  snapshot("1");
  in_tree("commit -q --allow-empty -m work");
  write(tree() + "/new", "again\n");
  snapshot("2");
  Result<Archived> archived = archive_worktree({.worktree = ref(), .base = base, .time_s = 1});
  ASSERT_EQ(code_of(archived), "");
  ASSERT_EQ(code_of(restore_archive({.worktree = ref(), .commit = archived->commit, .base = base})),
            "");
  EXPECT_EQ(read(tree() + "/new"), "again\n");
  EXPECT_EQ(git("rev-parse main"), main);
  EXPECT_EQ(git("status --porcelain"), "");
}

TEST_F(Hostile, HundredsOfCreationsAndRemovalsAtOnceMeetNoLock) {
  constexpr int kThreads = 10;
  constexpr int kEach = 30;
  std::atomic<int> failures = 0;
  std::string first_failure;
  std::mutex mutex;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const int n = 1000 + t * kEach + i;
        const WorktreeRef worktree{repo(), root_ + "/trees/" + std::to_string(n), key_of(n)};
        Result<CreatedWorktree> made = create_worktree({.worktree = worktree});
        WorkLoss report;
        Result<Removal> removed = Removal{};
        if (made && i % 3 == 0) {
          removed = remove_worktree(
              {.worktree = worktree, .base = made->base_commit, .delete_now = false}, report);
        }
        if (made && removed) continue;
        const std::lock_guard lock(mutex);
        if (++failures == 1) first_failure = made ? removed.error().message : made.error().message;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0) << first_failure;
  EXPECT_EQ(git("worktree list --porcelain | grep -c ^worktree"), "201\n");
  EXPECT_EQ(git("for-each-ref refs/heads/berth | wc -l"), "200\n");
  EXPECT_EQ(git("fsck --no-dangling"), "");
}

TEST_F(Hostile, WhatARepositoryHoldsThatDeservesAWordIsTold) {
  sh(root_, "git clone -q repo sub");
  write(repo() + "/big.bin",
        "version https://git-lfs.github.com/spec/v1\noid "
        "sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n");
  write(repo() + "/.gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
  write(repo() + "/A.txt", "another case\n");
  const std::string deep(200, 'd');
  write(repo() + "/" + deep + "/" + deep + "/" + deep + "/" + deep + "/" + deep + "/f", "deep\n");
  git("-c protocol.file.allow=always submodule --quiet add ../sub module && git add -A && git "
      "commit -q -m more");
  Result<RepositoryContents> contents = inspect_contents(repo(), "");
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_EQ(contents->submodules, std::vector<std::string>{"module"});
  EXPECT_EQ(contents->lfs_pointers, std::vector<std::string>{"big.bin"});
  EXPECT_EQ(contents->case_collisions, std::vector<std::string>{"a.txt"});
  EXPECT_EQ(contents->longest_path, 1006U);
  EXPECT_EQ(contents->files, 9U);
  // And such a worktree is whole and clean, the pointer as a pointer.
  create();
  EXPECT_EQ(in_tree("-c filter.lfs.required=false status --porcelain"), "");
  EXPECT_EQ(read(tree() + "/A.txt"), "another case\n");
  EXPECT_EQ(read(tree() + "/big.bin"), read(repo() + "/big.bin"));
  EXPECT_TRUE(fs::is_empty(tree() + "/module"));
  EXPECT_EQ(snapshot("1").tree + "\n", git("rev-parse HEAD^{tree}"));
}

}  // namespace
}  // namespace berth::git::test
