#include <berth/git/failure.h>
#include <berth/git/objects.h>
#include <berth/git/tree_update.h>

#include <git2.h>

#include <algorithm>
#include <cstring>
#include <memory>

namespace berth::git::detail {
namespace {

constexpr ObjectId kNothing{};

struct FreeBuilder {
  void operator()(git_treebuilder* builder) const { git_treebuilder_free(builder); }
};

class Updater {
 public:
  Updater(git_repository* repository, const Patience& patience)
      : repository_(repository), patience_(patience) {}

  using Edit = TreeEdits::const_iterator;

  /// `from` with the edits of [begin, end), whose paths all begin with the same `skip` bytes.
  /// kNothing when it is left empty.
  Result<ObjectId> update(const ObjectId& from, Edit begin, Edit end, std::size_t skip) {
    if (Result<void> patient = patience_.check("writing trees"); !patient) {
      return fail(std::move(patient).error());
    }
    Handle<git_tree> old;
    if (from != kNothing) {
      const git_oid oid = to_oid(from);
      const int rc = git_tree_lookup(out(old), repository_, &oid);
      if (rc != 0) return libgit2_fail(rc, hex(from));
    }
    git_treebuilder* made = nullptr;
    int rc = git_treebuilder_new(&made, repository_, old.get());
    const std::unique_ptr<git_treebuilder, FreeBuilder> builder(made);
    if (rc != 0) return libgit2_fail(rc, hex(from));
    for (Edit at = begin; at != end;) {
      const std::string_view rest = std::string_view(at->first).substr(skip);
      const std::string name(rest.substr(0, rest.find('/')));
      Edit next = at;
      // "a", "a.b" and "a/b" sort in this order: what lies below a path may not follow it at once.
      Result<void> done;
      if (name.size() == rest.size()) {
        done = put(builder.get(), name, at->second);
        ++next;
      } else {
        while (next != end && is_below(next->first, skip, name)) ++next;
        done = descend(builder.get(), name, at, next, skip + name.size() + 1);
      }
      if (!done) return fail(std::move(done).error());
      at = next;
    }
    if (git_treebuilder_entrycount(builder.get()) == 0) return kNothing;
    git_oid written;
    rc = git_treebuilder_write(&written, builder.get());
    if (rc != 0) return libgit2_fail(rc, "writing a tree");
    return to_id(written);
  }

 private:
  static bool is_below(std::string_view path, std::size_t skip, std::string_view name) {
    path.remove_prefix(skip);
    return path.size() > name.size() && path.starts_with(name) && path[name.size()] == '/';
  }

  static Result<void> put(git_treebuilder* builder, const std::string& name, const TreeEdit& edit) {
    if (edit.mode == 0) {
      if (git_treebuilder_get(builder, name.c_str()) != nullptr) {
        git_treebuilder_remove(builder, name.c_str());
      }
      return {};
    }
    const git_oid oid = to_oid(edit.id);
    const int rc = git_treebuilder_insert(nullptr, builder, name.c_str(), &oid,
                                          static_cast<git_filemode_t>(edit.mode));
    if (rc != 0) return libgit2_fail(rc, name);
    return {};
  }

  Result<void> descend(git_treebuilder* builder, const std::string& name, Edit begin, Edit end,
                       std::size_t skip) {
    const git_tree_entry* entry = git_treebuilder_get(builder, name.c_str());
    const bool is_folder = entry != nullptr && git_tree_entry_filemode(entry) == GIT_FILEMODE_TREE;
    const ObjectId old = is_folder ? to_id(*git_tree_entry_id(entry)) : kNothing;
    Result<ObjectId> now = update(old, begin, end, skip);
    if (!now) return fail(std::move(now).error());
    // Only removals below something that is no folder: it stays.
    if (*now == kNothing && !is_folder) return {};
    return put(builder, name,
               *now == kNothing ? TreeEdit{} : TreeEdit{.mode = GIT_FILEMODE_TREE, .id = *now});
  }

  git_repository* repository_;
  const Patience& patience_;
};

Result<void> list(git_repository* repository, const git_oid& tree_id, const std::string& folder,
                  std::deque<std::string>& paths, std::vector<IndexEntry>& entries) {
  Handle<git_tree> tree;
  const int rc = git_tree_lookup(out(tree), repository, &tree_id);
  if (rc != 0) return libgit2_fail(rc, folder);
  for (std::size_t i = 0; i < git_tree_entrycount(tree.get()); ++i) {
    const git_tree_entry* entry = git_tree_entry_byindex(tree.get(), i);
    const std::string path = folder + git_tree_entry_name(entry);
    if (git_tree_entry_filemode(entry) == GIT_FILEMODE_TREE) {
      Result<void> below = list(repository, *git_tree_entry_id(entry), path + "/", paths, entries);
      if (!below) return below;
      continue;
    }
    IndexEntry made;
    made.path = paths.emplace_back(path);
    made.mode = static_cast<std::uint32_t>(git_tree_entry_filemode(entry));
    made.id = to_id(*git_tree_entry_id(entry));
    entries.push_back(made);
  }
  return {};
}

}  // namespace

Result<ObjectId> update_tree(git_repository* repository, const ObjectId& from,
                             const TreeEdits& edits, const Patience& patience) {
  Updater updater(repository, patience);
  Result<ObjectId> tree = updater.update(from, edits.begin(), edits.end(), 0);
  if (!tree || *tree != kNothing) return tree;
  git_treebuilder* made = nullptr;
  int rc = git_treebuilder_new(&made, repository, nullptr);
  const std::unique_ptr<git_treebuilder, FreeBuilder> empty(made);
  git_oid written;
  if (rc == 0) rc = git_treebuilder_write(&written, empty.get());
  if (rc != 0) return libgit2_fail(rc, "writing the empty tree");
  return to_id(written);
}

Result<std::vector<IndexEntry>> list_tree(git_repository* repository, const ObjectId& tree,
                                          const std::string& folder,
                                          std::deque<std::string>& paths) {
  std::vector<IndexEntry> entries;
  TreeEdit at{.mode = GIT_FILEMODE_TREE, .id = tree};
  if (!folder.empty()) {
    Result<TreeEdit> found = find_in_tree(repository, tree, folder.substr(0, folder.size() - 1));
    if (!found) return fail(std::move(found).error());
    at = *found;
  }
  if (at.mode != GIT_FILEMODE_TREE || at.id == kNothing) return entries;
  Result<void> listed = list(repository, to_oid(at.id), folder, paths, entries);
  if (!listed) return fail(std::move(listed).error());
  std::sort(entries.begin(), entries.end(),
            [](const IndexEntry& a, const IndexEntry& b) { return a.path < b.path; });
  return entries;
}

Result<TreeEdit> find_in_tree(git_repository* repository, const ObjectId& tree,
                              const std::string& path) {
  if (tree == kNothing) return TreeEdit{};
  Handle<git_tree> root;
  const git_oid oid = to_oid(tree);
  int rc = git_tree_lookup(out(root), repository, &oid);
  if (rc != 0) return libgit2_fail(rc, hex(tree));
  git_tree_entry* entry = nullptr;
  rc = git_tree_entry_bypath(&entry, root.get(), path.c_str());
  if (rc == GIT_ENOTFOUND) return TreeEdit{};
  if (rc != 0) return libgit2_fail(rc, path);
  const TreeEdit found{.mode = static_cast<std::uint32_t>(git_tree_entry_filemode(entry)),
                       .id = to_id(*git_tree_entry_id(entry))};
  git_tree_entry_free(entry);
  return found;
}

ObjectId to_id(const git_oid& oid) {
  ObjectId id;
  std::memcpy(id.data(), oid.id, id.size());
  return id;
}

git_oid to_oid(const ObjectId& id) {
  git_oid oid;
  std::memcpy(oid.id, id.data(), id.size());
  return oid;
}

Result<ObjectId> to_id(const std::string& hex_digits) {
  git_oid oid;
  const int rc = git_oid_fromstr(&oid, hex_digits.c_str());
  if (rc != 0) return libgit2_fail(rc, hex_digits);
  return to_id(oid);
}

std::string hex(const ObjectId& id) {
  return hex(to_oid(id));
}

}  // namespace berth::git::detail
