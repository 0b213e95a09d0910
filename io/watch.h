// io/watch.h — which files below a folder may have changed, told by the kernel's notifications.
#pragma once

#include <berth/core/result.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace berth::inline v0::io {

struct WatchLimits {
  /// Folders that are watched in all trees together: one watch of the kernel's each, about 1 KiB.
  std::size_t folders_max = 65'536;
  std::size_t tree_folders_max = 16'384;  ///< Of one tree.
  std::size_t paths_max = 10'000;         ///< Names of one tree that are kept until they are taken.
};

/// What was seen in a tree since it was last taken.
struct SeenChanges {
  /// Nothing else than `paths` changed meanwhile. False: nobody knows what changed.
  bool complete = false;
  /// Why not: "not_watched", "watch_overflow" (the kernel dropped notifications),
  /// "watch_too_many_paths", "watch_folder_moved" (the root was moved, replaced or deleted),
  /// "watch_limit" (a new folder could not be watched).
  std::string reason;
  /// Relative to the root, each once, in no promised order. A folder stands for all below it; "" is
  /// the root.
  std::vector<std::string> paths;
};

/// Watches trees of folders, all but folders named `.git`. Thread-safe; the calls block (they read
/// folders), so not on a reactor's thread.
///
/// What it cannot see: a write through a shared mapping, until the file is closed; a write through
/// a hard link outside of the tree; what another machine writes. Whoever must be sure looks at
/// everything from time to time.
class FolderWatcher {
 public:
  virtual ~FolderWatcher() = default;

  /// Watches the tree from now on: what changes after this returned is in a later take(), what
  /// changes meanwhile is in it or not. Nothing to do when it is watched.
  ///
  /// Errors: `overloaded` "watch_limit" (one of the limits, or the kernel's
  /// fs.inotify.max_user_watches) | "watch_tree_limit" (the tree has too many folders);
  /// `not_found`. The tree is then not watched.
  virtual Result<void> begin(const std::string& folder) = 0;
  /// Everything that changed before the call, since begin() or the last take(). When that is not
  /// known, the tree may be watched no longer: begin() again, then look at everything.
  virtual SeenChanges take(const std::string& folder) = 0;
  /// Fine when it is not watched.
  virtual void end(const std::string& folder) = 0;
  /// Folders that are watched now.
  virtual std::size_t folders() = 0;
};

enum class WatchThread : std::uint8_t {
  own,   ///< Reads as notifications come, so that the kernel's queue does not overflow.
  none,  ///< They are read by take() only.
};

/// On inotify(7). Error `unsupported` "no_inotify" with the reason.
Result<std::unique_ptr<FolderWatcher>> make_folder_watcher(const WatchLimits& limits,
                                                           WatchThread thread = WatchThread::own);

}  // namespace berth::inline v0::io
