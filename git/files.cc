#include <berth/git/files.h>

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

namespace berth::git::detail {
namespace {

namespace fs = std::filesystem;

Error failed(const char* call, const std::string& path) {
  return errno_error(errno, std::string(call) + " " + path);
}

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(failed("write", path));
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

/// Shares the blocks where the file system can, else lets the kernel copy.
Result<void> copy_content(int in, int out, const std::string& path) {
  if (::ioctl(out, FICLONE, in) == 0) return {};
  constexpr std::size_t kChunk = std::size_t{1} << 30;
  for (bool first = true;; first = false) {
    const ssize_t n = ::copy_file_range(in, nullptr, out, nullptr, kChunk, 0);
    if (n > 0 || (n < 0 && errno == EINTR)) continue;
    if (n == 0 && !first) return {};
    if (n == 0 || errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS) {
      break;  // an empty file, or one that only looks empty to this call, or another file system
    }
    return fail(failed("copy", path));
  }
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t n = ::read(in, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(failed("read", path));
    if (n == 0) return {};
    if (Result<void> written = write_all(out, {buffer.data(), static_cast<std::size_t>(n)}, path);
        !written) {
      return written;
    }
  }
}

int open_folder_at(int parent, const char* name) {
  constexpr int kFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  int fd = ::openat(parent, name, kFlags);
  if (fd < 0 && errno == EACCES) {
    // Tools leave read-only folders behind (module caches); they are ours to open up.
    ::fchmodat(parent, name, S_IRWXU, 0);
    fd = ::openat(parent, name, kFlags);
  }
  return fd;
}

/// Deletes the entries of the folder `fd`, which it closes. False: out of patience.
Result<bool> empty_folder(int fd, const std::string& path, const Patience& patience);

Result<bool> delete_entry(int parent, const char* name, const std::string& path,
                          const Patience& patience) {
  if (patience.exhausted()) return false;
  int rc = ::unlinkat(parent, name, 0);
  if (rc < 0 && errno == EACCES) {
    ::fchmod(parent, S_IRWXU);
    rc = ::unlinkat(parent, name, 0);
  }
  if (rc == 0 || errno == ENOENT) return true;
  if (errno != EISDIR && errno != EPERM)
    return fail(failed("unlink", path));  // EPERM: POSIX's EISDIR
  const int fd = open_folder_at(parent, name);
  if (fd < 0) return fail(failed("open", path));
  Result<bool> emptied = empty_folder(fd, path, patience);
  if (!emptied || !*emptied) return emptied;
  if (::unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT) {
    return fail(failed("rmdir", path));
  }
  return true;
}

Result<bool> empty_folder(int fd, const std::string& path, const Patience& patience) {
  DIR* raw = ::fdopendir(fd);
  if (raw == nullptr) {
    ::close(fd);
    return fail(failed("fdopendir", path));
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(raw, ::closedir);
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    Result<bool> done = delete_entry(fd, entry->d_name, path + "/" + entry->d_name, patience);
    if (!done || !*done) return done;
  }
  return true;
}

}  // namespace

PathKind kind_of(const std::string& path) {
  struct stat st{};
  if (::lstat(path.c_str(), &st) < 0) {
    return errno == ENOENT || errno == ENOTDIR ? PathKind::missing : PathKind::unreadable;
  }
  if (S_ISREG(st.st_mode)) return PathKind::file;
  if (S_ISDIR(st.st_mode)) return PathKind::directory;
  return S_ISLNK(st.st_mode) ? PathKind::link : PathKind::other;
}

std::string canonical(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), ::free);
  return resolved ? std::string(resolved.get()) : std::string();
}

std::string canonical_parent(const std::string& path) {
  const std::string parent = canonical(parent_of(path));
  if (parent.empty()) return {};
  return (parent == "/" ? "" : parent) + "/" + name_of(path);
}

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

Result<std::string> read_line_file(const std::string& path, std::size_t bytes_max) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return fail(failed("open", path));
  struct stat st{};
  if (::fstat(fd.get(), &st) < 0) return fail(failed("stat", path));
  if (!S_ISREG(st.st_mode)) {
    return fail(ErrorKind::invalid, "not_a_file", path + ": not a regular file");
  }
  std::string content(bytes_max + 1, '\0');
  std::size_t used = 0;
  while (used < content.size()) {
    const ssize_t n = ::read(fd.get(), content.data() + used, content.size() - used);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(failed("read", path));
    if (n == 0) break;
    used += static_cast<std::size_t>(n);
  }
  if (used > bytes_max) return fail(ErrorKind::invalid, "file_too_large", path + ": too large");
  content.resize(used);
  const std::size_t end = content.find_last_not_of(" \t\r\n");
  content.resize(end == std::string::npos ? 0 : end + 1);
  return content;
}

Result<void> write_file(const std::string& path, std::string_view content) {
  const std::string temporary = path + ".berth-new";
  const Descriptor fd(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (fd.get() < 0) return fail(failed("open", temporary));
  Result<void> written = write_all(fd.get(), content, temporary);
  if (!written) {
    ::unlink(temporary.c_str());
    return written;
  }
  if (::rename(temporary.c_str(), path.c_str()) < 0) return fail(failed("rename", path));
  return {};
}

Result<void> copy_file(const std::string& from, const std::string& to) {
  const Descriptor in(::open(from.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (in.get() < 0) return fail(failed("open", from));
  const std::string temporary = to + ".berth-new";
  const Descriptor out(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666));
  if (out.get() < 0) return fail(failed("open", temporary));
  Result<void> copied = copy_content(in.get(), out.get(), temporary);
  if (!copied) {
    ::unlink(temporary.c_str());
    return copied;
  }
  if (::rename(temporary.c_str(), to.c_str()) < 0) return fail(failed("rename", to));
  return {};
}

Result<void> link_or_copy_file(const std::string& from, const std::string& to) {
  const std::string temporary = to + ".berth-new";
  if (Result<void> free = remove_file_if_exists(temporary); !free) return free;
  if (::link(from.c_str(), temporary.c_str()) < 0) return copy_file(from, to);
  // Renaming one name of a file onto another of its names does nothing and leaves both.
  if (Result<void> free = remove_file_if_exists(to); !free) return free;
  if (::rename(temporary.c_str(), to.c_str()) < 0) return fail(failed("rename", to));
  return {};
}

Result<void> remove_file_if_exists(const std::string& path) {
  if (::unlink(path.c_str()) < 0 && errno != ENOENT && errno != ENOTDIR) {
    return fail(failed("unlink", path));
  }
  return {};
}

Result<void> make_folders(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return fail(errno_error(error.value(), "mkdir " + path));
  return {};
}

bool is_empty_folder(const std::string& path) {
  std::error_code error;
  return kind_of(path) == PathKind::directory && fs::is_empty(path, error) && !error;
}

Result<bool> delete_tree(const std::string& path, const Patience& patience) {
  const Descriptor parent(::open(parent_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (parent.get() < 0) {
    if (errno == ENOENT) return true;
    return fail(failed("open", parent_of(path)));
  }
  return delete_entry(parent.get(), name_of(path).c_str(), path, patience);
}

Result<std::string> move_to_trash(const std::string& path, const std::string& trash) {
  if (Result<void> made = make_folders(trash); !made) return fail(made.error());
  const std::string stem = trash + "/" + name_of(path) + ".";
  for (int n = 1; n <= 10'000; ++n) {
    const std::string target = stem + std::to_string(n);
    // RENAME_NOREPLACE: two removals must not take the same name; an empty folder there would be
    // replaced silently.
    if (::renameat2(AT_FDCWD, path.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) == 0) {
      return target;
    }
    if (errno != EEXIST) return fail(failed("rename", path + " to " + target));
  }
  return fail(ErrorKind::overloaded, "trash_full", trash + ": no free name");
}

bool is_safe_relative(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.find('\0') != std::string_view::npos)
    return false;
  while (true) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return false;
    if (part.size() == 4 && ::strncasecmp(part.data(), ".git", 4) == 0) return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

bool has_real_parents(const std::string& root, std::string_view relative) {
  for (std::size_t slash = relative.find('/'); slash != std::string_view::npos;
       slash = relative.find('/', slash + 1)) {
    if (kind_of(root + "/" + std::string(relative.substr(0, slash))) != PathKind::directory) {
      return false;
    }
  }
  return true;
}

}  // namespace berth::git::detail
