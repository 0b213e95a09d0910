#include <berth/io/installed.h>

#include <unistd.h>

#include <array>
#include <cerrno>

namespace berth::inline v0::io {

Result<std::string> find_installed(const std::string& name, const std::string& build_place) {
  std::array<char, 4096> path;
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  if (size <= 0) return fail(errno_error(errno, "/proc/self/exe"));
  std::string folder(path.data(), static_cast<std::size_t>(size));
  folder.resize(folder.rfind('/') + 1);
  for (const std::string& place : {std::string(), build_place, std::string("../libexec/berth/"),
                                   std::string("../lib/berth/")}) {
    std::string candidate = folder + place + name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return fail(ErrorKind::not_found, "not_installed",
              name + " is not beside this program (" + folder + ") nor in ../libexec/berth");
}

}  // namespace berth::inline v0::io
