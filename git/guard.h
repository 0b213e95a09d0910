// git/guard.h — what would be lost if a worktree went away now.
#pragma once

#include <berth/core/result.h>
#include <berth/git/patience.h>
#include <berth/git/worktree.h>

#include <cstdint>
#include <string>
#include <vector>

namespace berth::git {

/// The answer of the work-loss guard. Whatever could not be found out is `unknown`, and unknown is
/// not safe.
struct WorkLoss {
  bool exists = false;  ///< The folder is there and is this worktree.
  bool dirty = false;   ///< Tracked files differ from HEAD (staged or not), or a merge or rebase is
                        ///< under way.
  bool unknown = false;       ///< Something could not be checked; see `reason`.
  std::uint64_t changed = 0;  ///< Tracked files that differ.
  std::uint64_t untracked =
      0;  ///< Files neither tracked nor ignored; a nested repository counts as one.
  std::uint64_t unpushed =
      0;  ///< Commits of HEAD and of the branch, beyond base and on no remote-tracking ref.
  std::vector<std::string>
      nested;  ///< Repositories inside (populated submodules too): a salvage cannot hold them.
  std::string head;    ///< Commit id of HEAD, empty if unknown.
  std::string branch;  ///< What HEAD is on, empty if detached.
  std::string reason;  ///< For people; empty when nothing is lost.

  bool loses_nothing() const {
    return !dirty && !unknown && untracked == 0 && unpushed == 0 && nested.empty();
  }
};

struct StateRequest {
  WorktreeRef worktree;
  std::string base;  ///< The recorded base commit. Empty: read from our base ref, which an agent
                     ///< could move.
  Patience patience;
};

/// Looks; writes nothing. A folder that is gone is not an error (`exists` false), one that is not
/// ours or cannot be read is `unknown`. Ignored files are not work. Any
/// thread. Patience is asked between the steps only.
///
/// Errors: `invalid` "bad_key", those of inspect_repository (the repository itself is gone),
/// `timed_out`, `cancelled`.
Result<WorkLoss> worktree_state(const StateRequest& request);

}  // namespace berth::git
