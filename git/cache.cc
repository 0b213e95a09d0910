#include <berth/git/cache.h>
#include <berth/git/failure.h>
#include <berth/git/file_lock.h>
#include <berth/git/files.h>
#include <berth/git/objects.h>
#include <berth/git/opened.h>
#include <berth/git/refs.h>
#include <berth/git/remote_fetch.h>
#include <berth/git/remote_url.h>

#include <fcntl.h>
#include <git2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

namespace berth::git {

using detail::Fetched;
using detail::PathKind;
using detail::RemoteUrl;

namespace {

namespace fs = std::filesystem;

/// A lock file of a ref that is older was left by a process that died: they live for milliseconds.
constexpr std::int64_t kStaleLockS = 600;

Result<std::string> hash_of(const std::string& text) {
  git_oid id;
  const int rc = git_odb_hash(&id, text.data(), text.size(), GIT_OBJECT_BLOB);
  if (rc != 0) return detail::libgit2_fail(rc, "hash");
  return detail::hex(id);
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

/// One URL's part of the cache folder, while it is locked.
class Slot {
 public:
  Slot(std::string folder, std::string hash, const CacheRequest& request, const RemoteUrl& url)
      : folder_(std::move(folder)), hash_(std::move(hash)), request_(request), url_(url) {}

  Result<CachedRepository> open() {
    CachedRepository cached{.path = folder_ + "/" + hash_ + ".git"};
    if (Result<void> cleared = clear_leftovers(cached.path); !cleared) {
      return fail(std::move(cleared).error());
    }
    const bool there = detail::kind_of(cached.path) == PathKind::directory;
    cached.fetched_s = there ? last_fetch() : 0;
    const bool stale =
        request_.age_max_s >= 0 && request_.now_s - cached.fetched_s >= request_.age_max_s;
    if (there && !stale) return read_state(cached);
    request_.patience.note(there ? Step::cache_fetch : Step::cache_clone);
    Result<Fetched> fetched =
        there ? detail::fetch_into(cached.path, url_, request_) : clone(cached);
    if (!fetched) return fail(std::move(fetched).error());
    cached.cloned = !there;
    cached.fetched = true;
    cached.fetched_s = request_.now_s;
    request_.patience.note(Step::cache_time);
    Result<void> noted = detail::write_file(folder_ + "/" + hash_ + ".fetched",
                                            std::to_string(request_.now_s) + "\n");
    if (!noted) return fail(std::move(noted).error());
    return read_state(cached);
  }

 private:
  /// Into a folder that becomes the clone when it is whole.
  Result<Fetched> clone(const CachedRepository& cached) {
    std::string pattern = folder_ + "/tmp/" + hash_ + ".XXXXXX";
    if (Result<void> made = detail::make_folders(folder_ + "/tmp"); !made)
      return fail(made.error());
    if (::mkdtemp(pattern.data()) == nullptr) return fail(errno_error(errno, "mkdtemp " + pattern));
    Result<void> done = detail::init_clone(pattern, url_, request_);
    Result<Fetched> fetched =
        done ? detail::fetch_into(pattern, url_, request_) : fail(std::move(done).error());
    request_.patience.note(Step::cache_rename);
    if (fetched && ::rename(pattern.c_str(), cached.path.c_str()) != 0) {
      fetched = fail(errno_error(errno, "rename " + pattern));
    }
    if (!fetched) static_cast<void>(detail::delete_tree(pattern, {}));
    return fetched;
  }

  std::int64_t last_fetch() const {
    const std::string text =
        detail::read_line_file(folder_ + "/" + hash_ + ".fetched").value_or("");
    std::int64_t time = 0;
    std::from_chars(text.data(), text.data() + text.size(), time);
    return time;
  }

  /// What processes left that died: we hold the lock, so none of them is alive.
  Result<void> clear_leftovers(const std::string& path) const {
    for (const std::string& name : names_in(folder_ + "/tmp")) {
      if (!name.starts_with(hash_ + ".")) continue;
      Result<bool> gone = detail::delete_tree(folder_ + "/tmp/" + name, {});
      if (!gone) return fail(std::move(gone).error());
    }
    for (const std::string& name : names_in(path + "/objects/pack")) {
      // libgit2's name for a pack that is being received; git's own are git's to clear.
      if (!name.starts_with("pack_git2_")) continue;
      Result<void> gone = detail::remove_file_if_exists(path + "/objects/pack/" + name);
      if (!gone) return gone;
    }
    clear_locks(path + "/refs/remotes");
    return {};
  }

  void clear_locks(const std::string& folder) const {
    std::error_code error;
    for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
         it.increment(error)) {
      struct stat st{};
      const std::string file = it->path().string();
      if (file.ends_with(".lock") && ::lstat(file.c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
          request_.now_s - st.st_mtim.tv_sec > kStaleLockS) {
        static_cast<void>(detail::remove_file_if_exists(file));
      }
    }
  }

  Result<CachedRepository> read_state(CachedRepository cached) const {
    const std::string line =
        detail::read_line_file(cached.path + "/refs/remotes/origin/HEAD").value_or("");
    constexpr std::string_view kPrefix = "ref: refs/remotes/origin/";
    if (line.starts_with(kPrefix)) cached.default_branch = line.substr(kPrefix.size());
    Result<detail::Location> location = detail::locate(cached.path);
    if (!location) return fail(std::move(location).error());
    Result<void> supported = detail::check_supported(*location);
    if (!supported && supported.error().kind == ErrorKind::unsupported) {
      cached.backend = Backend::git_command;
    }
    return cached;
  }

  std::string folder_;
  std::string hash_;
  const CacheRequest& request_;
  const RemoteUrl& url_;
};

}  // namespace

Result<CachedRepository> RepositoryCache::open(const CacheRequest& request) {
  Result<RemoteUrl> url = detail::parse_remote_url(request.url);
  if (!url) return fail(std::move(url).error());
  Result<std::string> hash = hash_of(url->name);
  if (!hash) return fail(std::move(hash).error());
  if (Result<void> made = detail::make_folders(folder_); !made) return fail(made.error());
  const std::string folder = detail::canonical(folder_);
  const std::string lock_file = folder + "/" + *hash + ".lock";
  Result<detail::FileLock> lock = detail::FileLock::take(lock_file, request.patience);
  if (!lock) return fail(std::move(lock).error());
  // When it was last asked for; see sweep_clones. A time that cannot be set makes it look idle.
  const timespec times[2] = {{.tv_sec = request.now_s, .tv_nsec = 0},
                             {.tv_sec = request.now_s, .tv_nsec = 0}};
  static_cast<void>(::utimensat(AT_FDCWD, lock_file.c_str(), times, AT_SYMLINK_NOFOLLOW));
  return Slot(folder, *hash, request, *url).open();
}

Result<std::string> RepositoryCache::resolve(const CachedRepository& repository,
                                             const std::string& rev, GitCommand* command) {
  Result<detail::Refs> refs = detail::Refs::open(
      {.repository = repository.path, .command = command, .backend = Backend::automatic}, {});
  if (!refs) return fail(std::move(refs).error());
  if (rev.empty()) return refs->commit("HEAD");
  Result<std::string> branch = refs->target("refs/remotes/origin/" + rev);
  if (!branch || !branch->empty()) return branch;
  return refs->commit(rev);
}

std::vector<std::string> RepositoryCache::list() const {
  std::vector<std::string> paths;
  const std::string folder = detail::canonical(folder_);
  for (const std::string& name : names_in(folder)) {
    if (name.ends_with(".git")) paths.push_back(folder + "/" + name);
  }
  return paths;
}

Result<std::string> RepositoryCache::path_of(const std::string& url) const {
  Result<RemoteUrl> parsed = detail::parse_remote_url(url);
  if (!parsed) return fail(std::move(parsed).error());
  Result<std::string> hash = hash_of(parsed->name);
  if (!hash) return hash;
  return folder_ + "/" + *hash + ".git";
}

}  // namespace berth::git
