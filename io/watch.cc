#include <berth/io/watch.h>

#include <berth/io/fd.h>
#include <berth/io/signals_blocked.h>

#include <dirent.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

namespace berth::inline v0::io {
namespace {

/// IN_CLOSE_WRITE is there for writes through a mapping, which end with it and tell nothing else.
constexpr std::uint32_t kMask = IN_CREATE | IN_DELETE | IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE |
                                IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF |
                                IN_ONLYDIR | IN_DONT_FOLLOW;
constexpr std::size_t kBufferBytes = std::size_t{64} << 10;

std::string below(const std::string& folder, std::string_view name) {
  std::string path = folder;
  if (!path.empty()) path += '/';
  path += name;
  return path;
}

/// The folders directly in `path`; none when it cannot be read.
std::vector<std::string> folders_in(const std::string& path) {
  std::vector<std::string> found;
  DIR* const folder = ::opendir(path.c_str());
  if (folder == nullptr) return found;
  while (const dirent* entry = ::readdir(folder)) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == ".." || name == ".git") continue;
    bool is_folder = entry->d_type == DT_DIR;
    if (entry->d_type == DT_UNKNOWN) {
      struct stat info{};
      is_folder = ::lstat(below(path, name).c_str(), &info) == 0 && S_ISDIR(info.st_mode);
    }
    if (is_folder) found.emplace_back(name);
  }
  ::closedir(folder);
  return found;
}

struct Tree {
  std::string root;
  dev_t device = 0;
  ino_t inode = 0;
  std::map<std::string, int> folders;  // relative path to watch; "" is the root
  std::set<std::string> paths;
  bool too_many_paths = false;
  const char* lost = nullptr;  // why nothing is known any more

  /// Whether the root's path still leads to the folder that is watched.
  bool is_in_place() const {
    struct stat info{};
    return ::lstat(root.c_str(), &info) == 0 && info.st_dev == device && info.st_ino == inode;
  }
};

class InotifyWatcher final : public FolderWatcher {
 public:
  InotifyWatcher(const WatchLimits& limits, Fd notifications, Fd stop)
      : limits_(limits), notifications_(std::move(notifications)), stop_(std::move(stop)) {}

  ~InotifyWatcher() override {
    if (!thread_.joinable()) return;
    const std::uint64_t one = 1;
    while (::write(stop_.get(), &one, sizeof one) < 0 && errno == EINTR) {
    }
    thread_.join();
  }

  /// 0, or the errno.
  int start_thread() {
    const SignalsBlocked blocked;  // the new thread inherits the mask
    try {
      thread_ = std::thread([this] { serve(); });
    } catch (const std::system_error& error) {
      return error.code().value();
    }
    pthread_setname_np(thread_.native_handle(), "berth-watch");
    return 0;
  }

  Result<void> begin(const std::string& folder) override {
    const std::lock_guard lock(mutex_);
    const auto known = trees_.find(folder);
    if (known != trees_.end()) {
      if (known->second.lost == nullptr && known->second.is_in_place()) return {};
      drop(known);
    }
    struct stat info{};
    if (::lstat(folder.c_str(), &info) != 0) return fail(errno_error(errno, "watch " + folder));
    const auto made = trees_.emplace(folder, Tree()).first;
    Tree& tree = made->second;
    tree.root = folder;
    tree.device = info.st_dev;
    tree.inode = info.st_ino;
    const int error = watch_below(tree, "");
    if (error == 0 && tree.lost == nullptr) return {};
    const bool too_large = tree.folders.size() >= limits_.tree_folders_max;
    drop(made);
    if (error != 0 && error != ENOSPC) return fail(errno_error(error, "watch " + folder));
    return fail(ErrorKind::overloaded, too_large ? "watch_tree_limit" : "watch_limit",
                folder + ": has more folders than may be watched");
  }

  SeenChanges take(const std::string& folder) override {
    const std::lock_guard lock(mutex_);
    read_all();
    SeenChanges seen;
    const auto known = trees_.find(folder);
    if (known == trees_.end()) {
      seen.reason = "not_watched";
      return seen;
    }
    Tree& tree = known->second;
    if (tree.lost == nullptr && !tree.is_in_place()) tree.lost = "watch_folder_moved";
    if (tree.lost != nullptr) {
      seen.reason = tree.lost;
      drop(known);
      return seen;
    }
    if (std::exchange(tree.too_many_paths, false)) {
      seen.reason = "watch_too_many_paths";
      return seen;
    }
    seen.complete = true;
    seen.paths.assign(tree.paths.begin(), tree.paths.end());
    tree.paths.clear();
    return seen;
  }

  void end(const std::string& folder) override {
    const std::lock_guard lock(mutex_);
    const auto known = trees_.find(folder);
    if (known != trees_.end()) drop(known);
  }

  std::size_t folders() override {
    const std::lock_guard lock(mutex_);
    return places_.size();
  }

 private:
  struct Place {
    Tree* tree = nullptr;
    std::string path;
  };

  void serve() {
    for (;;) {
      pollfd polls[2] = {{notifications_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      if (::poll(polls, 2, -1) < 0) continue;  // EINTR: no other error is possible here
      if (polls[1].revents != 0) return;
      const std::lock_guard lock(mutex_);
      read_all();
    }
  }

  /// What the kernel has for us now. With the lock, as all that follows.
  void read_all() {
    alignas(inotify_event) char buffer[kBufferBytes];
    for (;;) {
      const ssize_t got = ::read(notifications_.get(), buffer, sizeof buffer);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return;  // EAGAIN: that was all
      for (const char* at = buffer; at < buffer + got;) {
        inotify_event event;
        std::memcpy(&event, at, sizeof event);
        const char* name = at + sizeof event;
        on_event(event, event.len == 0 ? std::string_view() : std::string_view(name));
        at += sizeof event + event.len;
      }
    }
  }

  void on_event(const inotify_event& event, std::string_view name) {
    if ((event.mask & IN_Q_OVERFLOW) != 0) {
      for (auto& [root, tree] : trees_) tree.lost = "watch_overflow";
      return;
    }
    const auto found = places_.find(event.wd);
    if (found == places_.end()) return;  // of a watch that was given up
    Tree& tree = *found->second.tree;
    const std::string folder = found->second.path;
    if ((event.mask & IN_IGNORED) != 0) {
      const auto watch = tree.folders.find(folder);
      if (watch != tree.folders.end() && watch->second == event.wd) tree.folders.erase(watch);
      places_.erase(found);
    }
    if ((event.mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) != 0) {
      // Of other folders than the root, the folder above tells it too, with a name.
      if (folder.empty() || (event.mask & IN_UNMOUNT) != 0) tree.lost = "watch_folder_moved";
      return;
    }
    if (name.empty()) {
      if (folder.empty()) note(tree, folder);
      return;
    }
    on_change(tree, below(folder, name), event.mask, name);
  }

  void on_change(Tree& tree, const std::string& path, std::uint32_t mask, std::string_view name) {
    note(tree, path);
    if ((mask & IN_ISDIR) == 0) return;
    if ((mask & (IN_MOVED_FROM | IN_DELETE)) != 0) unwatch_below(tree, path);
    // Whatever was made in it before it is watched: the folder's name stands for all of it. A
    // change of its mode may be what lets us look into it at last.
    if ((mask & (IN_CREATE | IN_MOVED_TO | IN_ATTRIB)) == 0 || name == ".git") return;
    if (watch_below(tree, path) != 0) tree.lost = "watch_limit";
  }

  void note(Tree& tree, const std::string& path) {
    if (tree.too_many_paths) return;
    tree.paths.insert(path);
    if (tree.paths.size() <= limits_.paths_max) return;
    tree.too_many_paths = true;
    tree.paths.clear();
  }

  /// 0, or the errno that says that this tree cannot be watched. Each folder is watched before it
  /// is read: what is made in it later is told.
  int watch_below(Tree& tree, const std::string& path) {
    std::vector<std::string> left = {path};
    while (!left.empty()) {
      const std::string folder = std::move(left.back());
      left.pop_back();
      const std::string full = folder.empty() ? tree.root : below(tree.root, folder);
      const bool known = tree.folders.contains(folder);
      if (!known && (places_.size() >= limits_.folders_max ||
                     tree.folders.size() >= limits_.tree_folders_max)) {
        return ENOSPC;
      }
      const int watch = ::inotify_add_watch(notifications_.get(), full.c_str(), kMask);
      if (watch < 0) {
        // Gone again, no folder any more, or not ours to read, which the parent tells the end of.
        const bool passes =
            errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP;
        if (passes && !folder.empty()) continue;
        return errno;
      }
      remember(tree, folder, watch);
      for (const std::string& name : folders_in(full)) left.push_back(below(folder, name));
    }
    return 0;
  }

  void remember(Tree& tree, const std::string& folder, int watch) {
    const auto [place, fresh] = places_.try_emplace(watch);
    if (!fresh && (place->second.tree != &tree || place->second.path != folder)) {
      // A folder that was moved: its watch goes with it.
      std::map<std::string, int>& folders = place->second.tree->folders;
      const auto before = folders.find(place->second.path);
      if (before != folders.end() && before->second == watch) folders.erase(before);
      if (place->second.tree != &tree) place->second.tree->lost = "watch_folder_moved";
    }
    place->second = {&tree, folder};
    const auto [entry, added] = tree.folders.try_emplace(folder, watch);
    if (!added && entry->second != watch) {
      give_up(entry->second);  // another folder has its name now
      entry->second = watch;
    }
  }

  void unwatch_below(Tree& tree, const std::string& path) {
    const auto self = tree.folders.find(path);
    if (self != tree.folders.end()) {
      give_up(self->second);
      tree.folders.erase(self);
    }
    const std::string prefix = path + "/";
    for (auto at = tree.folders.lower_bound(prefix);
         at != tree.folders.end() && at->first.starts_with(prefix);) {
      give_up(at->second);
      at = tree.folders.erase(at);
    }
  }

  void give_up(int watch) {
    places_.erase(watch);
    // EINVAL: the kernel has removed it with its folder.
    ::inotify_rm_watch(notifications_.get(), watch);
  }

  void drop(std::map<std::string, Tree>::iterator tree) {
    for (const auto& [path, watch] : tree->second.folders) give_up(watch);
    trees_.erase(tree);
  }

  const WatchLimits limits_;
  const Fd notifications_;
  const Fd stop_;
  std::mutex mutex_;  // guards all below
  std::map<std::string, Tree> trees_;
  std::map<int, Place> places_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<FolderWatcher>> make_folder_watcher(const WatchLimits& limits,
                                                           WatchThread thread) {
  Fd notifications(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  Fd stop(::eventfd(0, EFD_CLOEXEC));
  if (!notifications.valid() || !stop.valid()) {
    // EMFILE: fs.inotify.max_user_instances, or descriptors; ENOSYS: a kernel without it.
    return fail(ErrorKind::unsupported, "no_inotify", errno_error(errno, "inotify_init1").message);
  }
  auto watcher =
      std::make_unique<InotifyWatcher>(limits, std::move(notifications), std::move(stop));
  if (thread == WatchThread::own) {
    if (const int error = watcher->start_thread(); error != 0) {
      return fail(ErrorKind::unsupported, "no_inotify",
                  errno_error(error, "start a thread").message);
    }
  }
  return Result<std::unique_ptr<FolderWatcher>>(std::move(watcher));
}

}  // namespace berth::inline v0::io
