#include <berth/git/failure.h>
#include <berth/git/file_writer.h>
#include <berth/git/files.h>
#include <berth/git/objects.h>
#include <berth/git/rewrite.h>

#include <fcntl.h>
#include <git2.h>
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

TreeFile tree_file(const git_diff_file& file, bool there) {
  if (!there) return {};
  return {hex(file.id), file.mode};
}

bool same(const TreeFile& left, const TreeFile& right) {
  return left.mode == right.mode && (left.mode == 0 || left.id == right.id);
}

// What is at the path now, as a tree would hold it. A folder reads as nothing: what it may hold are
// other paths (and a submodule's is nobody's here).
TreeFile on_disk(git_repository* repository, const std::string& root, const std::string& path) {
  if (!has_real_parents(root, path)) return {};
  const std::string full = root + "/" + path;
  struct stat st{};
  if (::lstat(full.c_str(), &st) < 0 || S_ISDIR(st.st_mode)) return {};
  git_oid id;
  if (S_ISLNK(st.st_mode)) {
    std::string target(4096, '\0');
    const ssize_t length = ::readlink(full.c_str(), target.data(), target.size());
    if (length < 0 ||
        git_odb_hash(&id, target.data(), static_cast<std::size_t>(length), GIT_OBJECT_BLOB) != 0) {
      return {"unreadable", 1};
    }
    return {hex(id), GIT_FILEMODE_LINK};
  }
  if (!S_ISREG(st.st_mode) ||
      git_repository_hashfile(&id, repository, full.c_str(), GIT_OBJECT_BLOB, nullptr) != 0) {
    return {"unreadable", 1};
  }
  const bool executable = (st.st_mode & S_IXUSR) != 0;
  return {hex(id), executable ? GIT_FILEMODE_BLOB_EXECUTABLE : GIT_FILEMODE_BLOB};
}

}  // namespace

Result<std::vector<RewriteStep>> rewrite_steps(git_repository* repository, const std::string& from,
                                               const std::string& to,
                                               const std::vector<std::string>& paths) {
  Result<Handle<git_tree>> old_tree = find_tree(repository, from);
  if (!old_tree) return fail(std::move(old_tree).error());
  Result<Handle<git_tree>> new_tree = find_tree(repository, to);
  if (!new_tree) return fail(std::move(new_tree).error());
  git_diff_options options = GIT_DIFF_OPTIONS_INIT;
  options.flags = GIT_DIFF_INCLUDE_TYPECHANGE;
  options.ignore_submodules = GIT_SUBMODULE_IGNORE_NONE;
  Handle<git_diff> diff;
  const int rc =
      git_diff_tree_to_tree(out(diff), repository, old_tree->get(), new_tree->get(), &options);
  if (rc != 0) return libgit2_fail(rc, from + ".." + to);
  const std::set<std::string> wanted(paths.begin(), paths.end());
  std::vector<RewriteStep> steps;
  for (std::size_t i = 0; i < git_diff_num_deltas(diff.get()); ++i) {
    const git_diff_delta* delta = git_diff_get_delta(diff.get(), i);
    RewriteStep step{delta->new_file.path, tree_file(delta->old_file, delta->old_file.mode != 0),
                     tree_file(delta->new_file, delta->new_file.mode != 0)};
    if (same(step.before, step.after)) continue;
    if (!is_safe_relative(step.path)) {
      return fail(ErrorKind::invalid, "bad_tree", "the tree names '" + step.path + "'");
    }
    if (wanted.empty() || wanted.contains(step.path)) steps.push_back(std::move(step));
  }
  return steps;
}

std::vector<RewriteStep> reversed(std::vector<RewriteStep> steps) {
  for (RewriteStep& step : steps) std::swap(step.before, step.after);
  return steps;
}

OnDisk Rewriter::look(const RewriteStep& step) const {
  const auto as_files = [](TreeFile file) {
    return file.mode == GIT_FILEMODE_COMMIT ? TreeFile() : file;
  };
  const TreeFile now = on_disk(repository_, root_, step.path);
  if (same(now, as_files(step.after))) return OnDisk::after;
  return same(now, as_files(step.before)) ? OnDisk::before : OnDisk::other;
}

bool Rewriter::folder_gives_way(const std::string& path,
                                const std::vector<RewriteStep>& steps) const {
  namespace fs = std::filesystem;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(root_ + "/" + path, error), end;
       !error && entry != end; entry.increment(error)) {
    if (entry->is_directory(error) && !entry->is_symlink(error)) continue;
    const std::string name = entry->path().string().substr(root_.size() + 1);
    const auto step = std::lower_bound(
        steps.begin(), steps.end(), name,
        [](const RewriteStep& left, const std::string& right) { return left.path < right; });
    if (step == steps.end() || step->path != name || step->after.mode != 0) return false;
  }
  return !error;
}

std::vector<std::string> Rewriter::in_the_way(const std::vector<RewriteStep>& steps) const {
  std::vector<RewriteStep> sorted = steps;
  std::sort(sorted.begin(), sorted.end(), [](const RewriteStep& left, const RewriteStep& right) {
    return left.path < right.path;
  });
  std::set<std::string> leaving;
  for (const RewriteStep& step : steps) {
    if (step.after.mode == 0) leaving.insert(step.path);
  }
  std::vector<std::string> paths;
  for (const RewriteStep& step : steps) {
    const OnDisk now = look(step);
    bool fine = now != OnDisk::other;
    if (now == OnDisk::before && step.after.mode != 0) {
      const PathKind kind = kind_of(root_ + "/" + step.path);
      if (kind == PathKind::directory && step.after.mode != GIT_FILEMODE_COMMIT) {
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

Result<void> Rewriter::remove(const RewriteStep& step) {
  const Descriptor folder(open_parent(root_, step.path, false));
  if (folder.get() < 0) return {};
  const std::string leaf = name_of(step.path);
  const int flags = step.before.mode == GIT_FILEMODE_COMMIT ? AT_REMOVEDIR : 0;
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

Result<void> Rewriter::put(git_odb* odb, const RewriteStep& step) {
  const Descriptor folder(open_parent(root_, step.path, true));
  if (folder.get() < 0) return fail(errno_error(errno, "open " + root_ + "/" + step.path));
  git_oid id;
  git_oid_fromstr(&id, step.after.id.c_str());
  const std::string leaf = name_of(step.path);
  if (step.after.mode == GIT_FILEMODE_COMMIT) {
    if (::mkdirat(folder.get(), leaf.c_str(), 0777) < 0 && errno != EEXIST) {
      return fail(errno_error(errno, "mkdir " + root_ + "/" + step.path));
    }
    return {};
  }
  // The name is ours and fixed: what a crash left under it is taken away first.
  const std::string temporary = ".berth-new." + step.after.id.substr(0, 12);
  ::unlinkat(folder.get(), temporary.c_str(), 0);
  FileWriter writer(repository_, odb, root_, true);
  Result<struct stat> written =
      writer.write(folder.get(), temporary, step.path, id, step.after.mode);
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

Result<std::vector<std::string>> Rewriter::perform(const std::vector<RewriteStep>& steps,
                                                   const Patience& patience) {
  Handle<git_odb> odb;
  const int rc = git_repository_odb(out(odb), repository_);
  if (rc != 0) return libgit2_fail(rc, root_);
  std::vector<std::string> left;
  // Removals first, the deepest first: a file may become a folder, or the other way.
  for (const bool removing : {true, false}) {
    for (std::size_t i = 0; i < steps.size(); ++i) {
      const RewriteStep& step = removing ? steps[steps.size() - 1 - i] : steps[i];
      if ((step.after.mode == 0) != removing) continue;
      patience.note(Step::rewrite_file);
      const OnDisk now = look(step);
      if (now == OnDisk::other) left.push_back(step.path);
      const bool submodule =
          step.before.mode == GIT_FILEMODE_COMMIT || step.after.mode == GIT_FILEMODE_COMMIT;
      if (now != OnDisk::before && !(submodule && now == OnDisk::after)) continue;
      Result<void> done = removing ? remove(step) : put(odb.get(), step);
      if (!done) return fail(std::move(done).error());
    }
  }
  return left;
}

}  // namespace berth::git::detail
