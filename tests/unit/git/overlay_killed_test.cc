#include "kill_at_step.h"
#include "temp_repository.h"

#include <berth/git/overlay.h>

#include <sys/mount.h>

#include <filesystem>
#include <string>
#include <vector>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

constexpr int kStepsMax = 80;

class OverlayKilled : public GitTest {
 protected:
  void SetUp() override {
    const OverlaySupport support = probe_overlay(store());
    if (!support.usable) GTEST_SKIP() << support.reason;
  }
  void TearDown() override {
    while (::umount2(tree().c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
    }
  }

  std::string store() const { return root_ + "/store"; }
  OverlayRef overlay() const { return {ref(), store()}; }
  CreateOverlay create_request() const {
    return {.worktree = {.worktree = ref(), .base = {}, .private_index = index()},
            .store = store()};
  }
  RemoveOverlay remove_request() const {
    return {.worktree = {.worktree = ref(), .base = {}, .force = true, .private_index = index()},
            .store = store()};
  }
  static Patience mortal() {
    Patience patience;
    patience.on_step = count_down;
    return patience;
  }
  void remove() {
    WorkLoss report;
    Result<Removal> removed = remove_overlay(remove_request(), report);
    ASSERT_TRUE(removed) << removed.error().message;
  }
  /// Nothing but the shared checkout is left, and that goes when it is asked to.
  void expect_no_trace(int step) {
    EXPECT_FALSE(exists(tree())) << step;
    EXPECT_FALSE(exists(repo() + "/.git/worktrees/" + key())) << step;
    EXPECT_FALSE(exists(index())) << step;
    Result<std::vector<ListedOverlay>> listed = list_overlays(store());
    EXPECT_TRUE(listed && listed->empty()) << step;
    EXPECT_EQ(sh(root_, "grep -c " + root_ + "/trees /proc/self/mounts || true"), "0\n") << step;
    ASSERT_TRUE(sweep_overlays(store(), {}, {})) << step;
    EXPECT_TRUE(!exists(store() + "/lowers") || fs::is_empty(store() + "/lowers")) << step;
    EXPECT_TRUE(!exists(store() + "/trash") || fs::is_empty(store() + "/trash")) << step;
  }
  /// Kills a creation before each of its steps; with `prepared` the shared checkout is there
  /// before.
  int kill_creations(bool prepared) {
    bool done = false;
    int half_made = 0;
    for (int step = 1; !done; ++step) {
      EXPECT_LT(step, kStepsMax);
      if (prepared) {
        EXPECT_TRUE(
            create_overlay({.worktree = {.worktree = {repo(), root_ + "/trees/other", key_of(2)},
                                         .base = {},
                                         .private_index = {}},
                            .store = store()}));
      }
      CreateOverlay request = create_request();
      request.worktree.patience = mortal();
      done = ran_to_its_end(step, [&] { return create_overlay(request).has_value(); });
      if (!done) {
        // Not whole, and said so, until somebody finishes it.
        EXPECT_FALSE(ensure_overlay_ready(overlay(), {})) << step;
        EXPECT_FALSE(verify_worktree(ref())) << step;
        ++half_made;
      }
      Result<CreatedWorktree> made = create_overlay(create_request());
      EXPECT_TRUE(made) << step << ": " << made.error().message;
      if (!made) return half_made;
      EXPECT_EQ(made->existed, done) << step;
      EXPECT_EQ(in_tree("status --porcelain"), "") << step;
      EXPECT_EQ(in_tree("symbolic-ref --short HEAD"), "berth/" + key() + "\n");
      Result<ChangedPaths> changed = changed_paths(overlay(), {});
      EXPECT_TRUE(changed && changed->complete && changed->paths.empty()) << step;
      remove();
      if (prepared) {
        WorkLoss report;
        EXPECT_TRUE(remove_overlay(
            {.worktree = {.worktree = {repo(), root_ + "/trees/other", key_of(2)}, .base = {}},
             .store = store()},
            report));
      }
      expect_no_trace(step);
    }
    return half_made;
  }
};

TEST_F(OverlayKilled, ACreationThatMakesTheSharedCheckoutIsMadeAgain) {
  EXPECT_GT(kill_creations(false), 15);
}

TEST_F(OverlayKilled, ACreationOnASharedCheckoutIsMadeAgain) {
  EXPECT_GT(kill_creations(true), 8);
}

TEST_F(OverlayKilled, AHalfMadeOneIsRemovedToo) {
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, kStepsMax);
    CreateOverlay request = create_request();
    request.worktree.patience = mortal();
    done = ran_to_its_end(step, [&] { return create_overlay(request).has_value(); });
    WorkLoss report;
    // A removal of that which dies too is begun again.
    RemoveOverlay dying = remove_request();
    dying.worktree.patience = mortal();
    ran_without(Step::overlay_remove_unfinished,
                [&] { return remove_overlay(dying, report).has_value(); });
    Result<Removal> removed = remove_overlay(remove_request(), report);
    ASSERT_TRUE(removed) << step << ": " << removed.error().message;
    expect_no_trace(step);
    git("branch -q -D berth/" + key() + " || true");
  }
}

TEST_F(OverlayKilled, ASweepOfSharedCheckoutsGoesOn) {
  ASSERT_TRUE(create_overlay(create_request()));
  remove();
  Patience patience = mortal();
  EXPECT_FALSE(ran_without(Step::lower_unused,
                           [&] { return sweep_overlays(store(), {}, patience).has_value(); }));
  EXPECT_FALSE(fs::is_empty(store() + "/lowers"));
  expect_no_trace(1);
}

TEST_F(OverlayKilled, ARemovalLosesNothingAtAnyStep) {
  bool done = false;
  int in_layer = 0;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, kStepsMax);
    ASSERT_TRUE(create_overlay(create_request()));
    write(tree() + "/a.txt", "changed\n");
    write(tree() + "/new file", "untracked\n");
    sh(tree(), "mv dir moved");
    RemoveOverlay request = remove_request();
    request.worktree.patience = mortal();
    done = ran_to_its_end(step, [&] {
      WorkLoss report;
      return remove_overlay(request, report).has_value();
    });
    // The work is in the layer, mounted or not, or in a salvage ref, or in both.
    const std::string salvage =
        git("for-each-ref --format=%\\(refname\\) --sort=-refname refs/berth/x/" + key());
    if (ensure_overlay_ready(overlay(), {})) {
      ++in_layer;
      EXPECT_EQ(read(tree() + "/a.txt"), "changed\n") << step;
      EXPECT_EQ(read(tree() + "/new file"), "untracked\n") << step;
      EXPECT_EQ(read(tree() + "/moved/deep/c.txt"), "sea\n") << step;
    } else {
      ASSERT_FALSE(salvage.empty()) << step;
      const std::string kept = salvage.substr(0, salvage.find('\n'));
      EXPECT_EQ(git("show " + kept + ":a.txt"), "changed\n") << step;
      EXPECT_EQ(git("show \"" + kept + ":new file\""), "untracked\n") << step;
      EXPECT_EQ(git("show " + kept + ":moved/deep/c.txt"), "sea\n") << step;
    }
    remove();
    expect_no_trace(step);
    git("fsck --no-dangling");
    git("for-each-ref --format=\"delete %(refname)\" refs/berth | git update-ref --stdin");
  }
  EXPECT_GT(in_layer, 3);
}

}  // namespace
}  // namespace berth::git::test
