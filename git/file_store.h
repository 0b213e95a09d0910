// git/file_store.h — working files put into the object database as git would. Private to this
// folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/conversions.h>
#include <berth/git/folder_scan.h>
#include <berth/git/handles.h>
#include <berth/git/object_writer.h>
#include <berth/git/patience.h>
#include <berth/git/tree_update.h>

#include <functional>
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
    /// False for a folder (empty, or with a slash at its end) that is known to have no file of
    /// attributes; null: they are looked for.
    std::function<bool(const std::string& folder)> may_have_attributes;
    const Patience& patience;
  };
  FileStore(git_repository* repository, ObjectWriter& objects, Options options)
      : repository_(repository), objects_(objects), options_(std::move(options)) {}

  /// Called before the first `put`, with all that will come. Opens the writer of objects. From then
  /// on the repository's handle knows of the user's index only what matters here.
  Result<void> begin(const std::vector<Present>& all, const UsersIndex& users);

  /// The object and mode of a file, link or repository; mode 0 when it vanished, nothing when it
  /// is left out (it is in `skipped` then). `old_mode` is its mode in the tree before, or 0.
  /// Errors: `unavailable` "git_write_failed"; those of Patience.
  Result<std::optional<TreeEdit>> put(const Present& present, std::uint32_t old_mode);

  std::vector<std::string>& skipped() { return skipped_; }
  std::uint64_t files_read() const { return files_read_; }

 private:
  bool has_attributes(const std::vector<Present>& all) const;
  std::optional<TreeEdit> skip(std::string path);
  std::optional<TreeEdit> put_repository(const std::string& path);
  Result<std::optional<TreeEdit>> put_as_it_is(const Present& present, std::uint32_t mode);
  Result<std::optional<TreeEdit>> put_bytes(std::string_view bytes, std::uint32_t mode);

  git_repository* repository_;
  ObjectWriter& objects_;
  Options options_;
  bool may_convert_ = true;
  std::string bytes_;  // of the file at hand
  std::vector<std::string> skipped_;
  std::uint64_t files_read_ = 0;
};

}  // namespace berth::git::detail
