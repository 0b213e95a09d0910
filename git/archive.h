// git/archive.h — a session's worktree put away as a commit, and set up again as it was.
#pragma once

#include <berth/core/result.h>
#include <berth/git/guard.h>
#include <berth/git/patience.h>
#include <berth/git/removal.h>
#include <berth/git/worktree.h>

#include <cstdint>
#include <string>

namespace berth::git {

struct ArchiveRequest {
  WorktreeRef worktree;
  std::string base;           ///< As in StateRequest.
  std::string private_index;  ///< As for snapshots; removed at the end.
  std::string trash;          ///< As in RemoveWorktree.
  bool delete_now = true;
  std::int64_t time_s = 0;  ///< The caller's clock.
  Patience patience;        ///< Asked up to the removal.
};

struct Archived {
  /// Keep it in the store and give it to restore_archive: an agent can move a ref, not what an id
  /// means.
  std::string commit;
  std::string ref;    ///< "refs/berth/x/<key>/archive"
  std::string trash;  ///< What is left to delete, empty when nothing is.
};

/// Keeps working files (ignored ones excepted), index, HEAD and branch of a worktree as a commit,
/// then removes folder and registration. The branch stays when it has commits. Retention keeps the
/// ref while the key is among its `live_keys`. After a crash the worktree is there still, or it is
/// away and the ref holds it: then call restore_archive with what the ref names.
///
/// Errors: `conflict` "operation_under_way" (a merge, rebase or the like) | "nested_repository" |
/// "worktree_locked" | "index_unreadable" (conflicts in it); those of remove_worktree. Then it is
/// as before.
Result<Archived> archive_worktree(const ArchiveRequest& request);

struct RestoreArchive {
  WorktreeRef worktree;  ///< The path may be another one than before.
  std::string commit;    ///< Archived::commit.
  std::string base;      ///< The recorded base commit.
  std::string private_index;
  Patience patience;
};

/// Makes the worktree again: same HEAD, same branch, same staged and unstaged changes, same
/// untracked files. Idempotent: a worktree that is there and whole is returned as it is. After a
/// crash in between, or an error, call it again: what is there is finished.
///
/// Errors: `invalid` "bad_archive"; `conflict` "branch_in_use" (another worktree has the branch
/// now), "branch_moved" (somebody moved it meanwhile); those of create_worktree.
Result<CreatedWorktree> restore_archive(const RestoreArchive& request);

}  // namespace berth::git
