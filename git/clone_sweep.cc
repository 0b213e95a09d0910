#include <berth/core/text.h>
#include <berth/git/cache.h>
#include <berth/git/clone_sweep.h>
#include <berth/git/file_lock.h>
#include <berth/git/files.h>
#include <berth/git/folder_size.h>
#include <berth/git/handles.h>

#include <git2.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string_view>

namespace berth::git {

using detail::FileLock;
using detail::PathKind;

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPackedRefsMax = std::size_t{64} << 20;
constexpr std::string_view kClone = ".git";
/// What a fetch writes. All else in `refs` is somebody's own.
constexpr std::array<std::string_view, 2> kOfTheRemote = {"refs/remotes/", "refs/tags/"};

bool is_of_the_remote(std::string_view ref) {
  return std::any_of(kOfTheRemote.begin(), kOfTheRemote.end(),
                     [&](std::string_view prefix) { return ref.starts_with(prefix); });
}

/// Whether refs of somebody's own lie as files in the clone; true too when that cannot be seen.
bool has_own_loose_refs(const std::string& clone) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(clone + "/refs", error), end; !error && it != end;
       it.increment(error)) {
    const std::string ref = it->path().string().substr(clone.size() + 1);
    if (it->is_directory(error) && !it->is_symlink(error)) continue;
    if (!is_of_the_remote(ref)) return true;
  }
  return static_cast<bool>(error);
}

bool has_own_packed_refs(const std::string& clone) {
  const std::string file = clone + "/packed-refs";
  if (detail::kind_of(file) == PathKind::missing) return false;
  Result<std::string> text = detail::read_line_file(file, kPackedRefsMax);
  if (!text) return true;
  std::string_view rest = *text;
  while (!rest.empty()) {
    // "<id> <ref>", or "^<id>" and "# ..."
    const std::string_view line = take_line(rest);
    const std::size_t space = line.find(' ');
    if (line.starts_with('#') || space == std::string_view::npos) continue;
    if (!is_of_the_remote(line.substr(space + 1))) return true;
  }
  return false;
}

std::string url_of(const std::string& clone) {
  detail::Handle<git_config> config;
  git_buf url = GIT_BUF_INIT;
  std::string found;
  if (git_config_open_ondisk(detail::out(config), (clone + "/config").c_str()) == 0 &&
      git_config_get_string_buf(&url, config.get(), "remote.origin.url") == 0) {
    found = redacted(url.ptr);
  }
  git_buf_dispose(&url);
  return found;
}

class Sweeper {
 public:
  explicit Sweeper(const CloneSweepRequest& request)
      : request_(request), folder_(detail::canonical(request.folder)) {}

  Result<std::vector<SweptClone>> run() {
    if (folder_.empty()) return std::vector<SweptClone>();  // nothing was ever cloned
    for (const std::string& path : RepositoryCache(folder_).list()) {
      if (Result<void> patient = check(); !patient) return fail(std::move(patient).error());
      SweptClone clone{.path = path, .url = url_of(path), .idle_s = idle_of(path)};
      clone.bytes = detail::folder_size(path, request_.patience).bytes;
      total_ += clone.bytes;
      clones_.push_back(std::move(clone));
    }
    std::sort(clones_.begin(), clones_.end(), [](const SweptClone& left, const SweptClone& right) {
      return left.idle_s != right.idle_s ? left.idle_s > right.idle_s : left.path < right.path;
    });
    for (SweptClone& clone : clones_) {
      if (Result<void> patient = check(); !patient) return fail(std::move(patient).error());
      judge(clone);
      if (clone.goes && !request_.dry_run) take_away(clone);
      if (clone.goes) total_ -= clone.bytes;
    }
    clear_leftovers();
    return std::move(clones_);
  }

 private:
  Result<void> check() const { return request_.patience.check("looking at clones"); }

  std::string lock_of(const std::string& clone) const {
    return clone.substr(0, clone.size() - kClone.size()) + ".lock";
  }

  /// RepositoryCache sets the time of the lock's file whenever somebody asks for the clone.
  std::int64_t idle_of(const std::string& clone) const {
    struct stat st{};
    if (::lstat(lock_of(clone).c_str(), &st) != 0) return 0;
    return std::max<std::int64_t>(0, request_.now_s - st.st_mtim.tv_sec);
  }

  /// Why somebody may need the clone; empty when nobody does.
  std::string need_of(const SweptClone& clone) const {
    const auto& used = request_.used;
    if (std::find(used.begin(), used.end(), clone.path) != used.end()) return "a session uses it";
    if (idle_of(clone.path) < request_.idle_min_s) return "was asked for lately";
    const std::string worktrees = clone.path + "/worktrees";
    if (detail::kind_of(worktrees) != PathKind::missing && !detail::is_empty_folder(worktrees)) {
      return "has worktrees";
    }
    if (has_own_loose_refs(clone.path) || has_own_packed_refs(clone.path)) {
      return "holds branches, snapshots or salvages";
    }
    return {};
  }

  void judge(SweptClone& clone) const {
    clone.reason = need_of(clone);
    if (!clone.reason.empty()) return;
    const bool idle = clone.idle_s >= request_.idle_max_s;
    const bool too_many = request_.bytes_max > 0 && total_ > request_.bytes_max;
    clone.goes = idle || too_many;
    clone.reason = idle       ? "nobody asked for it in a long time"
                   : too_many ? "the clones hold more than they may"
                              : "may be asked for again";
  }

  /// While nobody else can fetch into it, and only if still nobody needs it.
  void take_away(SweptClone& clone) const {
    Result<std::optional<FileLock>> lock = FileLock::try_take(lock_of(clone.path));
    if (!lock) return stays(clone, lock.error().message);
    if (!*lock) return stays(clone, "somebody fetches into it");
    if (std::string need = need_of(clone); !need.empty()) return stays(clone, std::move(need));
    const std::string tmp = folder_ + "/tmp";
    const std::string stem = clone.path.substr(0, clone.path.size() - kClone.size());
    std::string gone = tmp + "/" + detail::name_of(stem) + ".XXXXXX";
    Result<void> made = detail::make_folders(tmp);
    if (!made) return stays(clone, made.error().message);
    if (::mkdtemp(gone.data()) == nullptr) return stays(clone, "mkdtemp " + gone);
    request_.patience.note(Step::cache_remove);
    if (::rename(clone.path.c_str(), gone.c_str()) != 0) return stays(clone, "rename " + gone);
    static_cast<void>(detail::remove_file_if_exists(stem + ".fetched"));
    // What is left of it when patience ends, the next call takes.
    static_cast<void>(detail::delete_tree(gone, request_.patience));
  }

  static void stays(SweptClone& clone, std::string why) {
    clone.goes = false;
    clone.error = std::move(why);
  }

  /// Names in `tmp` begin with the hash of the URL whose lock their process held.
  void clear_leftovers() {
    std::error_code error;
    for (fs::directory_iterator it(folder_ + "/tmp", error), end; !error && it != end;
         it.increment(error)) {
      const std::string path = it->path().string();
      const std::string name = it->path().filename().string();
      const std::string file = folder_ + "/" + name.substr(0, name.find('.')) + ".lock";
      Result<std::optional<FileLock>> lock = FileLock::try_take(file);
      if (!lock || !*lock) continue;  // being made
      SweptClone left{.path = path, .goes = true, .reason = "a crash left it"};
      left.bytes = detail::folder_size(path, request_.patience).bytes;
      if (!request_.dry_run && !detail::delete_tree(path, request_.patience)) {
        stays(left, "could not be deleted");
      }
      clones_.push_back(std::move(left));
    }
  }

  const CloneSweepRequest& request_;
  std::string folder_;
  std::vector<SweptClone> clones_;
  std::uint64_t total_ = 0;
};

}  // namespace

Result<std::vector<SweptClone>> sweep_clones(const CloneSweepRequest& request) {
  return Sweeper(request).run();
}

}  // namespace berth::git
