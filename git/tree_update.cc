#include <berth/git/failure.h>
#include <berth/git/object_writer.h>
#include <berth/git/objects.h>
#include <berth/git/tree_items.h>
#include <berth/git/tree_update.h>

#include <git2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <memory>

namespace berth::git::detail {
namespace {

constexpr ObjectId kNothing{};

struct FreeBuilder {
  void operator()(git_treebuilder* builder) const { git_treebuilder_free(builder); }
};

/// What a tree holds, by name.
struct Item {
  std::uint32_t mode = 0;
  ObjectId id{};
};
using TreeItems = std::map<std::string, Item, std::less<>>;

Result<TreeItems> read_items(git_odb* odb, const ObjectId& id) {
  TreeItems items;
  if (id == kNothing) return items;
  Handle<git_odb_object> object;
  const git_oid oid = to_oid(id);
  const int rc = git_odb_read(out(object), odb, &oid);
  if (rc != 0) return libgit2_fail(rc, hex(id));
  std::string_view rest(static_cast<const char*>(git_odb_object_data(object.get())),
                        git_odb_object_size(object.get()));
  bool whole = git_odb_object_type(object.get()) == GIT_OBJECT_TREE;
  for (TreeItem item; whole && !rest.empty();) {
    whole = take_item(rest, item);
    if (whole) items.emplace(item.name, Item{.mode = item.mode, .id = item.id});
  }
  if (!whole) return fail(ErrorKind::internal, "git_failed", hex(id) + ": is no tree");
  return items;
}

/// Sorted as git wants it: a folder as if its name ended in a slash.
std::string bytes_of(const TreeItems& items) {
  std::map<std::string, TreeItems::const_iterator> sorted;
  for (auto at = items.begin(); at != items.end(); ++at) {
    const bool folder = at->second.mode == GIT_FILEMODE_TREE;
    sorted.emplace(folder ? at->first + "/" : at->first, at);
  }
  std::string bytes;
  for (const auto& [name, at] : sorted) {
    std::array<char, 12> mode;
    const auto [end, error] =
        std::to_chars(mode.data(), mode.data() + mode.size(), at->second.mode, 8);
    bytes.append(mode.data(), end);
    bytes += ' ';
    bytes += at->first;
    bytes += '\0';
    bytes.append(reinterpret_cast<const char*>(at->second.id.data()), at->second.id.size());
  }
  return bytes;
}

class Updater {
 public:
  Updater(git_repository* repository, git_odb* odb, ObjectWriter& objects, const Patience& patience)
      : repository_(repository), odb_(odb), objects_(objects), patience_(patience) {}

  using Edit = TreeEdits::const_iterator;

  /// `from` with the edits of [begin, end), whose paths all begin with the same `skip` bytes.
  /// kNothing when it is left empty.
  Result<ObjectId> update(const ObjectId& from, Edit begin, Edit end, std::size_t skip) {
    if (Result<void> patient = patience_.check("writing trees"); !patient) {
      return fail(std::move(patient).error());
    }
    Result<TreeItems> items = read_items(odb_, from);
    if (!items) return fail(std::move(items).error());
    for (Edit at = begin; at != end;) {
      const std::string_view rest = std::string_view(at->first).substr(skip);
      const std::string name(rest.substr(0, rest.find('/')));
      Edit next = at;
      // "a", "a.b" and "a/b" sort in this order: what lies below a path may not follow it at once.
      Result<void> done;
      if (name.size() == rest.size()) {
        done = put(*items, name, at->second);
        ++next;
      } else {
        while (next != end && is_below(next->first, skip, name)) ++next;
        done = descend(*items, name, at, next, skip + name.size() + 1);
      }
      if (!done) return fail(std::move(done).error());
      at = next;
    }
    if (items->empty()) return kNothing;
    return objects_.put(ObjectKind::tree, bytes_of(*items));
  }

 private:
  static bool is_below(std::string_view path, std::size_t skip, std::string_view name) {
    path.remove_prefix(skip);
    return path.size() > name.size() && path.starts_with(name) && path[name.size()] == '/';
  }

  Result<void> put(TreeItems& items, const std::string& name, const TreeEdit& edit) {
    if (edit.mode == 0) {
      items.erase(name);
      return {};
    }
    const auto known = items.find(name);
    if (known == items.end()) {
      if (Result<void> fine = check_name(name, edit); !fine) return fine;
    }
    items[name] = {.mode = edit.mode, .id = edit.id};
    return {};
  }

  /// libgit2 knows which names must not be in a tree (".git" and what file systems take for it).
  Result<void> check_name(const std::string& name, const TreeEdit& edit) {
    int rc = 0;
    if (!scratch_) {
      git_treebuilder* made = nullptr;
      rc = git_treebuilder_new(&made, repository_, nullptr);
      scratch_.reset(made);
    }
    const git_oid oid = to_oid(edit.id);
    if (rc == 0) {
      rc = git_treebuilder_insert(nullptr, scratch_.get(), name.c_str(), &oid,
                                  static_cast<git_filemode_t>(edit.mode));
    }
    if (rc != 0) return libgit2_fail(rc, name);
    return {};
  }

  Result<void> descend(TreeItems& items, const std::string& name, Edit begin, Edit end,
                       std::size_t skip) {
    const auto known = items.find(name);
    const bool is_folder = known != items.end() && known->second.mode == GIT_FILEMODE_TREE;
    Result<ObjectId> now = update(is_folder ? known->second.id : kNothing, begin, end, skip);
    if (!now) return fail(std::move(now).error());
    // Only removals below something that is no folder: it stays.
    if (*now == kNothing && !is_folder) return {};
    return put(items, name,
               *now == kNothing ? TreeEdit{} : TreeEdit{.mode = GIT_FILEMODE_TREE, .id = *now});
  }

  git_repository* repository_;
  git_odb* odb_;
  ObjectWriter& objects_;
  const Patience& patience_;
  std::unique_ptr<git_treebuilder, FreeBuilder> scratch_;
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

Result<ObjectId> update_tree(git_repository* repository, ObjectWriter& objects,
                             const ObjectId& from, const TreeEdits& edits,
                             const Patience& patience) {
  Handle<git_odb> odb;
  const int rc = git_repository_odb(out(odb), repository);
  if (rc != 0) return libgit2_fail(rc, "objects");
  Updater updater(repository, odb.get(), objects, patience);
  Result<ObjectId> tree = updater.update(from, edits.begin(), edits.end(), 0);
  if (!tree || *tree != kNothing) return tree;
  return objects.put(ObjectKind::tree, "");
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
