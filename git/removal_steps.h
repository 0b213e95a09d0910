// git/removal_steps.h — how a worktree is removed, whatever its folder is made of. Private to this
// folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/removal.h>

namespace berth::git::detail {

/// The part that differs: a folder of files, or a mount.
class FolderRemover {
 public:
  virtual ~FolderRemover() = default;

  /// The moment of removal: what was at the path is not there afterwards, and can only be found in
  /// `removal.trash`. Whatever must be kept has been salvaged.
  virtual Result<void> remove(const RemoveWorktree& request, Removal& removal) = 0;
};

/// See remove_worktree.
Result<Removal> remove_worktree(const RemoveWorktree& request, WorkLoss& report,
                                FolderRemover& remover);

}  // namespace berth::git::detail
