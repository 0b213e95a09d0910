// server/sessions/workspaces.h — the folder that a session's agents work in: git behind it, or a
// model in simulation.
#pragma once

#include <berth/core/result.h>
#include <berth/core/task.h>
#include <berth/server/agents/git_folders.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace berth::server {

struct WorkspaceSpec {
  std::string key;         ///< The session's key.
  std::string repository;  ///< Absolute path, or a URL: then a clone of it is made or used.
  std::string base;        ///< Revision; empty = HEAD, of a URL the remote's default branch.
  /// "worktree", "overlay", or empty: what the server prefers. One that cannot be made here falls
  /// back to "worktree".
  std::string mode;
  std::string fetch;  ///< For a URL: "", "auto", "always" or "never"; see RepositoryClones.
};

struct Workspace {
  std::string key;          ///< The session's key.
  std::string repository;   ///< Absolute path.
  std::string directory;    ///< Absolute, stays the same for the session's life.
  std::string branch;       ///< "berth/<key>"
  std::string base_commit;  ///< 40 hex: where the branch began.
  std::string mode;         ///< "worktree" | "overlay"
  std::string fallback;     ///< Only from create: why it is not the mode that was asked for.
};

struct ChangedFile {
  std::string path;
  std::string old_path;  ///< Set for renames.
  std::string status;    ///< added | modified | deleted | renamed | typechange
  std::int64_t additions = 0;
  std::int64_t deletions = 0;
  bool binary = false;
  /// Not a file of the repository's own: "submodule" (another repository's commit) | "lfs" (the
  /// pointer of a file that git-lfs keeps elsewhere).
  std::string kind;
};

struct SnapshotOrder {
  std::string name;  ///< Last part of the ref that keeps it: the turn's number, or "7-before".
  std::string base;  ///< Commit or tree that the open change is measured against.
  /// Commit or tree that the files were when the stretch began of which `touched` tells.
  std::string since;
  std::string parent;     ///< Commit of the snapshot before; empty: the last turn's, else the base.
  bool thorough = false;  ///< Look at all files, whatever is known of what changed.
  /// Set by the shard when nobody needs the answer any more; the call then ends soon.
  std::shared_ptr<std::atomic<bool>> give_up;
};

/// A snapshot of the working files and what it differs in from the base.
struct WorkspaceChange {
  std::string tree;                  ///< Tree id.
  std::string snapshot;              ///< Commit id, kept by refs/berth/s/<key>/<name>.
  std::vector<ChangedFile> files;    ///< base -> now
  std::vector<ChangedFile> touched;  ///< since -> now
  bool truncated = false;            ///< There are more files than are listed.
  std::string left_out;              ///< A file that is in no snapshot (too large, unreadable).
  bool full_scan = true;             ///< All files were looked at, else what may have changed.
  std::string scan_reason;           ///< Why all of them, although changes are watched.
};

struct PatchOrder {
  std::string from;  ///< Commit or tree id.
  std::string to;
  std::vector<std::string> paths;  ///< Empty = all.
  bool binary = false;             ///< With what binary files hold.
  std::uint64_t file_bytes_max = std::uint64_t{1} << 20;
  std::uint64_t bytes_max = std::uint64_t{8} << 20;
};

struct Patch {
  std::string text;
  bool truncated = false;  ///< Some file's patch is left out for a limit, never cut.
};

/// Who a commit is by and what it says.
struct CommitWords {
  std::string author_name;
  std::string author_email;
  std::string message;
  std::vector<std::pair<std::string, std::string>> trailers;
};

struct ApplyOrder {
  std::string base;                ///< What the change is measured against: commit or tree.
  std::string change;              ///< What it leads to.
  std::vector<std::string> paths;  ///< Empty = all.
  std::string branch;              ///< A commit on this branch; empty: the working files.
  std::string checkout;            ///< For the working files: the folder; empty = the repository.
  CommitWords commit;              ///< With `branch`.
  bool dry_run = false;
};

struct ApplyConflict {
  std::string path;
  std::string reason;  ///< See git/apply.h.
};

struct AppliedChange {
  bool applied = false;
  bool unchanged = false;  ///< The target holds it already.
  std::vector<std::string> files;
  std::vector<ApplyConflict> conflicts;
  std::string commit;
  std::string before;
  std::string checkout;
};

/// A baseline that moves: the old one with files as in the change.
struct BaselineOrder {
  std::string base;
  std::string change;
  std::vector<std::string> paths;  ///< Empty = all.
  std::string name;                ///< Last part of the ref that keeps it.
};

struct RestoreOrder {
  std::string to;                  ///< Commit or tree id.
  std::vector<std::string> paths;  ///< Empty = all.
  bool dry_run = false;
};

struct RestoredFile {
  std::string path;
  bool removed = false;  ///< It was not there then.
};

struct RestoredFiles {
  std::vector<RestoredFile> files;
  std::string salvage_ref;  ///< Keeps what was there before; empty when nothing changed.
  std::string salvage_commit;
};

/// What would be lost if the checkout were removed; `unknown` counts as work.
struct WorkspaceReport {
  bool exists = false;
  bool dirty = false;
  std::int64_t changed = 0;  ///< Tracked files that differ from HEAD.
  std::int64_t untracked = 0;
  std::int64_t unpushed = 0;        ///< Commits on no remote and beyond the base.
  std::vector<std::string> nested;  ///< Repositories inside: no salvage holds them.
  std::string head;
  bool unknown = false;
  std::string reason;

  bool loses_nothing() const {
    return !dirty && !unknown && untracked == 0 && unpushed == 0 && nested.empty();
  }
};

/// What of its repository is not in a checkout; the lists end at 100.
struct WorkspaceGaps {
  std::vector<std::string> submodules;    ///< Empty folders there.
  std::vector<std::string> lfs_pointers;  ///< Pointers there, not their contents.
  bool shallow = false;                   ///< The repository's history is cut off.
};

struct RemoveOrder {
  bool force = false;           ///< Although there is work; it is salvaged first.
  bool discard_nested = false;  ///< With force: nested repositories too, which no salvage holds.
};

struct WorkspaceRemoval {
  std::string salvage_ref;  ///< Empty when there was nothing to salvage.
  std::string salvage_commit;
  std::string branch_kept;  ///< Why the branch stays; empty when it went.
};

/// What may be taken away: whatever belongs to no session that exists.
struct ReapOrder {
  std::vector<std::string> live_keys;          ///< Of the sessions whose workspace is in use.
  std::vector<std::string> known_keys;         ///< Of all sessions that are not deleted.
  std::vector<std::string> keep_commits;       ///< Whose refs stay: the baselines of sessions.
  std::vector<std::string> repositories;       ///< Of all sessions, also deleted ones.
  std::vector<std::string> used_repositories;  ///< Of the sessions that are not deleted.
  std::int64_t age_min_s = 3600;               ///< Younger ones are left alone.
  bool dry_run = true;
  bool worktrees = true;  ///< False: only expired refs, clones and the trash.
};

struct ReapedItem {
  /// "worktree" | "folder" | "registration" | "ref" | "layer" | "repository" | "clone"
  std::string kind;
  std::string name;  ///< Path or ref.
  std::string key;
  std::string verdict;  ///< "removed" | "would remove" | "kept" | "failed"
  std::string reason;
  std::int64_t age_s = 0;
  std::uint64_t bytes = 0;
};

/// What clones of remotes take on disk, as of the last `reap`.
struct CloneTotals {
  std::uint64_t clones = 0;
  std::uint64_t bytes = 0;
};

/// Every call works on an offload lane and verifies first that the workspace is there, mounting it
/// again if it must: a lost one is an error, never an empty tree. Arguments are copied in; `key` is
/// the session's key, never the caller's id. One call at a time per workspace for record, restore
/// and remove.
class Workspaces {
 public:
  virtual ~Workspaces() = default;

  /// Idempotent by key: a half-made one is finished.
  virtual Task<Result<Workspace>> create(WorkspaceSpec spec) = 0;
  /// Makes the checkout of a session again whose workspace was removed, with the files of
  /// `snapshot` (none when empty). One that is there is left as it is.
  virtual Task<Result<void>> revive(Workspace workspace, std::string snapshot) = 0;
  /// Sees to it that agents can work in it, before one starts.
  virtual Task<Result<void>> ensure_ready(Workspace workspace) = 0;
  /// What of the repository git needs for a commit on the workspace's branch.
  virtual Task<GitFolders> git_folders(Workspace workspace) = 0;

  /// Makes a snapshot and compares it. Errors: `cancelled` after `give_up`.
  virtual Task<Result<WorkspaceChange>> record(Workspace workspace, SnapshotOrder order) = 0;
  /// The files that differ between two ids.
  virtual Task<Result<WorkspaceChange>> compare(Workspace workspace, std::string from,
                                                std::string to) = 0;
  virtual Task<Result<Patch>> patch(Workspace workspace, PatchOrder order) = 0;
  /// The same as a mail for `git am`.
  virtual Task<Result<Patch>> mail(Workspace workspace, PatchOrder order, CommitWords words) = 0;

  /// All or nothing; conflicts are in the answer. Errors: see git/apply.h.
  virtual Task<Result<AppliedChange>> apply(Workspace workspace, ApplyOrder order) = 0;
  /// Keeps the moved baseline by a ref and returns its commit.
  virtual Task<Result<std::string>> move_baseline(Workspace workspace, BaselineOrder order) = 0;
  virtual Task<Result<RestoredFiles>> restore(Workspace workspace, RestoreOrder order) = 0;

  virtual Task<Result<WorkspaceReport>> report(Workspace workspace) = 0;
  /// Looks at all paths of the base commit. None is found where that cannot be read.
  virtual Task<WorkspaceGaps> gaps(Workspace workspace) = 0;
  /// Keeps the files as they are now by a salvage ref; returns the commit.
  virtual Task<Result<WorkspaceRemoval>> salvage(Workspace workspace) = 0;
  /// Refuses with `conflict` ("worktree_has_work") when something would be lost; `force` salvages
  /// first. One that is gone is fine.
  virtual Task<Result<WorkspaceRemoval>> remove(Workspace workspace, RemoveOrder order) = 0;

  /// After a crash, before anything is served: brings applies to their end, or back. Returns what
  /// could not be, for the log; it is tried again before the next apply of that session.
  virtual Task<Result<std::vector<std::string>>> finish_interrupted() = 0;
  /// What belongs to no session, from the disk's side and from git's.
  virtual Task<Result<std::vector<ReapedItem>>> reap(ReapOrder order) = 0;
  virtual CloneTotals clone_totals() const { return {}; }
};

}  // namespace berth::server
