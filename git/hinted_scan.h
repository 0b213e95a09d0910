// git/hinted_scan.h — the working files as a tree, by looking only at what may have changed.
// Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/file_store.h>
#include <berth/git/folder_scan.h>
#include <berth/git/index_entries.h>
#include <berth/git/scan_memory.h>
#include <berth/git/tree_update.h>
#include <berth/git/working_tree.h>

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace berth::git::detail {

/// How the files that either scan finds are stored.
FileStore::Options store_options(const TreeRequest& request, const OutsideRules& outside);

/// One reading of the paths in `TreeRequest::hints`. Costs what the paths cost, whatever the size
/// of the repository; the private index is neither read nor written (its entries of the changed
/// files grow stale, which a later full scan sees by their times).
class HintedReader {
 public:
  HintedReader(const TreeRequest& request, const OutsideRules& outside);

  /// When `reason` is not empty afterwards, the hints cannot be used and the result says nothing.
  Result<WorkingTree> read(std::string& reason);

 private:
  /// What is known of a folder on the way to a path.
  struct Way {
    Rules rules;  // its own included
    bool ignored = false;
    /// Its tree in the base, where the hints say that it stands as it was made: what its files are
    /// called is known without a look. Else all zero.
    ObjectId base{};
    /// Not empty: the folder itself is not there any more, or is a link, a file or a repository
    /// inside; that path is to be looked at instead.
    std::string look_at;
  };

  Result<void> resolve_since(std::string& reason);
  Result<void> remember_links();
  Result<void> gather(std::string& reason);
  Result<void> add_newly_forced();
  void add(std::string path);
  const Way& way_to(const std::string& folder);
  ObjectId folder_of_base(const Way& parent, const std::string& path) const;
  bool may_have(const Way& way, const std::string& folder, const char* name) const;
  Result<void> look_at(const std::string& path);
  Result<void> look_at_folder(const std::string& path, const Way& way);
  Result<void> look_at_file(const std::string& path, const Way& way);
  Result<bool> is_tracked(const std::string& path);
  const IndexFile& users();
  void note_attributes();
  Result<void> store();
  bool is_done(const std::string& path) const;

  const TreeRequest& request_;
  const OutsideRules& outside_;
  git_repository* repository_;
  ObjectWriter objects_;
  WorkingTree result_;
  ObjectId since_{};
  ObjectId base_{};
  bool from_base_ = false;
  ScanMemory memory_;
  std::string users_text_;
  std::optional<IndexFile> users_;
  std::set<std::string> paths_;
  std::set<std::string> folders_done_;  // with their slash
  std::map<std::string, Way> ways_;
  std::deque<std::string> listed_paths_;
  std::vector<Present> present_;
  std::map<std::string, std::uint32_t> old_modes_;
  std::vector<std::string> unreadable_;
  std::uint64_t looked_at_ = 0;
  TreeEdits edits_;
};

}  // namespace berth::git::detail
