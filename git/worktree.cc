#include <berth/git/by_command.h>
#include <berth/git/checkout.h>
#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/links.h>
#include <berth/git/names.h>
#include <berth/git/objects.h>
#include <berth/git/opened.h>
#include <berth/git/refs.h>
#include <berth/git/worktree.h>
#include <berth/git/worktree_making.h>

#include <git2.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace berth::git {

using detail::Creation;
using detail::FolderMaker;
using detail::Handle;
using detail::Location;
using detail::Opened;
using detail::OpenedWorktree;
using detail::PathKind;

namespace {

/// A registration of our key exists and was made to its end: hand it back, or say why it is not the
/// one asked for.
Result<CreatedWorktree> reuse(const Creation& creation) {
  const CreateWorktree& request = creation.request;
  Result<std::string> back = detail::read_line_file(creation.registration + "/gitdir");
  if (back && *back != creation.path + "/.git" &&
      detail::canonical_parent(*back) != creation.path + "/.git") {
    return fail(ErrorKind::conflict, "worktree_elsewhere",
                request.worktree.key + ": its worktree is at " + detail::parent_of(*back));
  }
  Result<OpenedWorktree> worktree = detail::open_worktree(request.worktree);
  if (!worktree) return fail(std::move(worktree).error());
  git_repository* repository = worktree->repository.get();
  Result<std::string> base = detail::ref_target(repository, base_ref_of(request.worktree.key));
  if (!base) return fail(std::move(base).error());
  if (!request.base.empty() && *base != creation.base) {
    return fail(ErrorKind::conflict, "base_differs",
                request.worktree.key + ": exists with base " + *base + ", not " + creation.base);
  }
  CreatedWorktree created;
  created.path = creation.path;
  created.branch = branch_of(request.worktree.key);
  created.base_commit = *std::move(base);
  created.existed = true;
  if (Result<Handle<git_commit>> head = detail::find_commit(repository, "HEAD"); head) {
    created.head_commit = detail::hex(*git_commit_id(head->get()));
  }
  return created;
}

/// Chooses what is checked out and points base ref and branch at it.
Result<void> make_refs(Creation& creation) {
  const std::string& key = creation.request.worktree.key;
  git_repository* repository = creation.opened.repository.get();
  Result<std::string> tip = detail::ref_target(repository, branch_ref_of(key));
  if (!tip) return fail(std::move(tip).error());
  Result<std::string> old_base = detail::ref_target(repository, base_ref_of(key));
  if (!old_base) return fail(std::move(old_base).error());
  creation.head = creation.base;
  // A branch that stands on its recorded base has nothing of its own: an attempt with an older HEAD
  // left it.
  const bool has_own = !tip->empty() && *tip != creation.base && *tip != *old_base;
  if (has_own) {
    if (!creation.request.keep_branch) {
      return fail(ErrorKind::conflict, "branch_has_commits",
                  branch_of(key) + ": exists at " + *tip + ", which is not the base");
    }
    creation.head = *tip;
  }
  Result<void> made = detail::set_ref(repository, base_ref_of(key), creation.base);
  if (made && !has_own) made = detail::set_ref(repository, branch_ref_of(key), creation.base);
  return made;
}

/// From here on it is whole.
Result<void> unlock(const Creation& creation, const std::string& lock) {
  const std::string file = creation.registration + "/locked";
  if (lock.empty()) return detail::remove_file_if_exists(file);
  return detail::write_file(file, lock + "\n");
}

Result<void> make(Creation& creation, FolderMaker& maker) {
  Result<void> done = maker.clear(creation, detail::is_half_made(creation.registration));
  if (!done) return done;
  const PathKind kind = detail::kind_of(creation.path);
  if (kind != PathKind::missing && !detail::is_empty_folder(creation.path)) {
    return fail(ErrorKind::conflict, "path_occupied", creation.path + ": something is there");
  }
  const Patience& patience = creation.request.patience;
  patience.note(Step::create_old_registration);
  done = detail::clear_registration(creation.registration);
  patience.note(Step::create_refs);
  if (done) done = make_refs(creation);
  patience.note(Step::create_registration);
  if (done) done = detail::claim_registration(creation.registration);
  if (!done) return done;
  patience.note(Step::create_links);
  done = detail::make_registration(creation.path, creation.registration,
                                   creation.request.worktree.key);
  if (done) done = maker.make_folder(creation);
  if (done) done = maker.fill(creation);
  patience.note(Step::create_unlock);
  if (done) return unlock(creation, maker.lock());
  // Best effort: what stays is marked as half made, and the next attempt removes it.
  if (maker.clear(creation, true)) {
    static_cast<void>(detail::clear_registration(creation.registration));
  }
  return done;
}

/// The folder of an ordinary worktree.
class PlainFolder : public FolderMaker {
 public:
  Result<void> before_reuse(const Creation&) override { return {}; }

  Result<void> clear(const Creation& creation, bool half_made) override {
    if (!half_made) return {};
    return detail::clear_leftovers(creation.path, creation.registration);
  }

  Result<void> make_folder(const Creation& creation) override {
    return detail::make_linked_folder(creation.path, creation.registration);
  }

  Result<void> fill(const Creation& creation) override {
    const std::string index_file = creation.registration + "/index";
    Result<void> filled = detail::fill_folder({.git_dir = creation.registration,
                                               .commit = creation.head,
                                               .path = creation.path,
                                               .index_file = index_file,
                                               .patience = creation.request.patience});
    creation.request.patience.note(Step::create_private_index);
    if (filled && !creation.request.private_index.empty()) {
      filled = detail::copy_file(index_file, creation.request.private_index);
    }
    return filled;
  }

  std::string lock() const override { return {}; }
};

}  // namespace

Result<CreatedWorktree> create_worktree(const CreateWorktree& request) {
  PlainFolder folder;
  return detail::make_worktree(request, folder);
}

namespace detail {

Result<CreatedWorktree> make_worktree(const CreateWorktree& request, FolderMaker& maker) {
  const std::string& key = request.worktree.key;
  if (Result<void> ok = check_key(key); !ok) return fail(std::move(ok).error());
  if (detail::uses_command(request.worktree)) return detail::command_create(request);
  Result<Opened> opened = detail::open_objects(request.worktree.repository);
  if (!opened) return fail(std::move(opened).error());
  Result<Handle<git_commit>> base = detail::find_commit(opened->repository.get(), request.base);
  if (!base) return fail(std::move(base).error());
  Result<std::string> path = detail::usable_path(request.worktree.path);
  if (!path) return fail(std::move(path).error());

  Creation creation{request,
                    *opened,
                    *std::move(path),
                    detail::registration_of(opened->location.common_dir, key),
                    detail::hex(*git_commit_id(base->get())),
                    {}};
  if (detail::kind_of(creation.registration) == PathKind::directory &&
      !detail::is_half_made(creation.registration) &&
      detail::kind_of(creation.registration + "/HEAD") == PathKind::file) {
    if (Result<void> there = maker.before_reuse(creation); !there) {
      return fail(std::move(there).error());
    }
    return reuse(creation);
  }
  if (Result<void> made = make(creation, maker); !made) return fail(std::move(made).error());
  return CreatedWorktree{.path = creation.path,
                         .branch = branch_of(key),
                         .base_commit = creation.base,
                         .head_commit = creation.head,
                         .existed = false};
}

}  // namespace detail

Result<void> verify_worktree(const WorktreeRef& worktree) {
  Result<Location> location = detail::verify_links(worktree);
  if (!location) return fail(std::move(location).error());
  return {};
}

namespace {

WorktreeCondition condition_of(const WorktreeRef& worktree) {
  Result<Location> location = detail::verify_links(worktree);
  if (location) return WorktreeCondition::whole;
  switch (location.error().kind) {
    case ErrorKind::unavailable:
      return WorktreeCondition::half_made;
    case ErrorKind::not_found:
      return WorktreeCondition::folder_gone;
    default:
      return WorktreeCondition::unregistered;
  }
}

std::vector<std::string> folders_in(const std::string& root) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(root, error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  return names;
}

}  // namespace

Result<std::vector<ListedWorktree>> list_worktrees(const std::string& repository,
                                                   const std::vector<std::string>& roots,
                                                   GitCommand* command) {
  Result<detail::Refs> refs =
      detail::Refs::open({.repository = repository, .command = command}, {});
  if (!refs) return fail(std::move(refs).error());
  const std::string& common = refs->location().common_dir;
  std::vector<ListedWorktree> found;
  for (const std::string& key : folders_in(common + "/worktrees")) {
    if (!is_key(key)) continue;
    Result<std::string> base = refs->target(base_ref_of(key));
    if (!base || base->empty()) continue;
    const std::string registration = detail::registration_of(common, key);
    Result<std::string> back = detail::read_line_file(registration + "/gitdir");
    ListedWorktree listed{.key = key, .path = back ? detail::parent_of(*back) : ""};
    if (detail::is_half_made(registration) || listed.path.empty()) {
      listed.condition = WorktreeCondition::half_made;
    } else {
      listed.condition = condition_of({common, listed.path, key});
      // Something else stands where the folder was: for the registration it is gone.
      if (listed.condition == WorktreeCondition::unregistered) {
        listed.condition = WorktreeCondition::folder_gone;
      }
    }
    found.push_back(std::move(listed));
  }
  const std::string prefix = "gitdir: " + common + "/worktrees/";
  for (const std::string& root : roots) {
    for (const std::string& name : folders_in(root)) {
      const std::string path = root + "/" + name;
      Result<std::string> line = detail::read_line_file(path + "/.git");
      if (!line || !line->starts_with(prefix) || !is_key(line->substr(prefix.size()))) continue;
      const std::string key = line->substr(prefix.size());
      if (condition_of({common, path, key}) != WorktreeCondition::unregistered) continue;
      found.push_back({.key = key, .path = path, .condition = WorktreeCondition::unregistered});
    }
  }
  std::sort(found.begin(), found.end(), [](const ListedWorktree& a, const ListedWorktree& b) {
    return a.key != b.key ? a.key < b.key : a.path < b.path;
  });
  return found;
}

}  // namespace berth::git
