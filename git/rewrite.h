// git/rewrite.h — brings working files from one tree to another, each whole or untouched. Private
// to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/checked_out.h>
#include <berth/git/index_entries.h>
#include <berth/git/patience.h>

#include <cstdint>
#include <string>
#include <vector>

namespace berth::git::detail {

enum class OnDisk : std::uint8_t { before, after, other };

/// What a step's path holds, compared by content as git would store it.
struct Seen {
  OnDisk now = OnDisk::other;
  StatData stat;  ///< Of the file when it was about to be looked at; zero: there is none.
};

/// The working files of one checkout. Follows no symbolic link below its root.
class Rewriter {
 public:
  /// `files` outlives it.
  explicit Rewriter(CheckedOut& files) : files_(files), root_(files.folder()) {}

  /// One for each step.
  Result<std::vector<Seen>> look(const std::vector<TreeStep>& steps) const;

  /// Paths whose files are neither as before nor as after, or that a folder with other files in it
  /// blocks: performing `steps` would lose something there. `seen` is what look() said of them.
  std::vector<std::string> in_the_way(const std::vector<TreeStep>& steps,
                                      const std::vector<Seen>& seen) const;

  /// Performs each step whose file is as before; one that is as after is done, another is left
  /// alone and named in the answer. Each file changes by one rename. Going on after a crash is
  /// calling it again. Error: the file system's; some steps may then be done.
  Result<std::vector<std::string>> perform(const std::vector<TreeStep>& steps,
                                           const Patience& patience);

 private:
  struct Work;
  Result<bool> is_due(Work& work, std::size_t i) const;
  Result<void> remove_all(Work& work);
  Result<void> put_all(Work& work, bool rules);
  Result<void> remove(const TreeStep& step);
  Result<void> put(const TreeStep& step);
  bool folder_gives_way(const std::string& path, const std::vector<TreeStep>& steps) const;

  CheckedOut& files_;
  std::string root_;
};

/// Performs all steps in a worktree, which is verified first; `backend` is the one that was chosen
/// for its repository. Patience is asked up to the first change. Error `conflict` "files_changing"
/// when one was left alone; the others are done.
Result<void> rewrite_worktree(const WorktreeRef& worktree, Backend backend,
                              const std::vector<TreeStep>& steps, const Patience& patience);

}  // namespace berth::git::detail
