#include <berth/git/files.h>
#include <berth/git/rewrite.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>

namespace berth::git::detail {
namespace {

/// Opens the folder that `path` lies in, making what is missing if `make`; -1 with errno. A link on
/// the way is ELOOP or ENOTDIR.
int open_parent(const std::string& root, const std::string& path, bool make) {
  int fd = ::open(root.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  std::size_t start = 0;
  for (std::size_t slash; fd >= 0 && (slash = path.find('/', start)) != std::string::npos;
       start = slash + 1) {
    const std::string name = path.substr(start, slash - start);
    if (make && ::mkdirat(fd, name.c_str(), 0777) < 0 && errno != EEXIST) {
      ::close(fd);
      return -1;
    }
    const int next = ::openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    const int error = errno;
    ::close(fd);
    errno = error;
    fd = next;
  }
  return fd;
}

bool is_submodule(const TreeStep& step) {
  return step.before.mode == kRepositoryMode || step.after.mode == kRepositoryMode;
}

/// Is the step to be taken where its path is so? A submodule's folder looks like nothing, so that
/// what makes or removes one seems done already; what writes a file in its place is done, or not.
bool is_open(const TreeStep& step, OnDisk now) {
  if (now != OnDisk::after) return now == OnDisk::before;
  return is_submodule(step) && (step.after.mode == 0 || step.after.mode == kRepositoryMode);
}

/// Attributes say how the files beside and below are written.
bool is_rules(const TreeStep& step) {
  return name_of(step.path) == ".gitattributes";
}

StatData stat_of(const std::string& root, const std::string& path) {
  struct stat st{};
  if (!has_real_parents(root, path) || ::lstat((root + "/" + path).c_str(), &st) < 0 ||
      S_ISDIR(st.st_mode)) {
    return {};
  }
  return StatData::of(st);
}

}  // namespace

/// One call of perform().
struct Rewriter::Work {
  const std::vector<TreeStep>& steps;
  std::vector<Seen> seen;
  const Patience& patience;
  std::vector<std::string> left;
};

Result<std::vector<Seen>> Rewriter::look(const std::vector<TreeStep>& steps) const {
  std::vector<std::string> paths;
  std::vector<Seen> seen(steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    paths.push_back(steps[i].path);
    seen[i].stat = stat_of(root_, steps[i].path);
  }
  Result<std::vector<TreeFile>> now = files_.stored(paths, false);
  if (!now) return fail(std::move(now).error());
  const auto as_files = [](TreeFile file) {
    return file.mode == kRepositoryMode ? TreeFile() : std::move(file);
  };
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const TreeFile& file = (*now)[i];
    if (same(file, as_files(steps[i].after))) {
      seen[i].now = OnDisk::after;
    } else if (same(file, as_files(steps[i].before)) ||
               (file.mode == 0 && files_.left_out(steps[i].path))) {
      seen[i].now = OnDisk::before;
    }
  }
  return seen;
}

bool Rewriter::folder_gives_way(const std::string& path, const std::vector<TreeStep>& steps) const {
  namespace fs = std::filesystem;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(root_ + "/" + path, error), end;
       !error && entry != end; entry.increment(error)) {
    if (entry->is_directory(error) && !entry->is_symlink(error)) continue;
    const std::string name = entry->path().string().substr(root_.size() + 1);
    const auto step = std::lower_bound(
        steps.begin(), steps.end(), name,
        [](const TreeStep& left, const std::string& right) { return left.path < right; });
    if (step == steps.end() || step->path != name || step->after.mode != 0) return false;
  }
  return !error;
}

std::vector<std::string> Rewriter::in_the_way(const std::vector<TreeStep>& steps,
                                              const std::vector<Seen>& seen) const {
  std::vector<TreeStep> sorted = steps;
  std::sort(sorted.begin(), sorted.end(),
            [](const TreeStep& left, const TreeStep& right) { return left.path < right.path; });
  std::set<std::string> leaving;
  for (const TreeStep& step : steps) {
    if (step.after.mode == 0) leaving.insert(step.path);
  }
  std::vector<std::string> paths;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const TreeStep& step = steps[i];
    const OnDisk now = seen[i].now;
    bool fine = now != OnDisk::other;
    if (now == OnDisk::before && step.after.mode != 0) {
      const PathKind kind = kind_of(root_ + "/" + step.path);
      if (kind == PathKind::directory && step.after.mode != kRepositoryMode) {
        fine = folder_gives_way(step.path, sorted);
      }
      // A file (or a link) where this step needs a folder must be one that goes.
      for (std::size_t slash = step.path.find('/'); fine && slash != std::string::npos;
           slash = step.path.find('/', slash + 1)) {
        const std::string parent = step.path.substr(0, slash);
        const PathKind at = kind_of(root_ + "/" + parent);
        if (at != PathKind::directory && at != PathKind::missing) fine = leaving.contains(parent);
      }
    }
    if (!fine) paths.push_back(step.path);
  }
  return paths;
}

Result<void> Rewriter::remove(const TreeStep& step) {
  const Descriptor folder(open_parent(root_, step.path, false));
  if (folder.get() < 0) return {};
  const std::string leaf = name_of(step.path);
  const int flags = step.before.mode == kRepositoryMode ? AT_REMOVEDIR : 0;
  if (::unlinkat(folder.get(), leaf.c_str(), flags) < 0 && errno != ENOENT && flags == 0) {
    return fail(errno_error(errno, "unlink " + root_ + "/" + step.path));
  }
  // Folders that this empties go, as git does it.
  for (std::size_t slash = step.path.rfind('/'); slash != std::string::npos && slash > 0;
       slash = step.path.rfind('/', slash - 1)) {
    const std::string parent = step.path.substr(0, slash);
    const Descriptor above(open_parent(root_, parent, false));
    if (above.get() < 0 || ::unlinkat(above.get(), name_of(parent).c_str(), AT_REMOVEDIR) < 0)
      break;
  }
  return {};
}

Result<void> Rewriter::put(const TreeStep& step) {
  const Descriptor folder(open_parent(root_, step.path, true));
  if (folder.get() < 0) return fail(errno_error(errno, "open " + root_ + "/" + step.path));
  const std::string leaf = name_of(step.path);
  if (step.after.mode == kRepositoryMode) {
    // The file that was there goes; a folder (EISDIR) is what shall be there.
    if (::unlinkat(folder.get(), leaf.c_str(), 0) < 0 && errno != ENOENT && errno != EISDIR) {
      return fail(errno_error(errno, "unlink " + root_ + "/" + step.path));
    }
    if (::mkdirat(folder.get(), leaf.c_str(), 0777) < 0 && errno != EEXIST) {
      return fail(errno_error(errno, "mkdir " + root_ + "/" + step.path));
    }
    return {};
  }
  // The name is ours and fixed: what a crash left under it is taken away first.
  const std::string temporary = ".berth-new." + step.after.id.substr(0, 12);
  ::unlinkat(folder.get(), temporary.c_str(), 0);
  Result<void> written = files_.write(folder.get(), temporary, step);
  if (written && ::renameat(folder.get(), temporary.c_str(), folder.get(), leaf.c_str()) == 0) {
    return {};
  }
  // An empty folder may stand where the file goes.
  if (written && errno == EISDIR && ::unlinkat(folder.get(), leaf.c_str(), AT_REMOVEDIR) == 0 &&
      ::renameat(folder.get(), temporary.c_str(), folder.get(), leaf.c_str()) == 0) {
    return {};
  }
  const int error = errno;
  ::unlinkat(folder.get(), temporary.c_str(), 0);
  if (!written) return fail(std::move(written).error());
  return fail(errno_error(error, "rename to " + root_ + "/" + step.path));
}

/// Whether the step is to be taken; a file that somebody wrote is left alone and noted.
Result<bool> Rewriter::is_due(Work& work, std::size_t i) const {
  work.patience.note(Step::rewrite_file);
  const TreeStep& step = work.steps[i];
  OnDisk now = work.seen[i].now;
  if (is_open(step, now) && stat_of(root_, step.path) != work.seen[i].stat) {
    Result<std::vector<Seen>> again = look({step});
    if (!again) return fail(std::move(again).error());
    now = again->front().now;
  }
  if (now == OnDisk::other) work.left.push_back(step.path);
  return is_open(step, now);
}

Result<void> Rewriter::remove_all(Work& work) {
  // The deepest first: a folder may become a file.
  for (std::size_t i = work.steps.size(); i-- > 0;) {
    const TreeStep& step = work.steps[i];
    if (step.after.mode != 0) continue;
    Result<bool> due = is_due(work, i);
    if (!due) return fail(std::move(due).error());
    if (!*due) continue;
    if (Result<void> done = remove(step); !done) return done;
  }
  return {};
}

Result<void> Rewriter::put_all(Work& work, bool rules) {
  for (std::size_t i = 0; i < work.steps.size(); ++i) {
    const TreeStep& step = work.steps[i];
    if (step.after.mode == 0 || is_rules(step) != rules) continue;
    Result<bool> due = is_due(work, i);
    if (!due) return fail(std::move(due).error());
    if (!*due) continue;
    if (Result<void> done = put(step); !done) return done;
  }
  return {};
}

Result<std::vector<std::string>> Rewriter::perform(const std::vector<TreeStep>& steps,
                                                   const Patience& patience) {
  Result<std::vector<Seen>> seen = look(steps);
  if (!seen) return fail(std::move(seen).error());
  Work work{steps, *std::move(seen), patience, {}};
  std::vector<const TreeStep*> rules;
  std::vector<const TreeStep*> others;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const bool written = steps[i].after.mode != 0 && steps[i].after.mode != kRepositoryMode &&
                         work.seen[i].now == OnDisk::before;
    if (written) (is_rules(steps[i]) ? rules : others).push_back(&steps[i]);
  }
  // Files are written as the attributes say that hold then: these come first where they change,
  // and else everything is made ready before anything is touched.
  const bool rules_change = std::any_of(steps.begin(), steps.end(), is_rules);
  Result<void> done = files_.prepare(rules_change ? rules : others);
  if (done) done = remove_all(work);
  if (done) done = put_all(work, true);
  if (done && rules_change) done = files_.prepare(others);
  if (done) done = put_all(work, false);
  if (!done) return fail(std::move(done).error());
  return std::move(work.left);
}

Result<void> rewrite_worktree(const WorktreeRef& worktree, Backend backend,
                              const std::vector<TreeStep>& steps, const Patience& patience) {
  const WorktreeRef folder{
      .repository = worktree.path, .command = worktree.command, .backend = backend};
  Result<std::unique_ptr<CheckedOut>> files = CheckedOut::open(folder, patience);
  if (!files) return fail(std::move(files).error());
  if (Result<void> there = verify_worktree(worktree); !there) return there;
  (*files)->go_to_the_end();
  Result<std::vector<std::string>> left = Rewriter(**files).perform(steps, patience);
  if (!left) return fail(std::move(left).error());
  if (left->empty()) return {};
  return fail(ErrorKind::conflict, "files_changing",
              worktree.path + "/" + left->front() + ": somebody wrote it meanwhile");
}

}  // namespace berth::git::detail
