// git/hints.h — what may have changed in a worktree since it was last looked at, so that only that
// is looked at.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace berth::git {

/// A promise by whoever watched the worktree (the upper layer of an overlay, notifications of the
/// file system): nothing outside `paths` has changed since the working files were the tree `since`.
/// Each path is verified by a look at it, so naming too much costs time and never truth; naming too
/// little loses changes until the next full scan. When in doubt leave `complete` false.
struct Hints {
  /// The promise holds. False: the hints are not used, all files are compared.
  bool complete = false;
  /// The paths say nothing of what differed when the watch began: only the very snapshot that was
  /// taken last, as it is remembered beside the private index, will do for `since`. False: from a
  /// base commit on, they name all that differs from it.
  bool only_since_snapshot = false;
  /// Snapshot::tree or Snapshot::commit (or Change::to_tree with "worktree") of the state that the
  /// watch began with: everything that happened after that call began must be in `paths`. A base
  /// commit will do when the worktree was created from it.
  std::string since;
  /// Relative to the worktree, no slash in front; files, links or folders, there or gone, in any
  /// order, repeated or not. A folder means all below it. What lies in a repository inside names
  /// that repository; the worktree's own `.git` is passed over. Paths that leave the worktree make
  /// the call `invalid` "bad_hint".
  std::vector<std::string> paths;
};

/// How the working files were found to be what they are; for logs, metrics and tests.
struct ScanReport {
  bool full = true;  ///< All files were compared, else only what the hints named.
  /// Why, when hints were given and not used: "hints_incomplete", "hints_unknown_since",
  /// "rules_changed" (ignore rules outside of the worktree, configuration), "hints_too_many".
  std::string reason;
  std::uint64_t files_looked_at = 0;
  std::uint64_t files_read = 0;
};

}  // namespace berth::git
