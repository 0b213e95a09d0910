// git/worktree.h — linked worktrees of sessions: make one, check that it is really there, list
// them.
#pragma once

#include <berth/core/result.h>
#include <berth/git/git_command.h>
#include <berth/git/patience.h>

#include <string>
#include <vector>

namespace berth::git {

/// Names one session's worktree; most calls take it.
struct WorktreeRef {
  std::string repository;  ///< Any path of the repository (main worktree, `.git`, bare folder).
  std::string
      path;  ///< Absolute path of the worktree's folder; the same for berth and agent, forever.
  std::string key;  ///< See names.h.
  /// For repositories that libgit2 cannot read; without it they are `unsupported`. Outlives the
  /// call.
  GitCommand* command = nullptr;
  /// What inspect_repository chose when the session was made; it does not change afterwards.
  Backend backend = Backend::automatic;
};

struct CreateWorktree {
  WorktreeRef worktree;
  /// Where the branch starts; anything that names a commit. Empty means HEAD of `repository`.
  std::string base;
  /// Where the snapshots of this worktree keep their private index (see snapshot.h). When given, it
  /// is filled at once, and the first snapshot costs no more than the later ones. May be empty.
  std::string private_index;
  /// The branch exists with commits of its own (a session that comes back): check it out instead of
  /// refusing.
  bool keep_branch = false;
  Patience patience;
};

struct CreatedWorktree {
  std::string path;         ///< As given, symbolic links in its parent folders resolved.
  std::string branch;       ///< "berth/<key>"
  std::string base_commit;  ///< 40 hex digits; keep it in the store, it is what changes are
                            ///< measured against.
  std::string head_commit;  ///< What was checked out; the base unless the branch was kept.
  bool existed = false;     ///< It was there already, whole, and nothing was done.
};

/// Makes a real linked worktree with its branch, as `git worktree add -b berth/<key>` would, except
/// that no hook, no filter program and no submodule checkout runs.
///
/// Idempotent by key: a whole worktree is returned as it is (its branch may have moved on); what a
/// crash left half made is removed and made again. Until the last step the registration is locked
/// with our reason, so that neither `git worktree prune` nor a reader takes it for whole. Any
/// thread; at most one call per key at a time; calls for different keys of one repository run side
/// by side.
///
/// Errors: `invalid` "bad_key" | "bad_path" | "not_a_commit"; `not_found` "rev_not_found";
/// `conflict` "repository_empty" | "path_occupied" | "worktree_elsewhere" (the key has another
/// path) | "base_differs" (whole, with another base than the one asked for) | "branch_has_commits";
/// `busy` "git_locked"; `not_found`
/// "worktree_missing" (registered, its folder is gone: call remove_worktree first); and those of
/// inspect_repository. After an error nothing of the attempt is left, or the next attempt removes
/// it.
Result<CreatedWorktree> create_worktree(const CreateWorktree& request);

/// Succeeds only when the folder exists, its `.git` file points to the registration, the
/// registration points back, and it was made to the end. Every call below that takes a WorktreeRef
/// does this first: a lost mount or a removed folder must never read as "all files deleted".
///
/// Errors: `not_found` "worktree_missing"; `conflict` "worktree_not_linked"; `unavailable`
/// "worktree_half_made".
Result<void> verify_worktree(const WorktreeRef& worktree);

/// What of the repository git writes for a commit in the worktree, besides the worktree itself, as
/// long as it stays on its branch: objects, berth's branches with their logs, and the registration.
/// Not the repository's configuration, hooks, other branches or HEAD. Folders, absolute, each with
/// a '/' at its end; some may be absent. Any thread. Errors: of verify_worktree.
struct CommitFolders {
  std::string common_dir;  ///< What they are parts of.
  std::vector<std::string> written;
};
Result<CommitFolders> folders_of_commits(const WorktreeRef& worktree);

enum class WorktreeCondition : std::uint8_t {
  whole,         ///< Folder and registration point at each other.
  half_made,     ///< A creation did not get to its end.
  folder_gone,   ///< Registered, the folder is missing.
  unregistered,  ///< A folder that points to a registration that is missing or belongs to another
                 ///< folder.
};

struct ListedWorktree {
  std::string key;
  std::string path;
  WorktreeCondition condition = WorktreeCondition::whole;
};

/// All worktrees of berth, from both sides: the registrations in `repository` whose name is a key
/// and that have our base ref, and the folders directly in `roots` whose `.git` file names a key in
/// this repository. Sorted by key. A root that does not exist is empty. For reapers; changes
/// nothing.
Result<std::vector<ListedWorktree>> list_worktrees(const std::string& repository,
                                                   const std::vector<std::string>& roots,
                                                   GitCommand* command = nullptr);

}  // namespace berth::git
