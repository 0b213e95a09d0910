// git/working_tree.h — the working files as a tree object, through an index that is ours. Private
// to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/opened.h>
#include <berth/git/patience.h>

#include <cstdint>
#include <string>
#include <vector>

namespace berth::git::detail {

struct TreeRequest {
  const OpenedWorktree& worktree;
  std::string key;
  std::string private_index;  ///< Empty: an index in memory that remembers nothing.
  std::uint64_t file_bytes_max;
  Patience patience;
};

/// Working files, read and stored. Hold it until the tree has a ref, then `keep` it.
class WorkingTree {
 public:
  /// Compares the working files with the private index, stores what is new, and writes the tree.
  static Result<WorkingTree> read(const TreeRequest& request);

  const std::string& tree() const { return tree_; }
  const std::vector<std::string>& skipped() const { return skipped_; }
  std::uint64_t skipped_count() const { return skipped_count_; }

  /// Saves the index. Only after a ref holds the tree: then whatever the index names is safe from
  /// `git gc`.
  Result<void> keep();

 private:
  friend class TreeReader;
  Handle<git_index> index_;
  std::string tree_;
  std::vector<std::string> skipped_;
  std::uint64_t skipped_count_ = 0;
  bool changed_ = false;
};

}  // namespace berth::git::detail
