// git/overlay_layer.h — where the parts of a workspace's layer are, and what is written down about
// it. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/file_lock.h>
#include <berth/git/overlay_mount.h>
#include <berth/git/patience.h>

#include <string>

namespace berth::git::detail {

/// `<store>/layers/<key>/`: `upper`, `work`, and `about`, written last: with it the layer is whole
/// and may hold work.
struct Layer {
  std::string folder;
  std::string upper() const { return folder + "/upper"; }
  std::string work() const { return folder + "/work"; }
  std::string about() const { return folder + "/about"; }
};
Layer layer_of(const std::string& store, const std::string& key);

/// The content of `about`. No field holds a line end.
struct AboutLayer {
  std::string lower;       ///< Name of the shared checkout.
  std::string commit;      ///< What that holds.
  std::string repository;  ///< Common git folder.
  std::string path;        ///< Where the workspace is mounted.
};
Result<void> write_about(const Layer& layer, const AboutLayer& about);
/// Errors: `not_found` "worktree_missing": no layer, or none that was made to its end.
Result<AboutLayer> read_about(const Layer& layer);

OverlayFolders folders_of(const std::string& store, const Layer& layer, const std::string& lower);

/// Held while the mount of a workspace is looked at and changed.
Result<FileLock> lock_layer(const std::string& store, const std::string& key,
                            const Patience& patience);

}  // namespace berth::git::detail
