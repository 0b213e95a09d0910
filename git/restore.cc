#include <berth/git/all_files.h>
#include <berth/git/refs.h>
#include <berth/git/removal.h>
#include <berth/git/restore.h>
#include <berth/git/rewrite.h>
#include <berth/git/trees.h>

namespace berth::git {

using detail::CommandTree;
using detail::Refs;
using detail::TreeStep;

Result<Restored> restore_worktree(const RestoreRequest& request) {
  if (Result<void> there = verify_worktree(request.worktree); !there) {
    return fail(std::move(there).error());
  }
  Result<Refs> refs = Refs::open(request.worktree, request.patience);
  if (!refs) return fail(std::move(refs).error());
  Result<CommandTree> now =
      detail::all_files(request.worktree, request.private_index, request.patience);
  if (!now) return fail(std::move(now).error());
  Result<std::vector<TreeStep>> steps =
      detail::Trees::of(*refs)->steps(now->tree, request.to, request.paths);
  if (!steps) return fail(std::move(steps).error());
  Restored restored;
  for (const TreeStep& step : *steps) {
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
  Result<void> done =
      detail::rewrite_worktree(request.worktree, refs->backend(), *steps, request.patience);
  if (!done) return fail(std::move(done).error());
  return restored;
}

}  // namespace berth::git
