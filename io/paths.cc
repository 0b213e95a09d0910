#include <berth/io/paths.h>

#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <cstdlib>

namespace berth::inline v0::io {

namespace {

void make_folders(const std::string& path) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos;
       end = path.find('/', end + 1)) {
    ::mkdir(path.substr(0, end).c_str(), 0700);  // what cannot be made is found missing later
  }
}

std::string without_slash(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
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
  GivenPath given;
  char real[PATH_MAX];
  bool found = ::realpath(path.c_str(), real) != nullptr;
  if (!found && errno == ENOENT && path.ends_with('/')) {
    make_folders(path);
    found = ::realpath(path.c_str(), real) != nullptr;
  }
  if (!found) return given;
  given.path = real;
  struct stat info;
  given.folder = ::stat(real, &info) == 0 && S_ISDIR(info.st_mode);
  const std::string named = without_slash(path);
  if (given.path == named) return given;
  // Whoever names something hidden as it is means it; a link or a `..` may be somebody's trick.
  for (const std::string& secret : hidden) {
    if (given.path != secret && !is_below(given.path, secret)) continue;
    return fail(ErrorKind::invalid, "bad_launch",
                path + " leads by a link to " + given.path + ", which is hidden");
  }
  return given;
}

}  // namespace berth::inline v0::io
