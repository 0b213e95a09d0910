// git/worktree_making.h — how a worktree is made, whatever its folder is made of. Private to this
// folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/opened.h>
#include <berth/git/worktree.h>

#include <string>

namespace berth::git::detail {

/// One creation: what was asked, with names and paths worked out.
struct Creation {
  const CreateWorktree& request;
  Opened& opened;
  std::string path;
  std::string registration;
  std::string base;
  std::string head;
};

/// The part that differs: a folder of files, or a mount.
class FolderMaker {
 public:
  virtual ~FolderMaker() = default;

  /// A whole worktree of that key is registered: makes sure its folder is there to be looked at.
  virtual Result<void> before_reuse(const Creation& creation) = 0;
  /// Takes away what an attempt left. `half_made`: its registration carries our mark; else there is
  /// none, and what is found may hold work.
  virtual Result<void> clear(const Creation& creation, bool half_made) = 0;
  /// Makes the folder with its `.git` file; the registration is there.
  virtual Result<void> make_folder(const Creation& creation) = 0;
  /// Files of `creation.head`, the index of the registration, and the private index if one is
  /// wanted.
  virtual Result<void> fill(const Creation& creation) = 0;
  /// What the registration's lock says from then on; empty: it is not locked.
  virtual std::string lock() const = 0;
};

/// See create_worktree.
Result<CreatedWorktree> make_worktree(const CreateWorktree& request, FolderMaker& maker);

}  // namespace berth::git::detail
