// git/diff.h — what changed between two trees, or between a tree and the working files.
#pragma once

#include <berth/core/result.h>
#include <berth/git/hints.h>
#include <berth/git/patience.h>
#include <berth/git/worktree.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::git {

enum class FileStatus : std::uint8_t { added, modified, deleted, renamed, typechange };
std::string_view to_string(FileStatus status);

/// What berth keeps of a file that git itself does not hold.
enum class FileKind : std::uint8_t {
  plain,        ///< The file.
  submodule,    ///< The commit of another repository; its files are not looked at.
  lfs_pointer,  ///< What git-lfs put in the place of a file that it keeps elsewhere.
};

struct FileChange {
  std::string path;
  std::string old_path;  ///< Only for `renamed`.
  FileStatus status = FileStatus::modified;
  std::uint64_t additions = 0;  ///< Lines; 0 for binary files.
  std::uint64_t deletions = 0;
  bool binary = false;
  bool counted =
      true;  ///< False: too large or too many files, lines were not counted and there is no patch.
  std::uint32_t old_mode =
      0;  ///< 0100644, 0100755, 0120000, 0160000 (submodule), or 0 when it was not there.
  std::uint32_t mode = 0;
  FileKind kind = FileKind::plain;  ///< Of the new file, of one that is gone the old one's.
  std::string patch;  ///< Unified, with its "diff --git" header; empty past limits and where binary
                      ///< content differs.
  bool patch_truncated =
      false;  ///< There is a patch but it was left out for a limit. Never cut in the middle.
};

/// Bounds of one diff; each has a flag in the answer that says it was met.
struct DiffLimits {
  std::size_t files_max = 10'000;  ///< Entries of `Change::files`.
  std::uint64_t file_bytes_max = std::uint64_t{16}
                                 << 20;  ///< Larger files are not compared line by line.
  std::uint64_t file_patch_bytes_max = std::uint64_t{1} << 20;
  std::uint64_t patch_bytes_max = std::uint64_t{8} << 20;  ///< All patches together.
  std::size_t rename_candidates_max =
      400;  ///< Beyond so many added or deleted files only exact renames are found.
};

struct DiffRequest {
  /// Needed: the repository. `path` and `key` may stay empty when both ends are ids.
  WorktreeRef worktree;
  std::string from;  ///< Commit or tree id, 40 hex digits.
  std::string to;    ///< The same, or "worktree" for the working files as they are now.
  /// Only these paths (new or old name, exact); empty means all. Renames are found over the whole
  /// tree first.
  std::vector<std::string> paths;
  bool with_patches = true;  ///< False: the list and the counts only.
  /// Put binary files into the patch as "GIT binary patch". Otherwise they are only marked.
  bool binary_patches = false;
  std::string private_index;  ///< As for snapshots; needed for "worktree".
  Hints hints;                ///< As for snapshots; only for "worktree".
  DiffLimits limits;
  Patience patience;
};

struct Change {
  std::string from_tree;
  std::string to_tree;
  std::vector<FileChange> files;  ///< Sorted by path.
  std::uint64_t files_total = 0;  ///< Also those beyond `files_max`.
  std::uint64_t additions = 0;    ///< Of the listed files.
  std::uint64_t deletions = 0;
  bool files_truncated = false;
  bool patch_truncated = false;
  bool renames_limited = false;
  /// Working files that could not be compared (see Snapshot::skipped); only for "worktree".
  std::vector<std::string> skipped;
  ScanReport scan;  ///< Only for "worktree".
};

/// All patches joined: `git apply` takes it on a checkout of `from` and gets `to`, binary files and
/// what the limits left out excepted.
std::string patch_text(const Change& change);

/// Compares two trees. Untracked files are included, ignored ones are not. Attributes that mark
/// files as binary are honoured, textconv and external diff programs never run.
///
/// Any thread; with "worktree" one call at a time per worktree, shared with snapshots. "worktree"
/// stores the contents of changed files in the object database, as a snapshot does, but makes no
/// ref.
///
/// Errors: `not_found` "object_not_found"; `invalid` "bad_object_id" | "bad_key"; `timed_out`,
/// `cancelled`; those of verify_worktree and inspect_repository.
Result<Change> diff(const DiffRequest& request);

}  // namespace berth::git
