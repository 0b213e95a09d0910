#include <berth/git/checked_out.h>
#include <berth/git/failure.h>
#include <berth/git/file_writer.h>
#include <berth/git/files.h>
#include <berth/git/objects.h>

#include <git2.h>
#include <sys/stat.h>
#include <unistd.h>

namespace berth::git::detail {
namespace {

class CheckedOutByLibrary final : public CheckedOut {
 public:
  CheckedOutByLibrary(const Location& location, Handle<git_repository> repository)
      : CheckedOut(location), repository_(std::move(repository)) {}

  bool left_out(const std::string& /*path*/) const override { return false; }

  Result<std::vector<TreeFile>> stored(const std::vector<std::string>& paths, bool keep) override {
    std::vector<TreeFile> files;
    files.reserve(paths.size());
    for (const std::string& path : paths) {
      Result<TreeFile> file = stored_one(path, keep);
      if (!file) return fail(std::move(file).error());
      files.push_back(*std::move(file));
    }
    return files;
  }

  Result<void> prepare(const std::vector<const TreeStep*>& /*steps*/) override {
    const int rc = git_repository_odb(out(odb_), repository_.get());
    if (rc != 0) return libgit2_fail(rc, folder());
    return {};
  }

  Result<void> write(int into, const std::string& leaf, const TreeStep& step) override {
    git_oid id;
    git_oid_fromstr(&id, step.after.id.c_str());
    FileWriter writer(repository_.get(), odb_.get(), folder(), true);
    Result<struct stat> written = writer.write(into, leaf, step.path, id, step.after.mode);
    if (!written) return fail(std::move(written).error());
    return {};
  }

  Result<std::vector<TreeFile>> staged(const std::vector<std::string>& paths) override {
    Handle<git_index> index;
    const int rc = git_repository_index(out(index), repository_.get());
    if (rc != 0) return libgit2_fail(rc, folder() + ": index");
    std::vector<TreeFile> files;
    for (const std::string& path : paths) {
      const git_index_entry* entry = git_index_get_bypath(index.get(), path.c_str(), 0);
      files.push_back(entry == nullptr ? TreeFile() : TreeFile{hex(entry->id), entry->mode});
    }
    return files;
  }

  Result<void> update_index(const std::vector<TreeStep>& steps) override {
    Handle<git_index> index;
    int rc = git_repository_index(out(index), repository_.get());
    if (rc == 0) rc = git_index_read(index.get(), 1);
    for (const TreeStep& step : steps) {
      if (rc != 0) break;
      git_index_remove(index.get(), step.path.c_str(), 0);
      if (step.after.mode != 0) rc = add(index.get(), step);
    }
    if (rc == 0) rc = git_index_write(index.get());
    if (rc != 0) return libgit2_fail(rc, folder() + ": index");
    return {};
  }

  void go_to_the_end() override {}  // nothing here is slow

 private:
  Result<TreeFile> stored_one(const std::string& path, bool keep) {
    const std::string full = folder() + "/" + path;
    struct stat st{};
    if (!has_real_parents(folder(), path) || ::lstat(full.c_str(), &st) < 0 ||
        S_ISDIR(st.st_mode)) {
      return TreeFile();
    }
    const TreeFile unreadable{"unreadable", kUnreadableMode};
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) return unreadable;
    git_oid id;
    if (keep) {
      const int rc = git_blob_create_from_workdir(&id, repository_.get(), path.c_str());
      if (rc != 0) return libgit2_fail(rc, full);
    } else if (S_ISREG(st.st_mode)) {
      if (git_repository_hashfile(&id, repository_.get(), full.c_str(), GIT_OBJECT_BLOB, nullptr) !=
          0) {
        return unreadable;
      }
    } else if (!hash_link(full, id)) {
      return unreadable;
    }
    if (S_ISLNK(st.st_mode)) return TreeFile{hex(id), GIT_FILEMODE_LINK};
    const bool executable = (st.st_mode & S_IXUSR) != 0;
    return TreeFile{hex(id), executable ? GIT_FILEMODE_BLOB_EXECUTABLE : GIT_FILEMODE_BLOB};
  }

  static bool hash_link(const std::string& full, git_oid& id) {
    std::string target(4096, '\0');
    const ssize_t length = ::readlink(full.c_str(), target.data(), target.size());
    return length >= 0 &&
           git_odb_hash(&id, target.data(), static_cast<std::size_t>(length), GIT_OBJECT_BLOB) == 0;
  }

  int add(git_index* index, const TreeStep& step) const {
    git_index_entry entry{};
    entry.path = step.path.c_str();
    entry.mode = step.after.mode;
    git_oid_fromstr(&entry.id, step.after.id.c_str());
    struct stat st{};
    if (::lstat((folder() + "/" + step.path).c_str(), &st) == 0) {
      entry.mtime = {static_cast<std::int32_t>(st.st_mtim.tv_sec),
                     static_cast<std::uint32_t>(st.st_mtim.tv_nsec)};
      entry.ctime = {static_cast<std::int32_t>(st.st_ctim.tv_sec),
                     static_cast<std::uint32_t>(st.st_ctim.tv_nsec)};
      entry.dev = static_cast<std::uint32_t>(st.st_dev);
      entry.ino = static_cast<std::uint32_t>(st.st_ino);
      entry.uid = st.st_uid;
      entry.gid = st.st_gid;
      entry.file_size = static_cast<std::uint32_t>(st.st_size);
    }
    return git_index_add(index, &entry);
  }

  Handle<git_repository> repository_;
  Handle<git_odb> odb_;
};

Result<std::unique_ptr<CheckedOut>> checked_out_by_library(const Location& location) {
  if (Result<void> fine = check_supported(location); !fine) return fail(std::move(fine).error());
  Handle<git_repository> repository;
  const int rc = git_repository_open_ext(out(repository), location.work_dir.c_str(),
                                         GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr);
  if (rc != 0) return libgit2_fail(rc, location.work_dir);
  const char* opened = git_repository_workdir(repository.get());
  if (opened == nullptr || canonical(opened) != location.work_dir) {
    return fail(ErrorKind::conflict, "worktree_not_linked",
                location.work_dir + ": its configuration names other working files");
  }
  return std::make_unique<CheckedOutByLibrary>(location, std::move(repository));
}

}  // namespace

Result<void> CheckedOut::check_unlocked() const {
  const std::string lock = index_file_ + ".lock";
  if (kind_of(lock) == PathKind::missing) return {};
  return fail(ErrorKind::busy, "git_locked", lock + ": exists");
}

Result<std::unique_ptr<CheckedOut>> CheckedOut::open(const WorktreeRef& where,
                                                     const Patience& patience) {
  Result<Location> location = locate(where.repository);
  if (!location) return fail(std::move(location).error());
  if (location->work_dir.empty()) {
    return fail(ErrorKind::invalid, "bare_repository", where.repository + ": has no working files");
  }
  if (where.backend != Backend::git_command) return checked_out_by_library(*location);
  return checked_out_by_command(*where.command, *location, patience);
}

}  // namespace berth::git::detail
