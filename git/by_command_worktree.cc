#include <berth/git/by_command.h>
#include <berth/git/files.h>
#include <berth/git/links.h>
#include <berth/git/names.h>

namespace berth::git::detail {
namespace {

struct Creation {
  const CreateWorktree& request;
  const Refs& refs;
  std::string path;
  std::string registration;
  std::string base;
  std::string head;
};

Result<CreatedWorktree> reuse(const Creation& creation) {
  const WorktreeRef& worktree = creation.request.worktree;
  Result<std::string> back = read_line_file(creation.registration + "/gitdir");
  if (back && canonical_parent(*back) != creation.path + "/.git") {
    return fail(ErrorKind::conflict, "worktree_elsewhere",
                worktree.key + ": its worktree is at " + parent_of(*back));
  }
  Result<Location> location = verify_links(worktree);
  if (!location) return fail(std::move(location).error());
  Result<std::string> base = creation.refs.target(base_ref_of(worktree.key));
  if (!base) return fail(std::move(base).error());
  if (!creation.request.base.empty() && *base != creation.base) {
    return fail(ErrorKind::conflict, "base_differs",
                worktree.key + ": exists with base " + *base + ", not " + creation.base);
  }
  const HardenedGit git(*worktree.command, *location, creation.request.patience);
  Result<std::string> head = git.run({"rev-parse", "--quiet", "--verify", "HEAD^{commit}"});
  return CreatedWorktree{.path = creation.path,
                         .branch = branch_of(worktree.key),
                         .base_commit = *std::move(base),
                         .head_commit = head ? without_newline(*head) : std::string(),
                         .existed = true};
}

Result<void> make_refs(Creation& creation) {
  const std::string& key = creation.request.worktree.key;
  Result<std::string> tip = creation.refs.target(branch_ref_of(key));
  if (!tip) return fail(std::move(tip).error());
  Result<std::string> old_base = creation.refs.target(base_ref_of(key));
  if (!old_base) return fail(std::move(old_base).error());
  creation.head = creation.base;
  const bool has_own = !tip->empty() && *tip != creation.base && *tip != *old_base;
  if (has_own && !creation.request.keep_branch) {
    return fail(ErrorKind::conflict, "branch_has_commits",
                branch_of(key) + ": exists at " + *tip + ", which is not the base");
  }
  if (has_own) creation.head = *tip;
  Result<void> made = creation.refs.set(base_ref_of(key), creation.base);
  if (made && !has_own) made = creation.refs.set(branch_ref_of(key), creation.base);
  return made;
}

Result<void> fill(const Creation& creation) {
  const HardenedGit git(*creation.request.worktree.command, creation.refs.location(),
                        creation.request.patience);
  Result<BorrowedObjects> objects =
      BorrowedObjects::make(git, creation.path, creation.registration + "/index");
  if (!objects) return fail(std::move(objects).error());
  const Patience& patience = creation.request.patience;
  patience.note(Step::command_create_index);
  Result<std::string> done = objects->run({"read-tree", creation.head});
  patience.note(Step::command_create_files);
  if (done) done = objects->run({"checkout-index", "--all", "--index", "--quiet"});
  if (!done) return fail(std::move(done).error());
  patience.note(Step::command_create_private_index);
  if (creation.request.private_index.empty()) return {};
  return copy_file(creation.registration + "/index", creation.request.private_index);
}

Result<void> make(Creation& creation) {
  const std::string& registration = creation.registration;
  if (Result<void> cleared = clear_leftovers(creation.path, registration); !cleared) return cleared;
  if (kind_of(creation.path) != PathKind::missing && !is_empty_folder(creation.path)) {
    return fail(ErrorKind::conflict, "path_occupied", creation.path + ": something is there");
  }
  const Patience& patience = creation.request.patience;
  patience.note(Step::command_create_old_registration);
  Result<void> done = clear_registration(registration);
  patience.note(Step::command_create_refs);
  if (done) done = make_refs(creation);
  patience.note(Step::command_create_registration);
  if (done) done = claim_registration(registration);
  if (!done) return done;
  patience.note(Step::command_create_links);
  done = make_registration(creation.path, registration, creation.request.worktree.key);
  if (done) done = make_linked_folder(creation.path, registration);
  if (done) done = fill(creation);
  patience.note(Step::command_create_unlock);
  if (done) return remove_file_if_exists(registration + "/locked");
  if (clear_leftovers(creation.path, registration)) {
    static_cast<void>(clear_registration(registration));
  }
  return done;
}

}  // namespace

bool uses_command(const WorktreeRef& worktree) {
  if (worktree.command == nullptr || worktree.backend == Backend::libgit2) return false;
  if (worktree.backend == Backend::git_command) return true;
  Result<Location> location = locate(worktree.repository);
  if (!location) return false;
  Result<void> supported = check_supported(*location);
  return !supported && supported.error().kind == ErrorKind::unsupported;
}

Result<CreatedWorktree> command_create(const CreateWorktree& request) {
  const std::string& key = request.worktree.key;
  if (Result<void> ok = check_key(key); !ok) return fail(std::move(ok).error());
  Result<Refs> refs = Refs::open(request.worktree, request.patience);
  if (!refs) return fail(std::move(refs).error());
  Result<std::string> base = refs->commit(request.base);
  if (!base) return fail(std::move(base).error());
  Result<std::string> path = usable_path(request.worktree.path);
  if (!path) return fail(std::move(path).error());
  Creation creation{request,          *refs,
                    *std::move(path), registration_of(refs->location().common_dir, key),
                    *std::move(base), {}};
  if (kind_of(creation.registration) == PathKind::directory &&
      !is_half_made(creation.registration) &&
      kind_of(creation.registration + "/HEAD") == PathKind::file) {
    return reuse(creation);
  }
  if (Result<void> made = make(creation); !made) return fail(std::move(made).error());
  return CreatedWorktree{.path = creation.path,
                         .branch = branch_of(key),
                         .base_commit = creation.base,
                         .head_commit = creation.head,
                         .existed = false};
}

}  // namespace berth::git::detail
