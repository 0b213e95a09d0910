#include "temp_repository.h"

#include <berth/git/repository.h>

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <thread>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

using Worktree = GitTest;

TEST_F(Worktree, IsOneThatTheGitCommandKnows) {
  const std::string head = git("rev-parse HEAD");
  const CreatedWorktree made = create();
  EXPECT_EQ(made.path, tree());
  EXPECT_EQ(made.branch, "berth/" + key());
  EXPECT_EQ(made.base_commit + "\n", head);
  EXPECT_FALSE(made.existed);
  EXPECT_EQ(in_tree("status --porcelain"), "");
  EXPECT_EQ(in_tree("rev-parse --abbrev-ref HEAD"), "berth/" + key() + "\n");
  EXPECT_NE(git("worktree list --porcelain")
                .find("worktree " + tree() + "\nHEAD " + made.base_commit +
                      "\nbranch refs/heads/berth/" + key() + "\n"),
            std::string::npos);
  EXPECT_EQ(git("fsck --no-dangling"), "");
  EXPECT_EQ(git("worktree prune -v"), "");
  write(tree() + "/new.txt", "x\n");
  in_tree("add -A && git commit -q -m second");
  EXPECT_EQ(in_tree("rev-list --count HEAD"), "2\n");
  EXPECT_EQ(git("rev-list --count HEAD"), "1\n");
}

TEST_F(Worktree, HasTheSameFilesAsACheckoutByTheGitCommand) {
  write(repo() + "/run me.sh", "#!/bin/sh\n");
  fs::permissions(repo() + "/run me.sh", fs::perms(0755));
  fs::create_symlink("dir/b.txt", repo() + "/link");
  fs::create_symlink("/nonexistent/far away", repo() + "/broken");
  write(repo() + "/\xc3\xbcml\xc3\xa4ut/\xe6\x97\xa5\xe6\x9c\xac.txt", "unicode\n");
  write(repo() + "/dir.d/x", "sorts between dir and dir/\n");
  write(repo() + "/dir-e/x", "so does this\n");
  write(repo() + "/empty", "");
  write(repo() + "/crlf/.gitattributes", "*.txt text eol=crlf\n*.id ident\n");
  write(repo() + "/crlf/+first.txt", "a\nb\n");
  write(repo() + "/crlf/sub/t.txt", "a\nb\n");
  write(repo() + "/crlf/v.id", "$Id$\n");
  git("add -A && git commit -q -m more");
  create();
  git("worktree add -q --detach ../trees/theirs");
  EXPECT_EQ(sh(root_ + "/trees", "diff -r --no-dereference -x .git one theirs"), "");
  EXPECT_EQ(read(tree() + "/crlf/+first.txt"), "a\r\nb\r\n");
  EXPECT_EQ(in_tree("status --porcelain"), "");
  EXPECT_EQ(sh(tree(), "find . -type f -perm -100 -not -path \"./.git\""), "./run me.sh\n");
}

TEST_F(Worktree, DoesNotFollowALinkToAttributesThatTheTreeHolds) {
  ASSERT_EQ(::mkfifo((root_ + "/pipe").c_str(), 0666), 0);
  fs::create_symlink(root_ + "/pipe", repo() + "/.gitattributes");
  git("add -A && git commit -q -m trap");
  create();  // reading the pipe would never end
  EXPECT_TRUE(fs::is_symlink(tree() + "/.gitattributes"));
  EXPECT_EQ(in_tree("ls-files -s .gitattributes").substr(0, 6), "120000");
}

TEST_F(Worktree, LeavesNothingForGitStatusToReadAgain) {
  create();
  // The index carries the times and sizes of what was written, so a refresh changes no byte of it
  // once the files are older than the index.
  sh(tree(), "touch -d @1600000000 a.txt && git update-index --refresh");
  EXPECT_EQ(in_tree("diff-files --name-only"), "");
}

TEST_F(Worktree, MakingItAgainReturnsWhatIsThere) {
  const CreatedWorktree first = create();
  write(tree() + "/kept.txt", "work\n");
  git("commit -q --allow-empty -m \"main moves on\"");
  const CreatedWorktree second = create();
  EXPECT_TRUE(second.existed);
  EXPECT_EQ(second.base_commit, first.base_commit);
  EXPECT_EQ(read(tree() + "/kept.txt"), "work\n");

  Result<CreatedWorktree> other_base =
      create_worktree({.worktree = ref(), .base = "main", .private_index = {}});
  ASSERT_FALSE(other_base);
  EXPECT_STREQ(other_base.error().code, "base_differs");
  Result<CreatedWorktree> other_path =
      create_worktree({.worktree = {repo(), root_ + "/trees/two", key()}});
  ASSERT_FALSE(other_path);
  EXPECT_STREQ(other_path.error().code, "worktree_elsewhere");
  EXPECT_FALSE(exists(root_ + "/trees/two"));
}

TEST_F(Worktree, TakesAnyCommitAsItsBase) {
  git("commit -q --allow-empty -m second && git tag -a -m t v1 && git commit -q --allow-empty -m "
      "3");
  for (const char* base : {"v1", "main~1", "HEAD^", "refs/tags/v1"}) {
    const int n = base[0] + base[4 % std::char_traits<char>::length(base)];
    Result<CreatedWorktree> made = create_worktree(
        {.worktree = {repo(), root_ + "/trees/" + std::to_string(n), key_of(n)}, .base = base});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->base_commit + "\n", git("rev-parse main~1"));
  }
}

TEST_F(Worktree, RefusesWhatCannotWorkAndSaysWhy) {
  const auto code = [&](const CreateWorktree& request) {
    Result<CreatedWorktree> made = create_worktree(request);
    return made ? std::string("made") : std::string(made.error().code);
  };
  EXPECT_EQ(code({.worktree = {repo(), tree(), "ses_1"}}), "bad_key");
  EXPECT_EQ(code({.worktree = {repo(), tree(), std::string(26, 'A')}}), "bad_key");
  EXPECT_EQ(code({.worktree = {repo(), "trees/one", key()}}), "bad_path");
  EXPECT_EQ(code({.worktree = {repo(), tree() + "\n", key()}}), "bad_path");
  EXPECT_EQ(code({.worktree = {root_ + "/none", tree(), key()}}), "path_missing");
  EXPECT_EQ(code({.worktree = {root_ + "/data", tree(), key()}}), "not_a_repository");
  EXPECT_EQ(code({.worktree = ref(), .base = "nope"}), "rev_not_found");
  EXPECT_EQ(code({.worktree = ref(), .base = "HEAD^{tree}"}), "not_a_commit");
  sh(root_, "git init -q empty");
  EXPECT_EQ(code({.worktree = {root_ + "/empty", tree(), key()}}), "repository_empty");
  write(tree() + "/something", "here\n");
  EXPECT_EQ(code({.worktree = ref()}), "path_occupied");
  EXPECT_EQ(read(tree() + "/something"), "here\n");
  EXPECT_EQ(git("worktree list --porcelain | grep -c ^worktree"), "1\n");
}

TEST_F(Worktree, StopsWhenItsTimeIsUpAndLeavesNothing) {
  for (int i = 0; i < 300; ++i) write(repo() + "/many/" + std::to_string(i), "x");
  git("add -A && git commit -q -m many");
  std::atomic<bool> cancelled = true;
  Result<CreatedWorktree> made =
      create_worktree({.worktree = ref(), .patience = {.cancelled = &cancelled}});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, ErrorKind::cancelled);
  EXPECT_FALSE(exists(tree()));
  Result<CreatedWorktree> late = create_worktree(
      {.worktree = ref(), .patience = {.deadline = std::chrono::steady_clock::time_point()}});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().kind, ErrorKind::timed_out);
  EXPECT_EQ(git("worktree list --porcelain | grep -c ^worktree"), "1\n");
  create();
  EXPECT_EQ(in_tree("status --porcelain"), "");
}

TEST_F(Worktree, WorksForBareDetachedAndLinkedRepositories) {
  sh(root_, "git clone -q --bare repo bare.git");
  Result<CreatedWorktree> bare =
      create_worktree({.worktree = {root_ + "/bare.git", root_ + "/trees/bare", key_of(2)},
                       .private_index = root_ + "/data/bare.index"});
  ASSERT_TRUE(bare) << bare.error().message;
  EXPECT_EQ(sh(root_ + "/trees/bare", "git status --porcelain"), "");
  write(root_ + "/trees/bare/n", "n\n");
  Result<Snapshot> taken =
      take_snapshot({.worktree = {root_ + "/bare.git", root_ + "/trees/bare", key_of(2)},
                     .name = "1",
                     .private_index = root_ + "/data/bare.index"});
  ASSERT_TRUE(taken) << taken.error().message;

  git("checkout -q --detach && git commit -q --allow-empty -m detached");
  const CreatedWorktree made = create();
  EXPECT_EQ(made.base_commit + "\n", git("rev-parse HEAD"));

  // From inside a linked worktree: its own HEAD is the base, the registration goes to the common
  // folder.
  in_tree("commit -q --allow-empty -m linked");
  Result<CreatedWorktree> linked =
      create_worktree({.worktree = {tree(), root_ + "/trees/linked", key_of(3)}});
  ASSERT_TRUE(linked) << linked.error().message;
  EXPECT_EQ(linked->base_commit + "\n", in_tree("rev-parse HEAD"));
  EXPECT_EQ(git("worktree list --porcelain | grep -c ^worktree"), "3\n");
}

TEST_F(Worktree, ShallowClonesAndSubmodulesAreTakenAsTheyAre) {
  git("commit -q --allow-empty -m second");
  sh(root_, "git clone -q --depth 1 file://$PWD/repo shallow");
  Result<CreatedWorktree> shallow =
      create_worktree({.worktree = {root_ + "/shallow", root_ + "/trees/shallow", key_of(2)}});
  ASSERT_TRUE(shallow) << shallow.error().message;
  EXPECT_EQ(sh(root_ + "/trees/shallow", "git status --porcelain"), "");

  git("-c protocol.file.allow=always submodule add -q ../shallow sub && git commit -q -m sub");
  const CreatedWorktree made = create();
  EXPECT_TRUE(exists(tree() + "/sub"));
  EXPECT_EQ(in_tree("status --porcelain"), "");
  const Snapshot first = snapshot("1");
  EXPECT_EQ(first.tree + "\n", git("rev-parse HEAD^{tree}"));
  in_tree("-c protocol.file.allow=always submodule update -q --init");
  EXPECT_EQ(snapshot("2").tree, first.tree);
  sh(tree() + "/sub", "git commit -q --allow-empty -m inside");
  const std::string moved = snapshot("3").tree;
  EXPECT_NE(moved, first.tree);
  EXPECT_EQ(in_tree("add sub && git write-tree"), moved + "\n");
}

TEST_F(Worktree, ManyAtOnceInOneRepositoryAllSucceed) {
  constexpr int kThreads = 8;
  constexpr int kEach = 10;
  std::vector<std::string> failures(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const int n = 100 + t * kEach + i;
        Result<CreatedWorktree> made = create_worktree(
            {.worktree = {repo(), root_ + "/trees/" + std::to_string(n), key_of(n)}});
        if (!made) failures[static_cast<std::size_t>(t)] += made.error().message + "\n";
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& failure : failures) EXPECT_EQ(failure, "");
  EXPECT_EQ(git("worktree list --porcelain | grep -c ^worktree"), "81\n");
  EXPECT_EQ(git("for-each-ref refs/heads/berth | wc -l"), "80\n");
  EXPECT_EQ(git("fsck --no-dangling"), "");
}

// What a kill leaves, made by hand: after each step of a creation, the next attempt ends whole.
class HalfMade : public GitTest, public ::testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(EachStep, HalfMade, ::testing::Range(0, 7));

TEST_P(HalfMade, IsMadeAgain) {
  const int steps = GetParam();
  const std::string registration = repo() + "/.git/worktrees/" + key();
  git("update-ref refs/berth/s/" + key() + "/base HEAD");
  if (steps > 0) git("branch -q berth/" + key());
  if (steps > 1) fs::create_directories(registration);
  if (steps > 2) {
    write(registration + "/locked", "berth: being made\n");
    write(registration + "/commondir", "../..\n");
  }
  if (steps > 3) {
    write(registration + "/gitdir", tree() + "/.git\n");
    write(registration + "/HEAD", "ref: refs/heads/berth/" + key() + "\n");
  }
  if (steps > 4) fs::create_directories(tree());
  if (steps > 5) {
    write(tree() + "/.git", "gitdir: " + registration + "\n");
    write(tree() + "/a.txt", "half");
  }
  git("commit -q --allow-empty -m \"HEAD moves between the attempts\"");
  const CreatedWorktree made = create();
  EXPECT_FALSE(made.existed);
  EXPECT_EQ(made.base_commit + "\n", git("rev-parse HEAD"));
  EXPECT_EQ(in_tree("status --porcelain"), "");
  EXPECT_EQ(in_tree("rev-parse HEAD"), git("rev-parse HEAD"));
  EXPECT_TRUE(verify_worktree(ref()));
}

TEST_F(Worktree, AHalfMadeOneIsNeverTakenForWhole) {
  create();
  write(repo() + "/.git/worktrees/" + key() + "/locked", "berth: being made\n");
  Result<void> verified = verify_worktree(ref());
  ASSERT_FALSE(verified);
  EXPECT_STREQ(verified.error().code, "worktree_half_made");
  EXPECT_FALSE(take_snapshot({.worktree = ref(), .name = "1", .private_index = index()}));
}

TEST_F(Worktree, AFolderWhoseRegistrationWasLostIsNotTakenForALeftover) {
  create();
  write(tree() + "/work.txt", "unsaved\n");
  for (const char* lost : {"/HEAD", ""}) {
    fs::remove_all(repo() + "/.git/worktrees/" + key() + lost);
    Result<CreatedWorktree> again = create_worktree({.worktree = ref()});
    ASSERT_FALSE(again);
    EXPECT_STREQ(again.error().code, "path_occupied");
    EXPECT_EQ(read(tree() + "/work.txt"), "unsaved\n");
  }
}

TEST_F(Worktree, ALeftoverAtAnotherPathIsClearedToo) {
  create();
  write(repo() + "/.git/worktrees/" + key() + "/locked", "berth: being made\n");
  Result<CreatedWorktree> moved =
      create_worktree({.worktree = {repo(), root_ + "/trees/two", key()}});
  ASSERT_TRUE(moved) << moved.error().message;
  EXPECT_FALSE(exists(tree()));
  EXPECT_EQ(sh(root_ + "/trees/two", "git status --porcelain"), "");
}

TEST_F(Worktree, ABranchWithCommitsIsNotReset) {
  create();
  in_tree("commit -q --allow-empty -m work");
  const std::string tip = in_tree("rev-parse HEAD");
  git("worktree remove " + tree());
  Result<CreatedWorktree> again = create_worktree({.worktree = ref()});
  ASSERT_FALSE(again);
  EXPECT_STREQ(again.error().code, "branch_has_commits");
  Result<CreatedWorktree> kept = create_worktree({.worktree = ref(), .keep_branch = true});
  ASSERT_TRUE(kept) << kept.error().message;
  EXPECT_EQ(kept->head_commit + "\n", tip);
  EXPECT_EQ(in_tree("rev-parse HEAD"), tip);
}

TEST_F(Worktree, OneThatIsNotReallyThereIsAnErrorNotAnEmptyTree) {
  const auto code = [&] {
    Result<Snapshot> taken =
        take_snapshot({.worktree = ref(), .name = "9", .private_index = index()});
    return taken ? std::string("taken") : std::string(taken.error().code);
  };
  create();
  fs::rename(tree(), tree() + ".away");
  EXPECT_EQ(code(), "worktree_missing");
  fs::create_directories(tree());
  EXPECT_EQ(code(), "worktree_not_linked");  // an unmounted mount point
  write(tree() + "/.git", "gitdir: " + repo() + "/.git\n");
  EXPECT_EQ(code(), "worktree_not_linked");
  write(tree() + "/.git", "gitdir: /nonexistent\n");
  EXPECT_EQ(code(), "worktree_not_linked");
  fs::remove_all(tree());
  fs::create_symlink(tree() + ".away", tree());
  EXPECT_EQ(code(), "worktree_not_linked");
  fs::remove(tree());
  fs::rename(tree() + ".away", tree());
  EXPECT_EQ(code(), "taken");
  fs::rename(tree() + "/.git", root_ + "/moved.git");
  fs::create_symlink(root_ + "/moved.git", tree() + "/.git");
  EXPECT_EQ(code(), "worktree_not_linked");
}

TEST_F(Worktree, AreListedFromBothSides) {
  create();
  for (int n : {2, 3, 4}) {
    ASSERT_TRUE(
        create_worktree({.worktree = {repo(), root_ + "/trees/" + std::to_string(n), key_of(n)}}));
  }
  git("worktree add -q ../trees/not-ours");
  fs::remove_all(root_ + "/trees/2");
  fs::remove_all(repo() + "/.git/worktrees/" + key_of(3));
  write(repo() + "/.git/worktrees/" + key_of(4) + "/locked", "berth: being made\n");
  Result<std::vector<ListedWorktree>> listed =
      list_worktrees(repo(), {root_ + "/trees", root_ + "/none"});
  ASSERT_TRUE(listed) << listed.error().message;
  ASSERT_EQ(listed->size(), 4u);
  EXPECT_EQ((*listed)[0].path, tree());
  EXPECT_EQ((*listed)[0].condition, WorktreeCondition::whole);
  EXPECT_EQ((*listed)[1].condition, WorktreeCondition::folder_gone);
  EXPECT_EQ((*listed)[2].path, root_ + "/trees/3");
  EXPECT_EQ((*listed)[2].condition, WorktreeCondition::unregistered);
  EXPECT_EQ((*listed)[3].condition, WorktreeCondition::half_made);
}

}  // namespace
}  // namespace berth::git::test
