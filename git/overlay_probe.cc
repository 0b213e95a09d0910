#include <berth/git/files.h>
#include <berth/git/overlay.h>
#include <berth/git/overlay_mount.h>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

namespace berth::git {

using detail::OverlayFolders;

namespace {

/// What a workspace needs of a mounted overlay: a file of the lower layer goes away above only, a
/// folder is renamed (or refused with EXDEV, which every tool can handle).
Result<void> try_out(const OverlayFolders& folders, const std::string& mounted) {
  if (::unlink((mounted + "/gone").c_str()) < 0) {
    return fail(errno_error(errno, "deleting a file of the lower layer"));
  }
  if (detail::kind_of(folders.lower + "/gone") != detail::PathKind::file ||
      detail::kind_of(mounted + "/gone") != detail::PathKind::missing) {
    return fail(ErrorKind::unsupported, "overlay_denied", "a deletion reached the lower layer");
  }
  if (std::rename((mounted + "/folder").c_str(), (mounted + "/moved").c_str()) < 0 &&
      errno != EXDEV) {
    return fail(errno_error(errno, "renaming a folder of the lower layer"));
  }
  return {};
}

Result<void> probe_in(const std::string& root) {
  const OverlayFolders folders{root + "/lower", root + "/upper", root + "/work"};
  const std::string mounted = root + "/mounted";
  for (const std::string& folder :
       {folders.lower + "/folder", folders.upper, folders.work, mounted}) {
    if (Result<void> made = detail::make_folders(folder); !made) return made;
  }
  Result<void> done = detail::write_file(folders.lower + "/gone", "x");
  if (done) done = detail::write_file(folders.lower + "/folder/file", "x");
  if (done) done = detail::mark_layer(folders.upper, "probe");
  if (done) done = detail::mount_overlay(folders, mounted);
  if (!done) return done;
  done = try_out(folders, mounted);
  Result<void> unmounted = detail::unmount_overlay(mounted, folders.upper, true);
  return done ? unmounted : done;
}

Result<void> write_proc(const char* file, const std::string& text) {
  const int fd = ::open(file, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return fail(errno_error(errno, std::string("open ") + file));
  const ssize_t n = ::write(fd, text.data(), text.size());
  const int error = errno;
  ::close(fd);
  if (n < 0) return fail(errno_error(error, std::string("write ") + file));
  return {};
}

}  // namespace

OverlaySupport probe_overlay(const std::string& store) {
  if (Result<void> made = detail::make_folders(store); !made) {
    return {.usable = false, .reason = made.error().message};
  }
  std::string root = store + "/probe-XXXXXX";
  if (::mkdtemp(root.data()) == nullptr) {
    return {.usable = false, .reason = errno_error(errno, "mkdir in " + store).message};
  }
  Result<void> tried = probe_in(root);
  static_cast<void>(detail::delete_tree(root, {}));
  if (!tried) return {.usable = false, .reason = tried.error().message};
  return {.usable = true, .reason = {}};
}

Result<void> enter_overlay_namespace() {
  const std::string user = std::to_string(::geteuid());
  const std::string group = std::to_string(::getegid());
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) {
    if (errno == EINVAL) {
      return fail(ErrorKind::unsupported, "has_threads",
                  "a user namespace can only be entered while the process has one thread");
    }
    return fail(ErrorKind::unsupported, "no_user_namespace",
                errno_error(errno, "unshare").message + ": user namespaces are not allowed here");
  }
  Result<void> done = write_proc("/proc/self/setgroups", "deny");
  if (done) done = write_proc("/proc/self/uid_map", user + " " + user + " 1");
  if (done) done = write_proc("/proc/self/gid_map", group + " " + group + " 1");
  if (!done) return done;
  // Later mounts of the machine still appear here, ours stay here.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) < 0) {
    return fail(errno_error(errno, "mount --make-rslave /"));
  }
  return {};
}

}  // namespace berth::git
