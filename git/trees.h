// git/trees.h — trees compared, edited and merged, whoever reads the repository: libgit2 or the git
// command. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/apply.h>
#include <berth/git/refs.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace berth::git::detail {

/// A path in a tree; mode 0 when it is not there.
struct TreeFile {
  std::string id;
  std::uint32_t mode = 0;
};

bool same(const TreeFile& left, const TreeFile& right);

/// One path on the way from a tree to another.
struct TreeStep {
  std::string path;
  TreeFile before;
  TreeFile after;
};

/// The steps the other way round.
std::vector<TreeStep> reversed(std::vector<TreeStep> steps);

using NamedFiles = std::vector<std::pair<std::string, TreeFile>>;

struct Merged {
  std::string tree;  ///< Empty with conflicts.
  std::vector<ApplyConflict> conflicts;
};

/// Ids are full ones, of commits or trees. Errors of all: `invalid` "bad_object_id", `not_found`
/// "object_not_found"; by the command, those of a HardenedGit.
class Trees {
 public:
  /// `refs` outlives it.
  static std::unique_ptr<Trees> of(const Refs& refs);
  virtual ~Trees() = default;

  /// The tree of a commit, or the tree itself.
  virtual Result<std::string> tree(const std::string& id) = 0;

  /// What differs, by path; only `paths` unless empty. Error `invalid` "bad_tree" for a path that
  /// leads out of a worktree.
  Result<std::vector<TreeStep>> steps(const std::string& from, const std::string& to,
                                      const std::vector<std::string>& paths);

  /// `tree` with some entries put in or taken out (mode 0).
  virtual Result<std::string> edited(const std::string& tree, const NamedFiles& edits) = 0;

  /// Three-way, file by file with renames; neither merge drivers nor directory renames.
  virtual Result<Merged> merge(const std::string& base, const std::string& ours,
                               const std::string& theirs) = 0;

 private:
  /// All that differs; `before` and `after` may be the same.
  virtual Result<std::vector<TreeStep>> compare(const std::string& from, const std::string& to) = 0;
};

/// Why a path of a merge is in conflict, by which of the three sides have it. `ours` is the target.
std::string_view conflict_reason(bool base, bool ours, bool theirs);

/// The one for repositories that libgit2 cannot read; `git` outlives it.
std::unique_ptr<Trees> trees_by_command(const HardenedGit& git);

}  // namespace berth::git::detail
