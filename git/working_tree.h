// git/working_tree.h — the working files as a tree object, through an index that is ours. Private
// to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/handles.h>
#include <berth/git/hints.h>
#include <berth/git/index_entries.h>
#include <berth/git/opened.h>
#include <berth/git/patience.h>
#include <berth/git/scan_memory.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace berth::git::detail {

struct TreeRequest {
  const OpenedWorktree& worktree;
  std::string key;
  std::string private_index;  ///< Empty: nothing is remembered.
  std::uint64_t file_bytes_max;
  Hints hints;
  /// What is stored stays in memory, visible through `worktree.repository` alone: for a look at
  /// what changed. Above 64 MiB of changed files it goes to disk all the same.
  bool only_in_memory = false;
  Patience patience;
};

/// Working files, read and stored. Hold it until the tree has a ref, then `keep` it.
class WorkingTree {
 public:
  /// Compares the working files with what is remembered, stores what is new, and writes the tree.
  ///
  /// In the tree is what the base or the user's index tracks, and of the rest what no ignore rule
  /// names; not what earlier snapshots held.
  static Result<WorkingTree> read(const TreeRequest& request);

  const std::string& tree() const { return tree_; }
  const std::vector<std::string>& skipped() const { return skipped_; }
  std::uint64_t skipped_count() const { return skipped_count_; }
  const ScanReport& report() const { return report_; }
  /// Files of attributes are in the user's index.
  bool index_has_attributes() const { return !memory_.attributes.empty(); }

  /// Folders, with a slash at the end, that are known to have no file of attributes.
  const std::set<std::string>& without_attributes() const { return without_attributes_; }

  /// Saves what was learnt. Only after a ref holds the tree: then whatever the index names is safe
  /// from `git gc`.
  Result<void> keep();

 private:
  friend class FullReader;
  friend class HintedReader;
  /// All that were left out.
  void note_skipped(std::vector<std::string> skipped, ScanMemory& memory);

  std::string tree_;
  std::vector<std::string> skipped_;
  std::uint64_t skipped_count_ = 0;
  ScanReport report_;
  std::set<std::string> without_attributes_;
  std::string private_index_;
  ScanMemory memory_;
  /// What the private index shall be; nothing when it is to stay as it is.
  struct NewIndex {
    IndexFile old;  // whose memory the entries' paths are in
    std::deque<std::string> paths;
    std::vector<IndexEntry> entries;
  };
  std::optional<NewIndex> new_index_;
  ObjectId new_tree_{};
};

}  // namespace berth::git::detail
