// git/opened.h — repositories opened the hardened way, and the parts of a repository found without
// libgit2. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/worktree.h>

#include <string>

namespace berth::git::detail {

/// Where the parts of a repository are. Canonical paths, no trailing slash.
struct Location {
  std::string git_dir;
  std::string common_dir;
  std::string work_dir;  ///< Empty when bare, or unknown because `.git` itself was named.
  bool linked = false;
};

/// Finds the parts by reading `.git`, `commondir` and `gitdir` files; opens nothing, runs nothing.
Result<Location> locate(const std::string& path);

/// Refuses what libgit2 1.5 cannot read rightly or would wait for, with an error that names it.
Result<void> check_supported(const Location& location);

struct Opened {
  Handle<git_repository> repository;
  Location location;
};

/// Objects and refs of the repository at `path`, HEAD as that path sees it. Opened as bare: a
/// planted `core.worktree` has no effect.
Result<Opened> open_objects(const std::string& path);

/// The folder of the registration of `key`: "<common>/worktrees/<key>".
std::string registration_of(const std::string& common_dir, const std::string& key);

/// The mark in a registration's `locked` file while it is being made.
inline constexpr const char* kHalfMadeMark = "berth: being made";

/// What an overlay workspace's registration is locked with for good: its mount may be lost, and git
/// would prune it.
inline constexpr const char* kOverlayMark = "berth: overlay workspace";

/// A verified worktree (see verify_worktree), opened with its working files.
struct OpenedWorktree {
  Handle<git_repository> repository;
  std::string path;  ///< Canonical.
  std::string common_dir;
  std::string registration;
};
Result<OpenedWorktree> open_worktree(const WorktreeRef& worktree);

/// The same checks, without opening.
Result<Location> verify_links(const WorktreeRef& worktree);

}  // namespace berth::git::detail
