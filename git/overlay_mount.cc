#include <berth/git/files.h>
#include <berth/git/overlay_mount.h>

#include <dirent.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>
#include <vector>

namespace berth::git::detail {
namespace {

constexpr const char* kTrustedMark = "trusted.berth.layer";
constexpr const char* kUserMark = "user.berth.layer";
constexpr long kOverlayMagic = 0x794c7630;
constexpr std::size_t kOptionsMax = 4000;  // the kernel takes one page
constexpr int kUnmountsMax = 16;

/// Descriptors by which paths are named; closed together.
class Folders {
 public:
  ~Folders() {
    for (const int fd : fds_) ::close(fd);
  }
  Folders() = default;
  Folders(const Folders&) = delete;
  Folders& operator=(const Folders&) = delete;

  /// "/proc/self/fd/<n>" of the folder, which is never a link; empty with errno.
  std::string open(const std::string& path) {
    const int fd = ::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return {};
    fds_.push_back(fd);
    return "/proc/self/fd/" + std::to_string(fd);
  }

 private:
  std::vector<int> fds_;
};

std::string attribute(const std::string& folder, const char* name) {
  std::array<char, 128> value;
  const ssize_t n = ::lgetxattr(folder.c_str(), name, value.data(), value.size());
  return n <= 0 ? std::string() : std::string(value.data(), static_cast<std::size_t>(n));
}

bool is_plain(const std::string& path) {
  return path.find_first_of(",:\\\"") == std::string::npos;
}

/// Paths by their names, which an operator can read in the list of mounts, unless the names are too
/// long or hold what separates options.
Result<std::string> options_of(const OverlayFolders& folders, bool trusted, Folders& open) {
  const auto join = [&](const std::string& lower, const std::string& upper,
                        const std::string& work) {
    return "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work +
           (trusted ? ",redirect_dir=on,index=off,metacopy=off"
                    : ",userxattr,index=off,metacopy=off");
  };
  std::string options = join(folders.lower, folders.upper, folders.work);
  if (is_plain(folders.lower) && is_plain(folders.upper) && is_plain(folders.work) &&
      options.size() < kOptionsMax) {
    return options;
  }
  std::array<std::string, 3> by_number;
  const std::array<const std::string*, 3> paths{&folders.lower, &folders.upper, &folders.work};
  for (std::size_t i = 0; i < paths.size(); ++i) {
    by_number[i] = open.open(*paths[i]);
    if (by_number[i].empty()) return fail(errno_error(errno, "open " + *paths[i]));
  }
  return join(by_number[0], by_number[1], by_number[2]);
}

Result<void> refuse_unless_empty(const std::string& path, const std::string& by_number) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(by_number.c_str()), ::closedir);
  if (!dir) return fail(errno_error(errno, "opendir " + path));
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    return fail(ErrorKind::conflict, "path_occupied",
                path + ": '" + std::string(name) + "' lies in the folder under the lost mount");
  }
  return {};
}

Error denied(int error, const OverlayFolders& folders) {
  std::string why;
  switch (error) {
    case EPERM:
    case EACCES:
      why = "mounting needs CAP_SYS_ADMIN: root, or a user namespace";
      break;
    case ENODEV:
      why = "this kernel has no overlay file system";
      break;
    case EINVAL:
      why = "the file system of " + folders.upper + " cannot hold an upper layer";
      break;
    default:
      return errno_error(error, "mount overlay of " + folders.upper);
  }
  Error refused = make_error(ErrorKind::unsupported, "overlay_denied", std::move(why));
  refused.errno_value = error;
  return refused;
}

}  // namespace

Result<void> mark_layer(const std::string& upper, const std::string& key) {
  struct stat st{};
  struct timespec now{};
  if (::stat(upper.c_str(), &st) < 0) return fail(errno_error(errno, "stat " + upper));
  ::clock_gettime(CLOCK_REALTIME, &now);
  const std::string mark = key + "." + std::to_string(st.st_ino) + "." +
                           std::to_string(now.tv_sec) + "." + std::to_string(now.tv_nsec);
  if (::lsetxattr(upper.c_str(), kTrustedMark, mark.data(), mark.size(), 0) == 0) return {};
  if (errno == EPERM && ::lsetxattr(upper.c_str(), kUserMark, mark.data(), mark.size(), 0) == 0) {
    return {};
  }
  if (errno != EOPNOTSUPP) return fail(errno_error(errno, "setxattr " + upper));
  return fail(ErrorKind::unsupported, "overlay_denied",
              upper + ": its file system has no extended attributes");
}

std::string layer_mark(const std::string& folder) {
  std::string mark = attribute(folder, kTrustedMark);
  if (!mark.empty()) return "trusted:" + mark;
  mark = attribute(folder, kUserMark);
  return mark.empty() ? mark : "user:" + mark;
}

Result<MountState> mount_state(const std::string& path, const std::string& upper) {
  struct statx st{};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_TYPE, &st) < 0) {
    if (errno == ENOENT || errno == ENOTDIR) return MountState::none;
    return fail(errno_error(errno, "stat " + path));  // ENOTCONN, ESTALE, EIO: a broken mount
  }
  if ((st.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0) return MountState::none;
  struct statfs fs{};
  if (::statfs(path.c_str(), &fs) < 0) return fail(errno_error(errno, "statfs " + path));
  if (fs.f_type != kOverlayMagic) return MountState::foreign;
  const std::string mark = layer_mark(upper);
  return !mark.empty() && layer_mark(path) == mark ? MountState::ours : MountState::foreign;
}

Result<void> mount_overlay(const OverlayFolders& folders, const std::string& path) {
  const std::string mark = layer_mark(folders.upper);
  if (mark.empty()) {
    return fail(ErrorKind::unsupported, "overlay_denied",
                folders.upper + ": its mark cannot be read: it was made by root");
  }
  Folders open;
  Result<std::string> options = options_of(folders, mark.starts_with("trusted:"), open);
  if (!options) return fail(std::move(options).error());
  // By number: whoever replaces the folder by a link meanwhile gets nothing mounted elsewhere.
  const std::string target = open.open(path);
  if (target.empty()) {
    if (errno == ELOOP || errno == ENOTDIR) {
      return fail(ErrorKind::conflict, "path_occupied", path + ": is not a folder");
    }
    return fail(errno_error(errno, "open " + path));
  }
  if (Result<void> empty = refuse_unless_empty(path, target); !empty) return empty;
  if (::mount("berth", target.c_str(), "overlay", MS_NOSUID | MS_NODEV, options->c_str()) < 0) {
    return fail(denied(errno, folders));
  }
  Result<MountState> state = mount_state(path, folders.upper);
  if (state && *state == MountState::ours) return {};
  static_cast<void>(::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW));
  if (!state) return fail(std::move(state).error());
  return fail(ErrorKind::unavailable, "overlay_foreign_mount",
              path + ": something else was mounted there meanwhile");
}

Result<void> unmount_overlay(const std::string& path, const std::string& upper, bool detach) {
  for (int i = 0; i < kUnmountsMax; ++i) {  // a mount may lie on a mount
    Result<MountState> state = mount_state(path, upper);
    if (!state) return fail(std::move(state).error());
    if (*state == MountState::none) return {};
    if (*state == MountState::foreign) break;
    if (::umount2(path.c_str(), UMOUNT_NOFOLLOW) == 0) continue;
    if (errno == EBUSY && detach && ::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
      continue;
    }
    if (errno == EBUSY) {
      return fail(ErrorKind::busy, "overlay_in_use", path + ": a process still uses it");
    }
    return fail(errno_error(errno, "umount " + path));
  }
  return fail(ErrorKind::conflict, "overlay_foreign_mount",
              path + ": something else is mounted there");
}

}  // namespace berth::git::detail
