// git/by_command.h — the calls of this folder performed by the git command, for repositories that
// libgit2 cannot read. Private to this folder.
//
// Each behaves as its public namesake says. Not done this way: apply, restore_worktree, expire_refs
// and overlays, which stay `unsupported`; Hints and the scan report, because git looks for itself;
// `file_bytes_max` of a diff, beyond which files count as binary.
#pragma once

#include <berth/core/result.h>
#include <berth/git/diff.h>
#include <berth/git/guard.h>
#include <berth/git/hardened.h>
#include <berth/git/refs.h>
#include <berth/git/repository.h>
#include <berth/git/snapshot.h>
#include <berth/git/worktree.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace berth::git::detail {

/// Is the repository of `worktree` one for the git command? Asks the recorded choice first.
bool uses_command(const WorktreeRef& worktree);

Result<CreatedWorktree> command_create(const CreateWorktree& request);
Result<Snapshot> command_snapshot(const SnapshotRequest& request);
Result<Change> command_diff(const DiffRequest& request);
Result<WorkLoss> command_state(const StateRequest& request);

/// What both guards write into a report: a reason, one that makes it unknown, and what the counted
/// files come to.
void add_reason(WorkLoss& loss, const std::string& why);
void unknown(WorkLoss& loss, const std::string& why);
void name_files(WorkLoss& loss);

/// The working files as a tree; see WorkingTree.
struct CommandTree {
  std::string tree;
  std::vector<std::string> skipped;
  std::uint64_t skipped_count = 0;
};
Result<CommandTree> command_tree(const WorktreeRef& worktree, const std::string& private_index,
                                 std::uint64_t file_bytes_max, const Patience& patience);

/// One entry of the user's index.
struct ListedEntry {
  char tag = 'H';  ///< As `git ls-files -v`: S is skip-worktree, lower case assume-unchanged.
  std::string mode;
  std::string id;
  std::string path;
};
/// Through a copy: an index that is split or sparse is read whole.
Result<std::vector<ListedEntry>> user_index(const HardenedGit& git, const Location& worktree);

/// Those of `ids` (full ones, of blobs) that are pointers of git-lfs: two runs of git, however many
/// there are (more beyond 10,000 of a pointer's size). One whose object is missing, as in a partial
/// clone, is none.
Result<std::set<std::string>> lfs_pointers(const BorrowedObjects& objects,
                                           const std::vector<std::string>& ids);

}  // namespace berth::git::detail
