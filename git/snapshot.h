// git/snapshot.h — the working files of a session as a commit, taken without touching its index or
// HEAD.
#pragma once

#include <berth/core/result.h>
#include <berth/git/hints.h>
#include <berth/git/patience.h>
#include <berth/git/worktree.h>

#include <cstdint>
#include <string>
#include <vector>

namespace berth::git {

struct SnapshotRequest {
  WorktreeRef worktree;
  /// Last part of the ref, such as the turn's number in decimal.
  std::string name;
  /// A file of berth's own, outside the worktree, one per worktree: remembers size and times of
  /// every file, so that only changed ones are read again. Made when missing, made anew when
  /// broken; the folder must exist.
  std::string private_index;
  /// Commit id of the parent. Empty: the snapshot with the highest decimal name, else the base
  /// commit.
  std::string parent;
  std::string message;      ///< Empty: "berth snapshot <name>".
  std::int64_t time_s = 0;  ///< Seconds since 1970, for the commit; the caller's clock.
  std::uint64_t file_bytes_max = std::uint64_t{256}
                                 << 20;  ///< Larger files are left out and named.
  Hints hints;                           ///< Not complete: all files are compared.
  Patience patience;
};

struct Snapshot {
  std::string tree;
  std::string commit;
  std::string ref;  ///< "refs/berth/s/<key>/<name>"
  std::string parent;
  /// Files that are not in the tree in their present form: too large, unreadable, sockets; at most
  /// 100 are named.
  std::vector<std::string> skipped;
  std::uint64_t skipped_count = 0;
  bool index_kept =
      true;  ///< False: the private index could not be saved; the next snapshot is slower.
  ScanReport scan;
};

/// Writes the tree of the working files (untracked ones included, ignored ones not unless the
/// user's index has them), a commit by "berth" on it, and the ref. A ref of that name is replaced.
/// Reads the user's index, never writes it.
///
/// Any thread; one call at a time per worktree (the private index is not locked against a second
/// one). A file that changes while it is read is in the tree as it was at some moment of the call,
/// and is read again the next time. A nested repository is recorded as its HEAD commit, as git
/// does; its files are not.
///
/// Errors: those of verify_worktree and inspect_repository; `invalid` "bad_key" | "bad_ref_name" |
/// "bad_parent"; `timed_out` and `cancelled` (nothing is visible then); `unavailable`
/// "git_write_failed" (a full disk).
Result<Snapshot> take_snapshot(const SnapshotRequest& request);

}  // namespace berth::git
