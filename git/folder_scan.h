// git/folder_scan.h — walks working files and compares them with what is remembered of them, by
// their times and sizes alone. Private to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/ignore_rules.h>
#include <berth/git/index_entries.h>
#include <berth/git/patience.h>

#include <cstdint>
#include <string>
#include <vector>

namespace berth::git::detail {

enum class PlaceKind : std::uint8_t { file, link, repository };

/// Something that is there and has to be read.
struct Present {
  std::string path;
  PlaceKind kind = PlaceKind::file;
  std::int64_t known = -1;  ///< Its entry, or -1: it is new.
  StatData stat;
  std::uint32_t mode = 0;  ///< st_mode.
  std::uint64_t size = 0;
};

struct ScanFindings {
  std::vector<Present> present;
  /// Entries of files that are there but that ignore rules name, and of repositories that are not
  /// filled: theirs to keep who tracks them.
  std::vector<Present> doubtful;
  /// Pipes, sockets, folders that cannot be entered (with a slash).
  std::vector<std::string> unreadable;
  std::uint64_t looked_at = 0;

  void append(ScanFindings&& other);
};

struct ScanRequest {
  std::string root;                        ///< Absolute.
  const std::vector<IndexEntry>& entries;  ///< Sorted by path.
  /// For each entry: it is known to be tracked, so ignore rules have no say.
  const std::vector<char>& tracked;
  /// Files modified at or after this moment are read whatever is remembered.
  std::uint32_t young_s = 0;
  std::uint32_t young_ns = 0;
  bool trust_mode = true;  ///< core.fileMode
  unsigned threads = 1;    ///< Made for the call and joined.
  const Patience& patience;
};

/// Where a walk begins.
struct ScanStart {
  std::string folder;  ///< "" or "a/b/"
  Rules rules;         ///< Of the folders above it, not its own.
  bool ignored = false;
};

/// Walks all below `start`. `found[i]` becomes 1 for each entry that is there in its remembered
/// form or is named in `present` or `doubtful`; what stays 0 is gone. Ignored folders without
/// entries are not entered, nor are repositories inside.
///
/// Errors: `conflict` "special_file" (a pipe as a file of rules, which libgit2 and git would wait
/// for) | "hostile_rules" (see special_files.h); those of Patience.
Result<ScanFindings> scan_folders(const ScanRequest& request, const ScanStart& start,
                                  std::vector<char>& found);

/// The same for one path that is no folder: nothing when it is gone.
Result<ScanFindings> scan_file(const ScanRequest& request, const std::string& path,
                               const Rules& rules, bool ignored, std::vector<char>& found);

/// True when `path` (absolute, a folder) is a repository of its own, to git.
bool is_repository(const std::string& path);

}  // namespace berth::git::detail
