#include <berth/io/folder_tree_linux.h>

#include <berth/core/hash.h>
#include <berth/core/hex.h>
#include <berth/io/fd.h>

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <queue>
#include <utility>

namespace berth::inline v0::io {

namespace {

/// Somebody renames folders all the time: then the path is refused, at last.
constexpr int kTriesMax = 64;
constexpr std::size_t kLinkMax = 4096;

TreeType type_of(mode_t mode) {
  if (S_ISREG(mode)) return TreeType::file;
  if (S_ISDIR(mode)) return TreeType::folder;
  return S_ISLNK(mode) ? TreeType::link : TreeType::other;
}

TreeEntry entry_of(std::string name, const struct stat& info) {
  TreeEntry entry;
  entry.name = std::move(name);
  entry.type = type_of(info.st_mode);
  if (entry.type != TreeType::folder) entry.bytes = static_cast<std::uint64_t>(info.st_size);
  entry.modified_ms = info.st_mtim.tv_sec * 1000 + info.st_mtim.tv_nsec / 1'000'000;
  entry.mode = info.st_mode & 07777U;
  if (entry.type == TreeType::file) {
    std::string what;
    for (const std::int64_t part :
         {static_cast<std::int64_t>(info.st_dev), static_cast<std::int64_t>(info.st_ino),
          static_cast<std::int64_t>(info.st_size), static_cast<std::int64_t>(info.st_mtim.tv_sec),
          static_cast<std::int64_t>(info.st_mtim.tv_nsec),
          static_cast<std::int64_t>(info.st_ctim.tv_sec),
          static_cast<std::int64_t>(info.st_ctim.tv_nsec)}) {
      what += std::to_string(part) + "-";
    }
    append_hex(entry.version, fnv1a(what));
  }
  return entry;
}

/// ENOTDIR: what the path wants to go through is a file, so there is nothing at its end.
Error path_error(int error, const std::string& path) {
  switch (error) {
    case EXDEV:   // the path leads outside
    case EAGAIN:  // folders moved while it was looked up, again and again
    case ELOOP:   // a magic link, links in a circle, or (without openat2) any link
      return make_error(ErrorKind::denied, "path_escapes",
                        "path: " + path + " leads out of the workspace, or over a link that does");
    case ENOENT:
    case ENOTDIR:
      return make_error(ErrorKind::not_found, "file_not_found", "path: there is no " + path);
    case ENAMETOOLONG:
      return make_error(ErrorKind::invalid, "bad_path", "path: a name in it is too long");
    default:
      return errno_error(error, "path: " + path);
  }
}

Error not_a_file(const std::string& path) {
  return make_error(ErrorKind::invalid, "not_a_file", "path: " + path + " is no regular file");
}

/// The text of a link; of /proc/self/fd/N the path of what is open. Empty when it cannot be read.
std::string link_text(int folder, const char* name) {
  std::string text(kLinkMax, '\0');
  const ssize_t size = ::readlinkat(folder, name, text.data(), text.size());
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  return text;
}

std::string proc_path(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

std::string joined(const std::vector<std::string>& segments, std::size_t count) {
  std::string path;
  for (std::size_t i = 0; i < count; ++i) path += (i == 0 ? "" : "/") + segments[i];
  return path;
}

class LinuxTreeFile final : public TreeFile {
 public:
  LinuxTreeFile(Fd file, TreeEntry entry) : file_(std::move(file)), entry_(std::move(entry)) {}

  const TreeEntry& entry() const override { return entry_; }
  Result<std::string> read(std::uint64_t offset, std::size_t bytes_max) override {
    std::string bytes(bytes_max, '\0');
    ssize_t got = -1;
    do {
      got = ::pread(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    } while (got < 0 && errno == EINTR);
    if (got < 0) return fail(errno_error(errno, "reading the file"));
    bytes.resize(static_cast<std::size_t>(got));
    return bytes;
  }

 private:
  Fd file_;
  TreeEntry entry_;
};

/// A new file beside the one that it will replace; goes unless it was renamed.
class Draft {
 public:
  Draft(int folder, mode_t mode) : folder_(folder) {
    static std::atomic<unsigned> count = 0;
    do {
      name = ".berth-" + std::to_string(::getpid()) + "-" + std::to_string(++count) + ".tmp";
      file.reset(::openat(folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    } while (!file.valid() && errno == EEXIST);
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  ~Draft() {
    if (file.valid() && !kept_) ::unlinkat(folder_, name.c_str(), 0);
  }
  void keep() { kept_ = true; }

  std::string name;
  Fd file;

 private:
  int folder_;
  bool kept_ = false;
};

class LinuxTree final : public FolderTree {
 public:
  LinuxTree(Fd root, Beneath beneath) : root_(std::move(root)), beneath_(beneath) {}

  Result<TreeEntry> stat(const std::string& path) override;
  Result<std::vector<TreeEntry>> list(const std::string& path, std::string_view after,
                                      std::size_t limit, bool* more) override;
  Result<std::unique_ptr<TreeFile>> open(const std::string& path) override;
  Result<TreeEntry> write(const std::string& path, std::string_view content,
                          const TreeCondition& condition) override;
  Result<void> remove(const std::string& path, const TreeCondition& condition) override;
  Result<void> make_folder(const std::string& path) override;

 private:
  Result<Fd> open_below(const std::string& path, int flags);
  int open_raw(const std::string& path, int flags);
  int open_by_segment(const std::string& path, int flags);
  bool is_below(int fd, bool* git);
  Result<Fd> open_folder(const std::vector<std::string>& segments, std::size_t count, bool make);
  Result<std::optional<TreeEntry>> look(int folder, const std::string& name);

  Fd root_;
  std::atomic<Beneath> beneath_;
};

/// A descriptor or -1 with errno.
int LinuxTree::open_raw(const std::string& path, int flags) {
  if (path.empty()) return ::openat(root_.get(), ".", flags | O_CLOEXEC);
  for (int tries = 0; beneath_ == Beneath::kernel; ++tries) {
    open_how how = {};
    how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    const long fd = ::syscall(SYS_openat2, root_.get(), path.c_str(), &how, sizeof how);
    if (fd >= 0) return static_cast<int>(fd);
    if (errno == EAGAIN && tries < kTriesMax) continue;
    // EPERM: what a seccomp profile says that does not know openat2.
    if (errno != ENOSYS && errno != EPERM) return -1;
    beneath_ = Beneath::by_segment;
  }
  return open_by_segment(path, flags);
}

/// Without `..` and without links a path has no way out.
int LinuxTree::open_by_segment(const std::string& path, int flags) {
  Fd at;
  std::size_t begin = 0;
  for (std::size_t end = path.find('/'); end != std::string::npos; end = path.find('/', begin)) {
    const std::string segment = path.substr(begin, end - begin);
    const int above = at.valid() ? at.get() : root_.get();
    Fd next(::openat(above, segment.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next.valid()) return -1;
    at = std::move(next);
    begin = end + 1;
  }
  return ::openat(at.valid() ? at.get() : root_.get(), path.c_str() + begin,
                  flags | O_NOFOLLOW | O_CLOEXEC);
}

/// Where the kernel says that it is: below the root, and not in git's folder. The second defence
/// against links, and the only one against a link to `.git`.
bool LinuxTree::is_below(int fd, bool* git) {
  const std::string root = link_text(AT_FDCWD, proc_path(root_.get()).c_str());
  const std::string path = link_text(AT_FDCWD, proc_path(fd).c_str());
  if (root.empty() || !path.starts_with(root)) return false;
  if (path.size() == root.size()) return true;
  std::size_t begin = root.size() + (root == "/" ? 0 : 1);
  if (root != "/" && path[root.size()] != '/') return false;
  for (; begin <= path.size() && !*git;) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    *git = is_git_name(std::string_view(path).substr(begin, end - begin));
    begin = end + 1;
  }
  return true;
}

Result<Fd> LinuxTree::open_below(const std::string& path, int flags) {
  Fd fd(open_raw(path, flags));
  if (!fd.valid()) return fail(path_error(errno, path));
  bool git = false;
  if (!is_below(fd.get(), &git)) return fail(path_error(EXDEV, path));
  if (git) {
    return fail(ErrorKind::denied, "path_is_git", "path: git's own files are not shown here");
  }
  return fd;
}

Result<Fd> LinuxTree::open_folder(const std::vector<std::string>& segments, std::size_t count,
                                  bool make) {
  constexpr int kFolder = O_PATH | O_DIRECTORY;
  Result<Fd> whole = open_below(joined(segments, count), kFolder);
  if (whole.has_value() || !make || whole.error().kind != ErrorKind::not_found) return whole;
  Result<Fd> above = open_below({}, kFolder);
  for (std::size_t i = 0; above.has_value() && i < count; ++i) {
    if (::mkdirat(above->get(), segments[i].c_str(), 0777) != 0 && errno != EEXIST) {
      return fail(path_error(errno, joined(segments, i + 1)));
    }
    above = open_below(joined(segments, i + 1), kFolder);
  }
  return above;
}

/// What has that name in a folder; a link as itself.
Result<std::optional<TreeEntry>> LinuxTree::look(int folder, const std::string& name) {
  struct stat info;
  if (::fstatat(folder, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    TreeEntry entry = entry_of(name, info);
    if (entry.type == TreeType::link) entry.link = link_text(folder, name.c_str());
    return std::optional<TreeEntry>(std::move(entry));
  }
  if (errno == ENOENT) return std::optional<TreeEntry>();
  return fail(path_error(errno, name));
}

Result<TreeEntry> LinuxTree::stat(const std::string& path) {
  Result<std::vector<std::string>> segments = tree_segments(path);
  if (!segments.has_value()) return fail(std::move(segments.error()));
  Result<Fd> fd = open_below(path, O_PATH | O_NOFOLLOW);
  if (!fd.has_value()) return fail(std::move(fd.error()));
  struct stat info;
  if (::fstat(fd->get(), &info) != 0) return fail(path_error(errno, path));
  TreeEntry entry = entry_of({}, info);
  if (entry.type == TreeType::link) entry.link = link_text(fd->get(), "");
  return entry;
}

Result<std::vector<TreeEntry>> LinuxTree::list(const std::string& path, std::string_view after,
                                               std::size_t limit, bool* more) {
  Result<std::vector<std::string>> segments = tree_segments(path);
  if (!segments.has_value()) return fail(std::move(segments.error()));
  Result<Fd> fd = open_below(path, O_RDONLY | O_DIRECTORY);
  if (!fd.has_value()) return fail(std::move(fd.error()));
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::fdopendir(fd->get()), &::closedir);
  if (folder == nullptr) return fail(path_error(errno, path));
  static_cast<void>(fd->release());
  // The smallest so far: however big the folder is, this is all that is kept of it.
  std::priority_queue<std::string> names;
  *more = false;
  while (const dirent* next = ::readdir(folder.get())) {
    const std::string_view name = next->d_name;
    if (name == "." || name == ".." || name <= after || is_git_name(name)) continue;
    names.emplace(name);
    if (names.size() > limit) {
      names.pop();
      *more = true;
    }
  }
  std::vector<TreeEntry> entries;
  for (; !names.empty(); names.pop()) {
    Result<std::optional<TreeEntry>> entry = look(::dirfd(folder.get()), names.top());
    // What went in between is not there.
    if (entry.has_value() && entry->has_value()) entries.push_back(std::move(**entry));
  }
  std::reverse(entries.begin(), entries.end());
  return entries;
}

Result<std::unique_ptr<TreeFile>> LinuxTree::open(const std::string& path) {
  Result<std::vector<std::string>> segments = tree_segments(path);
  if (!segments.has_value()) return fail(std::move(segments.error()));
  // To open a FIFO or a device may wait, or do something: first what it is, then its content.
  Result<Fd> place = open_below(path, O_PATH);
  if (!place.has_value()) return fail(std::move(place.error()));
  struct stat info;
  if (::fstat(place->get(), &info) != 0) return fail(path_error(errno, path));
  if (!S_ISREG(info.st_mode)) return fail(not_a_file(path));
  Fd file(::open(proc_path(place->get()).c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file.valid()) return fail(errno_error(errno, "path: " + path));
  return std::make_unique<LinuxTreeFile>(std::move(file), entry_of(segments->back(), info));
}

Result<TreeEntry> LinuxTree::write(const std::string& path, std::string_view content,
                                   const TreeCondition& condition) {
  Result<std::vector<std::string>> segments = tree_segments(path);
  if (!segments.has_value()) return fail(std::move(segments.error()));
  if (segments->empty()) return fail(not_a_file("the workspace"));
  const std::string& name = segments->back();
  Result<Fd> folder = open_folder(*segments, segments->size() - 1, true);
  if (!folder.has_value()) return fail(std::move(folder.error()));
  Draft draft(folder->get(), 0666);
  const int file = draft.file.get();
  if (file < 0) return fail(errno_error(errno, "path: cannot write " + path));
  for (std::string_view rest = content; !rest.empty();) {
    const ssize_t wrote = ::write(file, rest.data(), rest.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return fail(errno_error(errno, "path: cannot write " + path));
    rest.remove_prefix(static_cast<std::size_t>(wrote));
  }
  // As late as can be: nobody can compare and rename in one step.
  Result<std::optional<TreeEntry>> found = look(folder->get(), name);
  if (!found.has_value()) return fail(std::move(found.error()));
  const TreeEntry* present = found->has_value() ? &**found : nullptr;
  if (Result<void> fits = check_condition(condition, present); !fits.has_value()) {
    return fail(std::move(fits.error()));
  }
  if (present != nullptr && present->type != TreeType::file) return fail(not_a_file(path));
  if (present != nullptr && ::fchmod(file, present->mode & 0777U) != 0) {
    return fail(errno_error(errno, "path: chmod of " + path));
  }
  if (::fdatasync(file) != 0 ||
      ::renameat(folder->get(), draft.name.c_str(), folder->get(), name.c_str()) != 0) {
    return fail(errno_error(errno, "path: cannot replace " + path));
  }
  draft.keep();
  struct stat info;
  if (::fstat(file, &info) != 0) return fail(errno_error(errno, "path: " + path));
  return entry_of(name, info);
}

Result<void> LinuxTree::remove(const std::string& path, const TreeCondition& condition) {
  Result<std::vector<std::string>> segments = tree_segments(path);
  if (!segments.has_value()) return fail(std::move(segments.error()));
  if (segments->empty()) return fail(not_a_file("the workspace"));
  const std::string& name = segments->back();
  Result<Fd> folder = open_folder(*segments, segments->size() - 1, false);
  if (!folder.has_value()) return fail(std::move(folder.error()));
  Result<std::optional<TreeEntry>> found = look(folder->get(), name);
  if (!found.has_value()) return fail(std::move(found.error()));
  if (!found->has_value()) return fail(path_error(ENOENT, path));
  if (Result<void> fits = check_condition(condition, &**found); !fits.has_value()) return fits;
  const int flags = (*found)->type == TreeType::folder ? AT_REMOVEDIR : 0;
  if (::unlinkat(folder->get(), name.c_str(), flags) == 0) return {};
  if (errno == ENOTEMPTY || errno == EEXIST) {
    return fail(ErrorKind::conflict, "folder_not_empty", "path: " + path + " is not empty");
  }
  return fail(path_error(errno, path));
}

Result<void> LinuxTree::make_folder(const std::string& path) {
  Result<std::vector<std::string>> segments = tree_segments(path);
  if (!segments.has_value()) return fail(std::move(segments.error()));
  Result<Fd> made = open_folder(*segments, segments->size(), true);
  if (!made.has_value()) return fail(std::move(made.error()));
  return {};
}

}  // namespace

Result<std::unique_ptr<FolderTree>> open_linux_tree(const std::string& folder, Beneath beneath) {
  Fd root(::open(folder.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!root.valid()) {
    const bool missing = errno == ENOENT || errno == ENOTDIR || errno == ELOOP;
    return fail(errno_error(missing ? ENOENT : errno, folder));
  }
  return std::make_unique<LinuxTree>(std::move(root), beneath);
}

}  // namespace berth::inline v0::io
