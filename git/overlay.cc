#include <berth/git/files.h>
#include <berth/git/links.h>
#include <berth/git/lower_cache.h>
#include <berth/git/names.h>
#include <berth/git/opened.h>
#include <berth/git/overlay.h>
#include <berth/git/overlay_layer.h>
#include <berth/git/overlay_mount.h>
#include <berth/git/removal_steps.h>
#include <berth/git/scan_memory.h>
#include <berth/git/worktree_making.h>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace berth::git {

using detail::AboutLayer;
using detail::Creation;
using detail::FileLock;
using detail::Layer;
using detail::Location;
using detail::Lower;
using detail::MountState;
using detail::PathKind;

namespace {

Result<void> check_store(const std::string& store) {
  if (store.size() > 1 && store.front() == '/' && store.find('\n') == std::string::npos) return {};
  return fail(ErrorKind::invalid, "bad_path", "'" + store + "': not an absolute path of a folder");
}

/// The folder under a mount holds nothing, ever, and is made hard to put something into.
Result<void> make_mount_point(const std::string& path) {
  if (Result<void> made = detail::make_folders(detail::parent_of(path)); !made) return made;
  if (::mkdir(path.c_str(), 0555) == 0 || errno == EEXIST) return {};
  return fail(errno_error(errno, "mkdir " + path));
}

Result<void> trash_layer(const std::string& store, const Layer& layer) {
  if (detail::kind_of(layer.folder) == PathKind::missing) return {};
  Result<std::string> moved = detail::move_to_trash(layer.folder, store + "/trash");
  if (!moved) return fail(std::move(moved).error());
  if (Result<bool> gone = detail::delete_tree(*moved, {}); !gone) return fail(gone.error());
  return {};
}

/// Mounts unless it is mounted.
Result<OverlayReady> mount_again(const OverlayRef& overlay, const Layer& layer,
                                 const AboutLayer& about, const Patience& patience) {
  Result<FileLock> lock = detail::lock_layer(overlay.store, overlay.worktree.key, patience);
  if (!lock) return fail(std::move(lock).error());
  Result<MountState> state = detail::mount_state(about.path, layer.upper());
  if (!state) return fail(std::move(state).error());
  if (*state == MountState::ours) return OverlayReady{};
  if (*state == MountState::foreign) {
    return fail(ErrorKind::conflict, "overlay_foreign_mount",
                about.path + ": something else is mounted there");
  }
  if (!detail::is_sealed(overlay.store, about.lower)) {
    return fail(ErrorKind::unavailable, "overlay_lower_missing",
                about.lower + ": the shared checkout is gone");
  }
  patience.note(Step::overlay_mount_point);
  Result<void> done = make_mount_point(about.path);
  patience.note(Step::overlay_mount);
  if (done) {
    done = detail::mount_overlay(detail::folders_of(overlay.store, layer, about.lower), about.path);
  }
  if (!done) return fail(std::move(done).error());
  return OverlayReady{.remounted = true};
}

class OverlayFolder : public detail::FolderMaker {
 public:
  OverlayFolder(const CreateOverlay& request)
      : request_(request),
        overlay_{request.worktree.worktree, request.store},
        layer_(detail::layer_of(request.store, request.worktree.worktree.key)) {}

  Result<void> before_reuse(const Creation& creation) override {
    Result<OverlayReady> ready = ensure_overlay_ready(overlay_, creation.request.patience);
    if (!ready) return fail(std::move(ready).error());
    return {};
  }

  Result<void> clear(const Creation& creation, bool half_made) override {
    Result<AboutLayer> about = detail::read_about(layer_);
    if (about && !half_made) {
      return fail(ErrorKind::conflict, "overlay_has_layer",
                  layer_.folder + ": may hold work, its registration is gone");
    }
    creation.request.patience.note(Step::overlay_old_mount);
    Result<void> done = detail::unmount_overlay(creation.path, layer_.upper(), true);
    creation.request.patience.note(Step::overlay_old_layer);
    if (done) done = trash_layer(request_.store, layer_);
    if (done && detail::is_empty_folder(creation.path)) ::rmdir(creation.path.c_str());
    return done;
  }

  Result<void> make_folder(const Creation& creation) override {
    Result<void> done = detail::make_folders(detail::parent_of(layer_.folder));
    if (done) done = detail::make_folders(layer_.upper());
    if (done) done = detail::make_folders(layer_.work());
    if (done) done = detail::mark_layer(layer_.upper(), overlay_.worktree.key);
    creation.request.patience.note(Step::overlay_link);
    if (done) {
      done = detail::write_file(layer_.upper() + "/.git",
                                detail::git_file_of(creation.registration) + "\n");
    }
    if (done) done = make_mount_point(creation.path);
    return done;
  }

  Result<void> fill(const Creation& creation) override {
    const Patience& patience = creation.request.patience;
    const std::string& common_dir = creation.opened.location.common_dir;
    Result<Lower> lower = detail::acquire_lower({.store = request_.store,
                                                 .common_dir = common_dir,
                                                 .commit = creation.head,
                                                 .key = overlay_.worktree.key,
                                                 .name = {},
                                                 .patience = patience});
    if (!lower) return fail(std::move(lower).error());
    patience.note(Step::overlay_index);
    Result<void> done = detail::copy_file(lower->index(), creation.registration + "/index");
    const std::string& private_index = creation.request.private_index;
    patience.note(Step::overlay_private_index);
    if (done && !private_index.empty()) {
      done = detail::link_or_copy_file(lower->index(), private_index);
      if (done) done = remember(*lower, creation);
    }
    patience.note(Step::overlay_about);
    const AboutLayer about{.lower = lower->name,
                           .commit = creation.head,
                           .repository = common_dir,
                           .path = creation.path};
    if (done) done = detail::write_about(layer_, about);
    if (!done) return done;
    Result<OverlayReady> mounted = mount_again(overlay_, layer_, about, patience);
    if (!mounted) return fail(std::move(mounted).error());
    return {};
  }

  std::string lock() const override { return detail::kOverlayMark; }

 private:
  static Result<void> remember(const Lower& lower, const Creation& creation) {
    detail::ScanMemory memory = detail::ScanMemory::load(lower.index());
    if (memory.tree.empty()) return {};
    memory.users_index = detail::stat_text(creation.registration + "/index");
    return memory.save(creation.request.private_index);
  }

  const CreateOverlay& request_;
  OverlayRef overlay_;
  Layer layer_;
};

/// Unmounts, then moves the layer into the trash.
class OverlayRemover : public detail::FolderRemover {
 public:
  OverlayRemover(const RemoveOverlay& request, Layer layer)
      : store_(request.store), layer_(std::move(layer)) {}

  Result<void> remove(const RemoveWorktree& request, Removal& removal) override {
    Result<FileLock> lock = detail::lock_layer(store_, request.worktree.key, request.patience);
    if (!lock) return fail(std::move(lock).error());
    const std::string path = detail::canonical_parent(request.worktree.path);
    request.patience.note(Step::overlay_remove_unmount);
    Result<void> done = detail::unmount_overlay(path, layer_.upper(), request.force);
    if (!done) return done;
    request.patience.note(Step::overlay_remove_layer);
    Result<std::string> moved = detail::move_to_trash(layer_.folder, store_ + "/trash");
    if (!moved) return fail(std::move(moved).error());
    removal.removed_folder = true;
    removal.trash = *std::move(moved);
    request.patience.note(Step::overlay_remove_mount_point);
    ::rmdir(path.c_str());
    return {};
  }

 private:
  std::string store_;
  Layer layer_;
};

/// What a removal or a creation that a crash ended left of a layer that is not whole, or gone.
Result<void> clear_remains(const RemoveOverlay& request, const Layer& layer) {
  const std::string path = detail::canonical_parent(request.worktree.worktree.path);
  if (detail::kind_of(layer.folder) != PathKind::missing) {
    Result<void> done = detail::unmount_overlay(path, layer.upper(), true);
    request.worktree.patience.note(Step::overlay_remove_unfinished);
    if (done) done = trash_layer(request.store, layer);
    if (!done) return done;
  }
  // A folder that is not empty, or a mount point, stays: what is in it is not ours to judge.
  ::rmdir(path.c_str());
  return {};
}

}  // namespace

Result<CreatedWorktree> create_overlay(const CreateOverlay& request) {
  if (Result<void> ok = check_key(request.worktree.worktree.key); !ok) {
    return fail(std::move(ok).error());
  }
  if (Result<void> ok = check_store(request.store); !ok) return fail(std::move(ok).error());
  OverlayFolder folder(request);
  return detail::make_worktree(request.worktree, folder);
}

Result<OverlayReady> ensure_overlay_ready(const OverlayRef& overlay, const Patience& patience) {
  Result<void> checked = check_key(overlay.worktree.key);
  if (checked) checked = check_store(overlay.store);
  if (!checked) return fail(std::move(checked).error());
  Result<Location> location = detail::locate(overlay.worktree.repository);
  if (!location) return fail(std::move(location).error());
  const Layer layer = detail::layer_of(overlay.store, overlay.worktree.key);
  Result<AboutLayer> about = detail::read_about(layer);
  if (!about) return fail(std::move(about).error());
  if (about->path != detail::canonical_parent(overlay.worktree.path) &&
      about->path != overlay.worktree.path) {
    return fail(ErrorKind::conflict, "worktree_elsewhere",
                overlay.worktree.key + ": its workspace is at " + about->path);
  }
  if (about->repository != location->common_dir) {
    return fail(ErrorKind::conflict, "worktree_not_linked",
                overlay.worktree.path + ": belongs to " + about->repository);
  }
  Result<OverlayReady> ready = mount_again(overlay, layer, *about, patience);
  if (!ready) return ready;
  if (Result<void> whole = verify_worktree(overlay.worktree); !whole) {
    return fail(std::move(whole).error());
  }
  return ready;
}

Result<Removal> remove_overlay(const RemoveOverlay& request, WorkLoss& report) {
  report = WorkLoss{};
  report.unknown = true;
  const WorktreeRef& worktree = request.worktree.worktree;
  Result<void> checked = check_key(worktree.key);
  if (checked) checked = check_store(request.store);
  if (!checked) return fail(std::move(checked).error());
  const Layer layer = detail::layer_of(request.store, worktree.key);
  Result<AboutLayer> about = detail::read_about(layer);
  if (!about && about.error().kind != ErrorKind::not_found) return fail(std::move(about).error());
  if (about) {
    Result<OverlayReady> ready =
        ensure_overlay_ready({worktree, request.store}, request.worktree.patience);
    const bool half_made = !ready && ready.error().code == std::string_view("worktree_half_made");
    if (!ready && !half_made) return fail(std::move(ready).error());
  } else if (Result<void> cleared = clear_remains(request, layer); !cleared) {
    return fail(std::move(cleared).error());
  }
  OverlayRemover remover(request, layer);
  Result<Removal> removal = detail::remove_worktree(request.worktree, report, remover);
  if (removal && about) {
    // Best effort: a user without a layer does not count.
    static_cast<void>(detail::release_lower(request.store, about->lower, worktree.key));
  }
  return removal;
}

Result<std::vector<ListedOverlay>> list_overlays(const std::string& store) {
  if (Result<void> ok = check_store(store); !ok) return fail(std::move(ok).error());
  std::vector<ListedOverlay> found;
  std::error_code error;
  for (std::filesystem::directory_iterator it(store + "/layers", error), end; !error && it != end;
       it.increment(error)) {
    const std::string key = it->path().filename().string();
    if (!is_key(key)) continue;
    const Layer layer = detail::layer_of(store, key);
    ListedOverlay listed{.key = key, .path = {}, .repository = {}, .lower = {}};
    if (Result<AboutLayer> about = detail::read_about(layer); about) {
      Result<MountState> state = detail::mount_state(about->path, layer.upper());
      listed.mounted = state && *state == MountState::ours;
      listed.path = std::move(about->path);
      listed.repository = std::move(about->repository);
      listed.lower = std::move(about->lower);
    }
    found.push_back(std::move(listed));
  }
  if (error && error.value() != ENOENT) return fail(errno_error(error.value(), "read " + store));
  std::sort(found.begin(), found.end(),
            [](const ListedOverlay& a, const ListedOverlay& b) { return a.key < b.key; });
  return found;
}

Result<OverlaySweep> sweep_overlays(const std::string& store, const std::vector<std::string>& keep,
                                    const Patience& patience) {
  if (Result<void> ok = check_store(store); !ok) return fail(std::move(ok).error());
  Result<detail::LowerSweep> swept = detail::sweep_lowers(store, keep, patience);
  if (!swept) return fail(std::move(swept).error());
  if (Result<std::size_t> emptied = empty_trash(store + "/trash", patience); !emptied) {
    return fail(std::move(emptied).error());
  }
  return OverlaySweep{.lowers_removed = swept->removed, .lowers_kept = swept->kept};
}

}  // namespace berth::git
