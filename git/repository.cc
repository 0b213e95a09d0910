#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/objects.h>
#include <berth/git/opened.h>
#include <berth/git/refs.h>
#include <berth/git/repository.h>

#include <git2.h>
#include <sys/stat.h>
#include <unistd.h>

namespace berth::git {

using detail::Handle;
using detail::Location;
using detail::Opened;
using detail::out;
using detail::Refs;

namespace {

Result<void> read_head(git_repository* repository, RepositoryInfo& info) {
  Handle<git_reference> head;
  const int rc = git_repository_head(out(head), repository);
  if (rc == GIT_EUNBORNBRANCH || rc == GIT_ENOTFOUND) {
    info.empty = true;
    Handle<git_reference> symbolic;
    if (git_reference_lookup(out(symbolic), repository, "HEAD") == 0) {
      const char* target = git_reference_symbolic_target(symbolic.get());
      const std::string_view name = target != nullptr ? target : "";
      if (name.starts_with("refs/heads/")) info.branch = name.substr(11);
    }
    return {};
  }
  if (rc != 0) return detail::libgit2_fail(rc, info.git_dir + ": HEAD");
  info.head = detail::hex(*git_reference_target(head.get()));
  if (git_repository_head_detached(repository) == 0)
    info.branch = git_reference_shorthand(head.get());
  return {};
}

/// What the files say, whoever reads the objects.
void read_layout(const Location& location, RepositoryInfo& info) {
  info.git_dir = location.git_dir;
  info.common_dir = location.common_dir;
  info.work_dir = location.work_dir;
  info.linked_worktree = location.linked;
  info.shallow = detail::kind_of(info.common_dir + "/shallow") == detail::PathKind::file;
  Handle<git_config> config;
  int bare = info.work_dir.empty() ? 1 : 0;
  int ignores_case = 0;
  const std::string file = info.common_dir + "/config";
  if (git_config_open_ondisk(out(config), file.c_str()) == 0) {
    git_config_get_bool(&bare, config.get(), "core.bare");
    git_config_get_bool(&ignores_case, config.get(), "core.ignorecase");
  }
  info.ignores_case = ignores_case != 0;
  if (!info.linked_worktree) {
    info.bare = bare != 0;
    if (info.bare) info.work_dir.clear();
    if (!info.bare && info.work_dir.empty()) info.work_dir = detail::parent_of(info.git_dir);
  } else if (info.work_dir.empty()) {
    Result<std::string> back = detail::read_line_file(info.git_dir + "/gitdir");
    if (back) info.work_dir = detail::canonical(detail::parent_of(*back));
  }
}

Result<RepositoryInfo> inspect_by_command(const std::string& path, GitCommand& command,
                                          const char* reason) {
  Result<Refs> refs =
      Refs::open({.repository = path, .command = &command, .backend = Backend::git_command}, {});
  if (!refs) return fail(std::move(refs).error());
  RepositoryInfo info;
  read_layout(refs->location(), info);
  info.backend = Backend::git_command;
  info.backend_reason = reason;
  Result<std::string> line = detail::read_line_file(info.git_dir + "/HEAD");
  if (line && line->starts_with("ref: refs/heads/")) info.branch = line->substr(16);
  Result<std::string> head = refs->commit("HEAD");
  if (head) info.head = *std::move(head);
  info.empty = !head && head.error().kind == ErrorKind::conflict;
  if (!head && !info.empty) return fail(std::move(head).error());
  info.sha256 = info.head.size() == 64 || info.backend_reason == "git_sha256";
  return info;
}

}  // namespace

Result<RepositoryInfo> inspect_repository(const std::string& path, GitCommand* command) {
  Result<Opened> opened = detail::open_objects(path);
  if (!opened &&
      detail::goes_to_command({.repository = path, .command = command}, opened.error())) {
    return inspect_by_command(path, *command, opened.error().code);
  }
  if (!opened) return fail(std::move(opened).error());
  RepositoryInfo info;
  read_layout(opened->location, info);
  if (Result<void> head = read_head(opened->repository.get(), info); !head) {
    return fail(std::move(head).error());
  }
  return info;
}

Result<std::string> find_repository(const std::string& path) {
  const std::string start = detail::canonical(path);
  if (start.empty()) return fail(ErrorKind::not_found, "path_missing", path + ": does not exist");
  struct stat first{};
  if (::stat(start.c_str(), &first) < 0) return fail(errno_error(errno, "stat " + start));
  for (std::string folder = start;; folder = detail::parent_of(folder)) {
    struct stat here{};
    if (::stat(folder.c_str(), &here) < 0) return fail(errno_error(errno, "stat " + folder));
    if (here.st_dev != first.st_dev) break;
    Result<detail::Location> location = detail::locate(folder);
    if (location) {
      struct stat owner{};
      if (::stat(location->git_dir.c_str(), &owner) < 0 ||
          (owner.st_uid != ::geteuid() && owner.st_uid != 0)) {
        return fail(ErrorKind::denied, "dubious_ownership",
                    location->git_dir + ": belongs to another user; name the repository exactly");
      }
      if (Result<void> supported = detail::check_supported(*location); !supported) {
        return fail(std::move(supported).error());
      }
      return folder;
    }
    if (folder == "/") break;
  }
  return fail(ErrorKind::not_found, "not_a_repository", path + ": not inside a git repository");
}

Result<std::string> resolve_commit(const std::string& repository, const std::string& rev,
                                   GitCommand* command) {
  Result<Refs> refs = Refs::open({.repository = repository, .command = command}, {});
  if (!refs) return fail(std::move(refs).error());
  return refs->commit(rev);
}

}  // namespace berth::git
