#include <berth/git/by_command.h>
#include <berth/git/names.h>
#include <berth/git/objects.h>
#include <berth/git/opened.h>
#include <berth/git/snapshot.h>
#include <berth/git/working_tree.h>

#include <git2.h>

namespace berth::git {

using detail::OpenedWorktree;
using detail::WorkingTree;

namespace {

/// The commit to put the snapshot on; empty when there is nothing to stand on.
Result<std::string> parent_of(git_repository* repository, const SnapshotRequest& request) {
  if (!request.parent.empty()) return request.parent;
  const std::string prefix = "refs/berth/s/" + request.worktree.key + "/";
  Result<std::int64_t> last = detail::highest_number(repository, prefix);
  if (!last) return fail(std::move(last).error());
  if (*last >= 0 && std::to_string(*last) != request.name) {
    return detail::ref_target(repository, prefix + std::to_string(*last));
  }
  return detail::ref_target(repository, base_ref_of(request.worktree.key));
}

}  // namespace

Result<Snapshot> take_snapshot(const SnapshotRequest& request) {
  if (!is_ref_name(request.name)) {
    return fail(ErrorKind::invalid, "bad_ref_name", "snapshot name '" + request.name + "'");
  }
  if (detail::uses_command(request.worktree)) return detail::command_snapshot(request);
  Result<OpenedWorktree> worktree = detail::open_worktree(request.worktree);
  if (!worktree) return fail(std::move(worktree).error());
  git_repository* repository = worktree->repository.get();

  Result<std::string> parent = parent_of(repository, request);
  if (!parent) return fail(std::move(parent).error());
  Result<WorkingTree> tree = WorkingTree::read({.worktree = *worktree,
                                                .key = request.worktree.key,
                                                .private_index = request.private_index,
                                                .file_bytes_max = request.file_bytes_max,
                                                .hints = request.hints,
                                                .patience = request.patience});
  if (!tree && detail::goes_to_command(request.worktree, tree.error())) {
    return detail::command_snapshot(request);  // the user's index is of a kind that only git reads
  }
  if (!tree) return fail(std::move(tree).error());
  // The folder may have been taken away while it was read, which would look like a deletion of
  // everything.
  if (Result<void> there = verify_worktree(request.worktree); !there) {
    return fail(std::move(there).error());
  }

  Snapshot snapshot;
  snapshot.tree = tree->tree();
  snapshot.ref = snapshot_ref_of(request.worktree.key, request.name);
  snapshot.parent = *parent;
  snapshot.skipped = tree->skipped();
  snapshot.skipped_count = tree->skipped_count();
  snapshot.scan = tree->report();
  git_oid id;
  git_oid_fromstr(&id, snapshot.tree.c_str());
  std::vector<std::string> parents;
  if (!parent->empty()) parents.push_back(*parent);
  request.patience.note(Step::snapshot_commit);
  Result<std::string> commit = detail::write_commit(
      repository, id, parents,
      request.message.empty() ? "berth snapshot " + request.name : request.message,
      detail::Author{.time_s = request.time_s});
  if (!commit) return fail(std::move(commit).error());
  snapshot.commit = *std::move(commit);
  request.patience.note(Step::snapshot_ref);
  if (Result<void> set = detail::set_ref(repository, snapshot.ref, snapshot.commit); !set) {
    return fail(std::move(set).error());
  }
  request.patience.note(Step::snapshot_private_index);
  // Not saving the index costs time the next time, never truth.
  if (Result<void> kept = tree->keep(); !kept) snapshot.index_kept = false;
  return snapshot;
}

}  // namespace berth::git
