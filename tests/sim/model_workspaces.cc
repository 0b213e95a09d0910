#include "model_workspaces.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace berth::sim_test {

using server::ChangedFile;
using server::Workspace;
using server::WorkspaceChange;
using server::WorkspaceReport;
using server::WorkspaceSpec;

namespace {

constexpr std::size_t kFileMax = std::size_t{1} << 30;

/// 40 hex digits that differ where `text` differs.
std::string id_of(const std::string& text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string id;
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  while (id.size() < 40) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    for (int shift = 60; shift >= 0 && id.size() < 40; shift -= 4) id += kHex[(hash >> shift) & 15];
  }
  return id;
}

std::int64_t lines_of(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
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

Result<Workspace> ModelWorkspaces::make(const WorkspaceSpec& spec) {
  Result<Tree> base = read_folder(spec.repository);
  if (!base.has_value()) return fail(std::move(base.error()));
  Result<std::string> id = save_tree(spec.repository, *base);
  if (!id.has_value()) return fail(std::move(id.error()));
  Workspace workspace{spec.key, spec.repository, state_ + "/worktrees/" + spec.key,
                      "berth/" + spec.key, *id};
  io::Files& files = platform_.files();
  Result<void> done = files.make_directories(workspace.directory, 0700);
  for (const auto& [path, content] : *base) {
    if (!done.has_value()) break;
    const std::string full = workspace.directory + "/" + path;
    done = files.make_directories(full.substr(0, full.rfind('/')), 0700);
    if (done.has_value()) done = files.write_atomic(full, content, 0600);
  }
  if (!done.has_value()) return fail(std::move(done.error()));
  return workspace;
}

Result<WorkspaceChange> ModelWorkspaces::snapshot(const Workspace& workspace,
                                                  const std::string& base) {
  Result<Tree> now = read_folder(workspace.directory);
  if (!now.has_value()) return fail(std::move(now.error()));
  Result<Tree> before = load_tree(workspace.repository, base);
  if (!before.has_value()) return fail(std::move(before.error()));
  Result<std::string> id = save_tree(workspace.repository, *now);
  if (!id.has_value()) return fail(std::move(id.error()));
  WorkspaceChange change{*id, *id, {}};
  for (const auto& [path, content] : *now) {
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
    if (now->contains(path)) continue;
    ChangedFile file;
    file.path = path;
    file.status = "deleted";
    file.deletions = lines_of(content);
    change.files.push_back(std::move(file));
  }
  return change;
}

Task<Result<Workspace>> ModelWorkspaces::create(WorkspaceSpec spec) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, spec] { return self->make(spec); });
}

Task<Result<WorkspaceChange>> ModelWorkspaces::record_turn(Workspace workspace, std::int64_t turn,
                                                           std::string base) {
  static_cast<void>(turn);
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, workspace, base] { return self->snapshot(workspace, base); });
}

Task<Result<server::Workspaces::Patch>> ModelWorkspaces::patch(Workspace workspace,
                                                               std::string from, std::string to,
                                                               std::string path) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, workspace, from, to, path]() -> Result<Patch> {
    Result<Tree> before = self->load_tree(workspace.repository, from);
    if (!before.has_value()) return fail(std::move(before.error()));
    Result<Tree> after = self->load_tree(workspace.repository, to);
    if (!after.has_value()) return fail(std::move(after.error()));
    Patch patch;
    for (const auto& [name, content] : *after) {
      const bool wanted = path.empty() || name == path;
      if (wanted && (*before)[name] != content) patch.text += "+++ " + name + "\n" + content;
    }
    return patch;
  });
}

Task<Result<WorkspaceReport>> ModelWorkspaces::report(Workspace workspace) {
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, workspace]() -> Result<WorkspaceReport> {
    WorkspaceReport report;
    Result<WorkspaceChange> change = self->snapshot(workspace, workspace.base_commit);
    report.exists = change.has_value();
    report.unknown = !change.has_value();
    report.dirty = change.has_value() && !change->files.empty();
    if (report.unknown) report.reason = change.error().message;
    return report;
  });
}

Task<Result<void>> ModelWorkspaces::remove(Workspace workspace, bool force) {
  Result<WorkspaceReport> now = co_await report(workspace);
  if (!now.has_value()) co_return fail(std::move(now.error()));
  if (!force && (now->dirty || now->unknown)) {
    co_return fail(ErrorKind::conflict, "worktree_has_work", "the worktree has work");
  }
  ModelWorkspaces* self = this;
  co_return co_await on_lane([self, workspace]() -> Result<void> {
    for (const std::string& path : self->platform_.machine().disk().list(workspace.directory)) {
      Result<void> gone = self->platform_.files().remove_if_exists(path);
      if (!gone.has_value()) return gone;
    }
    return self->platform_.files().remove_if_exists(workspace.directory);
  });
}

}  // namespace berth::sim_test
