// git/checkout.h — fills an empty folder with the files of a tree. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/patience.h>

#include <string>

namespace berth::git::detail {

/// Writes every file of `tree` into the folder `path`, which holds nothing but `.git`, and the
/// index of `repository` with the times and sizes of what was written, so that `git status` is
/// clean without reading a file again.
///
/// libgit2's own checkout compares, asks for conflicts and looks every path up again; into an empty
/// folder none of that is needed. Line endings and `ident` are converted as the attributes say;
/// other filters do not exist here. Submodules become empty folders. Errors: `conflict`
/// "path_occupied" when a file is in the way; `invalid` "bad_tree" for a tree with names that would
/// leave the folder.
Result<void> fill_folder(git_repository* repository, const git_tree* tree, const std::string& path,
                         const Patience& patience);

}  // namespace berth::git::detail
