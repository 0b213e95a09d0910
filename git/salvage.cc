#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/names.h>
#include <berth/git/objects.h>
#include <berth/git/opened.h>
#include <berth/git/removal.h>
#include <berth/git/working_tree.h>

#include <git2.h>

#include <limits>

namespace berth::git {

using detail::Handle;
using detail::OpenedWorktree;
using detail::out;
using detail::WorkingTree;

namespace {

std::string tree_of(git_repository* repository, const std::string& commit) {
  Result<Handle<git_tree>> tree = detail::find_tree(repository, commit);
  return tree ? detail::hex(*git_tree_id(tree->get())) : std::string();
}

/// The tree of what the user staged; empty when there is none that could be read (conflicts,
/// unknown formats).
std::string staged_tree(const OpenedWorktree& worktree) {
  Handle<git_index> index;
  const std::string file = worktree.registration + "/index";
  git_oid tree;
  if (detail::kind_of(file) != detail::PathKind::file ||
      git_index_open(out(index), file.c_str()) != 0 ||
      git_index_write_tree_to(&tree, index.get(), worktree.repository.get()) != 0) {
    return {};
  }
  return detail::hex(tree);
}

git_oid to_oid(const std::string& id) {
  git_oid oid;
  git_oid_fromstr(&oid, id.c_str());
  return oid;
}

}  // namespace

Result<Salvage> salvage_worktree(const SalvageRequest& request) {
  const std::string& key = request.worktree.key;
  if (!request.name.empty() && !is_ref_name(request.name)) {
    return fail(ErrorKind::invalid, "bad_ref_name", "salvage name '" + request.name + "'");
  }
  Result<OpenedWorktree> worktree = detail::open_worktree(request.worktree);
  if (!worktree) return fail(std::move(worktree).error());
  git_repository* repository = worktree->repository.get();

  Result<WorkingTree> files =
      WorkingTree::read({.worktree = *worktree,
                         .key = key,
                         .private_index = request.private_index,
                         .file_bytes_max = std::numeric_limits<std::uint64_t>::max(),
                         .patience = request.patience});
  if (!files) return fail(std::move(files).error());
  if (files->skipped_count() > 0) {
    return fail(ErrorKind::conflict, "salvage_incomplete",
                request.worktree.path + ": cannot keep " + files->skipped().front());
  }
  if (Result<void> there = verify_worktree(request.worktree); !there) {
    return fail(std::move(there).error());
  }

  std::vector<std::string> parents;
  Result<std::string> head = detail::ref_target(repository, "HEAD");
  if (head && !head->empty()) parents.push_back(*head);
  Result<std::string> tip = detail::ref_target(repository, branch_ref_of(key));
  if (tip && !tip->empty() && (parents.empty() || parents[0] != *tip)) parents.push_back(*tip);
  const std::string staged = staged_tree(*worktree);
  if (!staged.empty() && staged != files->tree() &&
      (parents.empty() || staged != tree_of(repository, parents[0]))) {
    Result<std::string> commit = detail::write_commit(repository, to_oid(staged), parents,
                                                      "berth salvage: staged", request.time_s);
    if (!commit) return fail(std::move(commit).error());
    parents.push_back(*std::move(commit));
  }
  Result<std::string> commit = detail::write_commit(repository, to_oid(files->tree()), parents,
                                                    "berth salvage", request.time_s);
  if (!commit) return fail(std::move(commit).error());

  request.patience.note("salvage ref");
  std::string name = request.name;
  if (name.empty()) {
    Result<std::int64_t> last = detail::highest_number(repository, "refs/berth/x/" + key + "/");
    if (!last) return fail(std::move(last).error());
    name = std::to_string(*last < 0 ? 1 : *last + 1);
  }
  Salvage salvage{
      .commit = *std::move(commit), .ref = salvage_ref_of(key, name), .tree = files->tree()};
  if (Result<void> set = detail::set_ref(repository, salvage.ref, salvage.commit); !set) {
    return fail(std::move(set).error());
  }
  return salvage;
}

}  // namespace berth::git
