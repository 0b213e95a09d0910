// git/clone_sweep.h — clones of the managed cache that nobody needs any more.
#pragma once

#include <berth/core/result.h>
#include <berth/git/patience.h>

#include <cstdint>
#include <string>
#include <vector>

namespace berth::git {

struct CloneSweepRequest {
  std::string folder;  ///< The cache's; see RepositoryCache.
  /// Paths of clones that sessions use, whatever is seen in them.
  std::vector<std::string> used;
  std::int64_t now_s = 0;  ///< Seconds since 1970; the caller's clock.
  /// One that was asked for since is spared: a session may be about to use it.
  std::int64_t idle_min_s = 3600;
  std::int64_t idle_max_s =
      0;  ///< One that nobody asked for in so long goes. Never below the above.
  /// Of all clones together; those go first that were not asked for the longest. 0: no limit.
  std::uint64_t bytes_max = 0;
  bool dry_run = true;
  Patience patience;
};

struct SweptClone {
  std::string path;
  std::string url;  ///< Without secrets; as its configuration has it, which agents can write.
  std::int64_t idle_s = 0;  ///< Since it was last asked for.
  std::uint64_t bytes = 0;  ///< On disk.
  bool goes = false;        ///< It went, or would (dry run).
  std::string reason;       ///< Why it goes or stays.
  std::string error;        ///< Why it is still there although it should go.
};

/// Removes clones that hold nothing but what their remotes have: no session uses them, no worktree
/// is registered in them, and no branch, snapshot, salvage or stash of anybody is in them. A clone
/// that is removed is made again by the next RepositoryCache::open for its URL. Also removes what
/// clones that crashed left, with "" as `url`. Sorted by idle time, longest first. Any thread,
/// several processes on one folder.
///
/// Errors: `timed_out`, `cancelled`.
Result<std::vector<SweptClone>> sweep_clones(const CloneSweepRequest& request);

}  // namespace berth::git
