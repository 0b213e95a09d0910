// git/registration.h — what git has registered as worktrees of a repository: list, lock, move,
// repair, prune, adopt.
#pragma once

#include <berth/core/result.h>
#include <berth/git/patience.h>
#include <berth/git/worktree.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::git {

/// One worktree as `git worktree list` shows it.
struct RegisteredWorktree {
  std::string name;  ///< Of its folder in `<common>/worktrees`; empty for the main worktree.
  std::string path;  ///< Of the working folder; for a bare repository its own. Empty when unknown.
  std::string head;  ///< Commit id; empty without a commit yet, or unreadable.
  std::string branch;      ///< Short name; empty when detached.
  std::string common_dir;  ///< Of the repository.
  bool main = false;
  bool bare = false;
  bool locked = false;
  std::string lock_reason;
  /// Why `git worktree prune` would drop it; empty when it would not.
  std::string prunable;
  bool ours = false;     ///< Its name is a key and it has our base ref.
  bool adopted = false;  ///< Ours, and somebody else made it.
};

/// All of them, the main worktree first, then by path. Reads files only. Any thread.
///
/// Errors: those of inspect_repository.
Result<std::vector<RegisteredWorktree>> list_registrations(const std::string& repository,
                                                           GitCommand* command = nullptr);

/// Locks as `git worktree lock` does: neither git nor berth removes or prunes it until it is
/// unlocked (berth: unless forced, which salvages). `reason` may be empty; one line.
///
/// Errors: those of verify_worktree; `conflict` "worktree_locked" when it is locked with another
/// reason; `invalid` "bad_reason".
Result<void> lock_worktree(const WorktreeRef& worktree, const std::string& reason);

/// Takes any lock away, whoever set it; fine when there is none. Errors: those of verify_worktree.
Result<void> unlock_worktree(const WorktreeRef& worktree);

/// Renames the folder to `to` (absolute, nothing there, same file system) and rewrites the links.
/// After a crash in between, call repair_worktree with the new path. Moving to where it is already
/// is fine. Returns the new path, links resolved. No agent may run in it; what it keeps about
/// absolute paths (sessions of most agents) is lost to it.
///
/// Errors: those of verify_worktree; `conflict` "worktree_locked" | "path_occupied"; `invalid`
/// "bad_path"; `unsupported` "other_file_system".
Result<std::string> move_worktree(const WorktreeRef& worktree, const std::string& to);

struct Repaired {
  bool folder_link = false;   ///< The `.git` file was wrong: the repository had moved.
  bool registration = false;  ///< The registration named another folder: the worktree had moved.
  bool registered_anew = false;
};

/// Makes folder and registration point at each other again after somebody moved one of them.
/// `worktree.path` is where the folder is now: it must be one of this key by its `.git` file or by
/// the registration.
///
/// With `register_anew` also when the registration is gone (somebody pruned while a disk was
/// missing): it is written anew, on the branch `berth/<key>` or else detached at the base, with an
/// index that equals that commit. What was staged and not committed is in the files only.
///
/// Errors: `not_found` "worktree_missing" | "registration_missing"; `conflict`
/// "worktree_not_linked" (the folder belongs to another key or repository, or the registered folder
/// is still there too); `unavailable` "worktree_half_made"; those of inspect_repository.
Result<Repaired> repair_worktree(const WorktreeRef& worktree, bool register_anew);

/// Takes a linked worktree that somebody else made as the worktree of `worktree.key`, where it lies
/// and on the branch it is on. Its registration gets the key as its name; nothing else of it
/// changes. `base` as in CreateWorktree, empty means what its HEAD is on. Idempotent; after a crash
/// in between call it again.
///
/// Errors: `not_found` "worktree_missing"; `conflict` "main_worktree" | "worktree_not_linked" |
/// "worktree_locked" | "worktree_taken" (it belongs to another key) | "worktree_elsewhere" (the key
/// has another one); `invalid` "bad_key"; `not_found` "rev_not_found"; those of inspect_repository.
Result<CreatedWorktree> adopt_worktree(const WorktreeRef& worktree, const std::string& base);

/// The end of an adoption: the registration gets a name of its own again, berth's base ref goes,
/// snapshots and salvage stay. Nothing is removed from the folder. Missing is fine.
///
/// Errors: those of verify_worktree; `conflict` "not_adopted".
Result<void> release_worktree(const WorktreeRef& worktree);

struct PruneRequest {
  std::string repository;
  /// Of berth's keys, only these are looked at; empty means all.
  std::vector<std::string> keys;
  std::int64_t now_s = 0;                       ///< Seconds since 1970; the caller's clock.
  std::int64_t age_min_s = std::int64_t{3600};  ///< A folder that is gone may only be unmounted.
  bool dry_run = false;
  GitCommand* command = nullptr;
  Patience patience;
};

struct PrunedRegistration {
  std::string key;
  std::string path;         ///< Where its folder was.
  std::string salvage_ref;  ///< Holds commits that only its HEAD held.
  std::int64_t age_s = 0;
};

/// Drops registrations of berth whose folder has been gone for long. Never those of other people,
/// locked ones, or ones whose folder's parent is gone too (a disk that is not mounted). Commits
/// that only such a registration holds (a detached HEAD) get a salvage ref first.
///
/// Errors: those of inspect_repository; `timed_out`, `cancelled`.
Result<std::vector<PrunedRegistration>> prune_registrations(const PruneRequest& request);

}  // namespace berth::git
