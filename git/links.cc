#include <berth/git/files.h>
#include <berth/git/links.h>
#include <berth/git/names.h>
#include <berth/git/opened.h>

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

namespace berth::git::detail {
namespace {

bool has_control_characters(const std::string& text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return c >= 0 && c < 0x20; });
}

}  // namespace

Result<std::string> usable_path(const std::string& path) {
  if (path.size() < 2 || path.front() != '/' || path.back() == '/' ||
      has_control_characters(path)) {
    return fail(ErrorKind::invalid, "bad_path", "'" + path + "': not an absolute path of a folder");
  }
  const std::string name = name_of(path);
  if (name == "." || name == "..")
    return fail(ErrorKind::invalid, "bad_path", path + ": ends in dots");
  if (Result<void> made = make_folders(parent_of(path)); !made) {
    return fail(std::move(made).error());
  }
  const std::string resolved = canonical_parent(path);
  if (resolved.empty()) return fail(ErrorKind::invalid, "bad_path", path + ": cannot be resolved");
  return resolved;
}

bool is_half_made(const std::string& registration) {
  Result<std::string> locked = read_line_file(registration + "/locked");
  return locked && *locked == kHalfMadeMark;
}

bool points_to(const std::string& path, const std::string& registration) {
  Result<std::string> line = read_line_file(path + "/.git");
  return line && *line == git_file_of(registration);
}

Result<void> clear_leftovers(const std::string& planned, const std::string& registration) {
  if (!is_half_made(registration)) return {};
  Result<std::string> back = read_line_file(registration + "/gitdir");
  const std::string path = back ? parent_of(*back) : planned;
  if (!points_to(path, registration)) return {};
  Result<std::string> moved = move_to_trash(path, parent_of(path) + "/.berth-trash");
  if (!moved) return fail(std::move(moved).error());
  if (Result<bool> gone = delete_tree(*moved, {}); !gone) return fail(gone.error());
  return {};
}

Result<void> clear_registration(const std::string& registration) {
  Result<bool> gone = delete_tree(registration, {});
  if (!gone) return fail(std::move(gone).error());
  return {};
}

Result<void> claim_registration(const std::string& registration) {
  Result<void> done = make_folders(parent_of(registration));
  if (!done) return done;
  if (::mkdir(registration.c_str(), 0777) == 0) return {};
  if (errno == EEXIST) {
    return fail(ErrorKind::busy, "git_locked", registration + ": somebody else is making it");
  }
  return fail(errno_error(errno, "mkdir " + registration));
}

Result<void> make_registration(const std::string& path, const std::string& registration,
                               const std::string& key) {
  Result<void> done = write_file(registration + "/locked", std::string(kHalfMadeMark) + "\n");
  if (done) done = write_file(registration + "/commondir", "../..\n");
  if (done) done = write_file(registration + "/gitdir", path + "/.git\n");
  if (done) done = write_file(registration + "/HEAD", "ref: " + branch_ref_of(key) + "\n");
  return done;
}

std::string git_file_of(const std::string& registration) {
  return "gitdir: " + registration;
}

Result<void> make_linked_folder(const std::string& path, const std::string& registration) {
  if (::mkdir(path.c_str(), 0777) < 0 && !(errno == EEXIST && is_empty_folder(path))) {
    return fail(ErrorKind::conflict, "path_occupied", path + ": something is there");
  }
  return write_file(path + "/.git", git_file_of(registration) + "\n");
}

}  // namespace berth::git::detail
