// server/store/vfs_file.h — a plain file beside the database, by way of SQLite's door to the disk.
#pragma once

#include <berth/core/result.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct sqlite3_file;
struct sqlite3_vfs;

namespace berth::server {

/// The same VFS as the database's, so that a simulated disk has this file, too. Not thread-safe.
/// Errors: `unavailable` with the codes of SqliteDb.
class VfsFile {
 public:
  /// The file must exist unless `create`. `vfs` as for SqliteDb. The path ends in `-NAME` behind
  /// the database's, whose mode a new file gets.
  static Result<std::unique_ptr<VfsFile>> open(const std::string& path, const std::string& vfs,
                                               bool create);
  static bool exists(const std::string& path, const std::string& vfs);
  /// Bytes; 0 for what is not there or cannot be looked at.
  static std::uint64_t size_of(const std::string& path, const std::string& vfs);
  /// Errors are not told: the file is of no use any more, and may be gone.
  static void remove(const std::string& path, const std::string& vfs);
  VfsFile(const VfsFile&) = delete;
  VfsFile& operator=(const VfsFile&) = delete;
  ~VfsFile();

  Result<void> write(std::size_t offset, std::string_view bytes);
  /// Up to `size` bytes; less at the end of the file.
  Result<std::string> read(std::size_t offset, std::size_t size);

 private:
  explicit VfsFile(std::string path) : path_(std::move(path)) {}
  sqlite3_file* file() { return reinterpret_cast<sqlite3_file*>(memory_.get()); }

  const std::string path_;  // SQLite keeps a pointer to it
  std::unique_ptr<char[]> memory_;
};

}  // namespace berth::server
