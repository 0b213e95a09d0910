// git/cache.h — repositories that are named by a URL, kept as bare clones of berth's own.
#pragma once

#include <berth/core/result.h>
#include <berth/git/credentials.h>
#include <berth/git/git_command.h>
#include <berth/git/patience.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace berth::git {

struct FetchProgress {
  std::uint64_t objects = 0;  ///< Of all.
  std::uint64_t received = 0;
  std::uint64_t indexed = 0;
  std::uint64_t bytes = 0;
};

struct CacheRequest {
  /// "/path", "file:///path", "https://host/path", "ssh://user@host/path" or "user@host:path". A
  /// password in it is used and not kept; better is `credentials`.
  std::string url;
  /// Fetch when the last fetch is older than this; 0 always, negative never but for the first use.
  std::int64_t age_max_s = 0;
  std::int64_t now_s = 0;  ///< Seconds since 1970; the caller's clock.
  CredentialSource* credentials = nullptr;
  std::string proxy;  ///< For https: URL of one; empty means none, whatever files say.
  /// For local sources that libgit2 cannot read: sha256, shallow, partial.
  GitCommand* command = nullptr;
  std::function<void(const FetchProgress&)> progress;  ///< On the calling thread.
  Patience patience;
};

struct CachedRepository {
  std::string path;            ///< Give it to create_worktree as the repository.
  std::string default_branch;  ///< Of the remote: "main"; empty when it has none.
  bool cloned = false;         ///< This call made it.
  bool fetched = false;        ///< This call fetched, the first time included.
  std::int64_t fetched_s = 0;  ///< When it was fetched last.
  Backend backend = Backend::libgit2;
};

/// A folder of clones, one per URL, named by a hash of it. Several threads and processes may use
/// one folder: a first use makes one clone while the others wait.
///
/// In a clone the remote's branches are `refs/remotes/origin/<name>`, its HEAD follows the remote's
/// default branch, and `refs/heads` belongs to the sessions: a fetch never moves a branch that a
/// session works on, and what is on the remote counts as pushed.
class RepositoryCache {
 public:
  explicit RepositoryCache(std::string folder) : folder_(std::move(folder)) {}

  /// The clone of `request.url`, made or brought up to date as asked. A failed fetch leaves what
  /// was there. What a crash left is removed by the next call for that URL.
  ///
  /// Patience is asked between packets, and while one is waited for; over ssh only between them.
  /// Remotes are verified: certificates by the system's list, ssh hosts by known_hosts.
  ///
  /// Errors: `invalid` "bad_url"; `not_found` "remote_not_found"; `denied" "remote_denied" |
  /// "remote_redirected" (to another host) | "remote_untrusted"; `unavailable`
  /// "remote_unavailable"; `unsupported` "git_shallow_source" and those of inspect_repository for
  /// local sources without a `command`; `timed_out`, `cancelled`.
  Result<CachedRepository> open(const CacheRequest& request);

  /// The commit that `rev` names as people mean it: a branch of the remote first, then as
  /// resolve_commit. Empty: the remote's default branch. Errors: those of resolve_commit.
  static Result<std::string> resolve(const CachedRepository& repository, const std::string& rev,
                                     GitCommand* command = nullptr);

  /// The clones that are there (paths).
  std::vector<std::string> list() const;
  /// Where the clone of `url` is or would be. Error `invalid` "bad_url".
  Result<std::string> path_of(const std::string& url) const;

 private:
  std::string folder_;
};

}  // namespace berth::git
