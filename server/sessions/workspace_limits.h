// server/sessions/workspace_limits.h — what bounds the work with git: time, notifications, clones.
#pragma once

#include <berth/core/clock.h>
#include <berth/io/watch.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace berth::server {

/// How what changed in worktrees is learnt from the kernel's notifications.
struct HintLimits {
  bool watch = true;  ///< False: every snapshot looks at all files.
  io::WatchLimits watches;
  /// A worktree without a snapshot for so long is not watched any more.
  Duration idle_max = std::chrono::minutes(10);
  /// All files are looked at when that was last done so long ago: notifications do not tell of
  /// everything (see io/watch.h).
  Duration full_scan_every = std::chrono::minutes(10);
};

/// How to get at one host's repositories. Secrets are named here, never held.
struct RemoteAccess {
  std::string host;  ///< As in the URL, in lower case, with its port if that is not the usual one.
  std::string user;
  std::string password_env;   ///< Name of a variable in berth's environment: password or token.
  std::string password_file;  ///< Or the file that holds it; its last line feed is not part of it.
  std::string ssh_key;        ///< Absolute path of a private key.
  std::string ssh_passphrase_env;
  bool ssh_agent = false;  ///< The one at SSH_AUTH_SOCK.
};

/// Clones of repositories that are named by a URL.
struct CloneLimits {
  std::string folder;                            ///< Empty: `clones` in the state directory.
  Duration time_max = std::chrono::minutes(10);  ///< Of one clone or fetch.
  /// A branch that is asked for is fetched again when the last fetch is older.
  Duration fetch_age_max = std::chrono::seconds(60);
  /// One that nobody needs goes when it was not asked for in so long, and before that, longest idle
  /// first, while all together hold more; see git/clone_sweep.h.
  Duration idle_max = std::chrono::hours(24 * 30);
  std::uint64_t bytes_max = std::uint64_t{64} << 30;
  std::string proxy;    ///< URL, for https; empty: none.
  std::string ca_file;  ///< Certificates to believe instead of the system's.
  std::vector<RemoteAccess> remotes;
};

/// How long berth's own refs stay in repositories; see git/retention.h.
struct RetentionLimits {
  std::size_t snapshots_max = 200;  ///< Of a session that exists; the newest stay.
  Duration snapshot_age_max = std::chrono::hours(24 * 7);  ///< Of sessions that are deleted.
  Duration salvage_age_max = std::chrono::hours(24 * 90);
};

struct GitWorkspaceLimits {
  Duration create_max = std::chrono::minutes(10);
  Duration snapshot_max = std::chrono::minutes(2);
  HintLimits hints;
  CloneLimits clones;
  RetentionLimits retention;
};

}  // namespace berth::server
