#include <berth/git/opened.h>
#include <berth/git/removal.h>
#include <berth/git/restore.h>
#include <berth/git/rewrite.h>
#include <berth/git/working_tree.h>

#include <limits>

namespace berth::git {

using detail::RewriteStep;

Result<Restored> restore_worktree(const RestoreRequest& request) {
  Result<detail::OpenedWorktree> worktree = detail::open_worktree(request.worktree);
  if (!worktree) return fail(std::move(worktree).error());
  git_repository* repository = worktree->repository.get();
  Result<detail::WorkingTree> now =
      detail::WorkingTree::read({.worktree = *worktree,
                                 .key = request.worktree.key,
                                 .private_index = request.private_index,
                                 .file_bytes_max = std::numeric_limits<std::uint64_t>::max(),
                                 .patience = request.patience});
  if (!now) return fail(std::move(now).error());
  Result<std::vector<RewriteStep>> steps =
      detail::rewrite_steps(repository, now->tree(), request.to, request.paths);
  if (!steps) return fail(std::move(steps).error());
  Restored restored;
  for (const RewriteStep& step : *steps) {
    restored.files.push_back({step.path, step.after.mode == 0});
  }
  if (request.dry_run || steps->empty()) return restored;

  Result<Salvage> kept = salvage_worktree({.worktree = request.worktree,
                                           .name = {},
                                           .private_index = request.private_index,
                                           .time_s = request.time_s,
                                           .patience = request.patience});
  if (!kept) return fail(std::move(kept).error());
  restored.salvage_ref = kept->ref;
  restored.salvage_commit = kept->commit;

  detail::Rewriter files(repository, worktree->path);
  Result<std::vector<std::string>> left = files.perform(*steps, request.patience);
  if (!left) return fail(std::move(left).error());
  if (!left->empty()) {
    return fail(ErrorKind::conflict, "files_changing",
                request.worktree.path + "/" + left->front() + ": somebody wrote it meanwhile");
  }
  return restored;
}

}  // namespace berth::git
