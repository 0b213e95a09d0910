#include "model_workspaces.h"

#include <berth/core/hex.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace berth::sim_test {

using server::AppliedChange;
using server::ApplyOrder;
using server::BaselineOrder;
using server::ChangedFile;
using server::Patch;
using server::PatchOrder;
using server::RemoveOrder;
using server::RestoredFiles;
using server::RestoreOrder;
using server::SnapshotOrder;
using server::Workspace;
using server::WorkspaceChange;
using server::WorkspaceGaps;
using server::WorkspaceRemoval;
using server::WorkspaceReport;
using server::WorkspaceSpec;

namespace {

constexpr std::size_t kFileMax = std::size_t{1} << 30;

/// 40 hex digits that differ where `text` differs.
std::string id_of(const std::string& text) {
  std::string id;
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  while (id.size() < 40) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    append_hex(id, hash, std::min(16, 40 - static_cast<int>(id.size())));
  }
  return id;
}

std::int64_t lines_of(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

bool is_meant(const std::vector<std::string>& paths, const std::string& path) {
  return paths.empty() || std::find(paths.begin(), paths.end(), path) != paths.end();
}

std::string tree_path(const std::string& repository, const std::string& id) {
  return repository + "/.trees/" + id;
}

}  // namespace

Result<ModelWorkspaces::Tree> ModelWorkspaces::read_folder(const std::string& folder) {
  if (!platform_.files().exists(folder)) {
    return fail(ErrorKind::not_found, "workspace_lost", folder + " is not there");
  }
  Tree tree;
  for (const std::string& path : platform_.machine().disk().list(folder)) {
    const std::string name = path.substr(folder.size() + 1);
    if (name.starts_with(".trees/")) continue;
    Result<std::string> content = platform_.files().read(path, kFileMax);
    if (!content.has_value()) return fail(std::move(content.error()));
    tree.emplace(name, std::move(*content));
  }
  return tree;
}

Result<std::string> ModelWorkspaces::save_tree(const std::string& repository, const Tree& tree) {
  std::string text;
  for (const auto& [path, content] : tree) {
    text += path + "\n" + std::to_string(content.size()) + "\n" + content;
  }
  std::string id = id_of(text);
  Result<void> done = platform_.files().make_directories(repository + "/.trees", 0700);
  if (done.has_value())
    done = platform_.files().write_atomic(tree_path(repository, id), text, 0600);
  if (!done.has_value()) return fail(std::move(done.error()));
  return id;
}

Result<ModelWorkspaces::Tree> ModelWorkspaces::load_tree(const std::string& repository,
                                                         const std::string& id) {
  Result<std::string> text = platform_.files().read(tree_path(repository, id), kFileMax);
  if (!text.has_value()) return fail(std::move(text.error()));
  Tree tree;
  for (std::string_view rest = *text; !rest.empty();) {
    const std::size_t name_end = rest.find('\n');
    const std::size_t size_end = rest.find('\n', name_end + 1);
    std::size_t size = 0;
    std::from_chars(rest.data() + name_end + 1, rest.data() + size_end, size);
    tree.emplace(rest.substr(0, name_end), rest.substr(size_end + 1, size));
    rest.remove_prefix(size_end + 1 + size);
  }
  return tree;
}

/// Makes `folder`, which holds `from`, hold `to`.
Result<void> ModelWorkspaces::write_tree(const std::string& folder, const Tree& from,
                                         const Tree& to) {
  io::Files& files = platform_.files();
  Result<void> done = files.make_directories(folder, 0700);
  for (const auto& [path, content] : to) {
    const auto old = from.find(path);
    if (!done.has_value() || (old != from.end() && old->second == content)) continue;
    const std::string full = folder + "/" + path;
    done = files.make_directories(full.substr(0, full.rfind('/')), 0700);
    if (done.has_value()) done = files.write_atomic(full, content, 0600);
  }
  for (const auto& [path, content] : from) {
    if (done.has_value() && !to.contains(path)) {
      done = files.remove_if_exists(folder + "/" + path);
    }
  }
  return done;
}

Result<Workspace> ModelWorkspaces::make(const WorkspaceSpec& spec) {
  Result<Tree> base = read_folder(spec.repository);
  if (!base.has_value()) return fail(std::move(base.error()));
  Result<std::string> id = save_tree(spec.repository, *base);
  if (!id.has_value()) return fail(std::move(id.error()));
  Workspace workspace;
  workspace.key = spec.key;
  workspace.repository = spec.repository;
  workspace.directory = state_ + "/worktrees/" + spec.key;
  workspace.branch = "berth/" + spec.key;
  workspace.base_commit = *id;
  workspace.mode = "worktree";
  Result<void> done = write_tree(workspace.directory, {}, *base);
  if (!done.has_value()) return fail(std::move(done.error()));
  return workspace;
}

Result<WorkspaceChange> ModelWorkspaces::between(const std::string& repository,
                                                 const std::string& from, const std::string& to) {
  Result<Tree> before = load_tree(repository, from);
  if (!before.has_value()) return fail(std::move(before.error()));
  Result<Tree> after = load_tree(repository, to);
  if (!after.has_value()) return fail(std::move(after.error()));
  WorkspaceChange change;
  change.tree = change.snapshot = to;
  for (const auto& [path, content] : *after) {
    const auto old = before->find(path);
    if (old != before->end() && old->second == content) continue;
    ChangedFile file;
    file.path = path;
    file.status = old == before->end() ? "added" : "modified";
    file.additions = lines_of(content);
    if (old != before->end()) file.deletions = lines_of(old->second);
    change.files.push_back(std::move(file));
  }
  for (const auto& [path, content] : *before) {
    if (after->contains(path)) continue;
    ChangedFile file;
    file.path = path;
    file.status = "deleted";
    file.deletions = lines_of(content);
    change.files.push_back(std::move(file));
  }
  return change;
}

Result<WorkspaceChange> ModelWorkspaces::snapshot(const Workspace& workspace,
                                                  const std::string& base,
                                                  const std::string& since) {
  Result<Tree> now = read_folder(workspace.directory);
  if (!now.has_value()) return fail(std::move(now.error()));
  Result<std::string> id = save_tree(workspace.repository, *now);
  if (!id.has_value()) return fail(std::move(id.error()));
  Result<WorkspaceChange> change = between(workspace.repository, base, *id);
  if (!change.has_value()) return change;
  Result<WorkspaceChange> touched = between(workspace.repository, since, *id);
  if (!touched.has_value()) return touched;
  change->touched = std::move(touched->files);
  return change;
}

Result<Patch> ModelWorkspaces::patch_of(const Workspace& workspace, const PatchOrder& order) {
  Result<Tree> before = load_tree(workspace.repository, order.from);
  if (!before.has_value()) return fail(std::move(before.error()));
  Result<Tree> after = load_tree(workspace.repository, order.to);
  if (!after.has_value()) return fail(std::move(after.error()));
  Patch patch;
  for (const auto& [name, content] : *after) {
    if (is_meant(order.paths, name) && (*before)[name] != content) {
      patch.text += "+++ " + name + "\n" + content;
    }
  }
  return patch;
}

Result<AppliedChange> ModelWorkspaces::apply_files(const Workspace& workspace,
                                                   const ApplyOrder& order) {
  Result<Tree> base = load_tree(workspace.repository, order.base);
  if (!base.has_value()) return fail(std::move(base.error()));
  Result<Tree> change = load_tree(workspace.repository, order.change);
  if (!change.has_value()) return fail(std::move(change.error()));
  Result<Tree> target = read_folder(workspace.repository);
  if (!target.has_value()) return fail(std::move(target.error()));
  Tree merged = *target;
  AppliedChange applied;
  Result<WorkspaceChange> list = between(workspace.repository, order.base, order.change);
  if (!list.has_value()) return fail(std::move(list.error()));
  for (const ChangedFile& file : list->files) {
    if (!is_meant(order.paths, file.path)) continue;
    const auto content = [&file](const Tree& tree) {
      const auto found = tree.find(file.path);
      return found == tree.end() ? std::string("\0", 1) : found->second;
    };
    if (content(*target) == content(*change)) continue;
    if (content(*target) != content(*base)) {
      applied.conflicts.push_back({file.path, "content"});
      continue;
    }
    applied.files.push_back(file.path);
    merged.erase(file.path);
    if (change->contains(file.path)) merged[file.path] = (*change)[file.path];
  }
  applied.unchanged = applied.files.empty() && applied.conflicts.empty();
  if (!applied.conflicts.empty() || applied.unchanged || order.dry_run) return applied;
  Result<void> written = write_tree(workspace.repository, *target, merged);
  if (!written.has_value()) return fail(std::move(written.error()));
  applied.applied = true;
  return applied;
}

Result<RestoredFiles> ModelWorkspaces::restore_files(const Workspace& workspace,
                                                     const RestoreOrder& order) {
  Result<Tree> now = read_folder(workspace.directory);
  if (!now.has_value()) return fail(std::move(now.error()));
  Result<Tree> wanted = load_tree(workspace.repository, order.to);
  if (!wanted.has_value()) return fail(std::move(wanted.error()));
  Tree restored = *now;
  RestoredFiles files;
  for (const auto& [path, content] : *wanted) {
    if (!is_meant(order.paths, path) || (now->contains(path) && (*now)[path] == content)) continue;
    restored[path] = content;
    files.files.push_back({path, false});
  }
  for (const auto& [path, content] : *now) {
    if (!is_meant(order.paths, path) || wanted->contains(path)) continue;
    restored.erase(path);
    files.files.push_back({path, true});
  }
  if (order.dry_run || files.files.empty()) return files;
  Result<void> written = write_tree(workspace.directory, *now, restored);
  if (!written.has_value()) return fail(std::move(written.error()));
  return files;
}

// --- the interface: each on the lane ---

Task<Result<Workspace>> ModelWorkspaces::create(WorkspaceSpec spec) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, spec] { return self->make(spec); });
}

Task<Result<void>> ModelWorkspaces::revive(Workspace workspace, std::string snapshot) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, workspace, snapshot]() -> Result<void> {
    if (self->platform_.files().exists(workspace.directory)) return {};
    Result<Tree> files =
        self->load_tree(workspace.repository, snapshot.empty() ? workspace.base_commit : snapshot);
    if (!files.has_value()) return fail(std::move(files.error()));
    return self->write_tree(workspace.directory, {}, *files);
  });
}

Task<Result<void>> ModelWorkspaces::ensure_ready(Workspace workspace) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, workspace]() -> Result<void> {
    if (self->platform_.files().exists(workspace.directory)) return {};
    return fail(ErrorKind::not_found, "workspace_lost", workspace.directory + " is not there");
  });
}

Task<server::GitFolders> ModelWorkspaces::git_folders(Workspace) {
  co_return server::GitFolders{};
}

Task<Result<WorkspaceChange>> ModelWorkspaces::record(Workspace workspace, SnapshotOrder order) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane(
      [self, workspace, order] { return self->snapshot(workspace, order.base, order.since); });
}

Task<Result<WorkspaceChange>> ModelWorkspaces::compare(Workspace workspace, std::string from,
                                                       std::string to) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane(
      [self, workspace, from, to] { return self->between(workspace.repository, from, to); });
}

Task<Result<Patch>> ModelWorkspaces::patch(Workspace workspace, PatchOrder order) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, workspace, order] { return self->patch_of(workspace, order); });
}

Task<Result<Patch>> ModelWorkspaces::mail(Workspace workspace, PatchOrder order,
                                          server::CommitWords words) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, workspace, order, words]() -> Result<Patch> {
    Result<Patch> patch = self->patch_of(workspace, order);
    if (patch.has_value()) patch->text = "Subject: " + words.message + "\n\n" + patch->text;
    return patch;
  });
}

Task<Result<AppliedChange>> ModelWorkspaces::apply(Workspace workspace, ApplyOrder order) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane(
      [self, workspace, order] { return self->apply_files(workspace, order); });
}

Task<Result<std::string>> ModelWorkspaces::move_baseline(Workspace workspace, BaselineOrder order) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, workspace, order]() -> Result<std::string> {
    Result<Tree> base = self->load_tree(workspace.repository, order.base);
    if (!base.has_value()) return fail(std::move(base.error()));
    Result<Tree> change = self->load_tree(workspace.repository, order.change);
    if (!change.has_value()) return fail(std::move(change.error()));
    std::erase_if(*base, [&](const auto& file) { return is_meant(order.paths, file.first); });
    for (const auto& [path, content] : *change) {
      if (is_meant(order.paths, path)) (*base)[path] = content;
    }
    return self->save_tree(workspace.repository, *base);
  });
}

Task<Result<RestoredFiles>> ModelWorkspaces::restore(Workspace workspace, RestoreOrder order) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane(
      [self, workspace, order] { return self->restore_files(workspace, order); });
}

Task<WorkspaceGaps> ModelWorkspaces::gaps(Workspace) {
  co_return WorkspaceGaps{};
}

Task<Result<WorkspaceReport>> ModelWorkspaces::report(Workspace workspace) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, workspace]() -> Result<WorkspaceReport> {
    WorkspaceReport report;
    Result<WorkspaceChange> change =
        self->snapshot(workspace, workspace.base_commit, workspace.base_commit);
    report.exists = change.has_value();
    report.unknown = !change.has_value();
    report.dirty = change.has_value() && !change->files.empty();
    if (report.unknown) report.reason = change.error().message;
    return report;
  });
}

Task<Result<WorkspaceRemoval>> ModelWorkspaces::salvage(Workspace workspace) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, workspace]() -> Result<WorkspaceRemoval> {
    Result<WorkspaceChange> now =
        self->snapshot(workspace, workspace.base_commit, workspace.base_commit);
    if (!now.has_value()) return fail(std::move(now.error()));
    WorkspaceRemoval kept;
    kept.salvage_commit = kept.salvage_ref = now->tree;
    return kept;
  });
}

Task<Result<WorkspaceRemoval>> ModelWorkspaces::remove(Workspace workspace, RemoveOrder order) {
  Result<WorkspaceReport> now = co_await report(workspace);
  if (!now.has_value()) co_return fail(std::move(now.error()));
  ModelWorkspaces* self = this;
  const bool gone = !platform_.files().exists(workspace.directory);
  if (gone) co_return WorkspaceRemoval();
  if (!order.force && !now->loses_nothing()) {
    co_return fail(ErrorKind::conflict, "worktree_has_work", "the worktree has work");
  }
  co_return co_await on_lane([self, workspace]() -> Result<WorkspaceRemoval> {
    for (const std::string& path : self->platform_.machine().disk().list(workspace.directory)) {
      Result<void> removed = self->platform_.files().remove_if_exists(path);
      if (!removed.has_value()) return fail(std::move(removed.error()));
    }
    Result<void> removed = self->platform_.files().remove_if_exists(workspace.directory);
    if (!removed.has_value()) return fail(std::move(removed.error()));
    return WorkspaceRemoval();
  });
}

Task<Result<std::vector<std::string>>> ModelWorkspaces::finish_interrupted() {
  co_return std::vector<std::string>();  // files are written one by one, and again by a second call
}

Task<Result<std::vector<server::ReapedItem>>> ModelWorkspaces::reap(server::ReapOrder order) {
  static_cast<void>(order);
  co_return std::vector<server::ReapedItem>();
}

}  // namespace berth::sim_test
