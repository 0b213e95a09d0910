// server/store/sim_vfs.h — a simulated disk under the real SQLite: in memory, seeded, and it can
// fail. For tests.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/prng.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace berth::server {

/// The files on a simulated disk. Outlives the processes that use it; that is its point. Not
/// thread-safe.
class DiskImage {
 public:
  struct Write {
    std::size_t offset = 0;
    std::string bytes;
    bool truncate = false;  ///< To `offset`; without bytes.
  };
  struct File {
    std::string bytes;           ///< What processes see: the page cache.
    std::string synced;          ///< What the platter has for sure.
    std::vector<Write> pending;  ///< Since the last sync, in order; any part may be on the platter.
    bool entry_synced = false;   ///< The file's name is on the platter.
  };
  struct Lock {
    std::string path;
    const void* holder;
    int level;  ///< SQLite's: 1 shared, 2 reserved, 3 pending, 4 exclusive.
  };

  /// The power goes out: of what was not synced each write survives, is lost, or is torn between
  /// two sectors of 512 bytes, independent of the others. A deletion survives always. Nobody may
  /// have files open but frozen processes.
  void lose_power(Random& random);

  std::map<std::string, File>& files() { return files_; }
  std::vector<Lock>& locks() { return locks_; }

 private:
  std::map<std::string, File> files_;
  std::vector<Lock> locks_;
};

/// What can go wrong, in thousandths of the operations of its kind.
struct DiskFaults {
  unsigned write_error = 0;
  unsigned disk_full = 0;
  unsigned sync_error = 0;
};

struct DiskFaultsFired {
  std::uint64_t write_errors = 0;
  std::uint64_t disk_full = 0;
  std::uint64_t sync_errors = 0;
};

/// One process's way to the disk: a SQLite VFS, registered under `name` while it lives. It has no
/// shared memory, so a WAL needs locking_mode=EXCLUSIVE. Outlives its connections; single-threaded
/// like the simulation.
class SimVfs {
 public:
  /// `name` must be new to SQLite; `random` and `clock` outlive this.
  SimVfs(std::string name, std::shared_ptr<DiskImage> disk, Random& random, const Clock& clock);
  SimVfs(const SimVfs&) = delete;
  SimVfs& operator=(const SimVfs&) = delete;
  ~SimVfs();

  const std::string& name() const { return name_; }
  DiskFaults& faults() { return faults_; }
  const DiskFaultsFired& fired() const { return fired_; }
  /// While set, every write answers "disk full".
  void set_full(bool full) { full_ = full; }
  /// While not 0, every write fails with this errno.
  void fail_writes_with(int errno_value) { write_errno_ = errno_value; }
  /// Files that are opened from now on cannot be written.
  void set_read_only(bool read_only) { read_only_ = read_only; }

  /// The process died: every later operation fails, its locks are gone. What it wrote stays in the
  /// page cache.
  void freeze();
  /// Freezes in the middle of the write, sync, truncation or deletion number `operations` from now
  /// (1 = the next): a write may be left in part.
  void freeze_at(std::uint64_t operations) { freeze_in_ = operations; }
  bool frozen() const { return frozen_; }
  /// Writes, syncs, truncations and deletions so far.
  std::uint64_t operations() const { return operations_; }
  std::uint64_t reads() const { return reads_; }

 private:
  struct Methods;  // the C face that SQLite calls
  bool dies_now();

  std::string name_;
  std::shared_ptr<DiskImage> disk_;
  Random& random_;
  const Clock& clock_;
  std::unique_ptr<Methods> methods_;
  DiskFaults faults_;
  DiskFaultsFired fired_;
  std::vector<const void*> open_files_;
  std::uint64_t operations_ = 0;
  std::uint64_t freeze_in_ = 0;
  std::uint64_t reads_ = 0;
  int write_errno_ = 0;
  bool full_ = false;
  bool read_only_ = false;
  bool frozen_ = false;
};

}  // namespace berth::server
