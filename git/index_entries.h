// git/index_entries.h — index files of git read where they lie and written whole, without libgit2:
// that costs a tenth. Private to this folder.
#pragma once

#include <berth/core/result.h>

#include <sys/stat.h>

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::git::detail {

/// The mode of a repository inside, of which a tree names the commit.
inline constexpr std::uint32_t kRepositoryMode = 0160000;
inline constexpr std::uint32_t kFolderMode = 0040000;

/// The bytes of a SHA-1.
using ObjectId = std::array<unsigned char, 20>;

/// What an index remembers of a file, in the 32 bits that its format has.
struct StatData {
  std::uint32_t ctime_s = 0;
  std::uint32_t ctime_ns = 0;
  std::uint32_t mtime_s = 0;
  std::uint32_t mtime_ns = 0;
  std::uint32_t inode = 0;
  std::uint32_t size = 0;

  static StatData of(const struct stat& st);
  bool operator==(const StatData&) const = default;
  /// Modified at or after that moment: a later change may have left the same times.
  bool is_younger_than(std::uint32_t s, std::uint32_t ns) const {
    return mtime_s != s ? mtime_s > s : mtime_ns >= ns;
  }
};

struct IndexEntry {
  std::string_view path;  ///< Into the file, or into the memory of its reader.
  StatData stat;          ///< All zero: nothing is remembered.
  ObjectId id{};
  std::uint32_t mode = 0;  ///< As in trees: 0100644, 0100755, 0120000, 0160000.
};

/// An index file, read whole; versions 2 to 4. Whoever writes it must do so through a rename.
class IndexFile {
 public:
  /// Errors: `not_found` "no_index"; `unsupported` "git_index_unsupported" (split, sparse, unknown
  /// mandatory extension); `invalid` "index_broken" (the checksum is not looked at; also when the
  /// paths of version 4, which cuts them, come to more than 256 MiB) | "index_too_large" (1 GiB).
  static Result<IndexFile> open(const std::string& path);

  /// Sorted by path; of a path in conflict one entry.
  const std::vector<IndexEntry>& entries() const { return entries_; }
  /// The tree that the entries make, if the file knows it.
  const std::optional<ObjectId>& tree() const { return tree_; }
  /// When the file was written: entries of files that are younger are not to be believed.
  std::uint32_t written_s() const { return written_s_; }
  std::uint32_t written_ns() const { return written_ns_; }
  /// What tells that the file is another than before.
  const StatData& stat() const { return stat_; }

 private:
  Result<void> parse(const std::string& path);
  bool parse_entries(std::uint32_t version, std::uint32_t count, const char*& at);
  Result<void> parse_extensions(const std::string& path, const char* at, const char* end);

  std::unique_ptr<char[]> bytes_;
  std::size_t size_ = 0;
  std::vector<IndexEntry> entries_;
  std::deque<std::string> paths_;  // of version 4, whose paths are cut
  std::optional<ObjectId> tree_;
  StatData stat_;
  std::uint32_t written_s_ = 0;
  std::uint32_t written_ns_ = 0;
};

/// Writes an index of version 2 that knows its tree, through a temporary file and a rename. It has
/// no checksum: git 2.40 takes that, older ones and libgit2 do not. `entries` are sorted.
Result<void> write_index(const std::string& path, const std::vector<IndexEntry>& entries,
                         const ObjectId& tree);

/// The entry of `path`, or null.
const IndexEntry* find_entry(const std::vector<IndexEntry>& entries, std::string_view path);

}  // namespace berth::git::detail
