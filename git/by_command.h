// git/by_command.h — the calls of this folder performed by the git command, for repositories that
// libgit2 cannot read. Private to this folder.
//
// Each behaves as its public namesake says. Not done this way: overlays, which stay `unsupported`;
// Hints and the scan report, because git looks for itself; `file_bytes_max` of a diff, beyond which
// files count as binary. Apply and restore are not here but in their own files, on `trees.h` and
// `checked_out.h`, which the command performs as well.
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

/// One entry of an index.
struct ListedEntry {
  char tag = 'H';  ///< As `git ls-files -v`: S is skip-worktree, lower case assume-unchanged.
  std::string mode;
  std::string id;
  char stage = '0';  ///< Others are of a merge with conflicts.
  std::string path;
};
/// The index that `objects` uses.
Result<std::vector<ListedEntry>> listed_index(const BorrowedObjects& objects);
/// The user's, through a copy: one that is split or sparse is read whole.
Result<std::vector<ListedEntry>> user_index(const HardenedGit& git, const Location& worktree);

/// An entry for `update-index -z --index-info`; mode "0" takes the path out.
void add_index_line(std::string& lines, const std::string& mode, const std::string& id,
                    const std::string& path);

std::uint32_t mode_of(const std::string& octal);
std::string octal_of(std::uint32_t mode);

/// A line of `git diff-tree -r -z --raw`.
struct RawChange {
  std::uint32_t old_mode = 0;
  std::uint32_t mode = 0;
  std::string old_id;
  std::string id;
  char letter = 'M';
  std::string old_path;  ///< Of a rename.
  std::string path;
};
Result<std::vector<RawChange>> parse_raw(std::string_view printed);

/// The tree of a commit or of itself. Error `not_found` "object_not_found".
Result<std::string> tree_of(const BorrowedObjects& objects, const std::string& id);

/// Those of `ids` (full ones, of blobs) that are pointers of git-lfs: two runs of git, however many
/// there are (more beyond 10,000 of a pointer's size). One whose object is missing, as in a partial
/// clone, is none.
Result<std::set<std::string>> lfs_pointers(const BorrowedObjects& objects,
                                           const std::vector<std::string>& ids);

}  // namespace berth::git::detail
