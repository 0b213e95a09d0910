// server/sessions/repository_clones.h — repositories that are named by a URL, cloned on first use
// and fetched when a session asks for what may be newer.
#pragma once

#include <berth/core/semaphore.h>
#include <berth/git/cache.h>
#include <berth/git/library.h>
#include <berth/io/platform.h>
#include <berth/server/sessions/remote_credentials.h>
#include <berth/server/sessions/workspace_limits.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace berth::server {

struct CloneOrder {
  std::string url;
  std::string base;   ///< Revision; empty: the remote's default branch.
  std::string fetch;  ///< "", "auto", "always" or "never"; see RepositoryClones.
};

struct OpenedClone {
  std::string path;            ///< A bare repository.
  std::string commit;          ///< What `base` is there.
  std::int64_t fetched_s = 0;  ///< When the remote was asked last; seconds since 1970.
};

/// On one shard; the work is done on the git lane.
///
/// A clone is fetched before it is used when `base` is a branch (or nothing) and the last fetch is
/// older than CloneLimits::fetch_age_max, or when `base` is not there: a commit that is there needs
/// no remote. "always" fetches in any case, "never" only clones.
///
/// However many sessions ask for one URL, one works on it and the others wait; and one remote at a
/// time is talked to, so that a slow one takes one thread of the lane and no more.
class RepositoryClones {
 public:
  struct Tools {
    git::LibraryOnDemand& libgit2;
    git::GitCommand* command = nullptr;  ///< Optional.
  };
  /// `platform` and the tools outlive it. `folder` is absolute.
  RepositoryClones(io::Platform& platform, std::string folder, const CloneLimits& limits,
                   Tools tools);

  /// Errors: those of git::RepositoryCache::open, with "repository" in front, and of
  /// RepositoryCache::resolve, with "base"; `cancelled` after stop().
  Task<Result<OpenedClone>> open(CloneOrder order);

  /// What talks to a remote ends soon, and nothing begins any more.
  void stop() { stopped_ = true; }

 private:
  /// One URL's, while somebody asks for it.
  struct Line {
    explicit Line(Executor& executor) : turn(executor, 1) {}
    Semaphore turn;
    int wanted = 0;
  };
  enum class Remote : std::uint8_t { untouched, asked };
  /// What one step needs, copied onto the lane.
  struct Step {
    CloneOrder order;
    Remote remote = Remote::untouched;
    std::int64_t now_s = 0;
  };

  Task<Result<OpenedClone>> open_in_turn(const CloneOrder* order);
  bool is_good(const OpenedClone& clone, const CloneOrder& order) const;
  Task<Result<OpenedClone>> run(Step step);
  Result<OpenedClone> perform(const Step& step);
  std::int64_t now_s() const;

  io::Platform& platform_;
  git::RepositoryCache cache_;
  const CloneLimits limits_;
  const Tools tools_;
  RemoteCredentials credentials_;
  std::atomic<bool> stopped_ = false;
  std::map<std::string, std::unique_ptr<Line>> lines_;
  Semaphore remotes_;
};

}  // namespace berth::server
