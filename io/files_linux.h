// io/files_linux.h — Files on the real file system.
#pragma once

#include <berth/io/fd.h>
#include <berth/io/platform.h>

#include <mutex>
#include <vector>

namespace berth::inline v0::io {

/// Thread-safe. Locks go when it goes.
class LinuxFiles final : public Files {
 public:
  Result<std::string> read(const std::string& path, std::size_t bytes_max) override;
  Result<void> write_atomic(const std::string& path, std::string_view content,
                            unsigned mode) override;
  Result<void> make_directories(const std::string& path, unsigned mode) override;
  bool exists(const std::string& path) override;
  Result<void> remove_if_exists(const std::string& path) override;
  Result<void> remove_all(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> append(const std::string& path, std::string_view content, unsigned mode) override;
  Result<std::vector<FolderEntry>> list(const std::string& folder) override;
  Result<std::string> canonical(const std::string& path) override;
  Result<std::unique_ptr<FolderTree>> open_tree(const std::string& folder) override;
  /// The error names the holder's pid, which the file tells.
  Result<void> lock_exclusively(const std::string& path) override;

 private:
  std::mutex mutex_;
  std::vector<Fd> locks_;  // under mutex_
};

}  // namespace berth::inline v0::io
