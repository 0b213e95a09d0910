#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/names.h>
#include <berth/git/opened.h>
#include <berth/git/special_files.h>

#include <git2.h>

#include <cstring>

namespace berth::git::detail {
namespace {

constexpr std::string_view kGitFilePrefix = "gitdir:";

std::string absolute_from(const std::string& folder, const std::string& path) {
  return canonical(!path.empty() && path.front() == '/' ? path : folder + "/" + path);
}

bool looks_like_git_dir(const std::string& path) {
  return kind_of(path + "/HEAD") != PathKind::missing &&
         (kind_of(path + "/commondir") == PathKind::file ||
          kind_of(path + "/objects") != PathKind::missing);
}

/// What a `.git` file points to, canonical.
Result<std::string> read_git_file(const std::string& file) {
  Result<std::string> line = read_line_file(file);
  if (!line) return fail(std::move(line).error());
  if (line->compare(0, kGitFilePrefix.size(), kGitFilePrefix) != 0) {
    return fail(ErrorKind::not_found, "not_a_repository", file + ": does not start with gitdir:");
  }
  const std::size_t start = line->find_first_not_of(" \t", kGitFilePrefix.size());
  const std::string target =
      start == std::string::npos ? "" : absolute_from(parent_of(file), line->substr(start));
  if (target.empty()) {
    return fail(ErrorKind::not_found, "not_a_repository", file + ": points to nothing");
  }
  return target;
}

struct ConfigFindings {
  std::int32_t version = 0;
  const char* code = nullptr;
  std::string what;
};

int note_setting(const git_config_entry* entry, void* payload) {
  auto& findings = *static_cast<ConfigFindings*>(payload);
  const std::string_view name = entry->name;
  const std::string_view value = entry->value != nullptr ? entry->value : "";
  const auto find = [&](const char* code) {
    findings.code = code;
    findings.what = std::string(name) + " = " + std::string(value);
  };
  if (name == "extensions.objectformat") {
    if (value != "sha1") find("git_sha256");
  } else if (name == "extensions.partialclone" ||
             (name.starts_with("remote.") && name.ends_with(".promisor") && value == "true")) {
    find("git_partial_clone");
  } else if (name == "core.sparsecheckout") {
    int on = 0;
    if (git_config_parse_bool(&on, entry->value) != 0 || on != 0) find("git_sparse_checkout");
  } else if (name.starts_with("extensions.") && name != "extensions.noop" &&
             findings.code == nullptr) {
    find("git_extension");
  }
  return 0;
}

bool same_path(const std::string& canonical_path, const char* libgit2_path) {
  if (libgit2_path == nullptr) return false;
  std::string_view other = libgit2_path;
  while (other.size() > 1 && other.back() == '/') other.remove_suffix(1);
  return other == canonical_path;
}

tl::unexpected<Error> not_linked(const WorktreeRef& worktree, std::string_view why) {
  return fail(ErrorKind::conflict, "worktree_not_linked",
              worktree.path + ": is not the worktree " + worktree.key + ": " + std::string(why));
}

}  // namespace

Result<Location> locate(const std::string& path) {
  const std::string root = canonical(path);
  if (root.empty()) return fail(ErrorKind::not_found, "path_missing", path + ": does not exist");
  Location location;
  const std::string dot_git = root + "/.git";
  const PathKind kind = kind_of(dot_git);
  if (kind == PathKind::directory || kind == PathKind::link) {
    location.git_dir = canonical(dot_git);
    location.work_dir = root;
  } else if (kind == PathKind::file) {
    Result<std::string> target = read_git_file(dot_git);
    if (!target) return fail(std::move(target).error());
    location.git_dir = *target;
    location.work_dir = root;
  } else {
    location.git_dir = root;
  }
  if (location.git_dir.empty() || !looks_like_git_dir(location.git_dir)) {
    return fail(ErrorKind::not_found, "not_a_repository", path + ": not a git repository");
  }
  location.common_dir = location.git_dir;
  if (kind_of(location.git_dir + "/commondir") == PathKind::file) {
    Result<std::string> line = read_line_file(location.git_dir + "/commondir");
    if (!line) return fail(std::move(line).error());
    location.common_dir = absolute_from(location.git_dir, *line);
    location.linked = true;
  }
  if (location.common_dir.empty() ||
      kind_of(location.common_dir + "/objects") == PathKind::missing) {
    return fail(ErrorKind::not_found, "not_a_repository", path + ": its objects are missing");
  }
  return location;
}

Result<void> check_supported(const Location& location) {
  Result<void> plain = check_git_files(location.git_dir, location.common_dir);
  if (!plain) return plain;
  Handle<git_config> config;
  const std::string file = location.common_dir + "/config";
  if (kind_of(file) == PathKind::missing) return {};
  int rc = git_config_open_ondisk(out(config), file.c_str());
  ConfigFindings findings;
  if (rc == 0) {
    // Not git_config_foreach_match: libgit2 1.5 with PCRE2 leaks for every name that does not
    // match.
    rc = git_config_foreach(config.get(), note_setting, &findings);
  }
  if (rc != 0) {
    return fail(ErrorKind::invalid, "git_config_broken", libgit2_error(rc, file).message);
  }
  git_config_get_int32(&findings.version, config.get(), "core.repositoryformatversion");
  if (findings.version > 1) {
    return fail(ErrorKind::unsupported, "git_format_version",
                file + ": repository format " + std::to_string(findings.version));
  }
  if (findings.code == nullptr) return {};
  return fail(ErrorKind::unsupported, findings.code,
              file + ": " + findings.what + ": this build of berth cannot read such a repository");
}

Result<Opened> open_objects(const std::string& path) {
  Result<Location> location = locate(path);
  if (!location) return fail(std::move(location).error());
  if (Result<void> supported = check_supported(*location); !supported) {
    return fail(std::move(supported).error());
  }
  Opened opened;
  opened.location = *std::move(location);
  const unsigned flags = GIT_REPOSITORY_OPEN_NO_SEARCH | GIT_REPOSITORY_OPEN_BARE;
  const int rc = git_repository_open_ext(out(opened.repository), opened.location.git_dir.c_str(),
                                         flags, nullptr);
  if (rc == GIT_ENOTFOUND) {
    return fail(ErrorKind::not_found, "not_a_repository", path + ": not a git repository");
  }
  if (rc != 0) return libgit2_fail(rc, path);
  return opened;
}

std::string registration_of(const std::string& common_dir, const std::string& key) {
  return common_dir + "/worktrees/" + key;
}

Result<Location> verify_links(const WorktreeRef& worktree) {
  if (Result<void> key = check_key(worktree.key); !key) return fail(std::move(key).error());
  Result<Location> location = locate(worktree.repository);
  if (!location) return location;
  const std::string registration = registration_of(location->common_dir, worktree.key);
  const std::string path = canonical_parent(worktree.path);
  const PathKind kind = path.empty() ? PathKind::missing : kind_of(path);
  if (kind == PathKind::missing) {
    return fail(ErrorKind::not_found, "worktree_missing", worktree.path + ": is not there");
  }
  if (kind != PathKind::directory) return not_linked(worktree, "not a folder");
  if (kind_of(path + "/.git") != PathKind::file) return not_linked(worktree, "no .git file in it");
  if (kind_of(registration) != PathKind::directory) return not_linked(worktree, "not registered");
  Result<std::string> target = read_git_file(path + "/.git");
  if (!target) return not_linked(worktree, target.error().message);
  if (*target != canonical(registration)) {
    return not_linked(worktree, "its .git file points to " + *target);
  }
  Result<std::string> back = read_line_file(registration + "/gitdir");
  if (!back) return not_linked(worktree, back.error().message);
  if (canonical_parent(*back) != path + "/.git") {
    return not_linked(worktree, "the registration belongs to " + *back);
  }
  Result<std::string> common = read_line_file(registration + "/commondir");
  if (!common || absolute_from(registration, *common) != location->common_dir) {
    return not_linked(worktree, "the registration names another repository");
  }
  Result<std::string> locked = read_line_file(registration + "/locked");
  if (locked && *locked == kHalfMadeMark) {
    return fail(ErrorKind::unavailable, "worktree_half_made",
                worktree.path + ": its creation did not end");
  }
  location->git_dir = registration;
  location->work_dir = path;
  location->linked = true;
  return location;
}

Result<OpenedWorktree> open_worktree(const WorktreeRef& worktree) {
  Result<Location> location = verify_links(worktree);
  if (!location) return fail(std::move(location).error());
  if (Result<void> supported = check_supported(*location); !supported) {
    return fail(std::move(supported).error());
  }
  OpenedWorktree opened;
  opened.path = location->work_dir;
  opened.common_dir = location->common_dir;
  opened.registration = location->git_dir;
  const int rc = git_repository_open_ext(out(opened.repository), opened.path.c_str(),
                                         GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr);
  if (rc != 0) return libgit2_fail(rc, opened.path);
  // Between the check and the opening an agent may have changed the files: what was opened is
  // checked too.
  if (!same_path(opened.registration, git_repository_path(opened.repository.get())) ||
      !same_path(opened.common_dir, git_repository_commondir(opened.repository.get())) ||
      !same_path(opened.path, git_repository_workdir(opened.repository.get()))) {
    return not_linked(worktree, "it was changed while it was opened");
  }
  return opened;
}

}  // namespace berth::git::detail

namespace berth::git {

Result<CommitFolders> folders_of_commits(const WorktreeRef& worktree) {
  const Result<detail::Location> location = detail::verify_links(worktree);
  if (!location.has_value()) return fail(location.error());
  const std::string& common = location->common_dir;
  return CommitFolders{
      common,
      {common + "/objects/", common + "/refs/heads/berth/", common + "/logs/refs/heads/berth/",
       detail::registration_of(common, worktree.key) + "/"}};
}

}  // namespace berth::git
