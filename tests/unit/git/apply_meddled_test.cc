// What somebody else does to the target between the look at it and the change: nothing of that is
// lost.
#include "spawned_git.h"
#include "temp_repository.h"

#include <berth/git/apply.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

namespace berth::git::test {
namespace {

/// Calls `meddle` once, right after the first run that has `word` among its arguments.
class MeddledGit final : public SpawnedGit {
 public:
  using SpawnedGit::SpawnedGit;

  Result<GitOutput> run(const GitRun& run) override {
    Result<GitOutput> output = SpawnedGit::run(run);
    const std::vector<std::string>& all = run.arguments;
    if (meddle && std::find(all.begin(), all.end(), word) != all.end()) {
      std::exchange(meddle, nullptr)();
    }
    return output;
  }

  std::string word;
  std::function<void()> meddle;
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
  Result<Applied> apply(ApplyTo to, const std::string& word, std::function<void()> meddle) {
    command_.word = word;
    command_.meddle = std::move(meddle);
    Result<Applied> applied =
        apply_change({.repository = repo(),
                      .base = base_,
                      .change = change_,
                      .to = to,
                      .branch = "main",
                      .commit = {.author_name = "A", .author_email = "a@b", .message = "m"},
                      .journal = root_ + "/journal",
                      .command = &command_,
                      .backend = Backend::git_command});
    EXPECT_FALSE(command_.meddle) << "there was no such run";
    EXPECT_FALSE(exists(root_ + "/journal"));
    return applied;
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
  std::string moved;
  Result<Applied> applied = apply(ApplyTo::branch, "--no-split-index", [&] {
    moved = git("commit-tree -m moved -p main main^{tree}");
    git("update-ref refs/heads/main " + moved.substr(0, 40));
  });
  ASSERT_FALSE(applied);
  EXPECT_STREQ(applied.error().code, "ref_moved");
  EXPECT_EQ(git("rev-parse main"), moved);
  EXPECT_EQ(git("status --porcelain"), "");
  EXPECT_EQ(read(repo() + "/a.txt"), "one\ntwo\nthree\n");
}

}  // namespace
}  // namespace berth::git::test
