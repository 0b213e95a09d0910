#include <berth/git/files.h>
#include <berth/git/folder_scan.h>
#include <berth/git/special_files.h>

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace berth::git::detail {
namespace {

/// The part of the entries below one folder.
struct Range {
  std::size_t begin;
  std::size_t end;
  bool empty() const { return begin == end; }
};

struct Folder {
  std::string path;  // "" or "a/b/"
  Rules rules;       // of the folders above
  bool ignored;
  Range range;
};

struct Name {
  std::string text;
  unsigned char type;
};

/// Never through a link, whatever happens to the folders meanwhile.
int open_folder(int root, const std::string& path) {
  const std::string name = path.empty() ? "." : path;
  struct open_how how{};
  how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH;
  const long fd = ::syscall(SYS_openat2, root, name.c_str(), &how, sizeof how);
  if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) return static_cast<int>(fd);
  return ::openat(root, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/// One thread's walk.
class Walk {
 public:
  Walk(const ScanRequest& request, int root, std::vector<char>& found)
      : request_(request), root_(root), found_(found) {}

  /// Looks at one folder and appends the folders in it that are to be entered.
  Result<void> visit(const Folder& folder, std::vector<Folder>& next) {
    const int fd = open_folder(root_, folder.path);
    if (fd < 0) {
      note_closed(folder);
      return {};
    }
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd), ::closedir);
    if (!dir) {
      ::close(fd);
      return fail(errno_error(ENOMEM, folder.path));
    }
    bool has_rules = false;
    names_.clear();
    while (const dirent* entry = ::readdir(dir.get())) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == ".." || name == ".git") continue;
      has_rules = has_rules || name == ".gitignore";
      if (name == ".gitattributes" || name == ".gitignore") {
        if (Result<void> plain = check_rules(fd, folder.path, entry->d_name); !plain) return plain;
      }
      names_.push_back({entry->d_name, entry->d_type});
    }
    Rules rules = folder.rules;
    if (has_rules && !folder.ignored) {
      rules = with_rule_file(std::move(rules), fd, ".gitignore", folder.path, false);
    }
    for (const Name& name : names_) look_at(fd, folder, rules, name, next);
    return {};
  }

  /// One name in an open folder; subfolders to enter are appended.
  void look_at(int fd, const Folder& folder, const Rules& rules, const Name& name,
               std::vector<Folder>& next) {
    path_.assign(folder.path).append(name.text);
    struct stat st{};
    bool have_stat = false;
    unsigned char type = name.type;
    if (type == DT_UNKNOWN) {
      if (::fstatat(fd, name.text.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) return;
      have_stat = true;
      type = static_cast<unsigned char>(IFTODT(st.st_mode));
    }
    if (type == DT_DIR) {
      look_at_folder(folder, rules, next);
      return;
    }
    const std::int64_t known = find(folder.range);
    if (known < 0 && (folder.ignored || is_ignored(rules, path_, false))) return;
    if (type != DT_REG && type != DT_LNK) {
      findings_.unreadable.push_back(path_);
      return;
    }
    ++findings_.looked_at;
    if (!have_stat && ::fstatat(fd, name.text.c_str(), &st, AT_SYMLINK_NOFOLLOW) < 0) return;
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) return;  // it has just become something else
    note_file(folder, rules, known, st);
  }

  ScanFindings findings_;

 private:
  void note_file(const Folder& folder, const Rules& rules, std::int64_t known,
                 const struct stat& st) {
    Present present{.path = path_,
                    .kind = S_ISLNK(st.st_mode) ? PlaceKind::link : PlaceKind::file,
                    .known = known,
                    .stat = StatData::of(st),
                    .mode = st.st_mode,
                    .size = static_cast<std::uint64_t>(st.st_size)};
    if (known >= 0) {
      const auto at = static_cast<std::size_t>(known);
      found_[at] = 1;
      if (request_.tracked[at] == 0 && (folder.ignored || is_ignored(rules, path_, false))) {
        findings_.doubtful.push_back(std::move(present));
        return;
      }
      if (is_as_remembered(request_.entries[at], present)) return;
    }
    findings_.present.push_back(std::move(present));
  }

  bool is_as_remembered(const IndexEntry& entry, const Present& present) const {
    if (entry.stat != present.stat) return false;
    if (entry.stat.is_younger_than(request_.young_s, request_.young_ns)) return false;
    if (present.kind == PlaceKind::link) return entry.mode == 0120000;
    if ((entry.mode & 0170000) != 0100000) return false;
    return !request_.trust_mode || ((entry.mode & 0100) != 0) == ((present.mode & 0100) != 0);
  }

  void look_at_folder(const Folder& folder, const Rules& rules, std::vector<Folder>& next) {
    const std::int64_t known = find(folder.range);
    if (known >= 0 && request_.entries[static_cast<std::size_t>(known)].mode == 0160000) {
      found_[static_cast<std::size_t>(known)] = 1;
      const bool ignored = folder.ignored || is_ignored(rules, path_, true);
      const bool tracked = request_.tracked[static_cast<std::size_t>(known)] != 0;
      Present present{.path = path_, .kind = PlaceKind::repository, .known = known};
      const bool filled = kind_of(request_.root + "/" + path_ + "/.git") != PathKind::missing;
      if ((ignored || !filled) && !tracked) {
        findings_.doubtful.push_back(std::move(present));
      } else if (filled) {
        findings_.present.push_back(std::move(present));
      }
      return;
    }
    path_ += '/';
    const Range range = below(folder.range);
    const std::string_view bare = std::string_view(path_).substr(0, path_.size() - 1);
    const bool ignored = folder.ignored || is_ignored(rules, bare, true);
    if (range.empty()) {
      if (ignored) return;
      if (is_repository(request_.root + "/" + path_)) {
        findings_.present.push_back({.path = std::string(bare), .kind = PlaceKind::repository});
        return;
      }
    }
    next.push_back({path_, rules, ignored, range});
  }

  /// A folder that cannot be read: what is remembered of it stays.
  void note_closed(const Folder& folder) {
    if (errno == ENOENT || errno == ENOTDIR || errno == ELOOP) return;
    std::fill(found_.begin() + static_cast<std::ptrdiff_t>(folder.range.begin),
              found_.begin() + static_cast<std::ptrdiff_t>(folder.range.end), 1);
    findings_.unreadable.push_back(folder.path);
  }

  Result<void> check_rules(int fd, const std::string& folder, const char* name) {
    return check_rule_file(fd, name, request_.root + "/" + folder + name);
  }

  /// The entry of path_, or -1.
  std::int64_t find(Range range) const {
    const std::size_t at = lower_bound(range, path_);
    if (at == range.end || request_.entries[at].path != path_) return -1;
    return static_cast<std::int64_t>(at);
  }
  /// The entries that begin with path_, which ends in a slash.
  Range below(Range range) const {
    const std::size_t begin = lower_bound(range, path_);
    std::string last = path_;
    last.back() = '/' + 1;
    return {begin, lower_bound({begin, range.end}, last)};
  }
  std::size_t lower_bound(Range range, std::string_view path) const {
    const auto first = request_.entries.begin();
    const auto at = std::lower_bound(
        first + static_cast<std::ptrdiff_t>(range.begin),
        first + static_cast<std::ptrdiff_t>(range.end), path,
        [](const IndexEntry& entry, std::string_view wanted) { return entry.path < wanted; });
    return static_cast<std::size_t>(at - first);
  }

  const ScanRequest& request_;
  int root_;
  std::vector<char>& found_;  // each byte is written by the one walk that visits its folder
  std::vector<Name> names_;
  std::string path_;
};

/// Folders that wait for a thread. The last one to find nothing left ends all.
class Waiting {
 public:
  void add(std::vector<Folder>& folders) {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (Folder& folder : folders) folders_.push_back(std::move(folder));
    folders.clear();
    changed_.notify_all();
  }
  bool take(Folder& folder) {
    std::unique_lock<std::mutex> lock(mutex_);
    ++idle_;
    changed_.wait(lock, [&] { return !folders_.empty() || idle_ == workers_ || over_; });
    if (folders_.empty() || over_) {
      over_ = true;
      changed_.notify_all();
      return false;
    }
    --idle_;
    folder = std::move(folders_.back());
    folders_.pop_back();
    return true;
  }
  void end(Error error) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!failure_) failure_ = std::move(error);
    over_ = true;
    changed_.notify_all();
  }
  void set_workers(unsigned workers) { workers_ = workers; }
  std::optional<Error> failure() { return std::move(failure_); }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Folder> folders_;
  std::optional<Error> failure_;
  unsigned workers_ = 1;
  unsigned idle_ = 0;
  bool over_ = false;
};

void work(Walk& walk, Waiting& waiting, const Patience& patience) {
  std::vector<Folder> mine;
  std::vector<Folder> next;
  Folder folder;
  while (true) {
    if (!mine.empty()) {
      folder = std::move(mine.back());
      mine.pop_back();
    } else if (!waiting.take(folder)) {
      return;
    }
    Result<void> done = patience.check("looking at the working files");
    if (done) done = walk.visit(folder, next);
    if (!done) {
      waiting.end(std::move(done).error());
      return;
    }
    // Narrow folders are walked on here, wide ones are shared out.
    if (next.size() > 1) {
      waiting.add(next);
    } else {
      for (Folder& one : next) mine.push_back(std::move(one));
      next.clear();
    }
  }
}

Range range_of(const std::vector<IndexEntry>& entries, const std::string& folder) {
  if (folder.empty()) return {0, entries.size()};
  const auto less = [](const IndexEntry& entry, std::string_view wanted) {
    return entry.path < wanted;
  };
  std::string last = folder;
  last.back() = '/' + 1;
  const auto begin = std::lower_bound(entries.begin(), entries.end(), folder, less);
  const auto end = std::lower_bound(begin, entries.end(), last, less);
  return {static_cast<std::size_t>(begin - entries.begin()),
          static_cast<std::size_t>(end - entries.begin())};
}

}  // namespace

void ScanFindings::append(ScanFindings&& other) {
  std::move(other.present.begin(), other.present.end(), std::back_inserter(present));
  std::move(other.doubtful.begin(), other.doubtful.end(), std::back_inserter(doubtful));
  std::move(other.unreadable.begin(), other.unreadable.end(), std::back_inserter(unreadable));
  looked_at += other.looked_at;
}

Result<ScanFindings> scan_folders(const ScanRequest& request, const ScanStart& start,
                                  std::vector<char>& found) {
  const Descriptor root(
      ::open(request.root.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (root.get() < 0) return fail(errno_error(errno, "open " + request.root));
  const unsigned workers = std::max(1U, request.threads);
  Waiting waiting;
  waiting.set_workers(workers);
  std::vector<Folder> first;
  first.push_back(
      {start.folder, start.rules, start.ignored, range_of(request.entries, start.folder)});
  waiting.add(first);
  std::vector<Walk> walks(workers, Walk(request, root.get(), found));
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 1; i < workers; ++i) {
      threads.emplace_back([&, i] { work(walks[i], waiting, request.patience); });
    }
    work(walks[0], waiting, request.patience);
  }
  if (std::optional<Error> failure = waiting.failure()) {
    return tl::unexpected<Error>(*std::move(failure));
  }
  ScanFindings all = std::move(walks[0].findings_);
  for (unsigned i = 1; i < workers; ++i) all.append(std::move(walks[i].findings_));
  return all;
}

Result<ScanFindings> scan_file(const ScanRequest& request, const std::string& path,
                               const Rules& rules, bool ignored, std::vector<char>& found) {
  const Descriptor root(
      ::open(request.root.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (root.get() < 0) return fail(errno_error(errno, "open " + request.root));
  const std::size_t cut = path.rfind('/') + 1;
  const Folder folder{path.substr(0, cut), rules, ignored, {0, request.entries.size()}};
  const Descriptor parent(open_folder(root.get(), folder.path));
  if (parent.get() < 0) return ScanFindings();
  Walk walk(request, root.get(), found);
  std::vector<Folder> next;
  walk.look_at(parent.get(), folder, rules, {path.substr(cut), DT_UNKNOWN}, next);
  return std::move(walk.findings_);
}

bool is_repository(const std::string& path) {
  const std::string git = path + (path.ends_with('/') ? ".git" : "/.git");
  struct stat st{};
  if (::lstat(git.c_str(), &st) < 0) return false;
  if (S_ISREG(st.st_mode)) {
    const Result<std::string> line = read_line_file(git);
    return line && line->starts_with("gitdir:");
  }
  return kind_of(git + "/HEAD") != PathKind::missing &&
         (kind_of(git + "/objects") != PathKind::missing ||
          kind_of(git + "/commondir") == PathKind::file);
}

}  // namespace berth::git::detail
