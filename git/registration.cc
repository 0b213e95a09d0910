#include <berth/git/files.h>
#include <berth/git/index_file.h>
#include <berth/git/links.h>
#include <berth/git/names.h>
#include <berth/git/refs.h>
#include <berth/git/registration.h>

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>

namespace berth::git {

using detail::Location;
using detail::PathKind;
using detail::Refs;

namespace {

/// In the registration of an adopted worktree: the name that it had.
constexpr const char* kAdoptedFile = "/berth-adopted";
constexpr std::size_t kReasonMax = 1000;
/// The lock of a registration that is being written anew; not the mark of a creation, which would
/// give the folder away to be cleared.
constexpr std::string_view kRepairMark = "berth: being repaired";

std::string folder_of(const Refs& refs, const std::string& name) {
  return refs.location().common_dir + "/worktrees/" + name;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// HEAD as its file says it.
void read_head(const Refs& refs, const std::string& git_dir, RegisteredWorktree& found) {
  Result<std::string> line = detail::read_line_file(git_dir + "/HEAD");
  if (!line) return;
  constexpr std::string_view kBranch = "ref: refs/heads/";
  if (!line->starts_with("ref: ")) {
    found.head = *line;
    return;
  }
  if (line->starts_with(kBranch)) found.branch = line->substr(kBranch.size());
  Result<std::string> tip = refs.target(line->substr(5));
  if (tip) found.head = *tip;
}

std::string why_prunable(const RegisteredWorktree& found, const std::string& registration) {
  if (found.locked) return {};
  if (detail::kind_of(registration + "/gitdir") != PathKind::file) return "names no folder";
  if (detail::kind_of(found.path + "/.git") == PathKind::missing) return "its folder is gone";
  return {};
}

RegisteredWorktree read_registration(const Refs& refs, const std::string& name) {
  const std::string registration = folder_of(refs, name);
  RegisteredWorktree found{.name = name, .common_dir = refs.location().common_dir};
  Result<std::string> back = detail::read_line_file(registration + "/gitdir");
  if (back) found.path = detail::parent_of(*back);
  Result<std::string> lock = detail::read_line_file(registration + "/locked");
  found.locked = detail::kind_of(registration + "/locked") != PathKind::missing;
  if (lock) found.lock_reason = *lock;
  read_head(refs, registration, found);
  found.prunable = why_prunable(found, registration);
  if (is_key(name)) {
    Result<std::string> base = refs.target(base_ref_of(name));
    found.ours = base && !base->empty();
    found.adopted = found.ours && detail::kind_of(registration + kAdoptedFile) == PathKind::file;
  }
  return found;
}

/// The lock's reason; nothing when it is not locked.
std::optional<std::string> lock_of(const std::string& registration) {
  if (detail::kind_of(registration + "/locked") == PathKind::missing) return std::nullopt;
  return detail::read_line_file(registration + "/locked").value_or("");
}

tl::unexpected<Error> locked(const WorktreeRef& worktree, const std::string& reason) {
  return fail(ErrorKind::conflict, "worktree_locked",
              worktree.path + ": is locked" + (reason.empty() ? "" : ": " + reason));
}

/// The common folder's path as git writes it into a `.git` file.
Result<void> write_git_file(const std::string& path, const std::string& registration) {
  return detail::write_file(path + "/.git", "gitdir: " + registration + "\n");
}

/// Renames a folder if nothing is where it shall go.
Result<void> rename_free(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return {};
  if (errno == EEXIST) {
    return fail(ErrorKind::conflict, "path_occupied", to + ": something is there");
  }
  if (errno == EXDEV) {
    return fail(ErrorKind::unsupported, "other_file_system", to + ": is on another file system");
  }
  return fail(errno_error(errno, "rename " + from + " to " + to));
}

}  // namespace

Result<std::vector<RegisteredWorktree>> list_registrations(const std::string& repository,
                                                           GitCommand* command) {
  Result<Refs> refs = Refs::open({.repository = repository, .command = command}, {});
  if (!refs) return fail(std::move(refs).error());
  const std::string& common = refs->location().common_dir;
  std::vector<RegisteredWorktree> found;
  RegisteredWorktree main{.common_dir = common, .main = true};
  const std::string parent = detail::parent_of(common);
  main.bare = detail::name_of(common) != ".git" || detail::canonical(parent + "/.git") != common;
  main.path = main.bare ? common : parent;
  read_head(*refs, common, main);
  found.push_back(std::move(main));
  for (const std::string& name : names_in(common + "/worktrees")) {
    if (detail::kind_of(folder_of(*refs, name)) != PathKind::directory) continue;
    found.push_back(read_registration(*refs, name));
  }
  std::sort(found.begin() + 1, found.end(),
            [](const RegisteredWorktree& left, const RegisteredWorktree& right) {
              return left.path < right.path;
            });
  return found;
}

Result<void> lock_worktree(const WorktreeRef& worktree, const std::string& reason) {
  if (reason.size() > kReasonMax ||
      std::any_of(reason.begin(), reason.end(), [](char c) { return c >= 0 && c < 0x20; }) ||
      reason == detail::kHalfMadeMark) {
    return fail(ErrorKind::invalid, "bad_reason", "reason: one line of at most 1000 bytes");
  }
  Result<Location> location = detail::verify_links(worktree);
  if (!location) return fail(std::move(location).error());
  if (const auto other = lock_of(location->git_dir)) {
    if (*other == reason) return {};
    return locked(worktree, *other);
  }
  return detail::write_file(location->git_dir + "/locked", reason.empty() ? "" : reason + "\n");
}

Result<void> unlock_worktree(const WorktreeRef& worktree) {
  Result<Location> location = detail::verify_links(worktree);
  if (!location) return fail(std::move(location).error());
  return detail::remove_file_if_exists(location->git_dir + "/locked");
}

Result<std::string> move_worktree(const WorktreeRef& worktree, const std::string& to) {
  Result<Location> location = detail::verify_links(worktree);
  if (!location) return fail(std::move(location).error());
  if (const auto reason = lock_of(location->git_dir)) return locked(worktree, *reason);
  Result<std::string> target = detail::usable_path(to);
  if (!target) return target;
  if (*target == location->work_dir) return target;
  if (target->starts_with(location->work_dir + "/")) {
    return fail(ErrorKind::invalid, "bad_path", to + ": lies inside the worktree");
  }
  // The folder first: its `.git` file names the registration, which repair_worktree goes by.
  if (Result<void> moved = rename_free(location->work_dir, *target); !moved) {
    return fail(std::move(moved).error());
  }
  Result<void> told = detail::write_file(location->git_dir + "/gitdir", *target + "/.git\n");
  if (!told) {
    static_cast<void>(rename_free(*target, location->work_dir));
    return fail(std::move(told).error());
  }
  return target;
}

namespace {

tl::unexpected<Error> not_this_one(const WorktreeRef& worktree, const std::string& why) {
  return fail(ErrorKind::conflict, "worktree_not_linked",
              worktree.path + ": is not the worktree " + worktree.key + ": " + why);
}

/// What the `.git` file of a folder names, as text: it may be gone.
std::string named_by(const std::string& path) {
  constexpr std::string_view kPrefix = "gitdir: ";
  Result<std::string> line = detail::read_line_file(path + "/.git");
  return line && line->starts_with(kPrefix) ? line->substr(kPrefix.size()) : std::string();
}

/// Writes a registration that somebody pruned once more.
Result<void> register_again(const Refs& refs, const WorktreeRef& worktree,
                            const std::string& path) {
  const std::string registration = folder_of(refs, worktree.key);
  Result<std::string> tip = refs.target(branch_ref_of(worktree.key));
  if (!tip) return fail(std::move(tip).error());
  std::string head = "ref: " + branch_ref_of(worktree.key);
  if (tip->empty()) {
    Result<std::string> base = refs.target(base_ref_of(worktree.key));
    if (!base) return fail(std::move(base).error());
    if (base->empty()) {
      return fail(ErrorKind::not_found, "registration_missing",
                  worktree.key + ": neither its branch nor its base is known");
    }
    head = *base;
  }
  Result<void> done = detail::claim_registration(registration);
  if (done) done = detail::write_file(registration + "/locked", std::string(kRepairMark) + "\n");
  if (done) done = detail::write_file(registration + "/commondir", "../..\n");
  if (done) done = detail::write_file(registration + "/gitdir", path + "/.git\n");
  if (done) done = detail::write_file(registration + "/HEAD", head + "\n");
  if (done) done = write_git_file(path, registration);
  if (done) {
    WorktreeRef whole = worktree;
    whole.path = path;
    done = detail::reset_index(whole, head.starts_with("ref: ") ? *tip : head);
  }
  if (done) done = detail::remove_file_if_exists(registration + "/locked");
  if (!done) static_cast<void>(detail::clear_registration(registration));
  return done;
}

}  // namespace

Result<Repaired> repair_worktree(const WorktreeRef& worktree, bool register_anew) {
  if (Result<void> key = check_key(worktree.key); !key) return fail(std::move(key).error());
  Result<Refs> refs = Refs::open(worktree, {});
  if (!refs) return fail(std::move(refs).error());
  const std::string path = detail::canonical_parent(worktree.path);
  if (path.empty() || detail::kind_of(path) != PathKind::directory) {
    return fail(ErrorKind::not_found, "worktree_missing", worktree.path + ": is not there");
  }
  const std::string registration = folder_of(*refs, worktree.key);
  const std::string named = named_by(path);
  if (detail::is_half_made(registration)) {
    return fail(ErrorKind::unavailable, "worktree_half_made",
                worktree.path + ": its creation did not end");
  }
  // The repository may have been moved: then the key at the end is what is left to go by.
  const bool says_key = named.ends_with("/worktrees/" + worktree.key);
  Repaired repaired;
  if (lock_of(registration) == kRepairMark) {  // an earlier attempt ended in the middle
    if (Result<void> gone = detail::clear_registration(registration); !gone) {
      return fail(std::move(gone).error());
    }
  }
  if (detail::kind_of(registration) != PathKind::directory) {
    if (!says_key) return not_this_one(worktree, "its .git file names " + named);
    if (!register_anew) {
      return fail(ErrorKind::not_found, "registration_missing",
                  worktree.key + ": the repository knows it no more");
    }
    if (Result<void> done = register_again(*refs, worktree, path); !done) {
      return fail(std::move(done).error());
    }
    repaired.registered_anew = true;
    return repaired;
  }
  Result<std::string> back = detail::read_line_file(registration + "/gitdir");
  const bool is_registered_here = back && detail::canonical_parent(*back) == path + "/.git";
  if (!is_registered_here && !says_key) {
    return not_this_one(worktree, "neither it nor the registration names the other");
  }
  if (says_key && named != registration && detail::kind_of(named) == PathKind::directory) {
    return not_this_one(worktree, "it belongs to " + named);
  }
  if (!is_registered_here && back && detail::points_to(detail::parent_of(*back), registration)) {
    return not_this_one(worktree, "the registered folder is still there: " + *back);
  }
  if (named != registration) {
    if (detail::kind_of(path + "/.git") == PathKind::directory) {
      return not_this_one(worktree, "a repository of its own");
    }
    if (Result<void> done = write_git_file(path, registration); !done) return fail(done.error());
    repaired.folder_link = true;
  }
  if (!is_registered_here) {
    Result<void> done = detail::write_file(registration + "/gitdir", path + "/.git\n");
    if (!done) return fail(std::move(done).error());
    repaired.registration = true;
  }
  return repaired;
}

namespace {

/// Gives a registration another name, and tells the folder. Between the two steps the folder names
/// a registration that is gone; `adopt_worktree` goes by the other direction then.
Result<void> rename_registration(const std::string& path, const std::string& from,
                                 const std::string& to) {
  if (Result<void> renamed = rename_free(from, to); !renamed) return renamed;
  return write_git_file(path, to);
}

/// The registration of a folder: by its `.git` file, or by the registration of the key after a
/// crash in an adoption.
Result<std::string> registration_for(const Refs& refs, const WorktreeRef& worktree,
                                     const std::string& path) {
  const std::string ours = folder_of(refs, worktree.key);
  Result<std::string> back = detail::read_line_file(ours + "/gitdir");
  if (back && detail::canonical_parent(*back) == path + "/.git") return ours;
  if (detail::kind_of(ours) != PathKind::missing) {
    return fail(ErrorKind::conflict, "worktree_elsewhere",
                worktree.key + ": its worktree is at " + (back ? *back : "an unknown place"));
  }
  Result<Location> location = detail::locate(path);
  if (!location) return not_this_one(worktree, location.error().message);
  if (!location->linked) {
    return fail(ErrorKind::conflict, "main_worktree", worktree.path + ": is no linked worktree");
  }
  if (location->common_dir != refs.location().common_dir) {
    return not_this_one(worktree, "belongs to " + location->common_dir);
  }
  back = detail::read_line_file(location->git_dir + "/gitdir");
  if (!back || detail::canonical_parent(*back) != path + "/.git") {
    return not_this_one(worktree, "its registration names another folder");
  }
  const std::string name = detail::name_of(location->git_dir);
  Result<std::string> base = is_key(name) ? refs.target(base_ref_of(name)) : std::string();
  if (!base || !base->empty()) {
    return fail(ErrorKind::conflict, "worktree_taken", worktree.path + ": belongs to " + name);
  }
  return location->git_dir;
}

}  // namespace

Result<CreatedWorktree> adopt_worktree(const WorktreeRef& worktree, const std::string& base) {
  const std::string& key = worktree.key;
  if (Result<void> ok = check_key(key); !ok) return fail(std::move(ok).error());
  Result<Refs> refs = Refs::open(worktree, {});
  if (!refs) return fail(std::move(refs).error());
  const std::string path = detail::canonical_parent(worktree.path);
  if (path.empty() || detail::kind_of(path) != PathKind::directory) {
    return fail(ErrorKind::not_found, "worktree_missing", worktree.path + ": is not there");
  }
  Result<std::string> registration = registration_for(*refs, worktree, path);
  if (!registration) return fail(std::move(registration).error());
  if (const auto reason = lock_of(*registration)) return locked(worktree, *reason);
  const std::string ours = folder_of(*refs, key);
  Result<std::string> recorded = refs->target(base_ref_of(key));
  if (!recorded) return fail(std::move(recorded).error());
  RegisteredWorktree head;
  read_head(*refs, *registration, head);
  CreatedWorktree adopted{.path = path, .branch = head.branch, .head_commit = head.head};
  adopted.existed = *registration == ours && !recorded->empty();
  if (adopted.existed) {
    adopted.base_commit = *recorded;
  } else {
    Result<std::string> start = refs->commit(base.empty() ? head.head : base);
    if (!start) return fail(std::move(start).error());
    adopted.base_commit = *std::move(start);
  }
  Result<void> done;
  if (*registration != ours) {
    done = detail::write_file(*registration + kAdoptedFile, detail::name_of(*registration) + "\n");
    if (done) done = rename_registration(path, *registration, ours);
  } else if (!detail::points_to(path, ours)) {
    done = write_git_file(path, ours);
  }
  if (done && !adopted.existed) done = refs->set(base_ref_of(key), adopted.base_commit);
  if (!done) return fail(std::move(done).error());
  return adopted;
}

Result<void> release_worktree(const WorktreeRef& worktree) {
  Result<Location> location = detail::verify_links(worktree);
  if (!location) return fail(std::move(location).error());
  Result<std::string> old = detail::read_line_file(location->git_dir + kAdoptedFile);
  if (!old || old->empty() || old->find('/') != std::string::npos || old->front() == '.' ||
      is_key(*old)) {
    return fail(ErrorKind::conflict, "not_adopted", worktree.path + ": was made by berth");
  }
  Result<Refs> refs = Refs::open(worktree, {});
  if (!refs) return fail(std::move(refs).error());
  Result<std::string> base = refs->target(base_ref_of(worktree.key));
  if (!base) return fail(std::move(base).error());
  Result<void> done =
      base->empty() ? Result<void>() : refs->remove(base_ref_of(worktree.key), *base);
  for (int n = 0; done && n < 1000; ++n) {
    const std::string to = folder_of(*refs, n == 0 ? *old : *old + std::to_string(n));
    done = rename_registration(location->work_dir, location->git_dir, to);
    if (done) return detail::remove_file_if_exists(to + kAdoptedFile);
    if (done.error().kind == ErrorKind::conflict) done = {};
  }
  return done;
}

namespace {

/// Seconds since anything in a registration was written; its HEAD is written by every commit.
std::int64_t age_of(const std::string& registration, std::int64_t now_s) {
  std::int64_t newest = 0;
  for (const char* name : {"", "/HEAD", "/gitdir", "/index", "/logs/HEAD"}) {
    struct stat st{};
    if (::lstat((registration + name).c_str(), &st) == 0) {
      newest = std::max<std::int64_t>(newest, st.st_mtim.tv_sec);
    }
  }
  return now_s - newest;
}

/// Commits of a detached HEAD get a ref; those of a branch have one.
Result<std::string> keep_head(const Refs& refs, const RegisteredWorktree& gone) {
  if (!is_object_id(gone.head) || !gone.branch.empty()) return std::string();
  Result<std::string> base = refs.target(base_ref_of(gone.name));
  if (!base) return base;
  Result<std::uint64_t> beyond = refs.beyond(gone.head, *base);
  if (beyond && *beyond == 0) return std::string();
  Result<std::string> number = refs.next_number("refs/berth/x/" + gone.name + "/");
  if (!number) return number;
  const std::string ref = salvage_ref_of(gone.name, *number);
  if (Result<void> kept = refs.set(ref, gone.head); !kept) return fail(std::move(kept).error());
  return ref;
}

bool is_asked_for(const PruneRequest& request, const std::string& key) {
  return request.keys.empty() ||
         std::find(request.keys.begin(), request.keys.end(), key) != request.keys.end();
}

}  // namespace

Result<std::vector<PrunedRegistration>> prune_registrations(const PruneRequest& request) {
  Result<Refs> refs =
      Refs::open({.repository = request.repository, .command = request.command}, request.patience);
  if (!refs) return fail(std::move(refs).error());
  std::vector<PrunedRegistration> pruned;
  for (const std::string& name : names_in(refs->location().common_dir + "/worktrees")) {
    if (Result<void> patient = request.patience.check("pruning"); !patient) {
      return fail(std::move(patient).error());
    }
    if (!is_key(name) || !is_asked_for(request, name)) continue;
    const RegisteredWorktree found = read_registration(*refs, name);
    const std::string registration = folder_of(*refs, name);
    const std::int64_t age = age_of(registration, request.now_s);
    if (!found.ours || found.prunable.empty() || age < request.age_min_s) continue;
    // The folder itself without its `.git` file, or a missing parent: somebody has to look.
    if (!found.path.empty() &&
        (detail::kind_of(found.path) != PathKind::missing ||
         detail::kind_of(detail::parent_of(found.path)) != PathKind::directory)) {
      continue;
    }
    PrunedRegistration one{.key = name, .path = found.path, .age_s = age};
    if (!request.dry_run) {
      Result<std::string> kept = keep_head(*refs, found);
      if (!kept) return fail(std::move(kept).error());
      one.salvage_ref = *std::move(kept);
      if (Result<void> gone = detail::clear_registration(registration); !gone) {
        return fail(std::move(gone).error());
      }
    }
    pruned.push_back(std::move(one));
  }
  return pruned;
}

}  // namespace berth::git
