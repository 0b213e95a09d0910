// git/rewrite.h — brings working files from one tree to another, each whole or untouched. Private
// to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/patience.h>

#include <cstdint>
#include <string>
#include <vector>

namespace berth::git::detail {

/// A path in a tree; mode 0 when it is not there.
struct TreeFile {
  std::string id;
  std::uint32_t mode = 0;
};

struct RewriteStep {
  std::string path;
  TreeFile before;
  TreeFile after;
};

/// What differs between two trees (ids of trees or commits), by path; only `paths` unless empty.
Result<std::vector<RewriteStep>> rewrite_steps(git_repository* repository, const std::string& from,
                                               const std::string& to,
                                               const std::vector<std::string>& paths);

enum class OnDisk : std::uint8_t { before, after, other };

/// The working files of one checkout. Follows no symbolic link below its root.
class Rewriter {
 public:
  /// `repository` was opened with its working files, whose folder is `root`. Both outlive it.
  Rewriter(git_repository* repository, std::string root)
      : repository_(repository), root_(std::move(root)) {}

  /// What the step's path holds now, compared by content as git would store it.
  OnDisk look(const RewriteStep& step) const;

  /// Paths whose files are neither as before nor as after, or that a folder with other files in it
  /// blocks: performing `steps` would lose something there.
  std::vector<std::string> in_the_way(const std::vector<RewriteStep>& steps) const;

  /// Performs each step whose file is as before; one that is as after is done, another is left
  /// alone and named in the answer. Each file changes by one rename. Going on after a crash is
  /// calling it again. Error: the file system's; some steps may then be done.
  Result<std::vector<std::string>> perform(const std::vector<RewriteStep>& steps,
                                           const Patience& patience);

 private:
  Result<void> remove(const RewriteStep& step);
  Result<void> put(git_odb* odb, const RewriteStep& step);
  bool folder_gives_way(const std::string& path, const std::vector<RewriteStep>& steps) const;

  git_repository* repository_;
  std::string root_;
};

/// The steps the other way round.
std::vector<RewriteStep> reversed(std::vector<RewriteStep> steps);

}  // namespace berth::git::detail
