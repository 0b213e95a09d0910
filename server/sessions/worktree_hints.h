// server/sessions/worktree_hints.h — what may have changed in each worktree since its last
// snapshot, so that the next one looks at that only.
#pragma once

#include <berth/core/clock.h>
#include <berth/git/hints.h>
#include <berth/io/watch.h>
#include <berth/server/sessions/workspace_limits.h>

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace berth::server {

/// One look at a worktree's files that is about to be taken.
struct LookHints {
  git::Hints hints;
  std::string reason;  ///< Why everything must be looked at; empty when `hints` are complete.
};

/// A worktree is watched from its first snapshot in this process on, and what was told since is
/// given to the next. A gap (berth was started again, notifications were lost, the folder was
/// moved) makes the next snapshot look at everything, which begins anew.
///
/// Thread-safe; blocks (it reads folders): on the git lane. One look at a time per folder.
class WorktreeHints {
 public:
  /// `watcher` outlives it; null: everything is always looked at.
  WorktreeHints(io::FolderWatcher* watcher, const HintLimits& limits)
      : watcher_(watcher), limits_(limits) {}

  /// Right before the files of `folder` are looked at.
  LookHints begin(const std::string& folder, TimePoint now);
  /// The files were found to be `tree`; `full`: by looking at all of them.
  void succeeded(const std::string& folder, const std::string& tree, bool full, TimePoint now);
  // After a look that failed nothing is called: what was told is kept for the next.

  /// The folder is taken away, or made again.
  void forget(const std::string& folder);

 private:
  struct Entry {
    std::string since;            // tree of the last snapshot; empty: not known
    std::set<std::string> paths;  // told since
    TimePoint used{};
    TimePoint full{};       // when all files were looked at
    TimePoint try_again{};  // watching failed: not before
    std::string trouble;    // why it failed
  };
  using Entries = std::map<std::string, Entry>;

  std::string collect(const std::string& folder, Entry& entry, TimePoint now);
  std::string watch(const std::string& folder, Entry& entry, TimePoint now);
  void drop_idle(TimePoint now);
  bool drop_oldest(const std::string& but);

  io::FolderWatcher* const watcher_;
  const HintLimits limits_;
  std::mutex mutex_;  // guards entries_
  Entries entries_;
};

}  // namespace berth::server
