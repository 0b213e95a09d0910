// git/file_lock.h — a lock between calls, threads and processes that goes with its holder. Private
// to this folder.
#pragma once

#include <berth/core/result.h>
#include <berth/git/patience.h>

#include <optional>
#include <string>
#include <utility>

namespace berth::git::detail {

/// Held until destroyed, or until the process ends in whatever way.
class FileLock {
 public:
  /// Waits for `file` (made when missing, never removed) as long as patience lasts. Errors:
  /// `timed_out`, `cancelled`, by errno.
  static Result<FileLock> take(const std::string& file, const Patience& patience);

  /// Nothing when somebody else holds it.
  static Result<std::optional<FileLock>> try_take(const std::string& file);

  ~FileLock();
  FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileLock& operator=(FileLock&&) = delete;

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace berth::git::detail
