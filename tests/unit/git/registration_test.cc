#include "temp_repository.h"

#include <berth/git/guard.h>
#include <berth/git/names.h>
#include <berth/git/registration.h>
#include <berth/git/removal.h>

#include <filesystem>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

template <typename T>
std::string code_of(const Result<T>& result) {
  return result ? "" : result.error().code;
}

class Registrations : public GitTest {
 protected:
  Registrations() : GitTest(Where::memory) {}
  std::string registration() const { return repo() + "/.git/worktrees/" + key(); }
  RegisteredWorktree listed(const std::string& name) {
    Result<std::vector<RegisteredWorktree>> all = list_registrations(repo());
    EXPECT_TRUE(all);
    for (const RegisteredWorktree& one : *all) {
      if (one.name == name) return one;
    }
    ADD_FAILURE() << name << " is not listed";
    return {};
  }
};

TEST_F(Registrations, AreListedAsTheGitCommandListsThem) {
  create();
  git("worktree add -q ../trees/theirs -b feature/x && git worktree lock --reason \"on a stick\" "
      "../trees/theirs");
  git("worktree add -q --detach ../trees/gone");
  fs::remove_all(root_ + "/trees/gone");
  Result<std::vector<RegisteredWorktree>> all = list_registrations(repo());
  ASSERT_TRUE(all) << all.error().message;
  std::string porcelain;
  for (const RegisteredWorktree& one : *all) {
    porcelain += "worktree " + one.path + "\nHEAD " + one.head + "\n";
    porcelain += one.branch.empty() ? "detached\n" : "branch refs/heads/" + one.branch + "\n";
    if (one.locked) porcelain += "locked " + one.lock_reason + "\n";
    if (!one.prunable.empty())
      porcelain += "prunable gitdir file points to non-existent location\n";
    porcelain += "\n";
  }
  EXPECT_EQ(porcelain, git("worktree list --porcelain"));
  EXPECT_TRUE(all->front().main);
  EXPECT_TRUE(listed(key()).ours);
  EXPECT_FALSE(listed("theirs").ours);
}

TEST_F(Registrations, OfABareRepositoryNameItself) {
  sh(root_, "git clone -q --bare repo bare.git");
  Result<std::vector<RegisteredWorktree>> all = list_registrations(root_ + "/bare.git");
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 1U);
  EXPECT_TRUE(all->front().bare);
  EXPECT_EQ(all->front().path, root_ + "/bare.git");
}

TEST_F(Registrations, ALockKeepsGitAndBerthFromRemoving) {
  create();
  ASSERT_TRUE(lock_worktree(ref(), "in use by a person"));
  EXPECT_TRUE(lock_worktree(ref(), "in use by a person"));
  EXPECT_EQ(code_of(lock_worktree(ref(), "another")), "worktree_locked");
  EXPECT_EQ(code_of(lock_worktree(ref(), "two\nlines")), "bad_reason");
  EXPECT_EQ(code_of(lock_worktree(ref(), "berth: being made")), "bad_reason");
  EXPECT_NE(git("worktree list --porcelain").find("locked in use by a person"), std::string::npos);
  EXPECT_NE(sh_code(repo(), "git worktree remove " + tree()), 0);
  WorkLoss report;
  EXPECT_EQ(code_of(remove_worktree({.worktree = ref()}, report)), "worktree_has_work");
  EXPECT_EQ(code_of(move_worktree(ref(), root_ + "/trees/two")), "worktree_locked");
  ASSERT_TRUE(unlock_worktree(ref()));
  EXPECT_TRUE(unlock_worktree(ref()));
  ASSERT_TRUE(lock_worktree(ref(), ""));
  EXPECT_EQ(listed(key()).lock_reason, "");
  EXPECT_TRUE(listed(key()).locked);
  git("worktree unlock " + tree());
  EXPECT_FALSE(listed(key()).locked);
  EXPECT_TRUE(remove_worktree({.worktree = ref()}, report));
}

TEST_F(Registrations, AMovedWorktreeIsWholeAtItsNewPlace) {
  create();
  write(tree() + "/a.txt", "edited\n");
  write(tree() + "/untracked", "u\n");
  const std::string to = root_ + "/elsewhere/deep/tree";
  Result<std::string> moved = move_worktree(ref(), to);
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_EQ(*moved, to);
  EXPECT_FALSE(exists(tree()));
  EXPECT_EQ(sh(to, "git status --porcelain"), " M a.txt\n?? untracked\n");
  EXPECT_NE(git("worktree list").find(to), std::string::npos);
  EXPECT_EQ(git("worktree prune -v"), "");
  const WorktreeRef there{repo(), to, key()};
  EXPECT_TRUE(verify_worktree(there));
  EXPECT_TRUE(move_worktree(there, to));
  EXPECT_EQ(code_of(move_worktree(there, to + "/inside")), "bad_path");
  EXPECT_EQ(code_of(move_worktree(there, repo())), "path_occupied");
  EXPECT_TRUE(exists(to + "/untracked"));
}

TEST_F(Registrations, AFolderThatSomebodyMovedIsFoundAgain) {
  create();
  const std::string to = root_ + "/trees/two";
  fs::rename(tree(), to);
  const WorktreeRef there{repo(), to, key()};
  EXPECT_EQ(code_of(verify_worktree(there)), "worktree_not_linked");
  Result<Repaired> repaired = repair_worktree(there, false);
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_TRUE(repaired->registration);
  EXPECT_FALSE(repaired->folder_link || repaired->registered_anew);
  EXPECT_TRUE(verify_worktree(there));
  EXPECT_EQ(sh(to, "git status --porcelain"), "");
  repaired = repair_worktree(there, false);
  ASSERT_TRUE(repaired);
  EXPECT_FALSE(repaired->registration || repaired->folder_link);
}

TEST_F(Registrations, ARepositoryThatSomebodyMovedIsFoundAgain) {
  create();
  const std::string to = root_ + "/new place";
  fs::rename(repo(), to);
  const WorktreeRef there{to, tree(), key()};
  Result<Repaired> repaired = repair_worktree(there, false);
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_TRUE(repaired->folder_link);
  EXPECT_TRUE(verify_worktree(there));
  EXPECT_EQ(in_tree("status --porcelain"), "");
  // Both at once.
  fs::rename(to, repo());
  fs::rename(tree(), root_ + "/trees/two");
  const WorktreeRef both{repo(), root_ + "/trees/two", key()};
  repaired = repair_worktree(both, false);
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_TRUE(repaired->folder_link && repaired->registration);
  EXPECT_EQ(sh(root_ + "/trees/two", "git status --porcelain"), "");
}

TEST_F(Registrations, ACopyOrAStrangerIsNotTakenForTheWorktree) {
  create();
  const std::string copy = root_ + "/trees/copy";
  sh(root_, "cp -a trees/one trees/copy");
  EXPECT_EQ(code_of(repair_worktree({repo(), copy, key()}, true)), "worktree_not_linked");
  EXPECT_TRUE(verify_worktree(ref()));
  git("worktree add -q ../trees/theirs");
  EXPECT_EQ(code_of(repair_worktree({repo(), root_ + "/trees/theirs", key()}, true)),
            "worktree_not_linked");
  sh(root_, "git clone -q repo trees/clone");
  EXPECT_EQ(code_of(repair_worktree({repo(), root_ + "/trees/clone", key()}, true)),
            "worktree_not_linked");
  EXPECT_EQ(code_of(repair_worktree({repo(), root_ + "/none", key()}, true)), "worktree_missing");
  EXPECT_EQ(sh(root_ + "/trees/theirs", "git rev-parse --abbrev-ref HEAD"), "theirs\n");
}

TEST_F(Registrations, OnePrunedBySomebodyIsWrittenAnewAndNothingIsLost) {
  create();
  in_tree("commit -q --allow-empty -m work");
  const std::string head = in_tree("rev-parse HEAD");
  write(tree() + "/a.txt", "edited\n");
  write(tree() + "/untracked", "u\n");
  fs::remove(tree() + "/dir/b.txt");
  fs::rename(tree(), root_ + "/unmounted");
  git("worktree prune --expire now");
  fs::rename(root_ + "/unmounted", tree());
  EXPECT_EQ(code_of(repair_worktree(ref(), false)), "registration_missing");
  Result<Repaired> repaired = repair_worktree(ref(), true);
  ASSERT_TRUE(repaired) << repaired.error().message;
  EXPECT_TRUE(repaired->registered_anew);
  EXPECT_EQ(in_tree("rev-parse HEAD"), head);
  EXPECT_EQ(in_tree("symbolic-ref --short HEAD"), "berth/" + key() + "\n");
  EXPECT_EQ(in_tree("status --porcelain"), " M a.txt\n D dir/b.txt\n?? untracked\n");
  EXPECT_FALSE(listed(key()).locked);
  // An attempt that ended in the middle is made again.
  fs::remove(registration() + "/HEAD");
  fs::remove(registration() + "/gitdir");
  write(registration() + "/locked", "berth: being repaired\n");
  ASSERT_TRUE(repair_worktree(ref(), true));
  EXPECT_EQ(in_tree("status --porcelain"), " M a.txt\n D dir/b.txt\n?? untracked\n");
}

TEST_F(Registrations, AWorktreeOfAPersonIsAdoptedAsItIsAndGivenBack) {
  git("worktree add -q ../trees/theirs -b feature");
  const std::string path = root_ + "/trees/theirs";
  sh(path, "git commit -q --allow-empty -m theirs");
  write(path + "/a.txt", "edited\n");
  const WorktreeRef there{repo(), path, key()};
  Result<CreatedWorktree> adopted = adopt_worktree(there, "main");
  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_EQ(adopted->branch, "feature");
  EXPECT_EQ(adopted->base_commit + "\n", git("rev-parse main"));
  EXPECT_EQ(adopted->head_commit + "\n", git("rev-parse feature"));
  EXPECT_FALSE(adopted->existed);
  EXPECT_TRUE(verify_worktree(there));
  EXPECT_TRUE(listed(key()).adopted);
  EXPECT_EQ(sh(path, "git status --porcelain"), " M a.txt\n");
  EXPECT_NE(git("worktree list").find(path), std::string::npos);
  EXPECT_EQ(git("fsck --no-dangling"), "");
  // All calls work on it.
  Result<Snapshot> taken = take_snapshot({.worktree = there, .name = "1"});
  ASSERT_TRUE(taken) << taken.error().message;
  Result<WorkLoss> loss = worktree_state({.worktree = there});
  ASSERT_TRUE(loss);
  EXPECT_EQ(loss->unpushed, 1U);
  EXPECT_TRUE(loss->dirty);
  adopted = adopt_worktree(there, "");
  ASSERT_TRUE(adopted);
  EXPECT_TRUE(adopted->existed);
  EXPECT_EQ(adopted->base_commit + "\n", git("rev-parse main"));
  EXPECT_EQ(code_of(adopt_worktree({repo(), path, key_of(2)}, "")), "worktree_taken");

  ASSERT_TRUE(release_worktree(there));
  EXPECT_FALSE(listed("theirs").ours);
  EXPECT_EQ(sh(path, "git status --porcelain"), " M a.txt\n");
  EXPECT_EQ(git("worktree list --porcelain | grep -c ^worktree"), "2\n");
  EXPECT_EQ(git("rev-parse refs/berth/s/" + key() + "/1"), taken->commit + "\n");
  ASSERT_TRUE(adopt_worktree({repo(), path, key_of(2)}, ""));
}

TEST_F(Registrations, WhatCannotBeAdoptedIsRefused) {
  create();
  EXPECT_EQ(code_of(adopt_worktree({repo(), repo(), key_of(2)}, "")), "main_worktree");
  EXPECT_EQ(code_of(adopt_worktree({repo(), tree(), key_of(2)}, "")), "worktree_taken");
  EXPECT_EQ(code_of(adopt_worktree({repo(), root_ + "/data", key_of(2)}, "")),
            "worktree_not_linked");
  EXPECT_EQ(code_of(adopt_worktree({repo(), root_ + "/none", key_of(2)}, "")), "worktree_missing");
  EXPECT_EQ(code_of(adopt_worktree({repo(), tree(), "../x"}, "")), "bad_key");
  git("worktree add -q ../trees/theirs && git worktree lock ../trees/theirs");
  const WorktreeRef theirs{repo(), root_ + "/trees/theirs", key_of(2)};
  EXPECT_EQ(code_of(adopt_worktree(theirs, "")), "worktree_locked");
  git("worktree unlock ../trees/theirs");
  EXPECT_EQ(code_of(adopt_worktree(theirs, "nope")), "rev_not_found");
  sh(root_, "git clone -q repo other && cd other && git worktree add -q ../trees/foreign");
  EXPECT_EQ(code_of(adopt_worktree({repo(), root_ + "/trees/foreign", key_of(2)}, "")),
            "worktree_not_linked");
  EXPECT_EQ(code_of(adopt_worktree({repo(), theirs.path, key()}, "")), "worktree_elsewhere");
  EXPECT_EQ(code_of(release_worktree(ref())), "not_adopted");
}

TEST_F(Registrations, AnAdoptionCutShortIsFinished) {
  git("worktree add -q ../trees/theirs");
  const std::string worktrees = repo() + "/.git/worktrees/";
  write(worktrees + "theirs/berth-adopted", "theirs\n");
  fs::rename(worktrees + "theirs", worktrees + key());  // killed right after this
  const WorktreeRef there{repo(), root_ + "/trees/theirs", key()};
  Result<CreatedWorktree> adopted = adopt_worktree(there, "");
  ASSERT_TRUE(adopted) << adopted.error().message;
  EXPECT_EQ(sh(there.path, "git status --porcelain"), "");
  EXPECT_TRUE(listed(key()).adopted);
}

TEST_F(Registrations, OfFoldersLongGoneArePrunedAndOnlyThose) {
  create();
  for (int n : {2, 3, 4, 5}) {
    ASSERT_TRUE(create_worktree(
        {.worktree = {repo(), root_ + "/t" + std::to_string(n) + "/tree", key_of(n)}}));
  }
  sh(root_ + "/t2/tree", "git checkout -q --detach && git commit -q --allow-empty -m only-here");
  const std::string held = sh(root_ + "/t2/tree", "git rev-parse HEAD");
  git("worktree add -q ../trees/theirs");
  fs::remove_all(root_ + "/trees/theirs");
  fs::remove_all(root_ + "/t2/tree");
  fs::remove_all(root_ + "/t3");  // as if its disk were not mounted
  git("worktree lock " + root_ + "/t4/tree");
  fs::remove_all(root_ + "/t4/tree");
  fs::remove(root_ + "/t5/tree/.git");

  PruneRequest request{.repository = repo(), .now_s = ::time(nullptr)};
  EXPECT_TRUE(prune_registrations(request)->empty());  // all are young
  request.now_s += 4000;
  request.dry_run = true;
  Result<std::vector<PrunedRegistration>> pruned = prune_registrations(request);
  ASSERT_TRUE(pruned) << pruned.error().message;
  ASSERT_EQ(pruned->size(), 1U);
  EXPECT_EQ(pruned->front().key, key_of(2));
  EXPECT_TRUE(exists(repo() + "/.git/worktrees/" + key_of(2)));
  request.dry_run = false;
  pruned = prune_registrations(request);
  ASSERT_TRUE(pruned);
  ASSERT_EQ(pruned->size(), 1U);
  EXPECT_FALSE(exists(repo() + "/.git/worktrees/" + key_of(2)));
  EXPECT_EQ(git("rev-parse " + pruned->front().salvage_ref), held);
  EXPECT_TRUE(exists(repo() + "/.git/worktrees/theirs"));
  for (int n : {3, 4, 5}) EXPECT_TRUE(exists(repo() + "/.git/worktrees/" + key_of(n)));
  EXPECT_TRUE(exists(root_ + "/t5/tree/a.txt"));
}

}  // namespace
}  // namespace berth::git::test
