#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/objects.h>
#include <berth/git/trees.h>

#include <git2.h>

#include <set>

namespace berth::git::detail {
namespace {

TreeFile tree_file(const git_diff_file& file) {
  return file.mode == 0 ? TreeFile() : TreeFile{hex(file.id), file.mode};
}

class TreesByLibrary final : public Trees {
 public:
  explicit TreesByLibrary(git_repository* repository) : repository_(repository) {}

  Result<std::string> tree(const std::string& id) override {
    Result<Handle<git_tree>> found = find_tree(repository_, id);
    if (!found) return fail(std::move(found).error());
    return hex(*git_tree_id(found->get()));
  }

  Result<std::string> edited(const std::string& tree, const NamedFiles& edits) override {
    Result<Handle<git_tree>> from = find_tree(repository_, tree);
    if (!from) return fail(std::move(from).error());
    Handle<git_index> index;
    int rc = git_index_new(out(index));
    if (rc == 0) rc = git_index_read_tree(index.get(), from->get());
    for (const auto& [path, file] : edits) {
      if (rc != 0) break;
      git_index_remove(index.get(), path.c_str(), 0);
      if (file.mode == 0) continue;
      git_index_entry entry{};
      entry.path = path.c_str();
      entry.mode = file.mode;
      rc = git_oid_fromstr(&entry.id, file.id.c_str());
      if (rc == 0) rc = git_index_add(index.get(), &entry);
    }
    git_oid id;
    if (rc == 0) rc = git_index_write_tree_to(&id, index.get(), repository_);
    if (rc != 0) return libgit2_fail(rc, "tree " + tree);
    return hex(id);
  }

  Result<Merged> merge(const std::string& base_id, const std::string& ours_id,
                       const std::string& theirs_id) override {
    Result<Handle<git_tree>> base = find_tree(repository_, base_id);
    Result<Handle<git_tree>> ours = find_tree(repository_, ours_id);
    Result<Handle<git_tree>> theirs = find_tree(repository_, theirs_id);
    if (!base || !ours || !theirs) {
      return fail(ErrorKind::not_found, "object_not_found", "a tree of the merge is gone");
    }
    git_merge_options options = GIT_MERGE_OPTIONS_INIT;
    Handle<git_index> index;
    int rc =
        git_merge_trees(out(index), repository_, base->get(), ours->get(), theirs->get(), &options);
    if (rc != 0) return libgit2_fail(rc, "merge");
    Merged merged;
    if (git_index_has_conflicts(index.get()) != 0) {
      Result<void> named = name_conflicts(index.get(), merged.conflicts);
      if (!named) return fail(std::move(named).error());
      return merged;
    }
    git_oid id;
    rc = git_index_write_tree_to(&id, index.get(), repository_);
    if (rc != 0) return libgit2_fail(rc, "merged tree");
    merged.tree = hex(id);
    return merged;
  }

 private:
  Result<std::vector<TreeStep>> compare(const std::string& from, const std::string& to) override {
    Result<Handle<git_tree>> old_tree = find_tree(repository_, from);
    if (!old_tree) return fail(std::move(old_tree).error());
    Result<Handle<git_tree>> new_tree = find_tree(repository_, to);
    if (!new_tree) return fail(std::move(new_tree).error());
    git_diff_options options = GIT_DIFF_OPTIONS_INIT;
    options.flags = GIT_DIFF_INCLUDE_TYPECHANGE;
    options.ignore_submodules = GIT_SUBMODULE_IGNORE_NONE;
    Handle<git_diff> diff;
    const int rc =
        git_diff_tree_to_tree(out(diff), repository_, old_tree->get(), new_tree->get(), &options);
    if (rc != 0) return libgit2_fail(rc, from + ".." + to);
    std::vector<TreeStep> steps;
    for (std::size_t i = 0; i < git_diff_num_deltas(diff.get()); ++i) {
      const git_diff_delta* delta = git_diff_get_delta(diff.get(), i);
      steps.push_back(
          {delta->new_file.path, tree_file(delta->old_file), tree_file(delta->new_file)});
    }
    return steps;
  }

  static Result<void> name_conflicts(git_index* index, std::vector<ApplyConflict>& named) {
    git_index_conflict_iterator* raw = nullptr;
    int rc = git_index_conflict_iterator_new(&raw, index);
    if (rc != 0) return libgit2_fail(rc, "conflicts");
    const std::unique_ptr<git_index_conflict_iterator, void (*)(git_index_conflict_iterator*)>
        conflicts(raw, git_index_conflict_iterator_free);
    const git_index_entry* base = nullptr;
    const git_index_entry* ours = nullptr;
    const git_index_entry* theirs = nullptr;
    while ((rc = git_index_conflict_next(&base, &ours, &theirs, raw)) == 0) {
      const git_index_entry* entry = ours != nullptr ? ours : theirs != nullptr ? theirs : base;
      named.push_back(
          {entry->path, conflict_reason(base != nullptr, ours != nullptr, theirs != nullptr)});
    }
    if (rc != GIT_ITEROVER) return libgit2_fail(rc, "conflicts");
    return {};
  }

  git_repository* repository_;
};

}  // namespace

std::unique_ptr<Trees> Trees::of(const Refs& refs) {
  if (refs.command() != nullptr) return trees_by_command(*refs.command());
  return std::make_unique<TreesByLibrary>(refs.repository());
}

Result<std::vector<TreeStep>> Trees::steps(const std::string& from, const std::string& to,
                                           const std::vector<std::string>& paths) {
  Result<std::vector<TreeStep>> all = compare(from, to);
  if (!all) return all;
  const std::set<std::string> wanted(paths.begin(), paths.end());
  std::vector<TreeStep> steps;
  for (TreeStep& step : *all) {
    if (same(step.before, step.after)) continue;
    if (!is_safe_relative(step.path)) {
      return fail(ErrorKind::invalid, "bad_tree", "the tree names '" + step.path + "'");
    }
    if (wanted.empty() || wanted.contains(step.path)) steps.push_back(std::move(step));
  }
  return steps;
}

bool same(const TreeFile& left, const TreeFile& right) {
  return left.mode == right.mode && (left.mode == 0 || left.id == right.id);
}

std::vector<TreeStep> reversed(std::vector<TreeStep> steps) {
  for (TreeStep& step : steps) std::swap(step.before, step.after);
  return steps;
}

std::string_view conflict_reason(bool base, bool ours, bool theirs) {
  if (ours && theirs) return base ? "content" : "added_by_both";
  if (base && ours) return "deleted_there";
  if (base && theirs) return "deleted_here";
  return "other";
}

}  // namespace berth::git::detail
