// git/steps.h — the steps of git calls that change something on disk, each noted at one place.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace berth::git {

/// Every name that Patience::note() is told. The tests kill a process before each of them, and fail
/// for one at which no test does.
#define BERTH_GIT_STEPS(X)           \
  X(create_old_registration)         \
  X(create_refs)                     \
  X(create_registration)             \
  X(create_links)                    \
  X(create_file)                     \
  X(create_index)                    \
  X(create_private_index)            \
  X(create_unlock)                   \
  X(command_create_old_registration) \
  X(command_create_refs)             \
  X(command_create_registration)     \
  X(command_create_links)            \
  X(command_create_index)            \
  X(command_create_files)            \
  X(command_create_private_index)    \
  X(command_create_unlock)           \
  X(overlay_old_mount)               \
  X(overlay_old_layer)               \
  X(overlay_link)                    \
  X(overlay_index)                   \
  X(overlay_private_index)           \
  X(overlay_about)                   \
  X(overlay_mount_point)             \
  X(overlay_mount)                   \
  X(overlay_remove_unmount)          \
  X(overlay_remove_layer)            \
  X(overlay_remove_mount_point)      \
  X(overlay_remove_unfinished)       \
  X(lower_unfinished)                \
  X(lower_folder)                    \
  X(lower_memory)                    \
  X(lower_flush)                     \
  X(lower_seal)                      \
  X(lower_user)                      \
  X(lower_unused)                    \
  X(scan_tree)                       \
  X(scan_hinted_tree)                \
  X(scan_file)                       \
  X(snapshot_commit)                 \
  X(snapshot_ref)                    \
  X(snapshot_private_index)          \
  X(command_snapshot_files)          \
  X(command_snapshot_commit)         \
  X(command_snapshot_ref)            \
  X(apply_journal)                   \
  X(apply_index)                     \
  X(apply_branch)                    \
  X(apply_journal_end)               \
  X(rewrite_file)                    \
  X(salvage_ref)                     \
  X(remove_folder)                   \
  X(remove_registration)             \
  X(remove_branch)                   \
  X(remove_private_index)            \
  X(remove_trash)                    \
  X(archive_salvage)                 \
  X(archive_ref)                     \
  X(unarchive_files)                 \
  X(unarchive_index)                 \
  X(unarchive_head)                  \
  X(unarchive_ref)                   \
  X(expire_ref)                      \
  X(cache_fetch)                     \
  X(cache_clone)                     \
  X(cache_rename)                    \
  X(cache_time)                      \
  X(cache_remove)

enum class Step : std::uint8_t {
#define BERTH_GIT_STEP(name) name,
  BERTH_GIT_STEPS(BERTH_GIT_STEP)
#undef BERTH_GIT_STEP
};

inline constexpr std::array kStepNames = {
#define BERTH_GIT_STEP(name) #name,
    BERTH_GIT_STEPS(BERTH_GIT_STEP)
#undef BERTH_GIT_STEP
};

constexpr const char* name_of(Step step) {
  return kStepNames[static_cast<std::size_t>(step)];
}

}  // namespace berth::git
