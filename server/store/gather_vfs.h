// server/store/gather_vfs.h — a SQLite VFS that writes neighbouring pages with one system call.
#pragma once

#include <memory>
#include <string>

namespace berth::server {

/// Between SQLite and another VFS. SQLite hands a WAL store's pages over one by one, the WAL's even
/// in two pieces; here what lies side by side waits in memory until it makes a large write, and
/// what is read of a WAL in order (by checkpoints) is read ahead.
///
/// Nothing waits longer than until the file is synced, read, resized or closed, so
/// connections need `synchronous=FULL`: SQLite then asks for a sync at the end of each commit, and
/// whether that one goes on to the disk is decided here. Those of checkpoints always do, which are
/// told apart by `checkpoint_fullfsync=ON`.
///
/// When a write fails, what waited is dropped: SQLite is told, and undoes the transaction or
/// repeats the checkpoint that it was of. Databases in WAL mode only: those of rollback journals
/// are not gathered. No shared memory (`locking_mode=EXCLUSIVE`). Outlives its connections; as
/// little thread-safe as they are.
class GatherVfs {
 public:
  /// `below` names the VFS that does the work, empty = the system's; it outlives this. With
  /// `commits_wait_for_disk` a commit's sync is passed on.
  GatherVfs(const std::string& below, bool commits_wait_for_disk);
  GatherVfs(const GatherVfs&) = delete;
  GatherVfs& operator=(const GatherVfs&) = delete;
  ~GatherVfs();

  /// Under which SQLite knows it; that of `below` when there is no such VFS.
  const std::string& name() const { return name_; }

 private:
  struct Vfs;
  std::string name_;
  std::unique_ptr<Vfs> vfs_;
};

}  // namespace berth::server
