// git/special_files.h — finds pipes and devices where libgit2 expects a file: opening one would
// block for ever, and no deadline ends that. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/patience.h>

#include <string>

namespace berth::git::detail {

/// The files that libgit2 reads when it opens a repository: HEAD, config, index, packed-refs,
/// info/exclude, info/attributes.
///
/// Errors: `conflict` "special_file".
Result<void> check_git_files(const std::string& git_dir, const std::string& common_dir);

/// The ignore and attribute files of all folders of the worktree `path` that a comparison will
/// enter: tracked ones (by `index`) and those not ignored. Not a full defence: one planted while
/// the comparison runs is not seen.
///
/// Errors: `conflict` "special_file"; `timed_out`, `cancelled`.
Result<void> check_rule_files(git_repository* repository, git_index* index, const std::string& path,
                              const Patience& patience);

}  // namespace berth::git::detail
