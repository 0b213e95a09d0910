// io/sim_files.h — the disk of a simulated machine, and the view that one process has of it.
#pragma once

#include <berth/io/platform.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io {

/// Folders and files by absolute path. Outlives the processes that use it; that is its point.
class SimDisk {
 public:
  SimDisk();

  struct Node {
    bool folder = false;
    unsigned mode = 0;
    std::string content;
  };

  /// Null when absent.
  const Node* find(const std::string& path) const;
  bool is_folder(const std::string& path) const;
  /// Error `not_found` when the folder above is missing.
  Result<void> write(const std::string& path, std::string_view content, unsigned mode);
  Result<void> make_directories(const std::string& path, unsigned mode);
  Result<void> remove_if_exists(const std::string& path);
  /// Paths of all files below `folder`, in order.
  std::vector<std::string> list(const std::string& folder) const;

  void remove_all(const std::string& path);
  /// What lies directly in `folder`, by name. The disk keeps no times: all are 0.
  std::vector<FolderEntry> entries(const std::string& folder) const;

  // As open(2), rename(2) and unlink(2): 0 or an errno. A file that is open lives on without its
  // name.
  int open(const std::string& path, int flags, unsigned mode, std::shared_ptr<Node>& node);
  int rename(const std::string& path, const std::string& new_path);
  int unlink(const std::string& path);

 private:
  friend class SimFiles;
  std::map<std::string, std::shared_ptr<Node>> nodes_;
  std::map<std::string, std::uint64_t> locks_;  // path to the id of the view that holds it
  std::uint64_t next_view_ = 1;
};

/// One process's view: refuses everything once frozen, and gives its locks back then.
class SimFiles final : public Files {
 public:
  explicit SimFiles(SimDisk& disk) : disk_(disk), view_(disk.next_view_++) {}
  ~SimFiles() override { freeze(); }

  void freeze();

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
  Result<void> lock_exclusively(const std::string& path) override;

 private:
  SimDisk& disk_;
  std::uint64_t view_;
  bool frozen_ = false;
};

}  // namespace berth::inline v0::io
