#include <berth/io/files_linux.h>

#include <berth/io/folder_tree_linux.h>

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>

namespace berth::inline v0::io {

namespace {

constexpr std::size_t kChunk = 64 * 1024;

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<void> write_all(int file, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    const ssize_t wrote = ::write(file, content.data(), content.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail(errno_error(errno, "writing " + path));
    content.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return {};
}

/// Makes a rename survive a power cut.
Result<void> sync_folder(const std::string& folder) {
  const Fd file(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!file.valid() || ::fsync(file.get()) != 0) {
    return fail(errno_error(errno, "fsync of " + folder));
  }
  return {};
}

/// mkdir(2) takes the umask off.
Result<void> set_mode(const std::string& folder, unsigned mode) {
  struct stat info;
  if (::stat(folder.c_str(), &info) == 0 && (info.st_mode & 07777) == mode) return {};
  if (::chmod(folder.c_str(), mode) != 0) return fail(errno_error(errno, folder));
  return {};
}

/// Removes a half-written file unless the rename has given it its name.
class Temporary {
 public:
  explicit Temporary(const std::string& beside) : path(beside + ".tmp-XXXXXX") {
    file.reset(::mkostemp(path.data(), O_CLOEXEC));
    exists_ = file.valid();
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    if (exists_) ::unlink(path.c_str());
  }
  void keep() { exists_ = false; }

  std::string path;
  Fd file;

 private:
  bool exists_ = false;
};

}  // namespace

Result<std::string> LinuxFiles::read(const std::string& path, std::size_t bytes_max) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return fail(errno_error(errno, path));
  std::string content;
  for (;;) {
    const std::size_t before = content.size();
    content.resize(before + kChunk);
    const ssize_t got = ::read(file.get(), content.data() + before, kChunk);
    content.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail(errno_error(errno, "reading " + path));
    if (content.size() > bytes_max) {
      return fail(ErrorKind::invalid, "file_too_big",
                  path + " is bigger than " + std::to_string(bytes_max) + " bytes");
    }
    if (got == 0) return content;
  }
}

Result<void> LinuxFiles::write_atomic(const std::string& path, std::string_view content,
                                      unsigned mode) {
  Temporary temporary(path);
  const int file = temporary.file.get();
  if (file < 0) return fail(errno_error(errno, "cannot write " + path));
  if (::fchmod(file, mode) != 0) return fail(errno_error(errno, "chmod of " + path));
  Result<void> written = write_all(file, content, path);
  if (!written.has_value()) return written;
  if (::fsync(file) != 0) return fail(errno_error(errno, "fsync of " + path));
  if (::rename(temporary.path.c_str(), path.c_str()) != 0) {
    return fail(errno_error(errno, "cannot replace " + path));
  }
  temporary.keep();
  return sync_folder(folder_of(path));
}

Result<void> LinuxFiles::make_directories(const std::string& path, unsigned mode) {
  // Mostly only the last one is missing.
  if (::mkdir(path.c_str(), mode) == 0) return set_mode(path, mode);
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string folder = path.substr(0, end);
    if (::mkdir(folder.c_str(), mode) == 0) {
      Result<void> set = set_mode(folder, mode);
      if (!set.has_value()) return set;
    } else {
      struct stat info;
      const int error = errno;
      // EEXIST, or EROFS and EACCES of folders above ours that exist: all well if it is a folder.
      if (::stat(folder.c_str(), &info) != 0) {
        return fail(errno_error(error, "cannot make the folder " + folder));
      }
      if (!S_ISDIR(info.st_mode)) {
        return fail(errno_error(ENOTDIR, folder));
      }
    }
    if (end == std::string::npos) return {};
  }
}

bool LinuxFiles::exists(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0;
}

Result<void> LinuxFiles::remove_if_exists(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  if (errno == EISDIR && (::rmdir(path.c_str()) == 0 || errno == ENOENT)) return {};
  return fail(errno_error(errno, "cannot remove " + path));
}

namespace {

using OpenFolder = std::unique_ptr<DIR, int (*)(DIR*)>;

/// Names in the folder `name` of `above`; never follows a link.
OpenFolder open_folder(int above, const char* name) {
  Fd folder(::openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  DIR* opened = folder.valid() ? ::fdopendir(folder.get()) : nullptr;
  if (opened != nullptr) static_cast<void>(folder.release());
  return {opened, &::closedir};
}

bool is_dots(const char* name) {
  return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/// 0 or an errno. One descriptor a level: deeper trees than the limit of those are not berth's.
int remove_below(int above, const char* name) {
  if (::unlinkat(above, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR && errno != EPERM) return errno;
  const OpenFolder folder = open_folder(above, name);
  if (folder == nullptr) return errno;
  while (const dirent* entry = ::readdir(folder.get())) {
    if (is_dots(entry->d_name)) continue;
    const int error = remove_below(::dirfd(folder.get()), entry->d_name);
    if (error != 0) return error;
  }
  return ::unlinkat(above, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : errno;
}

}  // namespace

Result<void> LinuxFiles::remove_all(const std::string& path) {
  const int error = remove_below(AT_FDCWD, path.c_str());
  if (error == 0) return {};
  return fail(errno_error(error, "cannot remove " + path));
}

Result<void> LinuxFiles::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return fail(errno_error(errno, "cannot rename " + from + " to " + to));
  }
  return sync_folder(folder_of(to));
}

Result<void> LinuxFiles::append(const std::string& path, std::string_view content, unsigned mode) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, mode));
  if (!file.valid()) return fail(errno_error(errno, "cannot append to " + path));
  return write_all(file.get(), content, path);
}

Result<std::vector<FolderEntry>> LinuxFiles::list(const std::string& folder) {
  const OpenFolder opened(::opendir(folder.c_str()), &::closedir);
  if (opened == nullptr) return fail(errno_error(errno, folder));
  std::vector<FolderEntry> entries;
  while (const dirent* entry = ::readdir(opened.get())) {
    if (is_dots(entry->d_name)) continue;
    struct stat info;
    if (::fstatat(::dirfd(opened.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    entries.push_back({entry->d_name, S_ISDIR(info.st_mode),
                       S_ISREG(info.st_mode) ? static_cast<std::uint64_t>(info.st_size) : 0,
                       info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1'000'000});
  }
  std::sort(entries.begin(), entries.end(),
            [](const FolderEntry& a, const FolderEntry& b) { return a.name < b.name; });
  return entries;
}

Result<std::string> LinuxFiles::canonical(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), &::free);
  if (resolved == nullptr) return fail(errno_error(errno, path));
  return std::string(resolved.get());
}

Result<std::unique_ptr<FolderTree>> LinuxFiles::open_tree(const std::string& folder) {
  return open_linux_tree(folder);
}

Result<void> LinuxFiles::lock_exclusively(const std::string& path) {
  Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file.valid()) return fail(errno_error(errno, path));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail(errno_error(errno, "locking " + path));
    std::array<char, 16> holder = {};
    const ssize_t got = ::read(file.get(), holder.data(), holder.size());
    std::string text(holder.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    text = text.substr(0, text.find('\n'));
    return fail(ErrorKind::conflict, "locked",
                path + " is locked by " + (text.empty() ? "another process" : "process " + text));
  }
  // For people and for the message above; the lock itself is the kernel's.
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(file.get(), 0) != 0) return fail(errno_error(errno, path));
  Result<void> written = write_all(file.get(), pid, path);
  if (!written.has_value()) return written;
  const std::lock_guard lock(mutex_);
  locks_.push_back(std::move(file));
  return {};
}

}  // namespace berth::inline v0::io
