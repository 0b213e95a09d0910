// git/overlay.h — workspaces that share one sealed checkout of their base commit and keep what is
// theirs in a layer above it.
#pragma once

#include <berth/core/result.h>
#include <berth/git/patience.h>
#include <berth/git/removal.h>
#include <berth/git/worktree.h>

#include <string>
#include <vector>

namespace berth::git {

/// Names an overlay workspace: a linked worktree whose folder is a mount.
///
/// `store` is a folder of berth's own that an agent has no business in, the same for every
/// workspace and after a restart; absolute, on a file system that can hold an upper layer (ext4,
/// xfs, btrfs, tmpfs; not an overlay itself, not NFS). It is never read from the repository, where
/// an agent could rewrite it. In it: `lowers/` (the shared checkouts), `layers/<key>/` (what a
/// workspace changed), `trash/`.
struct OverlayRef {
  WorktreeRef worktree;
  std::string store;
};

struct OverlaySupport {
  bool usable = false;
  std::string reason;  ///< For people: why not. Empty when usable.
};

/// Mounts an overlay in `store` (made when missing), renames a folder of its lower layer and
/// deletes a file of it, and takes everything away again. For `doctor` and for choosing a mode. Any
/// thread.
OverlaySupport probe_overlay(const std::string& store);

/// Moves this process into a user and mount namespace of its own, where it may mount overlays
/// without being root; user and group ids stay as they are. What it mounts is seen by its children
/// only: anybody else finds the folders of the workspaces empty. Directory renames of lower folders
/// then read as EXDEV, which every `mv` handles by copying.
///
/// Only while the process has one thread. Errors: `unsupported` "no_user_namespace" |
/// "has_threads".
Result<void> enter_overlay_namespace();

struct CreateOverlay {
  /// As for create_worktree. A `private_index` on the file system of `store` costs no space: it is
  /// a second name of the sealed index until the first snapshot replaces it.
  CreateWorktree worktree;
  std::string store;
};

/// As create_worktree, in a time that hardly depends on the number of files once the shared
/// checkout of the commit is there: the first creation for a commit makes it (others wait for it
/// meanwhile, asking their patience), later ones mount and copy the index.
///
/// The registration stays locked in git's sense ("berth: overlay workspace"), so that neither `git
/// gc` nor `git worktree prune` takes it away while the mount is lost. Plain git finds a clean tree
/// at once: its index is a copy of the one made with the shared checkout, whose times, sizes and
/// inode numbers an overlay passes on unchanged until a file is first written to.
///
/// Errors: those of create_worktree; those of ensure_overlay_ready; `unsupported` "overlay_denied"
/// (see probe_overlay); `conflict` "overlay_has_layer" (a layer of this key is there without its
/// registration and may hold work: see list_overlays).
Result<CreatedWorktree> create_overlay(const CreateOverlay& request);

struct OverlayReady {
  bool remounted = false;  ///< The mount was lost (a reboot, another namespace) and is back.
};

/// Sees to it that the workspace is what it was: registered, its layer and shared checkout there,
/// and mounted, with the mark of this very layer showing through. Call it before every use, also
/// before every other call of this folder and before an agent starts there. A lost mount is mounted
/// again. Any thread; waits for another call about the same workspace.
///
/// Errors mean "unknown", never "empty": `not_found` "worktree_missing" (no such layer);
/// `unavailable` "worktree_half_made" | "overlay_lower_missing"; `conflict` "path_occupied" (files
/// lie in the folder under the lost mount: mounting would hide them) | "overlay_foreign_mount"
/// (something else is mounted there) | "worktree_not_linked"; `unsupported` "overlay_denied".
Result<OverlayReady> ensure_overlay_ready(const OverlayRef& overlay, const Patience& patience);

struct RemoveOverlay {
  RemoveWorktree worktree;  ///< `trash` is not used: a layer's trash is in its store.
  std::string store;
};

/// As remove_worktree; the moment of removal is the rename of the layer into the trash, after the
/// unmount. Without force a mount that a process still uses is an error (`busy` "overlay_in_use");
/// with force it is detached. Idempotent; finishes what a crash left. The shared checkout stays
/// until sweep_overlays.
Result<Removal> remove_overlay(const RemoveOverlay& request, WorkLoss& report);

struct ChangedPaths {
  /// Relative paths, sorted by bytes. A name of a folder stands for everything below it. Everything
  /// that is not at or below one of them is as in `commit`. `.git` is left out. A path may be named
  /// that is the same after all, or that git ignores, or where nothing is any more.
  std::vector<std::string> paths;
  /// False: the layer could not be read whole; look at everything.
  bool complete = false;
  std::string commit;  ///< What the shared checkout holds: HEAD at creation.
};

/// What may differ from the shared checkout, read from the layer in a time that depends on what was
/// changed only. Not relative to an earlier call: a new file that is deleted again leaves no trace.
/// Reads the layer below the mount, so it shows what was written before the call; a change made
/// meanwhile is in it or not. Any thread. Errors: as ensure_overlay_ready, which it does not call.
Result<ChangedPaths> changed_paths(const OverlayRef& overlay, const Patience& patience);

struct ListedOverlay {
  std::string key;
  std::string path;        ///< Where it is mounted; empty for a layer that was never finished.
  std::string repository;  ///< The common git folder it belongs to.
  std::string lower;       ///< Name of the shared checkout.
  bool mounted = false;
};

/// All layers in `store`, sorted by key; for reapers. Changes nothing.
Result<std::vector<ListedOverlay>> list_overlays(const std::string& store);

struct OverlaySweep {
  std::size_t lowers_removed = 0;
  std::size_t lowers_kept = 0;
};

/// Deletes the shared checkouts that no layer uses, what crashed creations of such left, and the
/// trash of the store. `keep` are names of lowers (as in ListedOverlay) to spare, such as those of
/// recent commits. Safe beside creations.
Result<OverlaySweep> sweep_overlays(const std::string& store, const std::vector<std::string>& keep,
                                    const Patience& patience);

}  // namespace berth::git
