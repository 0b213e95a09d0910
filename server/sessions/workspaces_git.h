// server/sessions/workspaces_git.h — workspaces as linked git worktrees, or as overlays that share
// a checkout.
#pragma once

#include <berth/git/library.h>
#include <berth/io/platform.h>
#include <berth/server/sessions/repository_clones.h>
#include <berth/server/sessions/workspace_limits.h>
#include <berth/server/sessions/workspaces.h>
#include <berth/server/sessions/worktree_hints.h>

#include <string>
#include <utility>
#include <vector>

namespace berth::git {
struct OverlayRef;
struct Patience;
struct Snapshot;
struct SnapshotRequest;
struct WorktreeRef;
}  // namespace berth::git

namespace berth::server {

/// What git works with; they outlive the workspaces, and libgit2 the platform too.
struct GitWorkspaceTools {
  git::LibraryOnDemand& libgit2;         ///< On from the first workspace on.
  git::GitCommand* command = nullptr;    ///< Optional: for repositories that libgit2 cannot read.
  io::FolderWatcher* watcher = nullptr;  ///< Optional: without it snapshots look at all files.
};

/// In the state directory: worktrees in `worktrees/<key>`, their private indexes in `index/<key>`,
/// journals of applies in `apply/<key>`, what is being deleted in `trash`, and what overlays share
/// in `overlay`, clones in `clones`. All work is done on the git lane. `platform` outlives it.
class GitWorkspaces final : public Workspaces {
 public:
  GitWorkspaces(io::Platform& platform, std::string state_directory, GitWorkspaceLimits limits,
                GitWorkspaceTools tools);

  /// For the end of the server: what talks to a remote ends soon.
  void stop() { clones_.stop(); }

  Task<Result<Workspace>> create(WorkspaceSpec spec) override;
  Task<Result<void>> revive(Workspace workspace, std::string snapshot) override;
  Task<Result<void>> ensure_ready(Workspace workspace) override;
  Task<GitFolders> git_folders(Workspace workspace) override;
  Task<Result<WorkspaceChange>> record(Workspace workspace, SnapshotOrder order) override;
  Task<Result<WorkspaceChange>> compare(Workspace workspace, std::string from,
                                        std::string to) override;
  Task<Result<Patch>> patch(Workspace workspace, PatchOrder order) override;
  Task<Result<Patch>> mail(Workspace workspace, PatchOrder order, CommitWords words) override;
  Task<Result<AppliedChange>> apply(Workspace workspace, ApplyOrder order) override;
  Task<Result<std::string>> move_baseline(Workspace workspace, BaselineOrder order) override;
  Task<Result<RestoredFiles>> restore(Workspace workspace, RestoreOrder order) override;
  Task<Result<WorkspaceReport>> report(Workspace workspace) override;
  Task<WorkspaceGaps> gaps(Workspace workspace) override;
  Task<Result<WorkspaceRemoval>> salvage(Workspace workspace) override;
  Task<Result<WorkspaceRemoval>> remove(Workspace workspace, RemoveOrder order) override;
  Task<Result<std::vector<std::string>>> finish_interrupted() override;
  Task<Result<std::vector<ReapedItem>>> reap(ReapOrder order) override;
  CloneTotals clone_totals() const override { return clone_totals_; }

 private:
  template <typename Fn>
  auto on_lane(Fn work) {
    return on_lane_if(std::vector<std::string>(), std::move(work));
  }
  /// For work that has nothing for libgit2 to do when all of these folders are empty or missing;
  /// without any named: for work that needs it.
  template <typename Fn>
  auto on_lane_if(std::vector<std::string> folders, Fn work) {
    return platform_.offload().run(
        io::Lane::git, platform_.reactor(),
        [this, folders = std::move(folders), work = std::move(work)]() mutable {
          if (folders.empty() || any_holds_something(folders)) tools_.libgit2.need();
          return work();
        });
  }
  bool any_holds_something(const std::vector<std::string>& folders) const;
  std::string private_index(const std::string& key) const { return state_ + "/index/" + key; }
  std::string clones_folder() const {
    return limits_.clones.folder.empty() ? state_ + "/clones" : limits_.clones.folder;
  }
  std::string worktree_path(const std::string& key) const { return state_ + "/worktrees/" + key; }
  std::string apply_journal(const std::string& key) const { return state_ + "/apply/" + key; }
  Task<Result<Workspace>> create_from(WorkspaceSpec spec);
  struct Look {
    bool thorough = false;
    TimePoint now{};
  };
  Result<git::Snapshot> look(const Workspace& workspace, const Look& wanted,
                             git::SnapshotRequest request, std::string& reason);
  git::WorktreeRef ref_of(const Workspace& workspace) const;
  git::OverlayRef overlay_of(const Workspace& workspace) const;
  std::int64_t now_s() const;

  io::Platform& platform_;
  std::string state_;
  GitWorkspaceLimits limits_;
  GitWorkspaceTools tools_;
  RepositoryClones clones_;
  CloneTotals clone_totals_;
  WorktreeHints hints_;
};

namespace detail {

git::Patience patience_for(Duration time);
/// Nothing to do for a folder of files. An overlay is mounted again where its mount was lost; an
/// error says that nobody knows what is in the workspace.
Result<void> make_ready(const Workspace& workspace, const git::OverlayRef& overlay,
                        const git::Patience& patience);

}  // namespace detail

}  // namespace berth::server
