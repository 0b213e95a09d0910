#include <berth/git/checkout.h>
#include <berth/git/failure.h>
#include <berth/git/file_lock.h>
#include <berth/git/files.h>
#include <berth/git/lower_cache.h>
#include <berth/git/names.h>
#include <berth/git/objects.h>
#include <berth/git/scan_memory.h>

#include <fcntl.h>
#include <git2.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace berth::git::detail {
namespace {

std::string folder_of(const std::string& store, const std::string& name) {
  return store + "/lowers/" + name;
}

std::string digest(const std::string& text, std::size_t digits) {
  git_oid id;
  if (git_odb_hash(&id, text.data(), text.size(), GIT_OBJECT_BLOB) != 0) return {};
  return hex(id).substr(0, digits);
}

/// A lock file is never removed, or two could hold "the same" one: so there is a fixed number.
Result<FileLock> lock_lower(const std::string& store, const std::string& name,
                            const Patience& patience) {
  const std::string folder = store + "/locks";
  if (Result<void> made = make_folders(folder); !made) return fail(std::move(made).error());
  return FileLock::take(folder + "/lower-" + digest(name, 2), patience);
}

/// Everything outside the commit that decides how its files are written.
Result<std::string> settings_of(const std::string& common_dir) {
  Handle<git_repository> repository;
  Handle<git_config> config;
  Handle<git_config> frozen;
  const unsigned flags = GIT_REPOSITORY_OPEN_NO_SEARCH | GIT_REPOSITORY_OPEN_BARE;
  int rc = git_repository_open_ext(out(repository), common_dir.c_str(), flags, nullptr);
  if (rc == 0) rc = git_repository_config(out(config), repository.get());
  if (rc == 0) rc = git_config_snapshot(out(frozen), config.get());
  if (rc != 0) return libgit2_fail(rc, common_dir);
  std::string settings;
  for (const char* name : {"core.autocrlf", "core.eol", "core.attributesfile"}) {
    const char* value = nullptr;
    if (git_config_get_string(&value, frozen.get(), name) == 0) {
      settings += std::string(name) + "=" + value + "\n";
    }
  }
  Result<std::string> attributes = read_line_file(common_dir + "/info/attributes", 1 << 20);
  if (attributes) settings += *attributes;
  return settings;
}

/// To the disk with all of the file system that holds `folder`.
Result<void> flush(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail(errno_error(errno, "open " + folder));
  const int rc = ::syncfs(fd);
  const int error = errno;
  ::close(fd);
  if (rc < 0) return fail(errno_error(error, "sync " + folder));
  return {};
}

Result<void> add_user(const Lower& lower, const std::string& key) {
  return write_file(lower.folder + "/users/" + key, "");
}

/// So that the first look at an overlay need not read all of the index.
Result<void> remember_checkout(const std::string& index_file) {
  const Result<IndexFile> index = IndexFile::open(index_file);
  if (!index || !index->tree()) return {};
  return ScanMemory::of_checkout(*index).save(index_file);
}

Result<void> make_lower(const LowerRequest& request, const Lower& lower) {
  const Patience& patience = request.patience;
  patience.note(Step::lower_unfinished);
  Result<bool> cleared = delete_tree(lower.folder, patience);
  if (!cleared) return fail(std::move(cleared).error());
  if (!*cleared) return patience.check("shared checkout");
  patience.note(Step::lower_folder);
  Result<void> done = make_folders(lower.tree());
  if (done) done = make_folders(lower.folder + "/users");
  if (done) {
    done = fill_folder({.git_dir = request.common_dir,
                        .commit = request.commit,
                        .path = lower.tree(),
                        .index_file = lower.index(),
                        .patience = patience});
  }
  patience.note(Step::lower_memory);
  if (done) done = remember_checkout(lower.index());
  patience.note(Step::lower_flush);
  if (done) done = flush(lower.folder);
  if (done) done = add_user(lower, request.key);
  patience.note(Step::lower_seal);
  if (done) done = write_file(lower.folder + "/sealed", request.commit + "\n");
  return done;
}

/// True when a layer still uses it; forgets those that do not exist any more.
Result<bool> has_users(const std::string& store, const std::string& folder) {
  std::error_code error;
  bool used = false;
  for (std::filesystem::directory_iterator it(folder + "/users", error), end; !error && it != end;
       it.increment(error)) {
    const std::string key = it->path().filename().string();
    if (kind_of(store + "/layers/" + key) != PathKind::missing) {
      used = true;
    } else if (Result<void> gone = remove_file_if_exists(it->path().string()); !gone) {
      return fail(std::move(gone).error());
    }
  }
  if (error && error.value() != ENOENT) return fail(errno_error(error.value(), "read " + folder));
  return used;
}

}  // namespace

bool is_sealed(const std::string& store, const std::string& name) {
  return kind_of(folder_of(store, name) + "/sealed") == PathKind::file;
}

Result<Lower> acquire_lower(const LowerRequest& request) {
  Lower lower;
  lower.name = request.name;
  if (lower.name.empty()) {
    Result<std::string> settings = settings_of(request.common_dir);
    if (!settings) return fail(std::move(settings).error());
    lower.name = digest(request.common_dir, 12) + "-" + request.commit + "-" + digest(*settings, 8);
  }
  lower.folder = folder_of(request.store, lower.name);
  Result<FileLock> lock = lock_lower(request.store, lower.name, request.patience);
  if (!lock) return fail(std::move(lock).error());
  if (is_sealed(request.store, lower.name)) {
    request.patience.note(Step::lower_user);
    if (Result<void> added = add_user(lower, request.key); !added) {
      return fail(std::move(added).error());
    }
    return lower;
  }
  if (Result<void> made = make_lower(request, lower); !made) return fail(std::move(made).error());
  lower.made = true;
  return lower;
}

Result<void> release_lower(const std::string& store, const std::string& name,
                           const std::string& key) {
  return remove_file_if_exists(folder_of(store, name) + "/users/" + key);
}

Result<LowerSweep> sweep_lowers(const std::string& store, const std::vector<std::string>& keep,
                                const Patience& patience) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(store + "/lowers", error), end; !error && it != end;
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  LowerSweep sweep;
  for (const std::string& name : names) {
    Result<FileLock> lock = lock_lower(store, name, patience);
    if (!lock) return fail(std::move(lock).error());
    const std::string folder = folder_of(store, name);
    Result<bool> used = has_users(store, folder);
    if (!used) return fail(std::move(used).error());
    const bool wanted = std::find(keep.begin(), keep.end(), name) != keep.end();
    if (*used || (wanted && is_sealed(store, name))) {
      ++sweep.kept;
      continue;
    }
    patience.note(Step::lower_unused);
    if (Result<std::string> moved = move_to_trash(folder, store + "/trash"); !moved) {
      return fail(std::move(moved).error());
    }
    ++sweep.removed;
  }
  return sweep;
}

}  // namespace berth::git::detail
