#include <berth/server/sessions/workspaces_git.h>

#include <berth/git/diff.h>
#include <berth/git/guard.h>
#include <berth/git/removal.h>
#include <berth/git/snapshot.h>
#include <berth/git/worktree.h>

#include <chrono>
#include <utility>

namespace berth::server {

namespace {

git::WorktreeRef ref_of(const Workspace& workspace) {
  return {workspace.repository, workspace.directory, workspace.key};
}

git::Patience patience_for(Duration time) {
  git::Patience patience;
  patience.deadline = std::chrono::steady_clock::now() + time;
  return patience;
}

std::vector<ChangedFile> files_of(const git::Change& change) {
  std::vector<ChangedFile> files;
  files.reserve(change.files.size());
  for (const git::FileChange& file : change.files) {
    files.push_back({file.path, file.old_path, std::string(git::to_string(file.status)),
                     static_cast<std::int64_t>(file.additions),
                     static_cast<std::int64_t>(file.deletions), file.binary});
  }
  return files;
}

}  // namespace

GitWorkspaces::GitWorkspaces(io::Platform& platform, std::string state_directory,
                             GitWorkspaceLimits limits)
    : platform_(platform), state_(std::move(state_directory)), limits_(limits) {}

Task<Result<Workspace>> GitWorkspaces::create(WorkspaceSpec spec) {
  git::CreateWorktree request;
  request.worktree = {spec.repository, state_ + "/worktrees/" + spec.key, spec.key};
  request.base = spec.base;
  request.private_index = private_index(spec.key);
  const Duration time = limits_.create_max;
  Result<git::CreatedWorktree> created = co_await platform_.offload().run(
      io::Lane::git, platform_.reactor(), [request, time]() mutable {
        request.patience = patience_for(time);
        return git::create_worktree(request);
      });
  if (!created.has_value()) co_return fail(std::move(created.error()));
  co_return Workspace{spec.key, spec.repository, created->path, created->branch,
                      created->base_commit};
}

Task<Result<WorkspaceChange>> GitWorkspaces::record_turn(Workspace workspace, std::int64_t turn,
                                                         std::string base) {
  git::SnapshotRequest snapshot;
  snapshot.worktree = ref_of(workspace);
  snapshot.name = std::to_string(turn);
  snapshot.private_index = private_index(workspace.key);
  snapshot.time_s =
      std::chrono::duration_cast<std::chrono::seconds>(platform_.clock().wall()).count();
  const Duration time = limits_.snapshot_max;
  co_return co_await platform_.offload().run(
      io::Lane::git, platform_.reactor(),
      [snapshot, base, time]() mutable -> Result<WorkspaceChange> {
        snapshot.patience = patience_for(time);
        Result<git::Snapshot> taken = git::take_snapshot(snapshot);
        if (!taken.has_value()) return fail(std::move(taken.error()));
        git::DiffRequest request;
        request.worktree = snapshot.worktree;
        request.from = base;
        request.to = taken->tree;
        request.with_patches = false;
        request.patience = snapshot.patience;
        Result<git::Change> change = git::diff(request);
        if (!change.has_value()) return fail(std::move(change.error()));
        return WorkspaceChange{taken->tree, taken->commit, files_of(*change)};
      });
}

Task<Result<Workspaces::Patch>> GitWorkspaces::patch(Workspace workspace, std::string from,
                                                     std::string to, std::string path) {
  git::DiffRequest request;
  request.worktree = ref_of(workspace);
  request.from = std::move(from);
  request.to = std::move(to);
  if (!path.empty()) request.paths.push_back(std::move(path));
  request.limits.patch_bytes_max = limits_.patch_bytes_max;
  const Duration time = limits_.snapshot_max;
  co_return co_await platform_.offload().run(
      io::Lane::git, platform_.reactor(), [request, time]() mutable -> Result<Patch> {
        request.patience = patience_for(time);
        Result<git::Change> change = git::diff(request);
        if (!change.has_value()) return fail(std::move(change.error()));
        return Patch{git::patch_text(*change), change->patch_truncated || change->files_truncated};
      });
}

Task<Result<WorkspaceReport>> GitWorkspaces::report(Workspace workspace) {
  git::StateRequest request;
  request.worktree = ref_of(workspace);
  request.base = workspace.base_commit;
  const Duration time = limits_.snapshot_max;
  co_return co_await platform_.offload().run(
      io::Lane::git, platform_.reactor(), [request, time]() mutable -> Result<WorkspaceReport> {
        request.patience = patience_for(time);
        Result<git::WorkLoss> loss = git::worktree_state(request);
        if (!loss.has_value()) return fail(std::move(loss.error()));
        WorkspaceReport report;
        report.exists = loss->exists;
        report.dirty = loss->dirty || !loss->nested.empty();
        report.untracked = static_cast<std::int64_t>(loss->untracked);
        report.unpushed = static_cast<std::int64_t>(loss->unpushed);
        report.unknown = loss->unknown;
        report.reason = loss->reason;
        return report;
      });
}

Task<Result<void>> GitWorkspaces::remove(Workspace workspace, bool force) {
  git::RemoveWorktree request;
  request.worktree = ref_of(workspace);
  request.base = workspace.base_commit;
  request.force = force;
  request.private_index = private_index(workspace.key);
  request.trash = state_ + "/trash";
  request.time_s =
      std::chrono::duration_cast<std::chrono::seconds>(platform_.clock().wall()).count();
  const Duration time = limits_.create_max;
  co_return co_await platform_.offload().run(
      io::Lane::git, platform_.reactor(), [request, time]() mutable -> Result<void> {
        request.patience = patience_for(time);
        git::WorkLoss report;
        Result<git::Removal> removal = git::remove_worktree(request, report);
        if (!removal.has_value()) return fail(std::move(removal.error()));
        return {};
      });
}

}  // namespace berth::server
