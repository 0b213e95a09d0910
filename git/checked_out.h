// git/checked_out.h — the files and the index of one checkout, read and written as git does it,
// whoever does it: libgit2 or the git command. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/trees.h>

#include <memory>
#include <string>
#include <vector>

namespace berth::git::detail {

/// The mode of what is on disk and cannot be in a tree, or not be read.
inline constexpr std::uint32_t kUnreadableMode = 1;

/// No filter program, hook or monitor runs. Nothing follows a symbolic link below the folder.
class CheckedOut {
 public:
  /// The checkout that lies at `where.repository`, read by what `where.backend` says; `automatic`
  /// is libgit2 here. Errors: `invalid` "bare_repository", `conflict` "worktree_not_linked"; those
  /// of inspect_repository.
  static Result<std::unique_ptr<CheckedOut>> open(const WorktreeRef& where,
                                                  const Patience& patience);
  virtual ~CheckedOut() = default;

  const std::string& folder() const { return folder_; }

  /// Busy "git_locked" while somebody writes the index, or died at it.
  Result<void> check_unlocked() const;

  /// Is this a file that a sparse checkout left out? It is not on disk, and yet not deleted.
  virtual bool left_out(const std::string& path) const = 0;

  /// What each path holds now, as a tree would hold it: line endings converted. A folder reads as
  /// nothing: what it may hold are other paths (and a submodule's is nobody's here). With `keep`
  /// the contents are in the object database afterwards; without, they may be.
  virtual Result<std::vector<TreeFile>> stored(const std::vector<std::string>& paths,
                                               bool keep) = 0;

  /// To be called before write() with all that will be written, but for submodules. What cannot be
  /// read fails here, as far as that is known before.
  virtual Result<void> prepare(const std::vector<const TreeStep*>& steps) = 0;

  /// Makes `leaf`, which must not exist, in the open folder: the file or link that `step` leads to.
  virtual Result<void> write(int folder, const std::string& leaf, const TreeStep& step) = 0;

  /// What the index has at each path; nothing where a merge is under way.
  virtual Result<std::vector<TreeFile>> staged(const std::vector<std::string>& paths) = 0;

  /// Makes the index agree with what was written, so that `git status` is clean. Busy "git_locked".
  virtual Result<void> update_index(const std::vector<TreeStep>& steps) = 0;

  /// From now on no cancel counts, and of deadlines only kToTheEndMax, beginning now: what was
  /// begun is brought to its end.
  virtual void go_to_the_end() = 0;

 protected:
  explicit CheckedOut(const Location& location)
      : folder_(location.work_dir), index_file_(location.git_dir + "/index") {}
  const std::string& index_file() const { return index_file_; }

 private:
  std::string folder_;
  std::string index_file_;
};

/// The one by the git command. `command` outlives it.
Result<std::unique_ptr<CheckedOut>> checked_out_by_command(GitCommand& command,
                                                           const Location& location,
                                                           const Patience& patience);

}  // namespace berth::git::detail
