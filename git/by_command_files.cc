// The files and the index of a checkout by the git command.
#include <berth/git/by_command.h>
#include <berth/git/checked_out.h>
#include <berth/git/files.h>
#include <berth/git/index_entries.h>

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <limits>
#include <map>
#include <optional>

namespace berth::git::detail {
namespace {

constexpr std::uint32_t kLinkMode = 0120000;
constexpr std::uint32_t kPlainMode = 0100644;
constexpr std::uint32_t kExecutableMode = 0100755;
constexpr int kIndexAttempts = 5;
constexpr std::size_t kBytesAtOnce = std::size_t{1} << 30;

StatData stat_of(const std::string& path) {
  struct stat st{};
  return ::lstat(path.c_str(), &st) < 0 ? StatData() : StatData::of(st);
}

/// All of the open file `from` into the open file `to`.
bool copy_all(int from, int to) {
  for (;;) {
    const ssize_t n = ::sendfile(to, from, nullptr, kBytesAtOnce);
    if (n == 0) return true;
    if (n < 0 && errno != EINTR) return false;
  }
}

Result<void> copy_into(const std::string& from, int folder, const std::string& name, mode_t mode) {
  const Descriptor source(::open(from.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (source.get() < 0) return fail(errno_error(errno, "open " + from));
  const Descriptor target(
      ::openat(folder, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (target.get() < 0) return fail(errno_error(errno, "open " + name));
  if (!copy_all(source.get(), target.get())) return fail(errno_error(errno, "write " + name));
  return {};
}

class CheckedOutByCommand final : public CheckedOut {
 public:
  CheckedOutByCommand(GitCommand& command, Location location, Patience patience)
      : CheckedOut(location), git_(command, std::move(location), std::move(patience)) {}

  Result<void> read_index() {
    Result<std::vector<ListedEntry>> entries = user_index(git_, git_.location());
    if (!entries) return fail(std::move(entries).error());
    for (ListedEntry& entry : *entries) {
      if (entry.stage == '0') index_.insert_or_assign(entry.path, std::move(entry));
    }
    return {};
  }

  bool left_out(const std::string& path) const override {
    const auto entry = index_.find(path);
    return entry != index_.end() && entry->second.tag == 'S' &&
           kind_of(folder() + "/" + path) == PathKind::missing;
  }

  /// By an index that knows of these paths what the user's does: whether line endings are converted
  /// depends on what was committed.
  Result<std::vector<TreeFile>> stored(const std::vector<std::string>& paths,
                                       bool /*keep*/) override {
    std::vector<TreeFile> files;
    std::string known;
    std::string wanted;
    std::map<std::string, std::size_t> places;
    for (const std::string& path : paths) {
      files.push_back(look(path));
      if (files.back().mode == 0 || files.back().mode == kUnreadableMode) continue;
      places.emplace(path, files.size() - 1);
      wanted.append(path).push_back('\0');
      const auto entry = index_.find(path);
      if (entry == index_.end() || entry->second.mode == octal_of(kRepositoryMode)) continue;
      add_index_line(known, entry->second.mode, entry->second.id, path);
    }
    if (wanted.empty()) return files;
    Result<BorrowedObjects> objects = BorrowedObjects::make(git_, folder(), {});
    if (!objects) return fail(std::move(objects).error());
    objects->use_own_index();
    Result<std::string> done = objects->run({"update-index", "-z", "--index-info"}, known);
    if (done) {
      done = objects->run({"update-index", "-z", "--add", "--remove", "--replace", "--stdin"},
                          std::move(wanted));
    }
    if (!done) return fail(std::move(done).error());
    Result<std::vector<ListedEntry>> entries = listed_index(*objects);
    if (!entries) return fail(std::move(entries).error());
    for (ListedEntry& entry : *entries) {
      const auto place = places.find(entry.path);
      if (place != places.end()) files[place->second].id = std::move(entry.id);
    }
    for (TreeFile& file : files) {
      if (file.mode != kUnreadableMode && file.id.empty()) file.mode = 0;  // gone meanwhile
    }
    return files;
  }

  /// Git writes them beside, from where each is copied to its place.
  Result<void> prepare(const std::vector<const TreeStep*>& steps) override {
    staging_.reset();
    if (steps.empty()) return {};
    std::string lines;
    for (const TreeStep* step : steps) {
      add_index_line(lines, octal_of(step->after.mode), step->after.id, step->path);
    }
    Result<BorrowedObjects> objects = BorrowedObjects::make(git_, folder(), {});
    if (!objects) return fail(std::move(objects).error());
    objects->use_own_index();
    Result<std::string> done = objects->run({"update-index", "-z", "--index-info"}, lines);
    staging_.emplace(*std::move(objects));
    if (done) {
      done = staging_->run({"checkout-index", "--all", "--quiet", "--prefix=" + staged_at("")});
    }
    if (!done) return fail(std::move(done).error());
    return {};
  }

  Result<void> write(int into, const std::string& leaf, const TreeStep& step) override {
    const std::string from = staged_at(step.path);
    if (step.after.mode != kLinkMode) {
      // The umask takes its part.
      return copy_into(from, into, leaf, step.after.mode == kExecutableMode ? 0777 : 0666);
    }
    std::string target(4096, '\0');
    const ssize_t length = ::readlink(from.c_str(), target.data(), target.size());
    if (length < 0) return fail(errno_error(errno, "readlink " + from));
    target.resize(static_cast<std::size_t>(length));
    if (::symlinkat(target.c_str(), into, leaf.c_str()) < 0) {
      return fail(errno_error(errno, "symlink " + folder() + "/" + step.path));
    }
    return {};
  }

  Result<std::vector<TreeFile>> staged(const std::vector<std::string>& paths) override {
    std::vector<TreeFile> files;
    for (const std::string& path : paths) {
      const auto entry = index_.find(path);
      files.push_back(entry == index_.end()
                          ? TreeFile()
                          : TreeFile{entry->second.id, mode_of(entry->second.mode)});
    }
    return files;
  }

  /// On a copy, which takes the place of the index in one rename, unless somebody wrote that in the
  /// meantime: its lock is held for a moment only, so that a crash hardly leaves it.
  Result<void> update_index(const std::vector<TreeStep>& steps) override {
    for (int attempt = 0; attempt < kIndexAttempts; ++attempt) {
      const StatData before = stat_of(index_file());
      Result<BorrowedObjects> objects = BorrowedObjects::make(git_, folder(), {});
      if (!objects) return fail(std::move(objects).error());
      Result<void> done = objects->take_index(git_.location().git_dir);
      if (done) done = enter(*objects, steps);
      if (!done) return done;
      Result<bool> installed = install(objects->index(), before);
      if (!installed) return fail(std::move(installed).error());
      if (*installed) return {};
    }
    return fail(ErrorKind::busy, "git_locked", index_file() + ": somebody keeps writing it");
  }

  void go_to_the_end() override { git_.go_to_the_end(); }

 private:
  std::string staged_at(const std::string& path) const {
    return staging_->git_dir() + "/files/" + path;
  }

  /// What is there, its id still to be found.
  TreeFile look(const std::string& path) const {
    const std::string full = folder() + "/" + path;
    struct stat st{};
    if (!has_real_parents(folder(), path) || ::lstat(full.c_str(), &st) < 0 ||
        S_ISDIR(st.st_mode)) {
      return {};
    }
    if (S_ISLNK(st.st_mode)) return {{}, kLinkMode};
    if (!S_ISREG(st.st_mode) || ::access(full.c_str(), R_OK) != 0) {
      return {"unreadable", kUnreadableMode};
    }
    return {{}, (st.st_mode & S_IXUSR) != 0 ? kExecutableMode : kPlainMode};
  }

  /// One that a sparse checkout leaves out stays so.
  Result<void> enter(const BorrowedObjects& objects, const std::vector<TreeStep>& steps) const {
    std::string lines;
    std::string outside;
    for (const TreeStep& step : steps) {
      const TreeFile& file = step.after;
      const std::string none(step.before.id.size(), '0');
      add_index_line(lines, octal_of(file.mode), file.mode == 0 ? none : file.id, step.path);
      if (file.mode != 0 && left_out(step.path)) outside.append(step.path).push_back('\0');
    }
    Result<std::string> done =
        objects.run({"update-index", "--no-split-index", "-z", "--index-info"}, std::move(lines));
    if (done && !outside.empty()) {
      done = objects.run({"update-index", "-z", "--skip-worktree", "--stdin"}, std::move(outside));
    }
    if (!done) return fail(std::move(done).error());
    // Times of the files that were written; its exit code says that there are changed ones.
    Result<GitOutput> refreshed = objects.try_run({"update-index", "-q", "--refresh"});
    if (!refreshed) return fail(std::move(refreshed).error());
    return {};
  }

  /// False when the index is not the one any more that was copied.
  Result<bool> install(const std::string& fresh, const StatData& before) const {
    const std::string lock = index_file() + ".lock";
    Result<void> copied = copy_into(fresh, AT_FDCWD, lock, 0666);
    if (!copied && copied.error().errno_value == EEXIST) {
      return fail(ErrorKind::busy, "git_locked", lock + ": exists");
    }
    const bool same = stat_of(index_file()) == before;
    if (copied && same && ::rename(lock.c_str(), index_file().c_str()) == 0) return true;
    const int error = errno;
    ::unlink(lock.c_str());
    if (!copied) return fail(std::move(copied).error());
    if (same) return fail(errno_error(error, "rename " + lock));
    return false;
  }

  HardenedGit git_;
  std::map<std::string, ListedEntry> index_;  // as it was when this was opened
  std::optional<BorrowedObjects> staging_;
};

}  // namespace

Result<std::unique_ptr<CheckedOut>> checked_out_by_command(GitCommand& command,
                                                           const Location& location,
                                                           const Patience& patience) {
  auto made = std::make_unique<CheckedOutByCommand>(command, location, patience);
  if (Result<void> read = made->read_index(); !read) return fail(std::move(read).error());
  return made;
}

}  // namespace berth::git::detail
