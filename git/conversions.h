// git/conversions.h — whether anything can ask for the conversion of a file between the working
// files and the object database. Private to this folder.
#pragma once

#include <berth/git/handles.h>

#include <string_view>

namespace berth::git::detail {

/// A file of attributes, by its path in a tree.
bool is_attributes_file(std::string_view path);

/// False when, beside the attribute files of the tree, neither a setting nor attributes of the
/// repository, the user or the system can: then no path needs to be looked up.
bool settings_may_convert(git_repository* repository);

}  // namespace berth::git::detail
