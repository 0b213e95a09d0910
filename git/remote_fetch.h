// git/remote_fetch.h — one fetch into a clone of the cache. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/cache.h>
#include <berth/git/remote_url.h>

#include <string>

namespace berth::git::detail {

struct Fetched {
  std::string default_branch;
  Backend backend = Backend::libgit2;
};

/// Makes the bare repository `path` for `url`, empty. For a local source that only git reads by the
/// command.
Result<void> init_clone(const std::string& path, const RemoteUrl& url, const CacheRequest& request);

/// Brings `refs/remotes/origin/*`, the tags and HEAD of the clone to what the remote has. The
/// configuration of the clone is not asked where to: an agent can write it.
Result<Fetched> fetch_into(const std::string& path, const RemoteUrl& url,
                           const CacheRequest& request);

}  // namespace berth::git::detail
