#include <berth/git/all_files.h>
#include <berth/git/by_command.h>
#include <berth/git/files.h>
#include <berth/git/index_file.h>
#include <berth/git/names.h>
#include <berth/git/opened.h>
#include <berth/git/refs.h>
#include <berth/git/removal.h>

namespace berth::git {

using detail::CommandTree;
using detail::Refs;

namespace {

std::string tree_of(const Refs& refs, const std::string& commit) {
  const std::string raw = refs.raw_commit(commit).value_or("");
  return raw.starts_with("tree ") ? raw.substr(5, commit.size()) : std::string();
}

/// HEAD of the worktree, as its file says it; empty when it has no commit yet.
Result<std::string> head_of(const Refs& refs, const WorktreeRef& worktree) {
  const std::string registration =
      detail::registration_of(refs.location().common_dir, worktree.key);
  Result<std::string> line = detail::read_line_file(registration + "/HEAD");
  if (!line) return line;
  return line->starts_with("ref: ") ? refs.target(line->substr(5)) : line;
}

}  // namespace

Result<Salvage> salvage_worktree(const SalvageRequest& request) {
  const std::string& key = request.worktree.key;
  if (!request.name.empty() && !is_ref_name(request.name)) {
    return fail(ErrorKind::invalid, "bad_ref_name", "salvage name '" + request.name + "'");
  }
  Result<CommandTree> files =
      detail::all_files(request.worktree, request.private_index, request.patience);
  if (!files) return fail(std::move(files).error());
  if (files->skipped_count > 0) {
    return fail(ErrorKind::conflict, "salvage_incomplete",
                request.worktree.path + ": cannot keep " + files->skipped.front());
  }
  if (Result<void> there = verify_worktree(request.worktree); !there) {
    return fail(std::move(there).error());
  }
  Result<Refs> refs = Refs::open(request.worktree, request.patience);
  if (!refs) return fail(std::move(refs).error());

  std::vector<std::string> parents;
  Result<std::string> head = head_of(*refs, request.worktree);
  if (head && is_object_id(*head)) parents.push_back(*head);
  Result<std::string> tip = refs->target(branch_ref_of(key));
  if (tip && !tip->empty() && (parents.empty() || parents[0] != *tip)) parents.push_back(*tip);
  // Empty when there is none that could be read, such as one with conflicts.
  const std::string staged = detail::index_tree(request.worktree).value_or("");
  if (!staged.empty() && staged != files->tree &&
      (parents.empty() || staged != tree_of(*refs, parents[0]))) {
    Result<std::string> commit =
        refs->write_commit(staged, parents, "berth salvage: staged", request.time_s);
    if (!commit) return fail(std::move(commit).error());
    parents.push_back(*std::move(commit));
  }
  Result<std::string> commit =
      refs->write_commit(files->tree, parents, "berth salvage", request.time_s);
  if (!commit) return fail(std::move(commit).error());

  request.patience.note(Step::salvage_ref);
  Result<std::string> name =
      request.name.empty() ? refs->next_number("refs/berth/x/" + key + "/") : request.name;
  if (!name) return fail(std::move(name).error());
  Salvage salvage{
      .commit = *std::move(commit), .ref = salvage_ref_of(key, *name), .tree = files->tree};
  if (Result<void> set = refs->set(salvage.ref, salvage.commit); !set) {
    return fail(std::move(set).error());
  }
  return salvage;
}

}  // namespace berth::git
