#include <berth/git/all_files.h>
#include <berth/git/index_entries.h>
#include <berth/git/opened.h>
#include <berth/git/refs.h>
#include <berth/git/working_tree.h>

#include <limits>

namespace berth::git::detail {
namespace {

constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();

Result<CommandTree> tree_by_library(const WorktreeRef& ref, const std::string& private_index,
                                    const Patience& patience) {
  Result<OpenedWorktree> worktree = open_worktree(ref);
  if (!worktree) return fail(std::move(worktree).error());
  // Files that only an index tracks that we cannot read, against the ignore rules, would be lost.
  Result<IndexFile> users = IndexFile::open(worktree->registration + "/index");
  if (!users && users.error().kind != ErrorKind::not_found) {
    return fail(std::move(users).error());
  }
  Result<WorkingTree> files = WorkingTree::read({.worktree = *worktree,
                                                 .key = ref.key,
                                                 .private_index = private_index,
                                                 .file_bytes_max = kNoLimit,
                                                 .patience = patience});
  if (!files) return fail(std::move(files).error());
  return CommandTree{files->tree(), files->skipped(), files->skipped_count()};
}

}  // namespace

Result<CommandTree> all_files(const WorktreeRef& worktree, const std::string& private_index,
                              const Patience& patience) {
  if (!uses_command(worktree)) {
    Result<CommandTree> files = tree_by_library(worktree, private_index, patience);
    if (files || !goes_to_command(worktree, files.error())) return files;
  }
  return command_tree(worktree, private_index, kNoLimit, patience);
}

}  // namespace berth::git::detail
