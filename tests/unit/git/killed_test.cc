#include "kill_at_step.h"
#include "temp_repository.h"

#include <berth/git/removal.h>
#include <berth/git/retention.h>
#include <berth/git/snapshot.h>
#include <berth/git/worktree.h>

#include <filesystem>
#include <string>
#include <vector>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

constexpr int kStepsMax = 60;

class GitKilled : public GitTest {
 protected:
  GitKilled() : GitTest(Where::memory) {}
  std::vector<ListedWorktree> listed() {
    Result<std::vector<ListedWorktree>> found = list_worktrees(repo(), {root_ + "/trees"});
    EXPECT_TRUE(found);
    return found ? *found : std::vector<ListedWorktree>{};
  }
  void edit() {
    write(tree() + "/a.txt", "changed\n");
    write(tree() + "/new file", "untracked\n");
    fs::remove(tree() + "/dir/b.txt");
  }
  static Patience mortal() {
    Patience patience;
    patience.on_step = count_down;
    return patience;
  }
};

TEST_F(GitKilled, ACreationIsSeenAsHalfMadeAndMadeAgain) {
  CreateWorktree request{.worktree = ref(), .base = {}, .private_index = index()};
  bool done = false;
  int half_made = 0;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, kStepsMax);
    request.patience = mortal();
    done = ran_to_its_end(step, [&] { return create_worktree(request).has_value(); });
    const std::vector<ListedWorktree> found = listed();
    if (!done) {
      ASSERT_LE(found.size(), 1U) << step;
      for (const ListedWorktree& one : found) {
        EXPECT_EQ(one.condition, WorktreeCondition::half_made) << step;
        EXPECT_FALSE(verify_worktree(ref())) << step;
        ++half_made;
      }
    }
    request.patience = {};
    Result<CreatedWorktree> made = create_worktree(request);
    ASSERT_TRUE(made) << step << ": " << made.error().message;
    EXPECT_EQ(made->existed, done);
    EXPECT_EQ(in_tree("status --porcelain"), "") << step;
    EXPECT_EQ(in_tree("symbolic-ref --short HEAD"), "berth/" + key() + "\n");
    EXPECT_EQ(git("worktree list --porcelain | grep -c ^worktree"), "2\n");
    git("worktree remove --force " + tree() + " && git branch -q -D berth/" + key());
    fs::remove(index());
  }
  EXPECT_GT(half_made, 5);
}

class GitSnapshotKilled : public GitKilled, public testing::WithParamInterface<bool> {};

INSTANTIATE_TEST_SUITE_P(Looks, GitSnapshotKilled, testing::Bool(),
                         [](const auto& info) { return info.param ? "AtHints" : "AtAllFiles"; });

TEST_P(GitSnapshotKilled, IsThereOrNot) {
  create();
  const Snapshot first = snapshot("1");
  const std::string old = first.commit;
  const std::string known = read(index());
  edit();
  SnapshotRequest request{.worktree = ref(), .name = "2", .private_index = index(), .time_s = 1};
  request.hints = {
      .complete = GetParam(), .since = first.tree, .paths = {"a.txt", "new file", "dir"}};
  bool done = false;
  std::string tree_id;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, kStepsMax);
    request.patience = mortal();
    done = ran_to_its_end(step, [&] { return take_snapshot(request).has_value(); });
    EXPECT_EQ(git("rev-parse refs/berth/s/" + key() + "/1"), old + "\n");
    git("fsck --no-dangling");
    request.patience = {};
    Result<Snapshot> again = take_snapshot(request);
    ASSERT_TRUE(again) << step << ": " << again.error().message;
    if (tree_id.empty()) tree_id = again->tree;
    EXPECT_EQ(again->tree, tree_id) << step;
    EXPECT_EQ(again->scan.full, !GetParam()) << step;
    EXPECT_EQ(git("show " + again->ref + ":a.txt"), "changed\n");
    git("update-ref -d " + again->ref);
    if (GetParam()) {
      write(index(), known);
    } else {
      fs::remove(index());
    }
  }
  EXPECT_EQ(in_tree("diff --cached --name-only"), "");
}

TEST_F(GitKilled, ARemovalLosesNothingAtAnyStep) {
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, kStepsMax);
    create();
    edit();
    RemoveWorktree request{
        .worktree = ref(), .force = true, .private_index = index(), .patience = mortal()};
    done = ran_to_its_end(step, [&] {
      WorkLoss report;
      return remove_worktree(request, report).has_value();
    });
    // The work is in the folder or in a salvage ref, or in both.
    const std::string salvage =
        git("for-each-ref --format=%\\(refname\\) --sort=-refname refs/berth/x/" + key());
    if (exists(tree())) {
      EXPECT_EQ(read(tree() + "/a.txt"), "changed\n") << step;
      EXPECT_EQ(read(tree() + "/new file"), "untracked\n") << step;
    } else {
      ASSERT_FALSE(salvage.empty()) << step;
      const std::string kept = salvage.substr(0, salvage.find('\n'));
      EXPECT_EQ(git("show " + kept + ":a.txt"), "changed\n") << step;
      EXPECT_EQ(git("show \"" + kept + ":new file\""), "untracked\n") << step;
      EXPECT_NE(sh_code(repo(), "git cat-file -e " + kept + ":dir/b.txt"), 0) << step;
    }
    request.patience = {};
    WorkLoss report;
    Result<Removal> again = remove_worktree(request, report);
    ASSERT_TRUE(again) << step << ": " << again.error().message;
    EXPECT_FALSE(exists(tree()));
    EXPECT_TRUE(listed().empty()) << step;
    EXPECT_EQ(git("worktree list --porcelain | grep -c ^worktree"), "1\n");
    git("fsck --no-dangling");
    git("for-each-ref --format=\"delete %(refname)\" refs/berth | git update-ref --stdin");
    fs::remove_all(root_ + "/trees/.berth-trash");
  }
}

TEST_F(GitKilled, AnExpiryOfRefsGoesOnWhereItWas) {
  create();
  RetentionRequest request{.repository = repo(), .now_s = 4'000'000'000};
  request.policy = {.live_keys = {key()}, .snapshots_max = 1};
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, kStepsMax);
    for (const char* name : {"1", "2", "3"}) snapshot(name);
    request.patience = mortal();
    done = ran_to_its_end(step, [&] { return expire_refs(request).has_value(); });
    request.patience = {};
    Result<Retention> again = expire_refs(request);
    ASSERT_TRUE(again) << step << ": " << again.error().message;
    EXPECT_EQ(git("for-each-ref --format=%\\(refname:lstrip=4\\) refs/berth/s/" + key()),
              "3\nbase\n");
    EXPECT_EQ(again->expired.size() + static_cast<std::size_t>(step) - 1, 2U);
  }
}

}  // namespace
}  // namespace berth::git::test
