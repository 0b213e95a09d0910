#include <berth/git/checkout.h>
#include <berth/git/conversions.h>
#include <berth/git/failure.h>
#include <berth/git/file_writer.h>
#include <berth/git/files.h>
#include <berth/git/objects.h>
#include <berth/git/special_files.h>

#include <fcntl.h>
#include <git2.h>
#include <git2/sys/repository.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

namespace berth::git::detail {
namespace {

constexpr std::size_t kThreadsMax = 4;  // the kernel's part does not spread further
constexpr std::size_t kFilesPerThread = 256;
constexpr std::size_t kRunMin = 64;

/// The chain of open folders from the root down to the one being written; entries come sorted, so
/// each folder is made and opened once.
class FolderChain {
 public:
  explicit FolderChain(int root) { levels_.push_back({root, 0}); }
  ~FolderChain() {
    while (levels_.size() > 1) pop();
    ::close(levels_[0].fd);
  }
  FolderChain(const FolderChain&) = delete;
  FolderChain& operator=(const FolderChain&) = delete;

  /// The descriptor of the folder that `path` lies in, -1 with errno when it cannot be made.
  int folder_of(std::string_view path) {
    const std::size_t last = path.rfind('/');
    const std::string_view folder = last == std::string_view::npos ? "" : path.substr(0, last);
    while (!is_inside(folder)) pop();
    while (current_.size() < folder.size()) {
      const std::size_t start = current_.empty() ? 0 : current_.size() + 1;
      const std::size_t end = std::min(folder.find('/', start), folder.size());
      const std::string name(folder.substr(start, end - start));
      const int parent = levels_.back().fd;
      if (::mkdirat(parent, name.c_str(), 0777) < 0 && errno != EEXIST) return -1;
      const int fd =
          ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      if (fd < 0) return -1;
      levels_.push_back({fd, current_.size()});
      current_.assign(folder.substr(0, end));
    }
    return levels_.back().fd;
  }

 private:
  struct Level {
    int fd;
    std::size_t parent_length;
  };

  bool is_inside(std::string_view folder) const {
    return current_.empty() || (folder.starts_with(current_) && (folder.size() == current_.size() ||
                                                                 folder[current_.size()] == '/'));
  }
  void pop() {
    ::close(levels_.back().fd);
    current_.resize(levels_.back().parent_length);
    levels_.pop_back();
  }

  std::vector<Level> levels_;
  std::string current_;
};

std::uint32_t low32(std::uint64_t value) {
  return static_cast<std::uint32_t>(value);
}

/// libgit2 1.5 hands index entries out as const and has no call to set their times. They are heap
/// objects of the index, and going through git_index_add would look every object up again and drop
/// the cached tree ids.
void remember(const git_index_entry* entry, const struct stat& st) {
  auto* mutable_entry = const_cast<git_index_entry*>(entry);
  mutable_entry->mtime.seconds = static_cast<std::int32_t>(st.st_mtim.tv_sec);
  mutable_entry->mtime.nanoseconds = static_cast<std::uint32_t>(st.st_mtim.tv_nsec);
  mutable_entry->ctime.seconds = static_cast<std::int32_t>(st.st_ctim.tv_sec);
  mutable_entry->ctime.nanoseconds = static_cast<std::uint32_t>(st.st_ctim.tv_nsec);
  mutable_entry->dev = low32(st.st_dev);
  mutable_entry->ino = low32(st.st_ino);
  mutable_entry->uid = st.st_uid;
  mutable_entry->gid = st.st_gid;
  mutable_entry->file_size = low32(static_cast<std::uint64_t>(st.st_size));
}

/// Writes entries of the index, each worker with libgit2 handles of its own.
class Filler {
 public:
  Filler(Handle<git_repository> repository, Handle<git_odb> odb, bool convert, int root,
         std::string path)
      : repository_(std::move(repository)),
        odb_(std::move(odb)),
        writer_(repository_.get(), odb_.get(), path, convert),
        folders_(root),
        path_(std::move(path)) {}

  Result<void> write(const git_index_entry* entry) {
    const std::string name = entry->path;
    if (!is_safe_relative(name)) {
      return fail(ErrorKind::invalid, "bad_tree", path_ + ": the tree names '" + name + "'");
    }
    const int folder = folders_.folder_of(name);
    if (folder < 0 && (errno == EEXIST || errno == ELOOP || errno == ENOTDIR)) {
      return fail(ErrorKind::conflict, "path_occupied", path_ + "/" + name + ": is in the way");
    }
    if (folder < 0) return fail(errno_error(errno, "mkdir " + path_ + "/" + name));
    Result<struct stat> st =
        writer_.write(folder, name.substr(name.rfind('/') + 1), name, entry->id, entry->mode);
    if (!st) return fail(std::move(st).error());
    if (entry->mode != GIT_FILEMODE_COMMIT) remember(entry, *st);
    return {};
  }

 private:
  Handle<git_repository> repository_;
  Handle<git_odb> odb_;
  FileWriter writer_;
  FolderChain folders_;
  std::string path_;
};

/// Attributes are read from the working files, so those files come first. A link in their place
/// comes last: libgit2 would follow it to wherever the tree's author pointed it.
int turn_of(const git_index_entry* entry) {
  if (!is_attributes_file(entry->path)) return 1;
  return entry->mode == GIT_FILEMODE_LINK ? 2 : 0;
}

/// False when no attribute and no setting can ask for a conversion: then no path is looked up.
bool may_convert(git_repository* repository, const git_index* index) {
  for (std::size_t i = 0; i < git_index_entrycount(index); ++i) {
    if (is_attributes_file(git_index_get_byindex(const_cast<git_index*>(index), i)->path))
      return true;
  }
  return settings_may_convert(repository);
}

Result<void> check_attributes(git_repository* repository, const git_index* index) {
  Handle<git_odb> odb;
  const int rc = git_repository_odb(out(odb), repository);
  if (rc != 0) return libgit2_fail(rc, "objects");
  for (std::size_t i = 0; i < git_index_entrycount(index); ++i) {
    const git_index_entry* entry = git_index_get_byindex(const_cast<git_index*>(index), i);
    if (!is_attributes_file(entry->path)) continue;
    if (Result<void> fine = check_rule_blob(odb.get(), entry->id, entry->path); !fine) return fine;
  }
  return {};
}

/// A handle whose working files are the folder, and whose index is ours: that is where attributes
/// are looked up.
Result<Handle<git_repository>> open_for_writing(const FillFolder& request, git_index* index) {
  Handle<git_repository> repository;
  const unsigned flags = GIT_REPOSITORY_OPEN_NO_SEARCH | GIT_REPOSITORY_OPEN_BARE;
  int rc = git_repository_open_ext(out(repository), request.git_dir.c_str(), flags, nullptr);
  if (rc == 0) rc = git_repository_set_workdir(repository.get(), request.path.c_str(), 0);
  if (rc == 0) rc = git_repository_set_index(repository.get(), index);
  if (rc != 0) return libgit2_fail(rc, request.git_dir);
  return repository;
}

Result<std::unique_ptr<Filler>> make_filler(const FillFolder& request, git_index* index,
                                            bool convert) {
  Result<Handle<git_repository>> repository = open_for_writing(request, index);
  if (!repository) return fail(std::move(repository).error());
  Handle<git_odb> odb;
  const int rc = git_repository_odb(out(odb), repository->get());
  if (rc != 0) return libgit2_fail(rc, request.git_dir);
  const int root = ::open(request.path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (root < 0) return fail(errno_error(errno, "open " + request.path));
  return std::make_unique<Filler>(*std::move(repository), std::move(odb), convert, root,
                                  request.path);
}

/// A run of entries that one worker writes.
struct Run {
  std::size_t begin;
  std::size_t end;
};

std::string_view folder_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

/// Cut between folders: two workers in one folder would wait for each other in the kernel.
std::vector<Run> cut(git_index* index) {
  std::vector<Run> runs;
  const std::size_t count = git_index_entrycount(index);
  std::string_view last;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view folder = folder_of(git_index_get_byindex(index, i)->path);
    if (runs.empty() || (i - runs.back().begin >= kRunMin && folder != last)) {
      runs.push_back({i, i});
    }
    runs.back().end = i + 1;
    last = folder;
  }
  return runs;
}

/// All files of one folder by several workers, or some of its files by one.
class Checkout {
 public:
  Checkout(const FillFolder& request, git_index* index, bool convert)
      : request_(request), index_(index), convert_(convert), runs_(cut(index)) {}

  Result<void> write_all() {
    Result<std::unique_ptr<Filler>> filler = make_filler(request_, index_, convert_);
    if (!filler) return fail(std::move(filler).error());
    const Run all{0, git_index_entrycount(index_)};
    if (convert_) {
      if (Result<void> first = write_turn(**filler, all, 0); !first) return first;
      // Sorts the index now, if it has to be: from here on workers look attributes up in it.
      std::size_t position = 0;
      static_cast<void>(git_index_find(&position, index_, ".gitattributes"));
    }
    if (Result<void> files = write_runs(**filler); !files) return files;
    return convert_ ? write_turn(**filler, all, 2) : Result<void>();
  }

 private:
  Result<void> write_turn(Filler& filler, Run run, int turn) {
    const Patience& patience = request_.patience;
    for (std::size_t i = run.begin; i < run.end; ++i) {
      const git_index_entry* entry = git_index_get_byindex(index_, i);
      if (convert_ && turn_of(entry) != turn) continue;
      patience.note(Step::create_file);
      if (Result<void> written = filler.write(entry); !written) return written;
      if (i % 64 == 0) {
        if (Result<void> go_on = patience.check("checkout"); !go_on) return go_on;
      }
    }
    return {};
  }

  /// This thread and, for a large tree, a few that end before the call does.
  Result<void> write_runs(Filler& mine) {
    const std::size_t threads_max =
        std::min<std::size_t>({std::thread::hardware_concurrency(), kThreadsMax,
                               git_index_entrycount(index_) / kFilesPerThread});
    std::vector<std::thread> others;
    others.reserve(threads_max);
    try {
      while (others.size() + 1 < threads_max) others.emplace_back([this] { work_alone(); });
    } catch (const std::system_error&) {
      // The machine gives no more threads: those that are there do the work.
    }
    work(mine);
    for (std::thread& other : others) other.join();
    const std::lock_guard lock(mutex_);
    if (error_) return fail(*error_);
    return {};
  }

  void work_alone() {
    Result<std::unique_ptr<Filler>> filler = make_filler(request_, index_, convert_);
    if (!filler) return give_up(std::move(filler).error());
    work(**filler);
  }

  void work(Filler& filler) {
    for (std::size_t n; !failed_ && (n = next_++) < runs_.size();) {
      Result<void> written = write_turn(filler, runs_[n], 1);
      if (!written) return give_up(std::move(written).error());
    }
  }

  void give_up(Error error) {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = std::move(error);
    failed_ = true;
  }

  const FillFolder& request_;
  git_index* index_;
  bool convert_;
  std::vector<Run> runs_;
  std::atomic<std::size_t> next_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  std::optional<Error> error_;
};

}  // namespace

Result<void> fill_folder(const FillFolder& request) {
  const std::string& path = request.path;
  Handle<git_index> index;
  int rc = git_index_open(out(index), request.index_file.c_str());
  if (rc != 0) return libgit2_fail(rc, request.index_file);
  Result<Handle<git_repository>> repository = open_for_writing(request, index.get());
  if (!repository) return fail(std::move(repository).error());
  Result<Handle<git_tree>> tree = find_tree(repository->get(), request.commit);
  if (!tree) return fail(std::move(tree).error());
  rc = git_index_read_tree(index.get(), tree->get());
  if (rc != 0) return libgit2_fail(rc, path);

  if (Result<void> fine = check_attributes(repository->get(), index.get()); !fine) return fine;
  Checkout checkout(request, index.get(), may_convert(repository->get(), index.get()));
  if (Result<void> written = checkout.write_all(); !written) return written;
  request.patience.note(Step::create_index);
  rc = git_index_write(index.get());
  if (rc != 0) return libgit2_fail(rc, path + ": index");
  return {};
}

}  // namespace berth::git::detail
