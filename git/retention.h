// git/retention.h — how long berth's own refs stay in a repository.
#pragma once

#include <berth/core/result.h>
#include <berth/git/git_command.h>
#include <berth/git/patience.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::git {

struct RetentionPolicy {
  /// Keys of the sessions that exist. Of those the base, the newest `snapshots_max` snapshots and
  /// what a salvage kept stay, whatever their age.
  std::vector<std::string> live_keys;
  /// Refs to these commits stay whatever else is said: what sessions measure their changes against.
  std::vector<std::string> keep_commits;
  std::size_t snapshots_max = 200;  ///< Of a session that exists; 0 keeps all.
  /// Of sessions that exist no more: seconds since the commit was made.
  std::int64_t snapshot_age_max_s = std::int64_t{7} * 24 * 3600;
  std::int64_t salvage_age_max_s = std::int64_t{90} * 24 * 3600;
};

struct RetentionRequest {
  std::string repository;  ///< Any path of it.
  RetentionPolicy policy;
  std::int64_t now_s = 0;  ///< Seconds since 1970; the caller's clock.
  bool dry_run = false;
  GitCommand* command = nullptr;  ///< As in WorktreeRef.
  Patience patience;
};

struct ExpiredRef {
  std::string ref;
  std::string commit;
  std::int64_t age_s = 0;
  std::string_view reason;  ///< "session_gone", "salvage_old", "over_snapshots_max".
};

struct Retention {
  std::vector<ExpiredRef> expired;  ///< By name; deleted unless it was a dry run.
  std::uint64_t kept = 0;
};

/// Deletes refs below refs/berth/ that the policy no longer keeps; their objects go with the user's
/// next `git gc`. A branch is never deleted. The base of a session that is gone goes with its last
/// snapshot, never while its worktree is registered. A ref that somebody moved meanwhile stays.
///
/// Any thread. Errors: `busy` "git_locked", `timed_out`, `cancelled` (some may be deleted then);
/// those of inspect_repository.
Result<Retention> expire_refs(const RetentionRequest& request);

}  // namespace berth::git
