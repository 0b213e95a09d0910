// git/conversions.h — whether anything can ask for the conversion of a file between the working
// files and the object database. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/index_entries.h>

#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace berth::git::detail {

/// A file of attributes, by its path in a tree.
bool is_attributes_file(std::string_view path);

/// False when, beside the attribute files of the tree, neither a setting nor attributes of the
/// repository, the user or the system can: then no path needs to be looked up.
bool settings_may_convert(git_repository* repository);

/// What conversions and marks of binary files ask of the user's index, which is large and seldom
/// needed.
struct UsersIndex {
  std::set<std::string> attributes;  ///< Its files of attributes.
  std::function<const std::vector<IndexEntry>&()> entries;
};

/// Those of its files of attributes that `root` has no file in place of. Where there is one, git
/// does not ask the index, but libgit2 does.
std::set<std::string> attributes_of_index(const UsersIndex& users, const std::string& root);

/// libgit2 reads and checks all of the user's index to ask it for little. From now on it has only
/// `paths` of it, in memory. Error: `conflict` "hostile_rules".
Result<void> use_part_of_index(git_repository* repository, const UsersIndex& users,
                               const std::set<std::string>& paths);

}  // namespace berth::git::detail
