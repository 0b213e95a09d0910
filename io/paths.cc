#include <berth/io/paths.h>

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>

namespace berth::inline v0::io {

namespace {

/// Makes the folder and those above it that are missing. What cannot be made is found missing
/// later.
void make_folders(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno != ENOENT) return;
  for (std::size_t end = path.find('/', 1); end != std::string::npos;
       end = path.find('/', end + 1)) {
    ::mkdir(path.substr(0, end).c_str(), 0700);
  }
}

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

/// Whether nothing but links could make another path of it.
bool is_plain(std::string_view path) {
  for (std::size_t at = 0; (at = path.find('/', at)) != std::string_view::npos; ++at) {
    const std::string_view rest = path.substr(at + 1);
    if (rest.starts_with('/') || rest.starts_with("./") || rest.starts_with("../")) return false;
    if (rest == "." || rest == "..") return false;
  }
  return true;
}

/// O_PATH; fails with ELOOP where a link is on the way, with ENOSYS or EPERM where the kernel or a
/// filter does not know openat2.
Fd open_without_links(const std::string& path) {
  open_how how = {};
  how.flags = O_PATH | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS;
  return Fd(static_cast<int>(::syscall(SYS_openat2, AT_FDCWD, path.c_str(), &how, sizeof how)));
}

/// What is at `path`, or nothing. Fails when it is there and cannot be opened.
Result<GivenPath> look_up(const std::string& path) {
  GivenPath given;
  if (is_plain(path)) {
    given.opened = open_without_links(path);
    if (given.opened.valid()) given.path = without_slash(path);
  }
  if (!given.opened.valid()) {
    char real[PATH_MAX];
    if (::realpath(path.c_str(), real) == nullptr) return given;
    given.path = real;
    given.opened = open_without_links(given.path);
    // A kernel or a filter that does not know openat2.
    if (!given.opened.valid() && (errno == ENOSYS || errno == EPERM)) {
      given.opened.reset(::open(real, O_PATH | O_CLOEXEC));
    }
    if (!given.opened.valid()) return fail(errno_error(errno, path));
  }
  struct stat info;
  given.folder = ::fstat(given.opened.get(), &info) == 0 && S_ISDIR(info.st_mode);
  return given;
}

}  // namespace

bool is_below(std::string_view path, std::string_view folder) {
  if (folder == "/") return path.size() > 1;
  return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

std::string real_path_or(const std::string& path) {
  char real[PATH_MAX];
  return ::realpath(path.c_str(), real) != nullptr ? std::string(real) : without_slash(path);
}

Result<GivenPath> resolve_given(const std::string& path, const std::vector<std::string>& hidden) {
  if (!path.starts_with('/')) {
    return fail(ErrorKind::invalid, "bad_launch", "'" + path + "' is no absolute path");
  }
  Result<GivenPath> given = look_up(path);
  if (given.has_value() && given->path.empty() && path.ends_with('/')) {
    make_folders(path);
    given = look_up(path);
  }
  if (!given.has_value() || given->path.empty()) return given;
  const std::string named = without_slash(path);
  if (given->path == named) return given;
  // Whoever names something hidden as it is means it; a link or a `..` may be somebody's trick.
  for (const std::string& secret : hidden) {
    if (given->path != secret && !is_below(given->path, secret)) continue;
    return fail(ErrorKind::invalid, "bad_launch",
                path + " leads by a link to " + given->path + ", which is hidden");
  }
  return given;
}

}  // namespace berth::inline v0::io
