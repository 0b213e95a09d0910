// Snapshots, patches, applying and restoring of git workspaces.
#include <berth/git/apply.h>
#include <berth/git/diff.h>
#include <berth/git/mail.h>
#include <berth/git/overlay.h>
#include <berth/git/restore.h>
#include <berth/git/snapshot.h>
#include <berth/server/sessions/workspaces_git.h>

#include <utility>

namespace berth::server {

using detail::make_ready;

namespace {

std::string kind_of(const git::FileChange& file) {
  switch (file.kind) {
    case git::FileKind::submodule:
      return "submodule";
    case git::FileKind::lfs_pointer:
      return "lfs";
    case git::FileKind::plain:
      break;
  }
  return {};
}

std::vector<ChangedFile> files_of(const git::Change& change) {
  std::vector<ChangedFile> files;
  files.reserve(change.files.size());
  for (const git::FileChange& file : change.files) {
    files.push_back({file.path, file.old_path, std::string(git::to_string(file.status)),
                     static_cast<std::int64_t>(file.additions),
                     static_cast<std::int64_t>(file.deletions), file.binary, kind_of(file)});
  }
  return files;
}

/// The files between two ids, without patches.
Result<git::Change> list_between(const git::WorktreeRef& worktree, const std::string& from,
                                 const std::string& to, const git::Patience& patience) {
  git::DiffRequest request;
  request.worktree = worktree;
  request.from = from;
  request.to = to;
  request.with_patches = false;
  request.patience = patience;
  return git::diff(request);
}

git::CommitText text_of(const CommitWords& words, std::int64_t now) {
  git::CommitText text;
  text.author_name = words.author_name;
  text.author_email = words.author_email;
  text.message = words.message;
  text.trailers = words.trailers;
  text.time_s = now;
  return text;
}

git::DiffRequest patch_request(git::WorktreeRef worktree, PatchOrder order) {
  git::DiffRequest request;
  request.worktree = std::move(worktree);
  request.from = std::move(order.from);
  request.to = std::move(order.to);
  request.paths = std::move(order.paths);
  request.binary_patches = order.binary;
  request.limits.file_patch_bytes_max = order.file_bytes_max;
  request.limits.patch_bytes_max = order.bytes_max;
  return request;
}

/// What an overlay's layer says may differ from its base. A layer that cannot be read says nothing.
LookHints layer_hints(const git::OverlayRef& overlay, const git::Patience& patience) {
  LookHints look;
  Result<git::ChangedPaths> changed = git::changed_paths(overlay, patience);
  if (!changed.has_value() || !changed->complete) {
    look.reason = "layer_unreadable";
    return look;
  }
  look.hints.complete = true;
  look.hints.since = changed->commit;
  look.hints.paths = std::move(changed->paths);
  return look;
}

AppliedChange applied_of(git::Applied&& applied) {
  AppliedChange change;
  change.applied = applied.applied;
  change.unchanged = applied.unchanged;
  change.files = std::move(applied.files);
  for (const git::ApplyConflict& conflict : applied.conflicts) {
    change.conflicts.push_back({conflict.path, std::string(conflict.reason)});
  }
  change.commit = std::move(applied.commit);
  change.before = std::move(applied.before);
  change.checkout = std::move(applied.checkout);
  return change;
}

}  // namespace

/// On the lane: a snapshot by way of what may have changed, where that is known.
Result<git::Snapshot> GitWorkspaces::look(const Workspace& workspace, const Look& wanted,
                                          git::SnapshotRequest request, std::string& reason) {
  const bool overlay = workspace.mode == "overlay";
  const std::string& folder = request.worktree.path;
  LookHints known = overlay ? layer_hints(overlay_of(workspace), request.patience)
                            : hints_.begin(folder, wanted.now);
  reason = std::move(known.reason);
  if (wanted.thorough && !overlay) {
    known.hints.complete = false;
    reason = "asked_for";
  }
  request.hints = std::move(known.hints);
  Result<git::Snapshot> taken = git::take_snapshot(request);
  if (!taken.has_value()) return taken;
  if (!overlay) hints_.succeeded(folder, taken->tree, taken->scan.full, wanted.now);
  if (request.hints.complete) reason = taken->scan.reason;
  return taken;
}

Task<Result<WorkspaceChange>> GitWorkspaces::record(Workspace workspace, SnapshotOrder order) {
  git::SnapshotRequest snapshot;
  snapshot.worktree = ref_of(workspace);
  snapshot.name = order.name;
  snapshot.parent = order.parent;
  snapshot.private_index = private_index(workspace.key);
  snapshot.time_s = now_s();
  const git::OverlayRef overlay = overlay_of(workspace);
  const Duration time = limits_.snapshot_max;
  const Look wanted{order.thorough, platform_.clock().now()};
  co_return co_await on_lane([this, workspace, overlay, snapshot, order, wanted,
                              time]() mutable -> Result<WorkspaceChange> {
    snapshot.patience = detail::patience_for(time);
    snapshot.patience.cancelled = order.give_up.get();
    Result<void> ready = make_ready(workspace, overlay, snapshot.patience);
    if (!ready.has_value()) return fail(std::move(ready.error()));
    std::string scan_reason;
    Result<git::Snapshot> taken = look(workspace, wanted, snapshot, scan_reason);
    if (!taken.has_value()) return fail(std::move(taken.error()));
    Result<git::Change> change =
        list_between(snapshot.worktree, order.base, taken->tree, snapshot.patience);
    if (!change.has_value()) return fail(std::move(change.error()));
    WorkspaceChange now;
    now.tree = taken->tree;
    now.snapshot = taken->commit;
    now.files = files_of(*change);
    now.truncated = change->files_truncated;
    now.full_scan = taken->scan.full;
    now.scan_reason = std::move(scan_reason);
    if (!taken->skipped.empty()) now.left_out = taken->skipped.front();
    if (order.since == order.base) {
      now.touched = now.files;
      return now;
    }
    Result<git::Change> touched =
        list_between(snapshot.worktree, order.since, taken->tree, snapshot.patience);
    if (!touched.has_value()) return fail(std::move(touched.error()));
    now.touched = files_of(*touched);
    return now;
  });
}

Task<Result<WorkspaceChange>> GitWorkspaces::compare(Workspace workspace, std::string from,
                                                     std::string to) {
  const git::WorktreeRef worktree = ref_of(workspace);
  const Duration time = limits_.snapshot_max;
  co_return co_await on_lane([worktree, from, to, time]() -> Result<WorkspaceChange> {
    Result<git::Change> change = list_between(worktree, from, to, detail::patience_for(time));
    if (!change.has_value()) return fail(std::move(change.error()));
    WorkspaceChange between;
    between.tree = change->to_tree;
    between.files = files_of(*change);
    between.truncated = change->files_truncated;
    return between;
  });
}

Task<Result<Patch>> GitWorkspaces::patch(Workspace workspace, PatchOrder order) {
  git::DiffRequest request = patch_request(ref_of(workspace), std::move(order));
  const Duration time = limits_.snapshot_max;
  co_return co_await on_lane([request, time]() mutable -> Result<Patch> {
    request.patience = detail::patience_for(time);
    Result<git::Change> change = git::diff(request);
    if (!change.has_value()) return fail(std::move(change.error()));
    return Patch{git::patch_text(*change), change->patch_truncated || change->files_truncated};
  });
}

Task<Result<Patch>> GitWorkspaces::mail(Workspace workspace, PatchOrder order, CommitWords words) {
  git::DiffRequest request = patch_request(ref_of(workspace), std::move(order));
  const git::CommitText text = text_of(words, now_s());
  const Duration time = limits_.snapshot_max;
  co_return co_await on_lane([request, text, time]() mutable -> Result<Patch> {
    request.patience = detail::patience_for(time);
    Result<git::Change> change = git::diff(request);
    if (!change.has_value()) return fail(std::move(change.error()));
    return Patch{git::as_mail(text, *change), change->patch_truncated || change->files_truncated};
  });
}

Task<Result<AppliedChange>> GitWorkspaces::apply(Workspace workspace, ApplyOrder order) {
  git::ApplyRequest request;
  const bool to_branch = !order.branch.empty();
  request.repository = to_branch || order.checkout.empty() ? workspace.repository : order.checkout;
  request.base = order.base;
  request.change = order.change;
  request.paths = order.paths;
  request.to = to_branch ? git::ApplyTo::branch : git::ApplyTo::working_files;
  request.branch = order.branch;
  if (to_branch) request.commit = text_of(order.commit, now_s());
  request.dry_run = order.dry_run;
  request.journal = apply_journal(workspace.key);
  request.command = tools_.command;
  const Duration time = limits_.create_max;
  co_return co_await on_lane([request, time]() mutable -> Result<AppliedChange> {
    // One that went wrong and could not be undone is finished before another begins.
    Result<git::Applied> earlier = git::finish_apply(request.journal, request.command);
    if (!earlier.has_value()) return fail(std::move(earlier.error()));
    request.patience = detail::patience_for(time);
    Result<git::Applied> applied = git::apply_change(request);
    if (!applied.has_value()) return fail(std::move(applied.error()));
    return applied_of(std::move(*applied));
  });
}

Task<Result<std::string>> GitWorkspaces::move_baseline(Workspace workspace, BaselineOrder order) {
  git::MoveBaseline request;
  request.repository = workspace.repository;
  request.key = workspace.key;
  request.base = order.base;
  request.change = order.change;
  request.paths = order.paths;
  request.name = order.name;
  request.time_s = now_s();
  request.command = tools_.command;
  co_return co_await on_lane([request] { return git::move_baseline(request); });
}

Task<Result<RestoredFiles>> GitWorkspaces::restore(Workspace workspace, RestoreOrder order) {
  git::RestoreRequest request;
  request.worktree = ref_of(workspace);
  request.to = order.to;
  request.paths = order.paths;
  request.dry_run = order.dry_run;
  request.private_index = private_index(workspace.key);
  request.time_s = now_s();
  const git::OverlayRef overlay = overlay_of(workspace);
  const Duration time = limits_.create_max;
  co_return co_await on_lane(
      [workspace, overlay, request, time]() mutable -> Result<RestoredFiles> {
        request.patience = detail::patience_for(time);
        Result<void> ready = make_ready(workspace, overlay, request.patience);
        if (!ready.has_value()) return fail(std::move(ready.error()));
        Result<git::Restored> restored = git::restore_worktree(request);
        if (!restored.has_value()) return fail(std::move(restored.error()));
        RestoredFiles files;
        for (git::RestoredFile& file : restored->files) {
          files.files.push_back({std::move(file.path), file.removed});
        }
        files.salvage_ref = restored->salvage_ref;
        files.salvage_commit = restored->salvage_commit;
        return files;
      });
}

Task<Result<std::vector<std::string>>> GitWorkspaces::finish_interrupted() {
  const std::string folder = state_ + "/apply";
  git::GitCommand* const command = tools_.command;
  co_return co_await on_lane_if({folder},
                                [folder, command] { return git::finish_applies(folder, command); });
}

}  // namespace berth::server
