// git/apply.h — brings a session's change into a branch or into somebody's working files, whole or
// not at all.
#pragma once

#include <berth/core/result.h>
#include <berth/git/git_command.h>
#include <berth/git/patience.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::git {

enum class ApplyTo : std::uint8_t {
  branch,         ///< A commit on a branch; its checkout, if it has one, follows.
  working_files,  ///< The files of a checkout, uncommitted; index and HEAD stay.
};

struct CommitText {
  std::string author_name;
  std::string author_email;
  std::string message;  ///< Subject, empty line, body.
  /// "Co-authored-by: ..." and the like, put behind the message in this order.
  std::vector<std::pair<std::string, std::string>> trailers;
  std::int64_t time_s = 0;  ///< Seconds since 1970; the caller's clock.
};

struct ApplyRequest {
  /// For `working_files` the folder of the checkout, else any path of the repository.
  std::string repository;
  std::string base;                ///< What the change is measured against: id of a commit or tree.
  std::string change;              ///< What it leads to, such as the snapshot of a turn: the same.
  std::vector<std::string> paths;  ///< Only these files of the change; empty means all.
  ApplyTo to = ApplyTo::branch;
  std::string branch;    ///< For `branch`: its short name; it exists.
  CommitText commit;     ///< For `branch`.
  bool dry_run = false;  ///< Find out what would happen.
  /// A file of berth's own (its folder exists), one per target: written before the first file is
  /// changed and removed after the last, for finish_apply() after a crash.
  std::string journal;
  GitCommand* command = nullptr;  ///< As in WorktreeRef, as is `backend`.
  Backend backend = Backend::automatic;
  Patience patience;  ///< Asked up to the first change; what comes after is brought to its end.
};

struct ApplyConflict {
  std::string path;
  /// "content" (both sides changed the same lines), "deleted_here" | "deleted_there" (here is the
  /// target), "added_by_both", "local_changes" (uncommitted, in the way), "other".
  std::string_view reason;
};

struct Applied {
  bool applied = false;            ///< False: `conflicts`, or a dry run.
  bool unchanged = false;          ///< The target holds the change already; nothing was to be done.
  std::vector<std::string> files;  ///< What changes in the target.
  std::vector<ApplyConflict> conflicts;
  std::string commit;    ///< The new commit on the branch.
  std::string before;    ///< The commit that the branch was on.
  std::string checkout;  ///< Folder whose files followed; empty when there is none.
};

/// Merges the change (base -> change) into the target as `git merge` would merge it, three-way,
/// file by file with renames; merge drivers and hooks never run. With a conflict nothing is touched
/// and all of them are named. For `working_files` the other side is the files as they are on disk,
/// so uncommitted edits merge too. Any thread; one call at a time per target.
///
/// Errors: `invalid` "bad_object_id" | "bad_branch" | "bare_repository" (no working files) |
/// "bad_commit_text"; `not_found` "branch_not_found" | "object_not_found"; `conflict` "ref_moved"
/// (somebody else committed meanwhile: nothing was done); `busy` "git_locked"; `unavailable` for
/// the file system, after which the files are as before or, if that fails too, the journal stays;
/// `unsupported` "git_command_too_old"; `timed_out`, `cancelled`; those of inspect_repository.
Result<Applied> apply_change(const ApplyRequest& request);

/// After a crash: brings the apply that `journal` tells of to its end, or back to where it began if
/// its branch has moved elsewhere. Files that somebody changed meanwhile are left alone and named
/// in `conflicts`. A journal that does not exist is fine. Errors as above; `invalid` "bad_journal".
Result<Applied> finish_apply(const std::string& journal, GitCommand* command = nullptr);

/// finish_apply() for every journal in `folder`; a folder that is not there is fine. Returns what
/// could not be finished, each with its error; those journals stay.
Result<std::vector<std::string>> finish_applies(const std::string& folder,
                                                GitCommand* command = nullptr);

struct MoveBaseline {
  std::string repository;          ///< Any path of it.
  std::string key;                 ///< The session's.
  std::string base;                ///< Where the baseline is: id of a commit or tree.
  std::string change;              ///< The same: whose files it takes over.
  std::vector<std::string> paths;  ///< Only these; empty means all.
  std::string name;                ///< Last part of the ref that keeps it.
  std::int64_t time_s = 0;         ///< The caller's clock.
  GitCommand* command = nullptr;   ///< As in WorktreeRef, as is `backend`.
  Backend backend = Backend::automatic;
};

/// After an apply: the base with the applied files, as a commit kept by refs/berth/s/<key>/<name>;
/// its parent is the old base when that is a commit. A ref of that name is replaced. Returns the
/// commit's id. Any thread. Errors: `invalid` "bad_object_id" | "bad_key" | "bad_ref_name";
/// `not_found` "object_not_found"; `busy` "git_locked"; those of inspect_repository.
Result<std::string> move_baseline(const MoveBaseline& request);

}  // namespace berth::git
