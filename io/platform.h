// io/platform.h — the one door to the operating system: everything that `server` wants of it, in
// one injected object.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/prng.h>
#include <berth/core/result.h>
#include <berth/io/offload.h>
#include <berth/io/process_host.h>
#include <berth/io/reactor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io {

class FolderTree;

/// One name in a folder.
struct FolderEntry {
  std::string name;
  bool folder = false;           ///< A symbolic link is none.
  std::uint64_t bytes = 0;       ///< Of a file.
  std::int64_t modified_ms = 0;  ///< Since 1970.
};

/// Small files and folders; blocking, for start-up and offload lanes, from any thread. Paths are
/// absolute. Errors that are not named: those of the errno (core/error.h).
class Files {
 public:
  virtual ~Files() = default;
  /// Error `not_found`; `invalid` ("file_too_big") above `bytes_max`.
  virtual Result<std::string> read(const std::string& path, std::size_t bytes_max) = 0;
  /// Temporary file, fsync, rename, fsync of the folder: readers see the old or the new content.
  /// `mode` as in chmod.
  virtual Result<void> write_atomic(const std::string& path, std::string_view content,
                                    unsigned mode) = 0;
  /// Like mkdir -p; new folders get `mode`.
  virtual Result<void> make_directories(const std::string& path, unsigned mode) = 0;
  virtual bool exists(const std::string& path) = 0;
  virtual Result<void> remove_if_exists(const std::string& path) = 0;  ///< Also an empty folder.
  /// A folder with all below it, without following links; fine when absent.
  virtual Result<void> remove_all(const std::string& path) = 0;
  /// Replaces `to` if it exists, survives a power cut; for files, on one file system.
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  /// Adds to the end in one write, makes the file with `mode` when absent; no fsync.
  virtual Result<void> append(const std::string& path, std::string_view content, unsigned mode) = 0;
  /// What lies directly in `folder`, sorted by name. Error `not_found`.
  virtual Result<std::vector<FolderEntry>> list(const std::string& folder) = 0;
  /// The absolute path with links resolved.
  virtual Result<std::string> canonical(const std::string& path) = 0;
  /// What lies below `folder`, for paths that strangers choose: see io/folder_tree.h. Error
  /// `not_found`, also when `folder` is a link.
  virtual Result<std::unique_ptr<FolderTree>> open_tree(const std::string& folder) = 0;
  /// Takes an advisory lock on `path` (made if absent) for the life of this process; error
  /// `conflict` if another process holds it.
  virtual Result<void> lock_exclusively(const std::string& path) = 0;
};

/// What one look at a process, and at what it started, gave.
struct VitalSigns {
  bool stopped = false;  ///< By SIGSTOP or a debugger; of the process itself.
  std::uint64_t cpu_microseconds = 0;
  /// By the tree's control group where it has one with a counter (tree_memory.h); else the resident
  /// pages of each process, those that they share for each.
  std::uint64_t memory_bytes = 0;
  bool counted_by_group = false;  ///< The former.
};

/// What the kernel says of processes.
class ProcessTable {
 public:
  virtual ~ProcessTable() = default;
  struct Usage {
    std::uint64_t resident_bytes = 0;
    std::uint64_t cpu_microseconds = 0;
  };
  /// Error `not_found` when that very process (pid and start time) is gone.
  virtual Result<Usage> usage(ProcessId id) = 0;
  /// Blocking, for a lane. `whole_tree` takes in what it started and has not let go of. Error
  /// `not_found`, also when it has ended and waits for its parent.
  virtual Result<VitalSigns> look(ProcessId id, bool whole_tree) = 0;
  virtual Usage self() = 0;
  virtual int own_pid() = 0;
};

/// Names to addresses; blocking, for an offload lane.
class Resolver {
 public:
  virtual ~Resolver() = default;
  /// `host:port` to addresses in the order to try.
  virtual Result<std::vector<Address>> resolve(std::string_view host_and_port) = 0;
};

/// The environment variables that the program was started with.
class Environment {
 public:
  virtual ~Environment() = default;
  /// Nothing when it is not set; an empty value is a value.
  virtual std::optional<std::string> get(const std::string& name) const = 0;
};

/// Owned by main() or by the embedder, outlives everything that uses it. Shard 0 is the only one in
/// this version.
class Platform {
 public:
  virtual ~Platform() = default;
  virtual Reactor& reactor() = 0;
  virtual Offload& offload() = 0;
  virtual Files& files() = 0;
  virtual ProcessHost& processes() = 0;
  virtual ProcessTable& process_table() = 0;
  virtual Resolver& resolver() = 0;
  virtual Clock& clock() = 0;
  virtual Random& random() = 0;
  virtual Environment& environment() = 0;
  /// Returns to the system what the allocator holds and nobody uses. Blocking for some ms, in which
  /// other threads may wait for memory; any thread.
  virtual void give_memory_back() = 0;
};

}  // namespace berth::inline v0::io
