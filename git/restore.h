// git/restore.h — brings a session's working files back to an earlier state, all or some of them,
// and loses nothing by it.
#pragma once

#include <berth/core/result.h>
#include <berth/git/patience.h>
#include <berth/git/worktree.h>

#include <cstdint>
#include <string>
#include <vector>

namespace berth::git {

struct RestoreRequest {
  WorktreeRef worktree;
  std::string to;  ///< Commit or tree id: the snapshot of a turn, or the base (that discards).
  std::vector<std::string> paths;  ///< Only these files; empty means all.
  bool dry_run = false;            ///< Say what would change.
  std::string private_index;       ///< As for snapshots.
  std::int64_t time_s = 0;         ///< For the salvage commit; the caller's clock.
  Patience patience;               ///< Asked up to the first change.
};

struct RestoredFile {
  std::string path;
  bool removed = false;  ///< It was not there then.
};

struct Restored {
  std::vector<RestoredFile> files;  ///< What changes, by path.
  std::string salvage_ref;  ///< Holds the files as they were before; empty when nothing changed.
  std::string salvage_commit;
};

/// Ignored files stay, as do index, HEAD and branch. What the files were is kept as a salvage
/// commit first. After a crash in between some files are back and some are not: calling it again
/// finishes it. Any thread; one call at a time per worktree, no agent should run in it.
///
/// Errors: those of salvage_worktree; `invalid` "bad_object_id"; `not_found` "object_not_found";
/// `conflict` "files_changing" (names one that somebody wrote meanwhile; the others are restored).
Result<Restored> restore_worktree(const RestoreRequest& request);

}  // namespace berth::git
