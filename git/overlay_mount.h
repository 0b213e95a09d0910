// git/overlay_mount.h — mounts one overlay, knows it again, takes it away. Private to this folder.
#pragma once

#include <berth/core/result.h>

#include <string>

namespace berth::git::detail {

/// Folders of one overlay; `upper` and `work` on one file system.
struct OverlayFolders {
  std::string lower;
  std::string upper;
  std::string work;
};

/// Writes a mark that no other layer has onto the folder `upper`, as an attribute that shows
/// through the mount. Root's is in the `trusted` space, as the overlay's own marks then are,
/// anybody else's in `user`.
///
/// Errors: `unsupported` "overlay_denied": the file system has no attributes.
Result<void> mark_layer(const std::string& upper, const std::string& key);

/// The mark of a layer, or of the mount that shows it: "trusted:<key>.<number>". Empty when there
/// is none, or when this process may not read it.
std::string layer_mark(const std::string& folder);

enum class MountState {
  none,     ///< Nothing is mounted at that path, or there is no such path.
  ours,     ///< The overlay of that layer.
  foreign,  ///< Something else.
};
Result<MountState> mount_state(const std::string& path, const std::string& upper);

/// Mounts onto `path`, an empty folder. Directory renames work in a layer marked by root; in
/// another one they are EXDEV.
///
/// Errors: `conflict` "path_occupied" (not an empty folder); `unsupported` "overlay_denied".
Result<void> mount_overlay(const OverlayFolders& folders, const std::string& path);

/// Takes the overlay of the layer `upper` off `path`; fine when it is not there. With `detach` also
/// when processes are still in it, which then go on in a tree that nobody else sees.
///
/// Errors: `busy` "overlay_in_use"; `conflict` "overlay_foreign_mount".
Result<void> unmount_overlay(const std::string& path, const std::string& upper, bool detach);

}  // namespace berth::git::detail
