#include <berth/server/sessions/worktree_hints.h>

#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace berth::server {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

/// Notifications as a test says them.
class ScriptedWatcher final : public io::FolderWatcher {
 public:
  Result<void> begin(const std::string& folder) override {
    ++begun;
    if (refusal != nullptr && watched.size() >= room) {
      return fail(ErrorKind::overloaded, refusal, "no more");
    }
    watched.try_emplace(folder);
    return {};
  }
  io::SeenChanges take(const std::string& folder) override {
    const auto found = watched.find(folder);
    if (found == watched.end()) return {.reason = "not_watched"};
    io::SeenChanges seen = std::exchange(found->second, {.complete = true});
    if (seen.reason.empty()) {
      seen.complete = true;
    } else if (seen.reason != "watch_too_many_paths") {
      watched.erase(found);
    }
    return seen;
  }
  void end(const std::string& folder) override { watched.erase(folder); }
  std::size_t folders() override { return watched.size(); }

  void tell(const std::string& folder, std::vector<std::string> paths) {
    for (std::string& path : paths) watched[folder].paths.push_back(std::move(path));
  }
  void lose(const std::string& folder, const char* reason) {
    watched[folder] = {.complete = false, .reason = reason};
  }

  std::map<std::string, io::SeenChanges> watched;
  int begun = 0;
  const char* refusal = nullptr;
  std::size_t room = 0;
};

using Paths = std::vector<std::string>;

class HintsOfWorktrees : public testing::Test {
 protected:
  LookHints look(const std::string& folder = "/w") { return hints.begin(folder, now); }
  void succeed(const std::string& tree, bool full, const std::string& folder = "/w") {
    hints.succeeded(folder, tree, full, now);
  }

  ScriptedWatcher watcher;
  HintLimits limits;
  WorktreeHints hints{&watcher, limits};
  TimePoint now = TimePoint() + minutes(100);
};

TEST_F(HintsOfWorktrees, LookAtEverythingFirstAndThenAtWhatWasTold) {
  LookHints first = look();
  EXPECT_FALSE(first.hints.complete);
  EXPECT_EQ(first.reason, "not_watched");
  succeed("tree1", true);
  watcher.tell("/w", {"b", "a", "b"});
  const LookHints second = look();
  EXPECT_EQ(second.reason, "");
  EXPECT_TRUE(second.hints.complete);
  EXPECT_TRUE(second.hints.only_since_snapshot);
  EXPECT_EQ(second.hints.since, "tree1");
  EXPECT_EQ(second.hints.paths, (Paths{"a", "b"}));
  succeed("tree2", false);
  const LookHints third = look();
  EXPECT_EQ(third.hints.since, "tree2");
  EXPECT_TRUE(third.hints.complete);
  EXPECT_EQ(third.hints.paths, Paths());
}

TEST_F(HintsOfWorktrees, KeepWhatWasToldForTheLookAfterOneThatFailed) {
  static_cast<void>(look());
  succeed("tree1", true);
  watcher.tell("/w", {"early"});
  static_cast<void>(look());  // fails: nothing is said of it
  watcher.tell("/w", {"late"});
  const LookHints again = look();
  EXPECT_EQ(again.hints.since, "tree1");
  EXPECT_EQ(again.hints.paths, (Paths{"early", "late"}));
}

TEST_F(HintsOfWorktrees, AreNotUsedBeforeALookAtEverythingSucceeded) {
  static_cast<void>(look());
  watcher.tell("/w", {"file"});
  const LookHints again = look();
  EXPECT_FALSE(again.hints.complete);
  EXPECT_EQ(again.reason, "first_look");
}

TEST_F(HintsOfWorktrees, BeginAnewAfterAGapAndSayWhichItWas) {
  for (const char* gap : {"watch_overflow", "watch_folder_moved", "watch_too_many_paths"}) {
    static_cast<void>(look());
    succeed("before", true);
    watcher.tell("/w", {"told"});
    watcher.lose("/w", gap);
    const LookHints after = look();
    EXPECT_FALSE(after.hints.complete);
    EXPECT_EQ(after.reason, gap);
    // That look fails too: the gap is still there.
    EXPECT_EQ(look().reason, "first_look");
    succeed("after", true);
    watcher.tell("/w", {"later"});
    const LookHints next = look();
    EXPECT_TRUE(next.hints.complete);
    EXPECT_EQ(next.hints.since, "after");
    EXPECT_EQ(next.hints.paths, Paths{"later"});
    succeed("next", false);
  }
}

TEST_F(HintsOfWorktrees, AreSetAsideWhenEverythingWasNotLookedAtForLong) {
  static_cast<void>(look());
  succeed("tree1", true);
  for (int i = 0; i < 9; ++i) {
    now += minutes(1);
    EXPECT_EQ(look().reason, "");
    succeed("tree2", false);
  }
  now += minutes(1);
  EXPECT_EQ(look().reason, "full_scan_due");
  succeed("tree3", true);
  EXPECT_EQ(look().reason, "");
}

TEST_F(HintsOfWorktrees, LetGoOfWorktreesThatNobodyUses) {
  static_cast<void>(look("/idle"));
  succeed("tree", true, "/idle");
  now += limits.idle_max;
  static_cast<void>(look("/w"));
  EXPECT_FALSE(watcher.watched.contains("/idle"));
  EXPECT_EQ(look("/idle").reason, "not_watched");
  hints.forget("/w");
  EXPECT_FALSE(watcher.watched.contains("/w"));
}

TEST_F(HintsOfWorktrees, MakeRoomByTheOneThatWasNotUsedForLongest) {
  watcher.refusal = "watch_limit";
  watcher.room = 2;
  static_cast<void>(look("/old"));
  now += seconds(1);
  static_cast<void>(look("/new"));
  now += seconds(1);
  EXPECT_EQ(look("/w").reason, "not_watched");
  EXPECT_TRUE(watcher.watched.contains("/w") && watcher.watched.contains("/new"));
  EXPECT_FALSE(watcher.watched.contains("/old"));
}

TEST_F(HintsOfWorktrees, DoNotReadATooLargeTreeAtEachLook) {
  watcher.refusal = "watch_tree_limit";
  EXPECT_EQ(look().reason, "watch_tree_limit");
  succeed("tree", true);
  EXPECT_EQ(look().reason, "watch_tree_limit");
  EXPECT_EQ(watcher.begun, 1);
  now += minutes(1);
  watcher.refusal = nullptr;
  EXPECT_EQ(look().reason, "not_watched");
  succeed("tree", true);
  EXPECT_EQ(look().reason, "");
}

TEST(HintsWithoutNotifications, LookAtEverythingAlways) {
  WorktreeHints hints(nullptr, {});
  const LookHints look = hints.begin("/w", TimePoint());
  EXPECT_FALSE(look.hints.complete);
  EXPECT_EQ(look.reason, "not_watched");
}

}  // namespace
}  // namespace berth::server
