// git/checkout.h — fills an empty folder with the files of a tree. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/patience.h>

#include <string>

namespace berth::git::detail {

struct FillFolder {
  std::string git_dir;     ///< Whose objects, settings and attributes count.
  std::string commit;      ///< 40 hex digits; its tree is written.
  std::string path;        ///< The folder: holds nothing but, perhaps, `.git`.
  std::string index_file;  ///< Written last, with the times and sizes of what was written.
  Patience patience;
};

/// Writes every file of the tree into the folder, and an index with which `git status` is clean
/// without reading a file again.
///
/// libgit2's own checkout compares, asks for conflicts and looks every path up again; into an empty
/// folder none of that is needed. Line endings and `ident` are converted as the attributes say;
/// other filters do not exist here. Submodules become empty folders. A large tree is written by
/// several threads that end before the call does. Errors: `conflict`
/// "path_occupied" when a file is in the way; `invalid` "bad_tree" for a tree with names that would
/// leave the folder; `conflict` "hostile_rules" for attributes that would end libgit2.
Result<void> fill_folder(const FillFolder& request);

}  // namespace berth::git::detail
