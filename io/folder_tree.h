// io/folder_tree.h — the files below one folder, by relative paths that cannot lead out of it.
#pragma once

#include <berth/core/result.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io {

enum class TreeType : std::uint8_t { file, folder, link, other };

struct TreeEntry {
  std::string name;  ///< Empty in the answer of stat().
  TreeType type = TreeType::other;
  std::uint64_t bytes = 0;       ///< Of a file; of a link the length of what it names.
  std::int64_t modified_ms = 0;  ///< Since 1970.
  unsigned mode = 0;             ///< As in chmod.
  std::string link;              ///< What a link names, as it stands there.
  /// Another text whenever the file is another one or was written: its strong validator. Only of
  /// files.
  std::string version;
};

/// A file that is open for reading, whatever its name leads to meanwhile.
class TreeFile {
 public:
  virtual ~TreeFile() = default;
  /// As it was when it was opened.
  virtual const TreeEntry& entry() const = 0;
  /// At most `bytes_max` from `offset` on; empty at the end.
  virtual Result<std::string> read(std::uint64_t offset, std::size_t bytes_max) = 0;
};

/// What the file that is about to be replaced or removed must be.
struct TreeCondition {
  std::optional<std::string> version;  ///< This one.
  bool exists = false;                 ///< There must be one.
  bool absent = false;                 ///< There must be none.
};

/// Blocking, for an offload lane. Holds the folder itself: that somebody puts another one in its
/// place changes nothing.
///
/// A path is relative, of segments divided by one slash; "" is the folder. `..`, `.`, an empty
/// segment, and NUL are `invalid` ("bad_path"). A path that leads outside, over a link or because
/// somebody moves folders at this moment, is `denied` ("path_escapes"); one into `.git` (however
/// it is written, over a link, too) `denied` ("path_is_git"). Links within are followed, but never
/// by write(), remove() and stat() in the last segment; where the kernel has no openat2 no link is
/// followed at all. Further errors: `not_found`, those of the errno.
class FolderTree {
 public:
  virtual ~FolderTree() = default;

  /// What there is, a link as itself.
  virtual Result<TreeEntry> stat(const std::string& path) = 0;
  /// The first `limit` names behind `after` in byte order; no `.git`. `more` says if there are
  /// others.
  virtual Result<std::vector<TreeEntry>> list(const std::string& path, std::string_view after,
                                              std::size_t limit, bool* more) = 0;
  /// A regular file. Error `invalid` ("not_a_file") for anything else.
  virtual Result<std::unique_ptr<TreeFile>> open(const std::string& path) = 0;
  /// Makes or replaces the file: readers see the old or the new content. Folders above it are made
  /// when missing; a file keeps its mode. Errors: `conflict` ("precondition_failed"), `invalid`
  /// ("not_a_file").
  virtual Result<TreeEntry> write(const std::string& path, std::string_view content,
                                  const TreeCondition& condition) = 0;
  /// A file, a link, or an empty folder. Errors: `conflict` ("precondition_failed",
  /// "folder_not_empty").
  virtual Result<void> remove(const std::string& path, const TreeCondition& condition) = 0;
  /// Like mkdir -p.
  virtual Result<void> make_folder(const std::string& path) = 0;
};

/// The segments of a path as above, or why it is none.
Result<std::vector<std::string>> tree_segments(std::string_view path);
/// `.git`, in the spelling of any file system.
bool is_git_name(std::string_view segment);
/// Error `conflict` ("precondition_failed") when `found` (null: nothing is there) is not as wanted.
Result<void> check_condition(const TreeCondition& condition, const TreeEntry* found);

}  // namespace berth::inline v0::io
