// git/lower_cache.h — the sealed checkouts that overlay workspaces share. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/patience.h>

#include <string>
#include <vector>

namespace berth::git::detail {

/// `<store>/lowers/<name>/`: `tree/` (the files), `index` (for git, with their times) with the
/// ScanMemory of the checkout beside it,
/// `users/<key>` (one empty file per layer on it), and `sealed`, which is written last: without it
/// the rest counts for nothing. A sealed one is never written to again.
struct Lower {
  std::string name;    ///< "<repository>-<commit>-<settings>"
  std::string folder;  ///< Absolute.
  bool made = false;   ///< By this call.

  std::string tree() const { return folder + "/tree"; }
  std::string index() const { return folder + "/index"; }
};

struct LowerRequest {
  std::string store;
  std::string common_dir;  ///< Of the repository.
  std::string commit;      ///< 40 hex digits.
  std::string key;         ///< Of the layer that uses it; `<store>/layers/<key>` exists.
  std::string name;        ///< Of the one to use; empty: by commit and the settings in force.
  Patience patience;
};

/// Finds the checkout of a commit, or makes it, once however many ask, and counts `key` among its
/// users. The name also depends on the settings that change how files are written (line endings,
/// attributes outside the commit): a checkout made under others is not used.
///
/// It is on disk before it is sealed: a loss of power leaves none with files that are missing or
/// cut. Errors: those of fill_folder; `timed_out`, `cancelled`.
Result<Lower> acquire_lower(const LowerRequest& request);

/// Nothing is found under a name that was never sealed.
bool is_sealed(const std::string& store, const std::string& name);

/// `key` does not use it any more; fine when it never did.
Result<void> release_lower(const std::string& store, const std::string& name,
                           const std::string& key);

struct LowerSweep {
  std::size_t removed = 0;
  std::size_t kept = 0;
};

/// Moves to `<store>/trash` what is not sealed and not being made, and what no layer uses. A user
/// without a layer does not count.
Result<LowerSweep> sweep_lowers(const std::string& store, const std::vector<std::string>& keep,
                                const Patience& patience);

}  // namespace berth::git::detail
