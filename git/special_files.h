// git/special_files.h — finds pipes and devices where libgit2 expects a file: opening one would
// block for ever, and no deadline ends that; and rules that would end the process. Private to this
// folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/patience.h>

#include <string>

struct git_oid;

namespace berth::git::detail {

/// One file of ignore rules or attributes, `name` in the open folder (AT_FDCWD: an absolute name);
/// `shown` is for the message. One that is not there is fine.
///
/// Errors: `conflict` "special_file" | "hostile_rules" (a line of more than 500 stars, or more than
/// 16 MiB).
Result<void> check_rule_file(int folder, const char* name, const std::string& shown);

/// The same for one that only the object database holds; an object that is not there is fine.
/// Error: `conflict` "hostile_rules".
Result<void> check_rule_blob(git_odb* odb, const git_oid& id, const std::string& shown);

/// The files that libgit2 reads when it opens a repository: HEAD, config, index, packed-refs,
/// info/exclude, info/attributes.
///
/// Errors: `conflict` "special_file" | "hostile_rules".
Result<void> check_git_files(const std::string& git_dir, const std::string& common_dir);

/// The ignore and attribute files of all folders of the worktree `path` that a comparison will
/// enter: tracked ones (by `index`) and those not ignored. Not a full defence: one planted while
/// the comparison runs is not seen.
///
/// Errors: `conflict` "special_file" | "hostile_rules"; `timed_out`, `cancelled`.
Result<void> check_rule_files(git_repository* repository, git_index* index, const std::string& path,
                              const Patience& patience);

}  // namespace berth::git::detail
