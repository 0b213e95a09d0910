// What somebody else does to the target between the look at it and the change: nothing of that is
// lost.
#include "spawned_git.h"
#include "temp_repository.h"

#include <berth/git/apply.h>

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace berth::git::test {
namespace {

/// Calls `meddle` once, right after the first run that has `word` among its arguments. Of the time
/// that a run may take until a deadline nearly nothing is left then, if that is said.
class MeddledGit final : public SpawnedGit {
 public:
  using SpawnedGit::SpawnedGit;

  Result<GitOutput> run(const GitRun& run) override {
    Result<GitOutput> output = SpawnedGit::run(hurried && !meddle ? nearly_over(run) : run);
    const std::vector<std::string>& all = run.arguments;
    if (meddle && std::find(all.begin(), all.end(), word) != all.end()) {
      std::exchange(meddle, nullptr)();
    }
    return output;
  }

  std::string word;
  bool hurried = false;
  std::function<void()> meddle;

 private:
  static GitRun nearly_over(GitRun run) {
    const auto now = std::chrono::steady_clock::now();
    EXPECT_TRUE(run.patience.deadline) << "it would wait for ever";
    EXPECT_LE(run.patience.deadline.value_or(now), now + std::chrono::minutes(10));
    EXPECT_GT(run.patience.deadline.value_or(now), now + std::chrono::minutes(9));
    run.patience.deadline = now + std::chrono::milliseconds(200);
    return run;
  }
};

class GitApplyMeddled : public GitTest {
 protected:
  GitApplyMeddled() : GitTest(Where::memory) {}
  void SetUp() override {
    base_ = create().base_commit;
    write(tree() + "/a.txt", "one\nTWO\nthree\n");
    write(tree() + "/dir/b.txt", "BEE\n");
    change_ = snapshot("1").commit;
  }
  std::string journal() const { return root_ + "/journal"; }
  Result<Applied> begin(ApplyTo to, const std::string& word, std::function<void()> meddle) {
    command_.word = word;
    command_.meddle = std::move(meddle);
    Result<Applied> applied =
        apply_change({.repository = repo(),
                      .base = base_,
                      .change = change_,
                      .to = to,
                      .branch = "main",
                      .commit = {.author_name = "A", .author_email = "a@b", .message = "m"},
                      .journal = journal(),
                      .command = &command_,
                      .backend = Backend::git_command});
    EXPECT_FALSE(command_.meddle) << "there was no such run";
    return applied;
  }
  Result<Applied> apply(ApplyTo to, const std::string& word, std::function<void()> meddle) {
    Result<Applied> applied = begin(to, word, std::move(meddle));
    EXPECT_FALSE(exists(journal()));
    return applied;
  }
  void move_main() {
    const std::string moved = git("commit-tree -m moved -p main main^{tree}");
    git("update-ref refs/heads/main " + moved);
  }
  /// The change of a test that begins with the base: what `edits` do to the index.
  void change_index(const std::string& edits) {
    change_ = sh(repo(), "export GIT_INDEX_FILE=" + root_ + "/other && git read-tree main && " +
                             edits + " && git write-tree");
    change_.pop_back();
  }
  std::string submodule_at(const std::string& path) const {
    return "git update-index --add --cacheinfo 160000," + base_ + "," + path;
  }

  MeddledGit command_{root_ + "/data"};
  std::string base_;
  std::string change_;
};

TEST_F(GitApplyMeddled, AFileWrittenAfterTheLookIsLeftAloneAndNamed) {
  Result<Applied> applied = apply(ApplyTo::working_files, "checkout-index",
                                  [&] { write(repo() + "/a.txt", "somebody's\n"); });
  ASSERT_TRUE(applied) << applied.error().message;
  ASSERT_EQ(applied->conflicts.size(), 1U);
  EXPECT_EQ(applied->conflicts[0].path, "a.txt");
  EXPECT_EQ(read(repo() + "/a.txt"), "somebody's\n");
  EXPECT_EQ(read(repo() + "/dir/b.txt"), "BEE\n");
}

TEST_F(GitApplyMeddled, AFileThatWasOnlyTouchedIsNoReason) {
  Result<Applied> applied =
      apply(ApplyTo::branch, "checkout-index", [&] { sh(repo(), "touch a.txt"); });
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_TRUE(applied->conflicts.empty());
  EXPECT_EQ(read(repo() + "/a.txt"), "one\nTWO\nthree\n");
}

TEST_F(GitApplyMeddled, WhatIsStagedMeanwhileStaysStaged) {
  Result<Applied> applied = apply(ApplyTo::branch, "--no-split-index", [&] {
    write(repo() + "/mine.txt", "mine\n");
    git("add mine.txt");
  });
  ASSERT_TRUE(applied) << applied.error().message;
  EXPECT_EQ(git("status --porcelain"), "A  mine.txt\n");
}

TEST_F(GitApplyMeddled, ABranchThatMovesMeanwhileBringsTheFilesBack) {
  Result<Applied> applied = apply(ApplyTo::branch, "--no-split-index", [&] { move_main(); });
  ASSERT_FALSE(applied);
  EXPECT_STREQ(applied.error().code, "ref_moved");
  EXPECT_EQ(git("log -1 --format=%s main"), "moved\n");
  EXPECT_EQ(git("status --porcelain"), "");
  EXPECT_EQ(read(repo() + "/a.txt"), "one\ntwo\nthree\n");
}

TEST_F(GitApplyMeddled, ABranchThatMovesMeanwhileBringsAFileBackFromASubmodule) {
  change_index(submodule_at("a.txt"));
  bool was_folder = false;
  Result<Applied> applied = apply(ApplyTo::branch, "--no-split-index", [&] {
    was_folder = std::filesystem::is_directory(repo() + "/a.txt");
    move_main();
  });
  ASSERT_FALSE(applied);
  EXPECT_STREQ(applied.error().code, "ref_moved");
  EXPECT_TRUE(was_folder);
  EXPECT_EQ(git("status --porcelain"), "");
  EXPECT_EQ(read(repo() + "/a.txt"), "one\ntwo\nthree\n");
}

TEST_F(GitApplyMeddled, AFailureLeavesTheFileThatWasToBecomeASubmodule) {
  change_index(submodule_at("dir/b.txt") +
               " && git update-index --add --cacheinfo 100644,$(git rev-parse main:a.txt),c/new");
  const std::string before = read(repo() + "/dir/b.txt");
  Result<Applied> applied =
      apply(ApplyTo::branch, "checkout-index", [&] { write(repo() + "/c", "in the way\n"); });
  ASSERT_FALSE(applied);
  EXPECT_EQ(applied.error().errno_value, ENOTDIR);
  EXPECT_EQ(read(repo() + "/dir/b.txt"), before);
  EXPECT_EQ(git("status --porcelain"), "?? c\n");
}

TEST_F(GitApplyMeddled, AFileWrittenWhereASubmoduleGoesIsLeftAloneAndNamed) {
  change_index(submodule_at("c") + " && " + submodule_at("dir/b.txt") +
               " && git update-index --cacheinfo 100644,$(git rev-parse main:dir/b.txt),a.txt");
  Result<Applied> applied = apply(ApplyTo::working_files, "checkout-index", [&] {
    write(repo() + "/c", "somebody's\n");
    write(repo() + "/dir/b.txt", "somebody's\n");
  });
  ASSERT_TRUE(applied) << applied.error().message;
  ASSERT_EQ(applied->conflicts.size(), 2U);
  EXPECT_EQ(applied->conflicts[0].path, "c");
  EXPECT_EQ(applied->conflicts[1].path, "dir/b.txt");
  EXPECT_EQ(read(repo() + "/c"), "somebody's\n");
  EXPECT_EQ(read(repo() + "/dir/b.txt"), "somebody's\n");
}

TEST_F(GitApplyMeddled, APipeInThePlaceOfTheAttributesHoldsItUpUntilADeadlineOnly) {
  const std::string pipe = repo() + "/.gitattributes";
  command_.hurried = true;
  Result<Applied> applied =
      begin(ApplyTo::branch, "checkout-index", [&] { ASSERT_EQ(::mkfifo(pipe.c_str(), 0666), 0); });
  ASSERT_FALSE(applied);
  EXPECT_STREQ(applied.error().code, "git_timed_out");
  EXPECT_TRUE(exists(journal())) << "its undoing was held up as well";
  std::filesystem::remove(pipe);
  command_.hurried = false;
  Result<Applied> finished = finish_apply(journal(), &command_);
  ASSERT_TRUE(finished) << finished.error().message;
  EXPECT_TRUE(finished->applied);
  EXPECT_EQ(git("status --porcelain"), "");
  EXPECT_EQ(git("show main:a.txt"), "one\nTWO\nthree\n");
}

}  // namespace
}  // namespace berth::git::test
