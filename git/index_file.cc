#include <berth/git/failure.h>
#include <berth/git/hardened.h>
#include <berth/git/index_file.h>
#include <berth/git/objects.h>
#include <berth/git/refs.h>

#include <git2.h>

#include <cerrno>
#include <cstdio>

namespace berth::git::detail {
namespace {

/// A copy of the index with what it is split over, which git looks for in its own folder.
Result<BorrowedObjects> borrow_with_index(const WorktreeRef& worktree, const Location& location) {
  HardenedGit git(*worktree.command, location, {});
  Result<BorrowedObjects> objects = BorrowedObjects::make(git, location.work_dir, {});
  if (!objects) return objects;
  if (Result<void> copied = objects->take_index(location.git_dir); !copied) {
    return fail(std::move(copied).error());
  }
  return objects;
}

Result<std::string> tree_by_command(const WorktreeRef& worktree) {
  Result<Location> location = verify_links(worktree);
  if (!location) return fail(std::move(location).error());
  Result<BorrowedObjects> objects = borrow_with_index(worktree, *location);
  if (!objects) return fail(std::move(objects).error());
  Result<std::string> tree = objects->run({"write-tree"});
  if (!tree && tree.error().kind == ErrorKind::internal) {
    return fail(ErrorKind::conflict, "index_unreadable", tree.error().message);
  }
  return tree ? Result<std::string>(without_newline(*tree)) : tree;
}

Result<void> reset_by_command(const WorktreeRef& worktree, const std::string& tree) {
  Result<Location> location = verify_links(worktree);
  if (!location) return fail(std::move(location).error());
  HardenedGit git(*worktree.command, *location, {});
  Result<BorrowedObjects> objects =
      BorrowedObjects::make(git, location->work_dir, location->git_dir + "/index");
  if (!objects) return fail(std::move(objects).error());
  Result<std::string> done = objects->run({"read-tree", tree});
  if (!done) return fail(std::move(done).error());
  return {};
}

}  // namespace

Result<std::string> index_tree(const WorktreeRef& worktree) {
  if (worktree.backend == Backend::git_command && worktree.command != nullptr) {
    return tree_by_command(worktree);
  }
  Result<OpenedWorktree> opened = open_worktree(worktree);
  if (!opened && goes_to_command(worktree, opened.error())) return tree_by_command(worktree);
  if (!opened) return fail(std::move(opened).error());
  Handle<git_index> index;
  git_oid tree;
  int rc = git_index_open(out(index), (opened->registration + "/index").c_str());
  if (rc == 0) rc = git_index_write_tree_to(&tree, index.get(), opened->repository.get());
  if (rc == 0) return hex(tree);
  const Error error = libgit2_error(rc, opened->path + ": index");
  if (goes_to_command(worktree, error)) return tree_by_command(worktree);
  return fail(ErrorKind::conflict, "index_unreadable", error.message);
}

Result<void> reset_index(const WorktreeRef& worktree, const std::string& tree) {
  if (worktree.backend == Backend::git_command && worktree.command != nullptr) {
    return reset_by_command(worktree, tree);
  }
  Result<OpenedWorktree> opened = open_worktree(worktree);
  if (!opened && goes_to_command(worktree, opened.error())) return reset_by_command(worktree, tree);
  if (!opened) return fail(std::move(opened).error());
  Result<Handle<git_tree>> found = find_tree(opened->repository.get(), tree);
  if (!found) return fail(std::move(found).error());
  Handle<git_index> index;
  // Not the repository's own handle: that would read the old file, which may be of a kind that it
  // cannot read.
  const std::string file = opened->registration + "/index";
  const std::string fresh = file + ".berth-new";
  int rc = git_index_open(out(index), fresh.c_str());
  if (rc == 0) rc = git_index_read_tree(index.get(), found->get());
  if (rc == 0) rc = git_index_write(index.get());
  if (rc != 0) return libgit2_fail(rc, file);
  if (::rename(fresh.c_str(), file.c_str()) != 0) return fail(errno_error(errno, "rename " + file));
  return {};
}

}  // namespace berth::git::detail
