// git/reaper.h — worktrees that nobody needs any more, seen from the disk and from git, and taken
// away when nothing is lost by it.
#pragma once

#include <berth/core/result.h>
#include <berth/git/patience.h>
#include <berth/git/worktree.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::git {

/// What shall become of a worktree, and why.
enum class ReapVerdict : std::uint8_t {
  live,       ///< Its session exists; all is well, or the session has to deal with it.
  young,      ///< Touched within the grace time: a creation may be under way.
  adopted,    ///< Somebody else made it: it is theirs to remove.
  locked,     ///< Somebody locked it.
  unmounted,  ///< The folder that held it is gone too: a disk may be missing.
  stray,      ///< A folder without a registration, which may hold work: somebody has to look.
  has_work,   ///< Something would be lost, or could not be found out.
  removable,  ///< Nothing would be lost.
};
std::string_view to_string(ReapVerdict verdict);

/// What is known about one worktree; decide() needs nothing else.
struct ReapFacts {
  bool live = false;
  bool adopted = false;
  bool locked = false;
  bool parent_missing = false;
  WorktreeCondition condition = WorktreeCondition::whole;
  std::int64_t age_s = 0;
  /// The guard's word; asked only when the rest does not decide.
  std::optional<bool> loses_nothing;
};

/// `has_work` while the guard has not been asked. Pure.
ReapVerdict decide(const ReapFacts& facts, std::int64_t grace_s);

struct SurveyRequest {
  std::vector<std::string> repositories;
  /// Folders that directly hold worktrees of berth and nothing else.
  std::vector<std::string> roots;
  std::vector<std::string> live_keys;
  /// Recorded base commits by key, as far as the caller has them. For the others the base ref
  /// counts, which an agent could have moved onto its commits.
  std::map<std::string, std::string> bases;
  std::int64_t now_s = 0;  ///< Seconds since 1970; the caller's clock.
  std::int64_t grace_s = std::int64_t{3600};
  bool sizes = true;
  GitCommand* command = nullptr;
  Patience patience;
};

struct SurveyedWorktree {
  std::string repository;  ///< As asked for; empty for a folder that belongs to none of them.
  std::string key;         ///< May be empty for a stray.
  std::string path;
  std::string base;  ///< The recorded one, if it was given.
  WorktreeCondition condition = WorktreeCondition::whole;
  ReapVerdict verdict = ReapVerdict::live;
  std::string reason;       ///< For people: what would be lost, who locked it.
  std::int64_t age_s = 0;   ///< Since registration or folder changed.
  std::uint64_t bytes = 0;  ///< On disk; other file systems mounted inside are not counted.
  std::uint64_t files = 0;
  bool measured = false;
  /// A mount: removable by the call that made it, not by reap_worktrees.
  bool overlay = false;
};

struct Survey {
  std::vector<SurveyedWorktree> worktrees;  ///< By path.
  /// Repositories that could not be looked at, each with its error; nothing in `roots` is taken for
  /// removable because of that.
  std::vector<std::string> failures;
};

/// Looks; changes nothing. Any thread.
///
/// Errors: `timed_out`, `cancelled`.
Result<Survey> survey_worktrees(const SurveyRequest& request);

struct ReapRequest {
  SurveyRequest survey;
  bool dry_run = false;
  /// Those with work are salvaged and removed when they are older; nothing means never. Unknown
  /// work counts as work; what cannot be salvaged stays.
  std::optional<std::int64_t> salvage_after_s;
  std::size_t removals_max = 100;
  std::string trash;            ///< As in RemoveWorktree.
  std::string private_indexes;  ///< Folder of the private indexes, named by key; may be empty.
  bool delete_now = true;
};

struct ReapedWorktree {
  SurveyedWorktree worktree;
  std::string salvage_ref;
  std::string branch_kept;
  std::string trash;  ///< What is left to delete.
  std::string error;  ///< Why it is still there; empty when it went, or would go (dry run).
};

struct Reaped {
  Survey survey;
  std::vector<ReapedWorktree> removed;  ///< Also those that failed.
  std::uint64_t bytes = 0;              ///< Of those that went.
};

/// Removes what the survey finds removable; each is checked once more right before (see
/// remove_worktree). One call at a time per machine; a key must not come to life meanwhile.
///
/// Errors: those of survey_worktrees.
Result<Reaped> reap_worktrees(const ReapRequest& request);

}  // namespace berth::git
