// git/file_store.h — working files put into the object database as git would. Private to this
// folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/folder_scan.h>
#include <berth/git/handles.h>
#include <berth/git/patience.h>
#include <berth/git/tree_update.h>

#include <optional>
#include <string>
#include <vector>

namespace berth::git::detail {

/// Stores what a scan found. Line endings and the like are converted as attributes, settings and
/// the user's index say; no program runs.
class FileStore {
 public:
  struct Options {
    std::string root;  ///< Of the worktree.
    std::uint64_t file_bytes_max;
    bool trust_mode = true;
    bool only_in_memory = false;
    const Patience& patience;
  };
  FileStore(git_repository* repository, Options options)
      : repository_(repository), options_(std::move(options)) {}

  /// Called before the first `put`, with all that will come and the tree of the base.
  Result<void> begin(const std::vector<Present>& all, const ObjectId& base);

  /// The object and mode of a file, link or repository; mode 0 when it vanished, nothing when it
  /// is left out (it is in `skipped` then). `old_mode` is its mode in the tree before, or 0.
  /// Errors: `unavailable` "git_write_failed"; those of Patience.
  Result<std::optional<TreeEdit>> put(const Present& present, std::uint32_t old_mode);

  std::vector<std::string>& skipped() { return skipped_; }
  std::uint64_t files_read() const { return files_read_; }

 private:
  Result<void> keep_in_memory();
  Result<bool> has_new_attributes(const std::vector<Present>& all, const ObjectId& base);
  Result<void> hide_old_attributes();
  std::optional<TreeEdit> skip(std::string path);
  std::optional<TreeEdit> put_repository(const std::string& path);
  Result<std::optional<TreeEdit>> put_as_it_is(const Present& present, std::uint32_t mode);

  git_repository* repository_;
  Options options_;
  std::vector<std::string> skipped_;
  std::uint64_t files_read_ = 0;
};

}  // namespace berth::git::detail
