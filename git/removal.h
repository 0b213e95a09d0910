// git/removal.h — takes a session's worktree away without losing what was made in it.
#pragma once

#include <berth/core/result.h>
#include <berth/git/guard.h>
#include <berth/git/patience.h>
#include <berth/git/worktree.h>

#include <cstdint>
#include <string>

namespace berth::git {

struct SalvageRequest {
  WorktreeRef worktree;
  std::string name;           ///< Last part of the ref; empty: the next free number.
  std::string private_index;  ///< As for snapshots.
  std::int64_t time_s = 0;
  Patience patience;
};

struct Salvage {
  std::string commit;
  std::string ref;  ///< "refs/berth/x/<key>/<name>"
  std::string tree;
};

/// Keeps everything that a removal would lose as one commit: its tree is the working files, its
/// parents are HEAD (and so all unpushed commits) and, when something staged differs from both, a
/// commit of the index. No size limit.
///
/// Errors: those of take_snapshot; `conflict` "salvage_incomplete" when a file could not be stored.
Result<Salvage> salvage_worktree(const SalvageRequest& request);

struct RemoveWorktree {
  WorktreeRef worktree;
  std::string base;    ///< As in StateRequest.
  bool force = false;  ///< Remove although there is work; it is salvaged first, and when that fails
                       ///< nothing is removed.
  bool discard_nested =
      false;  ///< With force: also when nested repositories are inside, which no salvage holds.
  std::string private_index;  ///< As for snapshots; removed at the end.
  /// The folder is renamed into here first (same file system; made when missing). Empty:
  /// ".berth-trash" beside it.
  std::string trash;
  /// Delete the trash before returning. Off: the caller calls `empty_trash` when there is time: on
  /// ext4 without a journal a fresh deletion makes the next creations slow.
  bool delete_now = true;
  std::int64_t time_s = 0;
  Patience patience;  ///< Asked up to the rename; what comes after is brought to its end.
};

struct Removal {
  bool removed_folder = false;  ///< False when it was gone before.
  bool branch_deleted = false;
  std::string
      branch_kept;  ///< Why the branch stays, empty when deleted: "has 3 commits beyond base".
  std::string salvage_ref;  ///< Empty when there was nothing to salvage.
  std::string salvage_commit;
  std::string trash;  ///< What is left to delete, empty when nothing is.
};

/// Removes folder and registration, and the branch if it has no commit beyond base. Snapshots,
/// salvage and base ref stay.
///
/// `report` is always filled with what the guard saw. Without force nothing happens unless the
/// guard says that nothing is lost, checked once more right before the rename, which is the moment
/// of removal. Idempotent: what is gone already is fine, what a crash left is finished. Any thread;
/// one call at a time per worktree, and no agent may run in it.
///
/// Errors: `conflict` "worktree_has_work" (read `report`) | "nested_repository" |
/// "worktree_not_linked"; `busy` "worktree_changing" (files keep changing); those of worktree_state
/// and salvage_worktree.
Result<Removal> remove_worktree(const RemoveWorktree& request, WorkLoss& report);

/// Deletes everything in a trash folder, entry by entry, never following links. Returns how many
/// entries of the folder itself went. Ends early without an error when patience runs out.
Result<std::size_t> empty_trash(const std::string& trash, const Patience& patience);

}  // namespace berth::git
