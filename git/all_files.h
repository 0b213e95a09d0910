// git/all_files.h — all working files of a worktree as a tree, whoever reads them. Private to this
// folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/by_command.h>
#include <berth/git/patience.h>
#include <berth/git/worktree.h>

#include <string>

namespace berth::git::detail {

/// Of any size; by the git command also where only the user's index cannot be read by libgit2.
Result<CommandTree> all_files(const WorktreeRef& worktree, const std::string& private_index,
                              const Patience& patience);

}  // namespace berth::git::detail
