#include <berth/git/names.h>
#include <berth/git/overlay.h>
#include <berth/git/overlay_layer.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

namespace berth::git {

using detail::AboutLayer;
using detail::Layer;

namespace {

/// Reads a layer. What the kernel leaves there is in its documentation of overlayfs: a character
/// device 0/0 hides what lies below; a folder whose attribute `opaque` is set hides the folder
/// below with all in it; one with `redirect` shows another folder of the lower layer. Everything
/// else that is not a folder is a file of its own; a plain folder only leads to more.
class LayerReader {
 public:
  LayerReader(const char* space, const Patience& patience, ChangedPaths& found)
      : opaque_(std::string(space) + ".overlay.opaque"),
        redirect_(std::string(space) + ".overlay.redirect"),
        patience_(patience),
        found_(found) {}

  /// Reads the folder `fd`, which it closes.
  Result<void> read(int fd, const std::string& prefix) {
    DIR* raw = ::fdopendir(fd);
    if (raw == nullptr) {
      const int error = errno;
      ::close(fd);
      return fail(errno_error(error, "opendir " + prefix));
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(raw, ::closedir);
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(dir.get());
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name == "." || name == ".." || (prefix.empty() && name == ".git")) continue;
      if (Result<void> go_on = patience_.check("reading a layer"); !go_on) return go_on;
      if (Result<void> noted = note(fd, entry, prefix + entry->d_name); !noted) return noted;
    }
    if (errno != 0) return fail(errno_error(errno, "readdir " + prefix));
    return {};
  }

 private:
  Result<void> note(int parent, const dirent* entry, const std::string& path) {
    bool is_folder = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN) {
      struct stat st{};
      const int rc = ::fstatat(parent, entry->d_name, &st, AT_SYMLINK_NOFOLLOW);
      is_folder = rc == 0 && S_ISDIR(st.st_mode);
    }
    if (!is_folder) {
      found_.paths.push_back(path);
      return {};
    }
    const int fd = ::openat(parent, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
      // It went away or was replaced meanwhile: the path changed in any case.
      if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
        return fail(errno_error(errno, "open " + path));
      }
      found_.paths.push_back(path);
      return {};
    }
    if (stands_for_all(fd)) {
      ::close(fd);
      found_.paths.push_back(path);
      return {};
    }
    return read(fd, path + "/");
  }

  /// True for a folder that is not merged with the one of the same path below.
  bool stands_for_all(int fd) const {
    std::array<char, 2> opaque;
    const ssize_t n = ::fgetxattr(fd, opaque_.c_str(), opaque.data(), opaque.size());
    if (n == 1 && opaque[0] == 'y') return true;
    return ::fgetxattr(fd, redirect_.c_str(), nullptr, 0) >= 0;
  }

  std::string opaque_;
  std::string redirect_;
  const Patience& patience_;
  ChangedPaths& found_;
};

}  // namespace

Result<ChangedPaths> changed_paths(const OverlayRef& overlay, const Patience& patience) {
  if (Result<void> ok = check_key(overlay.worktree.key); !ok) return fail(std::move(ok).error());
  const Layer layer = detail::layer_of(overlay.store, overlay.worktree.key);
  Result<AboutLayer> about = detail::read_about(layer);
  if (!about) return fail(std::move(about).error());
  ChangedPaths found;
  found.commit = about->commit;
  // Whoever cannot read our mark cannot read the overlay's marks either: they would look absent.
  const std::string mark = detail::layer_mark(layer.upper());
  if (mark.empty()) return found;
  const int fd = ::open(layer.upper().c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return fail(errno_error(errno, "open " + layer.upper()));
  LayerReader reader(mark.starts_with("trusted:") ? "trusted" : "user", patience, found);
  if (Result<void> read = reader.read(fd, ""); !read) return fail(std::move(read).error());
  std::sort(found.paths.begin(), found.paths.end());
  found.complete = true;
  return found;
}

}  // namespace berth::git
