// git/index_file.h — the index of a worktree written anew from a tree. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/worktree.h>

#include <string>

namespace berth::git::detail {

/// Makes the index of a worktree equal to a tree or commit, without a look at the files: git reads
/// those again at its next status. Errors: those of verify_worktree; `not_found`
/// "object_not_found".
Result<void> reset_index(const WorktreeRef& worktree, const std::string& tree);

/// The tree of what is staged. Error `conflict` "index_unreadable" for one with conflicts.
Result<std::string> index_tree(const WorktreeRef& worktree);

}  // namespace berth::git::detail
