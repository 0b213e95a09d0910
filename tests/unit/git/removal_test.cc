#include "temp_repository.h"

#include <berth/git/guard.h>
#include <berth/git/removal.h>

#include <sys/stat.h>

#include <filesystem>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

class Guard : public GitTest {
 protected:
  Guard() : GitTest(Where::memory) {}
  void SetUp() override { base_ = create().base_commit; }

  WorkLoss state() {
    Result<WorkLoss> loss = worktree_state({.worktree = ref(), .base = base_});
    EXPECT_TRUE(loss) << (loss ? "" : loss.error().message);
    return loss ? *loss : WorkLoss{};
  }
  RemoveWorktree removal(bool force = false) const {
    return {.worktree = ref(),
            .base = base_,
            .force = force,
            .private_index = index(),
            .trash = root_ + "/trash",
            .time_s = 5};
  }
  std::string refused(const RemoveWorktree& request) {
    Result<Removal> removed = remove_worktree(request, report_);
    return removed ? "removed" : removed.error().code;
  }
  Removal removed(const RemoveWorktree& request) {
    Result<Removal> done = remove_worktree(request, report_);
    EXPECT_TRUE(done) << (done ? "" : done.error().message);
    return done ? *done : Removal{};
  }
  bool has_branch() { return sh_code(repo(), "git rev-parse -q --verify berth/" + key()) == 0; }
  bool is_registered() { return exists(repo() + "/.git/worktrees/" + key()); }

  std::string base_;
  WorkLoss report_;
};

TEST_F(Guard, AFreshWorktreeLosesNothing) {
  const WorkLoss loss = state();
  EXPECT_TRUE(loss.exists);
  EXPECT_TRUE(loss.loses_nothing());
  EXPECT_EQ(loss.reason, "");
  EXPECT_EQ(loss.head, base_);
  EXPECT_EQ(loss.branch, "berth/" + key());
  write(tree() + "/x.log", "ignored files are not work\n");
  EXPECT_TRUE(state().loses_nothing());
}

TEST_F(Guard, SeesEachKindOfWork) {
  write(tree() + "/new", "n\n");
  EXPECT_EQ(state().untracked, 1u);
  in_tree("add new");
  WorkLoss loss = state();
  EXPECT_TRUE(loss.dirty);
  EXPECT_EQ(loss.changed, 1u);
  in_tree("commit -q -m new");
  loss = state();
  EXPECT_FALSE(loss.dirty);
  EXPECT_EQ(loss.unpushed, 1u);
  EXPECT_FALSE(loss.loses_nothing());
  write(tree() + "/a.txt", "changed\n");
  fs::remove(tree() + "/dir/b.txt");
  EXPECT_EQ(state().changed, 2u);
}

TEST_F(Guard, PushedCommitsAreSafe) {
  sh(root_, "git init -q --bare remote.git");
  in_tree("remote add origin ../../remote.git && git commit -q --allow-empty -m x");
  EXPECT_EQ(state().unpushed, 1u);
  in_tree("push -q origin HEAD");
  EXPECT_EQ(state().unpushed, 0u);
  in_tree("checkout -q --detach && git commit -q --allow-empty -m detached");
  const WorkLoss loss = state();
  EXPECT_EQ(loss.unpushed, 1u);
  EXPECT_EQ(loss.branch, "");
}

TEST_F(Guard, ShallowClonesAreCounted) {
  git("commit -q --allow-empty -m second");
  sh(root_, "git clone -q --depth 1 file://$PWD/repo shallow");
  const WorktreeRef worktree{root_ + "/shallow", root_ + "/trees/shallow", key_of(2)};
  ASSERT_TRUE(create_worktree({.worktree = worktree}));
  Result<WorkLoss> loss = worktree_state({.worktree = worktree});
  ASSERT_TRUE(loss);
  EXPECT_TRUE(loss->loses_nothing()) << loss->reason;
  sh(root_ + "/trees/shallow", "git commit -q --allow-empty -m x");
  loss = worktree_state({.worktree = worktree});
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->unpushed, 1u);
  EXPECT_FALSE(loss->unknown);
}

TEST_F(Guard, WhatItCannotSeeIsUnknownAndNotSafe) {
  in_tree("update-index --assume-unchanged a.txt");
  write(tree() + "/a.txt", "hidden\n");
  WorkLoss loss = state();
  EXPECT_TRUE(loss.unknown);
  EXPECT_FALSE(loss.loses_nothing());
  in_tree("update-index --no-assume-unchanged a.txt && git checkout -q a.txt");
  EXPECT_TRUE(state().loses_nothing());
  ASSERT_EQ(::mkfifo((tree() + "/dir/.gitignore").c_str(), 0666), 0);
  EXPECT_TRUE(state().unknown);
  fs::remove(tree() + "/dir/.gitignore");
  in_tree("update-index --split-index");
  EXPECT_TRUE(state().unknown);
  in_tree("update-index --no-split-index");
  git("worktree lock --reason mine " + tree());
  loss = state();
  EXPECT_TRUE(loss.unknown);
  EXPECT_NE(loss.reason.find("mine"), std::string::npos);
  git("worktree unlock " + tree());
  fs::rename(tree() + "/.git", root_ + "/moved.git");
  loss = state();
  EXPECT_FALSE(loss.exists);
  EXPECT_TRUE(loss.unknown);
}

TEST_F(Guard, SeesRepositoriesInsideAndOperationsUnderWay) {
  sh(tree(), "git init -q inner && cd inner && git commit -q --allow-empty -m x");
  WorkLoss loss = state();
  EXPECT_EQ(loss.nested, std::vector<std::string>{"inner"});
  EXPECT_FALSE(loss.loses_nothing());
  fs::remove_all(tree() + "/inner");
  write(repo() + "/.git/worktrees/" + key() + "/MERGE_HEAD", base_ + "\n");
  EXPECT_TRUE(state().dirty);
}

TEST_F(Guard, ACleanWorktreeIsRemovedWhole) {
  snapshot("1");
  const Removal done = removed(removal());
  EXPECT_TRUE(done.removed_folder);
  EXPECT_TRUE(done.branch_deleted);
  EXPECT_EQ(done.trash, "");
  EXPECT_EQ(done.salvage_ref, "");
  EXPECT_FALSE(exists(tree()));
  EXPECT_FALSE(is_registered());
  EXPECT_FALSE(has_branch());
  EXPECT_FALSE(exists(index()));
  EXPECT_FALSE(exists(index() + ".memory"));
  EXPECT_TRUE(fs::is_empty(root_ + "/trash"));
  EXPECT_EQ(git("worktree list --porcelain | grep -c ^worktree"), "1\n");
  EXPECT_NE(git("for-each-ref refs/berth/s/" + key() + "/1"), "");
  // Again: nothing is there, and that is fine.
  EXPECT_FALSE(removed(removal()).removed_folder);
  EXPECT_FALSE(create().existed);
  EXPECT_EQ(in_tree("status --porcelain"), "");
}

TEST_F(Guard, WorkIsNotRemovedUnlessForcedAndIsSalvagedThen) {
  write(tree() + "/staged", "staged version\n");
  in_tree("commit -q --allow-empty -m unpushed && git add staged");
  write(tree() + "/staged", "later version\n");
  write(tree() + "/untracked", "u\n");
  EXPECT_EQ(refused(removal()), "worktree_has_work");
  EXPECT_EQ(report_.untracked, 1u);
  EXPECT_EQ(report_.unpushed, 1u);
  EXPECT_TRUE(report_.dirty);
  EXPECT_TRUE(exists(tree() + "/untracked"));
  const std::string head = in_tree("rev-parse HEAD").substr(0, 40);

  const Removal done = removed(removal(true));
  EXPECT_FALSE(exists(tree()));
  EXPECT_EQ(done.salvage_ref, "refs/berth/x/" + key() + "/1");
  EXPECT_EQ(git("rev-parse " + done.salvage_ref), done.salvage_commit + "\n");
  EXPECT_EQ(git("cat-file blob " + done.salvage_ref + ":untracked"), "u\n");
  EXPECT_EQ(git("cat-file blob " + done.salvage_ref + ":staged"), "later version\n");
  EXPECT_EQ(git("cat-file blob " + done.salvage_ref + "^2:staged"), "staged version\n");
  EXPECT_EQ(git("rev-parse " + done.salvage_ref + "^1"), head + "\n");
  EXPECT_FALSE(done.branch_deleted);
  EXPECT_EQ(done.branch_kept, "has 1 commits beyond base");
  EXPECT_TRUE(has_branch());
}

TEST_F(Guard, ARepositoryInsideNeedsItsOwnWord) {
  sh(tree(), "git init -q inner && cd inner && git commit -q --allow-empty -m x");
  EXPECT_EQ(refused(removal()), "worktree_has_work");
  EXPECT_EQ(refused(removal(true)), "nested_repository");
  EXPECT_TRUE(exists(tree() + "/inner/.git"));
  RemoveWorktree request = removal(true);
  request.discard_nested = true;
  EXPECT_TRUE(removed(request).removed_folder);
}

TEST_F(Guard, WhatCannotBeSalvagedIsNotRemoved) {
  ASSERT_EQ(::mkfifo((tree() + "/pipe").c_str(), 0666), 0);
  sh(tree(), "git init -q unborn");
  write(tree() + "/unborn/file", "no commit holds it\n");
  RemoveWorktree request = removal(true);
  request.discard_nested = false;
  EXPECT_EQ(refused(request), "nested_repository");
  EXPECT_TRUE(exists(tree() + "/unborn/file"));
}

TEST_F(Guard, AFileThatNoCommitCanHoldIsNotRemovedByForceEither) {
  ASSERT_EQ(::mkfifo((tree() + "/pipe").c_str(), 0666), 0);
  write(tree() + "/untracked", "u\n");
  EXPECT_EQ(refused(removal(true)), "salvage_incomplete");
  EXPECT_TRUE(exists(tree() + "/pipe"));
  EXPECT_EQ(git("for-each-ref refs/berth/x"), "");
}

TEST_F(Guard, ASubmoduleStagedAtAnotherCommitIsWork) {
  in_tree("update-index --add --cacheinfo 160000," + base_ + ",module");
  write(tree() + "/.gitmodules",
        "[submodule \"module\"]\n\tpath = module\n\turl = /none\n\tignore = all\n");
  in_tree("add .gitmodules && git commit -q -m module");
  base_ = in_tree("rev-parse HEAD").substr(0, 40);
  fs::create_directories(tree() + "/module");
  EXPECT_TRUE(state().loses_nothing());
  const std::string other = git("commit-tree -m x main^{tree}").substr(0, 40);
  in_tree("update-index --cacheinfo 160000," + other + ",module");
  EXPECT_EQ(state().changed, 1U);
  EXPECT_EQ(refused(removal()), "worktree_has_work");
}

TEST_F(Guard, ASalvageHoldsTheBranchThatHeadIsNotOn) {
  in_tree("commit -q --allow-empty -m on-the-branch");
  const std::string tip = in_tree("rev-parse HEAD").substr(0, 40);
  in_tree("checkout -q --detach " + base_);
  write(tree() + "/untracked", "u\n");
  const Removal done = removed(removal(true));
  EXPECT_EQ(git("rev-parse " + done.salvage_ref + "^1 " + done.salvage_ref + "^2"),
            base_ + "\n" + tip + "\n");
}

TEST_F(Guard, ARemovalCutShortIsFinishedTheNextTime) {
  in_tree("checkout -q --detach && git commit -q --allow-empty -m detached");
  const std::string head = in_tree("rev-parse HEAD").substr(0, 40);
  fs::rename(tree(), root_ + "/gone");  // killed right after the rename
  const Removal done = removed(removal());
  EXPECT_FALSE(done.removed_folder);
  EXPECT_FALSE(is_registered());
  EXPECT_FALSE(has_branch());
  // Only the registration's HEAD held that commit.
  EXPECT_EQ(git("rev-parse " + done.salvage_ref), head + "\n");
}

TEST_F(Guard, SomebodyElsesFolderIsNotTouched) {
  fs::rename(tree() + "/.git", root_ + "/moved.git");
  EXPECT_EQ(refused(removal()), "worktree_not_linked");
  EXPECT_EQ(refused(removal(true)), "worktree_not_linked");
  EXPECT_TRUE(exists(tree() + "/a.txt"));
  EXPECT_TRUE(is_registered());
}

TEST_F(Guard, ABranchThatIsInUseElsewhereStays) {
  in_tree("checkout -q --detach");
  git("checkout -q berth/" + key());
  const Removal done = removed(removal());
  EXPECT_FALSE(done.branch_deleted);
  EXPECT_EQ(done.branch_kept, "is checked out in another worktree");
}

TEST_F(Guard, TrashCanBeEmptiedLaterEvenIfItResists) {
  fs::create_directories(tree() + "/build/locked/inner");
  write(tree() + "/build/locked/inner/file", "x");
  fs::create_symlink(repo(), tree() + "/build/link");
  fs::permissions(tree() + "/build/locked/inner", fs::perms(0));
  RemoveWorktree request = removal();
  request.delete_now = false;
  const Removal done = removed(request);
  EXPECT_TRUE(exists(done.trash + "/a.txt"));
  Result<std::size_t> emptied = empty_trash(root_ + "/trash", {});
  ASSERT_TRUE(emptied) << emptied.error().message;
  EXPECT_EQ(*emptied, 1u);
  EXPECT_TRUE(fs::is_empty(root_ + "/trash"));
  EXPECT_TRUE(exists(repo() + "/a.txt"));
  EXPECT_EQ(*empty_trash(root_ + "/no-such-trash", {}), 0u);
}

TEST_F(Guard, ACleanWorktreeWithoutItsKeyIsAnError) {
  EXPECT_STREQ(worktree_state({.worktree = {repo(), tree(), "x"}}).error().code, "bad_key");
  EXPECT_STREQ(worktree_state({.worktree = {root_ + "/none", tree(), key()}}).error().code,
               "path_missing");
}

}  // namespace
}  // namespace berth::git::test
