// git/tree_update.h — a tree made out of another by rewriting only the folders that are touched.
// Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/index_entries.h>
#include <berth/git/patience.h>

#include <deque>
#include <map>
#include <string>
#include <vector>

struct git_oid;

namespace berth::git::detail {

class ObjectWriter;

/// What shall be at a path: nothing (mode 0), or an object.
struct TreeEdit {
  std::uint32_t mode = 0;
  ObjectId id{};
};
/// By path, sorted as bytes. An edit below a path that is a file makes it a folder; an edit at a
/// path that is a folder replaces all of it. Nothing at a path takes a folder there as well.
using TreeEdits = std::map<std::string, TreeEdit, std::less<>>;

/// Writes the trees that differ; folders left empty vanish. `from` may be the empty tree, all
/// zeros. `objects` is open. Errors: `internal` "git_failed" or `not_found` "object_not_found" when
/// a tree on the way is missing; those of Patience.
Result<ObjectId> update_tree(git_repository* repository, ObjectWriter& objects,
                             const ObjectId& from, const TreeEdits& edits,
                             const Patience& patience);

/// The entries of a tree below `folder` ("" or "a/b/"), sorted by path, without stat data; their
/// paths live in `paths`. Nothing when there is no such folder.
Result<std::vector<IndexEntry>> list_tree(git_repository* repository, const ObjectId& tree,
                                          const std::string& folder,
                                          std::deque<std::string>& paths);

/// What a tree has at a path; mode 0 when nothing. Folders are 0040000.
Result<TreeEdit> find_in_tree(git_repository* repository, const ObjectId& tree,
                              const std::string& path);

ObjectId to_id(const git_oid& oid);
git_oid to_oid(const ObjectId& id);
Result<ObjectId> to_id(const std::string& hex_digits);
std::string hex(const ObjectId& id);

}  // namespace berth::git::detail
