#include "kill_at_step.h"
#include "temp_repository.h"

#include <berth/git/archive.h>
#include <berth/git/registration.h>

#include <filesystem>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

constexpr int kStepsMax = 80;

class Archives : public GitTest {
 protected:
  Archives() : GitTest(Where::memory) {}
  void SetUp() override { base_ = create().base_commit; }

  /// Work of every kind.
  void work() {
    in_tree("commit -q --allow-empty -m commit-of-the-session");
    write(tree() + "/staged", "staged\n");
    write(tree() + "/a.txt", "staged version\n");
    in_tree("add staged a.txt");
    write(tree() + "/a.txt", "version on disk\n");
    fs::remove(tree() + "/dir/b.txt");
    write(tree() + "/untracked.bin", std::string("\0\1\2\n\r\n", 6));
    write(tree() + "/run.sh", "#!/bin/sh\n");
    fs::permissions(tree() + "/run.sh", fs::perms(0755));
    fs::create_symlink("nowhere", tree() + "/link");
  }
  /// All that can be told of a worktree.
  std::string seen() {
    return in_tree("status --porcelain=v2 --branch") + in_tree("ls-files -s") +
           sh(tree(),
              "find . -path ./.git -prune -o -type f -printf \"%m \" -exec sha256sum {} \\; "
              "-o -type l -printf \"%p %l\\n\" | sort");
  }
  ArchiveRequest request() const {
    return {.worktree = ref(), .base = base_, .private_index = index(), .time_s = 7};
  }
  RestoreArchive restore(const std::string& commit) const {
    return {.worktree = ref(), .commit = commit, .base = base_, .private_index = index()};
  }

  std::string base_;
};

TEST_F(Archives, ComeBackBitForBit) {
  work();
  const std::string before = seen();
  Result<Archived> archived = archive_worktree(request());
  ASSERT_TRUE(archived) << archived.error().message;
  EXPECT_FALSE(exists(tree()));
  EXPECT_FALSE(exists(repo() + "/.git/worktrees/" + key()));
  EXPECT_EQ(git("worktree list --porcelain | grep -c ^worktree"), "1\n");
  EXPECT_EQ(git("rev-parse " + archived->ref), archived->commit + "\n");
  EXPECT_EQ(git("for-each-ref refs/berth/x | wc -l"), "1\n");
  EXPECT_EQ(git("fsck --no-dangling"), "");
  git("gc -q --prune=now");
  Result<CreatedWorktree> back = restore_archive(restore(archived->commit));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->branch, "berth/" + key());
  EXPECT_EQ(back->base_commit, base_);
  EXPECT_EQ(seen(), before);
  // Again: it is there and stays as it is.
  write(tree() + "/later", "work after the restore\n");
  back = restore_archive(restore(archived->commit));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_TRUE(back->existed);
  EXPECT_EQ(read(tree() + "/later"), "work after the restore\n");
  EXPECT_EQ(git("rev-parse refs/berth/x/" + key() + "/1"), archived->commit + "\n");
}

TEST_F(Archives, OfACleanWorktreeTakeOnlyItsFolder) {
  const std::string before = seen();
  Result<Archived> archived = archive_worktree(request());
  ASSERT_TRUE(archived) << archived.error().message;
  ASSERT_TRUE(restore_archive(restore(archived->commit)));
  EXPECT_EQ(seen(), before);
}

TEST_F(Archives, KeepADetachedHeadAndAnotherBranch) {
  in_tree("checkout -q --detach && git commit -q --allow-empty -m detached");
  std::string before = seen();
  Result<Archived> archived = archive_worktree(request());
  ASSERT_TRUE(archived) << archived.error().message;
  git("gc -q --prune=now");
  ASSERT_TRUE(restore_archive(restore(archived->commit)));
  EXPECT_EQ(seen(), before);

  in_tree("checkout -q -b feature && git commit -q --allow-empty -m on-feature");
  before = seen();
  archived = archive_worktree(request());
  ASSERT_TRUE(archived) << archived.error().message;
  Result<CreatedWorktree> back = restore_archive(restore(archived->commit));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->branch, "feature");
  EXPECT_EQ(seen(), before);

  // Somebody took the branch meanwhile: the files come back all the same.
  write(tree() + "/a.txt", "work\n");
  archived = archive_worktree(request());
  ASSERT_TRUE(archived);
  git("worktree add -q ../trees/two feature");
  back = restore_archive(restore(archived->commit));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->branch, "");
  EXPECT_EQ(in_tree("rev-parse HEAD"), git("rev-parse feature"));
  EXPECT_EQ(read(tree() + "/a.txt"), "work\n");
}

TEST_F(Archives, RefuseWhatNoCommitHolds) {
  const auto code = [&] {
    Result<Archived> archived = archive_worktree(request());
    return archived ? std::string("archived") : std::string(archived.error().code);
  };
  sh(tree(), "git init -q inner && cd inner && git commit -q --allow-empty -m x");
  EXPECT_EQ(code(), "nested_repository");
  EXPECT_TRUE(exists(tree() + "/inner/.git"));
  fs::remove_all(tree() + "/inner");
  ASSERT_TRUE(lock_worktree(ref(), "mine"));
  EXPECT_EQ(code(), "worktree_locked");
  ASSERT_TRUE(unlock_worktree(ref()));
  git("commit -q --allow-empty -m other && git checkout -q -b side && echo x > a.txt && git commit "
      "-qam side && git checkout -q main");
  in_tree("commit -q --allow-empty -m x && echo y > a.txt && git commit -qam y");
  EXPECT_NE(sh_code(tree(), "git merge side"), 0);
  EXPECT_EQ(code(), "operation_under_way");
  in_tree("merge --abort");
  EXPECT_EQ(code(), "archived");
  Result<CreatedWorktree> bad = restore_archive(restore(base_));
  ASSERT_FALSE(bad);
  EXPECT_STREQ(bad.error().code, "bad_archive");
}

TEST_F(Archives, KilledAnywhereLoseNothing) {
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, kStepsMax);
    work();
    const std::string before = seen();
    ArchiveRequest dying = request();
    dying.patience.on_step = count_down;
    done = ran_to_its_end(step, [&] { return archive_worktree(dying).has_value(); });
    std::string commit;
    if (exists(tree()) && verify_worktree(ref())) {
      EXPECT_EQ(seen(), before) << step;
      Result<Archived> again = archive_worktree(request());
      ASSERT_TRUE(again) << step << ": " << again.error().message;
      commit = again->commit;
    } else {
      commit = git("rev-parse refs/berth/x/" + key() + "/archive").substr(0, 40);
    }
    ASSERT_FALSE(exists(tree()));
    Result<CreatedWorktree> back = restore_archive(restore(commit));
    if (!back) {  // the registration without its folder: to be finished first
      EXPECT_STREQ(back.error().code, "worktree_missing");
      WorkLoss report;
      ASSERT_TRUE(remove_worktree({.worktree = ref(), .base = base_}, report));
      back = restore_archive(restore(commit));
    }
    ASSERT_TRUE(back) << step << ": " << back.error().message;
    EXPECT_EQ(seen(), before) << step;
    WorkLoss report;
    ASSERT_TRUE(remove_worktree({.worktree = ref(), .base = base_, .force = true}, report));
    git("for-each-ref --format=\"delete %(refname)\" refs/berth refs/heads/berth | git update-ref "
        "--stdin");
    fs::remove(index());
    create();
  }
}

TEST_F(Archives, ARestoreKilledAnywhereIsFinished) {
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, kStepsMax);
    work();
    const std::string before = seen();
    Result<Archived> archived = archive_worktree(request());
    ASSERT_TRUE(archived) << step << ": " << archived.error().message;
    RestoreArchive dying = restore(archived->commit);
    dying.patience.on_step = count_down;
    done = ran_to_its_end(step, [&] { return restore_archive(dying).has_value(); });
    Result<CreatedWorktree> back = restore_archive(restore(archived->commit));
    ASSERT_TRUE(back) << step << ": " << back.error().message;
    EXPECT_EQ(seen(), before) << step;
    WorkLoss report;
    ASSERT_TRUE(remove_worktree({.worktree = ref(), .base = base_, .force = true}, report));
    git("for-each-ref --format=\"delete %(refname)\" refs/berth refs/heads/berth | git update-ref "
        "--stdin");
    fs::remove(index());
    create();
  }
}

}  // namespace
}  // namespace berth::git::test
