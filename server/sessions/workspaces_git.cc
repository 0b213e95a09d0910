#include <berth/server/sessions/workspaces_git.h>

#include <berth/git/diff.h>
#include <berth/git/guard.h>
#include <berth/git/overlay.h>
#include <berth/git/removal.h>
#include <berth/git/repository.h>
#include <berth/git/restore.h>
#include <berth/git/worktree.h>
#include <berth/server/sessions/repository_url.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace berth::server {

namespace detail {

git::Patience patience_for(Duration time) {
  git::Patience patience;
  patience.deadline = std::chrono::steady_clock::now() + time;
  return patience;
}

Result<void> make_ready(const Workspace& workspace, const git::OverlayRef& overlay,
                        const git::Patience& patience) {
  if (workspace.mode != "overlay") return {};
  Result<git::OverlayReady> ready = git::ensure_overlay_ready(overlay, patience);
  if (!ready.has_value()) return fail(std::move(ready.error()));
  return {};
}

}  // namespace detail

using detail::make_ready;

namespace {

WorkspaceReport report_of(const git::WorkLoss& loss) {
  WorkspaceReport report;
  report.exists = loss.exists;
  report.dirty = loss.dirty;
  report.changed = static_cast<std::int64_t>(loss.changed);
  report.untracked = static_cast<std::int64_t>(loss.untracked);
  report.unpushed = static_cast<std::int64_t>(loss.unpushed);
  report.nested = loss.nested;
  report.head = loss.head;
  report.unknown = loss.unknown;
  report.reason = loss.reason;
  return report;
}

}  // namespace

GitWorkspaces::GitWorkspaces(io::Platform& platform, std::string state_directory,
                             GitWorkspaceLimits limits, GitWorkspaceTools tools)
    : platform_(platform),
      state_(std::move(state_directory)),
      limits_(std::move(limits)),
      tools_(tools),
      clones_(platform, clones_folder(), limits_.clones, {tools.libgit2, tools.command}),
      hints_(limits_.hints.watch ? tools.watcher : nullptr, limits_.hints) {}

/// Of folders that cannot be looked at we do not know.
bool GitWorkspaces::any_holds_something(const std::vector<std::string>& folders) const {
  return std::any_of(folders.begin(), folders.end(), [this](const std::string& folder) {
    const Result<std::vector<io::FolderEntry>> entries = platform_.files().list(folder);
    return entries.has_value() ? !entries->empty() : entries.error().kind != ErrorKind::not_found;
  });
}

std::int64_t GitWorkspaces::now_s() const {
  return std::chrono::duration_cast<std::chrono::seconds>(platform_.clock().wall()).count();
}

git::WorktreeRef GitWorkspaces::ref_of(const Workspace& workspace) const {
  return {.repository = workspace.repository,
          .path = workspace.directory,
          .key = workspace.key,
          .command = tools_.command};
}

git::OverlayRef GitWorkspaces::overlay_of(const Workspace& workspace) const {
  return {.worktree = ref_of(workspace), .store = state_ + "/overlay"};
}

namespace {

/// One creation in the mode that was asked for, or in the plain one with the reason why.
struct Making {
  git::CreateWorktree request;
  std::string store;  ///< Of overlays.
  std::string mode;
  std::string fallback;

  Result<git::CreatedWorktree> make() {
    if (mode == "overlay") {
      Result<git::CreatedWorktree> made =
          git::create_overlay({.worktree = request, .store = store});
      if (made.has_value() || made.error().kind != ErrorKind::unsupported) return made;
      fallback = made.error().message;
    }
    mode = "worktree";
    return git::create_worktree(request);
  }
};

}  // namespace

Task<Result<Workspace>> GitWorkspaces::create(WorkspaceSpec spec) {
  if (is_repository_url(spec.repository)) {
    Result<OpenedClone> clone = co_await clones_.open({spec.repository, spec.base, spec.fetch});
    if (!clone.has_value()) co_return fail(std::move(clone.error()));
    spec.repository = std::move(clone->path);
    spec.base = std::move(clone->commit);
  }
  co_return co_await create_from(std::move(spec));
}

Task<Result<Workspace>> GitWorkspaces::create_from(WorkspaceSpec spec) {
  Making making;
  making.request.worktree = {.repository = spec.repository,
                             .path = worktree_path(spec.key),
                             .key = spec.key,
                             .command = tools_.command};
  making.request.base = spec.base;
  making.request.private_index = private_index(spec.key);
  making.store = state_ + "/overlay";
  making.mode = spec.mode;
  const Duration time = limits_.create_max;
  co_return co_await on_lane([making, time]() mutable -> Result<Workspace> {
    making.request.patience = detail::patience_for(time);
    Result<git::CreatedWorktree> created = making.make();
    if (!created.has_value()) return fail(std::move(created.error()));
    Workspace workspace;
    workspace.key = making.request.worktree.key;
    workspace.repository = making.request.worktree.repository;
    workspace.directory = created->path;
    workspace.branch = created->branch;
    workspace.base_commit = created->base_commit;
    workspace.mode = making.mode;
    workspace.fallback = making.fallback;
    return workspace;
  });
}

namespace {

/// The checkout of a session that had one before. Where only the folder went, by a crash or by
/// hand, what is left of it goes first.
Result<git::CreatedWorktree> make_again(const Workspace& workspace,
                                        const git::CreateWorktree& request,
                                        const git::OverlayRef& overlay, std::int64_t now_s) {
  if (workspace.mode == "overlay") {
    return git::create_overlay({.worktree = request, .store = overlay.store});
  }
  Result<git::CreatedWorktree> created = git::create_worktree(request);
  if (created.has_value() || std::string_view(created.error().code) != "worktree_missing") {
    return created;
  }
  git::RemoveWorktree rest;
  rest.worktree = request.worktree;
  rest.base = request.base;
  rest.private_index = request.private_index;
  rest.time_s = now_s;
  rest.patience = request.patience;
  git::WorkLoss report;
  Result<git::Removal> removed = git::remove_worktree(rest, report);
  if (!removed.has_value()) return fail(std::move(removed.error()));
  return git::create_worktree(request);
}

/// Whether a fresh checkout of `commit` has the files of `snapshot` already.
Result<bool> holds(const git::CreateWorktree& made, const std::string& commit,
                   const std::string& snapshot) {
  git::DiffRequest request;
  request.worktree = made.worktree;
  request.from = commit;
  request.to = snapshot;
  request.with_patches = false;
  request.patience = made.patience;
  Result<git::Change> change = git::diff(request);
  if (!change.has_value()) return fail(std::move(change.error()));
  return change->files.empty();
}

}  // namespace

Task<Result<void>> GitWorkspaces::revive(Workspace workspace, std::string snapshot) {
  git::CreateWorktree request;
  request.worktree = ref_of(workspace);
  request.base = workspace.base_commit;
  request.private_index = private_index(workspace.key);
  request.keep_branch = true;
  const git::OverlayRef overlay = overlay_of(workspace);
  const Duration time = limits_.create_max;
  const std::int64_t now = now_s();
  co_return co_await on_lane(
      [this, workspace, request, overlay, snapshot, time, now]() mutable -> Result<void> {
        hints_.forget(workspace.directory);
        request.patience = detail::patience_for(time);
        const bool there = make_ready(workspace, overlay, request.patience).has_value() &&
                           git::verify_worktree(request.worktree).has_value();
        Result<git::CreatedWorktree> created = make_again(workspace, request, overlay, now);
        if (!created.has_value()) return fail(std::move(created.error()));
        if (there || snapshot.empty()) return {};
        Result<bool> same = holds(request, created->head_commit, snapshot);
        if (!same.has_value()) return fail(std::move(same.error()));
        if (*same) return {};
        git::RestoreRequest files;
        files.worktree = request.worktree;
        files.to = snapshot;
        files.private_index = request.private_index;
        files.time_s = now;
        files.patience = request.patience;
        Result<git::Restored> restored = git::restore_worktree(files);
        if (!restored.has_value()) return fail(std::move(restored.error()));
        return {};
      });
}

Task<Result<void>> GitWorkspaces::ensure_ready(Workspace workspace) {
  const git::OverlayRef overlay = overlay_of(workspace);
  const Duration time = limits_.create_max;
  co_return co_await on_lane([workspace, overlay, time]() -> Result<void> {
    Result<void> ready = make_ready(workspace, overlay, detail::patience_for(time));
    return ready.has_value() ? git::verify_worktree(overlay.worktree) : ready;
  });
}

Task<GitFolders> GitWorkspaces::git_folders(Workspace workspace) {
  const git::WorktreeRef worktree = ref_of(workspace);
  Result<git::CommitFolders> folders =
      co_await on_lane([worktree] { return git::folders_of_commits(worktree); });
  if (!folders.has_value()) co_return GitFolders{};
  co_return GitFolders{folders->common_dir, folders->written};
}

Task<Result<WorkspaceReport>> GitWorkspaces::report(Workspace workspace) {
  git::StateRequest request;
  request.worktree = ref_of(workspace);
  request.base = workspace.base_commit;
  const git::OverlayRef overlay = overlay_of(workspace);
  const Duration time = limits_.snapshot_max;
  co_return co_await on_lane(
      [workspace, request, overlay, time]() mutable -> Result<WorkspaceReport> {
        request.patience = detail::patience_for(time);
        Result<void> ready = make_ready(workspace, overlay, request.patience);
        if (!ready.has_value()) return fail(std::move(ready.error()));
        Result<git::WorkLoss> loss = git::worktree_state(request);
        if (!loss.has_value()) return fail(std::move(loss.error()));
        return report_of(*loss);
      });
}

Task<WorkspaceGaps> GitWorkspaces::gaps(Workspace workspace) {
  git::GitCommand* command = tools_.command;
  Result<WorkspaceGaps> gaps = co_await on_lane([workspace, command]() -> Result<WorkspaceGaps> {
    WorkspaceGaps found;
    Result<git::RepositoryInfo> info = git::inspect_repository(workspace.repository, command);
    if (info.has_value()) found.shallow = info->shallow;
    Result<git::RepositoryContents> contents =
        git::inspect_contents(workspace.repository, workspace.base_commit, 100, command);
    if (!contents.has_value()) return found;
    found.submodules = std::move(contents->submodules);
    found.lfs_pointers = std::move(contents->lfs_pointers);
    return found;
  });
  if (!gaps.has_value()) co_return WorkspaceGaps{};
  co_return std::move(*gaps);
}

Task<Result<WorkspaceRemoval>> GitWorkspaces::salvage(Workspace workspace) {
  git::SalvageRequest request;
  request.worktree = ref_of(workspace);
  request.private_index = private_index(workspace.key);
  request.time_s = now_s();
  const git::OverlayRef overlay = overlay_of(workspace);
  const Duration time = limits_.create_max;
  co_return co_await on_lane(
      [workspace, request, overlay, time]() mutable -> Result<WorkspaceRemoval> {
        request.patience = detail::patience_for(time);
        Result<void> ready = make_ready(workspace, overlay, request.patience);
        if (!ready.has_value()) return fail(std::move(ready.error()));
        Result<git::Salvage> kept = git::salvage_worktree(request);
        if (!kept.has_value()) return fail(std::move(kept.error()));
        WorkspaceRemoval removal;
        removal.salvage_ref = kept->ref;
        removal.salvage_commit = kept->commit;
        return removal;
      });
}

Task<Result<WorkspaceRemoval>> GitWorkspaces::remove(Workspace workspace, RemoveOrder order) {
  git::RemoveWorktree request;
  request.worktree = ref_of(workspace);
  request.base = workspace.base_commit;
  request.force = order.force;
  request.discard_nested = order.discard_nested;
  request.private_index = private_index(workspace.key);
  request.trash = state_ + "/trash";
  request.delete_now = false;  // a fresh deletion makes the next creation slow
  request.time_s = now_s();
  const std::string store = workspace.mode == "overlay" ? state_ + "/overlay" : std::string();
  const Duration time = limits_.create_max;
  co_return co_await on_lane([this, request, store, time]() mutable -> Result<WorkspaceRemoval> {
    request.patience = detail::patience_for(time);
    git::WorkLoss report;
    Result<git::Removal> done =
        store.empty() ? git::remove_worktree(request, report)
                      : git::remove_overlay({.worktree = request, .store = store}, report);
    if (!done.has_value()) return fail(std::move(done.error()));
    hints_.forget(request.worktree.path);
    WorkspaceRemoval removal;
    removal.salvage_ref = done->salvage_ref;
    removal.salvage_commit = done->salvage_commit;
    removal.branch_kept = done->branch_kept;
    return removal;
  });
}

}  // namespace berth::server
