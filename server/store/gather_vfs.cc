#include <berth/server/store/gather_vfs.h>

#include <fmt/format.h>
#include <sqlite3.h>
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>

namespace berth::server {

namespace {

/// SQLite's own VFS writes less than 128 KiB at a time and calls more a full disk.
constexpr std::size_t kGatherBytes = std::size_t{124} << 10U;
constexpr std::size_t kAheadBytes = std::size_t{64} << 10U;
/// Between two pages of a WAL: the head of the second one's frame.
constexpr std::int64_t kFrameHead = 24;
/// The kind of sync in its flags.
constexpr int kSyncKind = 0x0f;

/// Bytes of a file that are in memory, from `offset` on.
struct Stretch {
  std::int64_t offset = 0;
  std::string bytes;

  std::int64_t end() const { return offset + static_cast<std::int64_t>(bytes.size()); }
  bool holds(std::int64_t from, int amount) const {
    return from >= offset && from + amount <= end();
  }
};

/// What is put in front of a database or its WAL.
struct Buffers {
  Stretch waiting;             ///< Written by SQLite, not yet below.
  Stretch ahead;               ///< As it lies below, of a WAL.
  std::int64_t read_end = -1;  ///< Of the last read.
};

/// SQLite's memory for a file: this, and behind it the file of the VFS below.
struct File {
  sqlite3_file base{};
  std::unique_ptr<Buffers> buffers;  ///< Null for other kinds of files, which are passed through.
  bool is_wal = false;
  bool commits_wait_for_disk = false;

  sqlite3_file* below() { return reinterpret_cast<sqlite3_file*>(this + 1); }
  const sqlite3_io_methods& io() { return *below()->pMethods; }
};

File& file_of(sqlite3_file* file) {
  return *reinterpret_cast<File*>(file);
}

int write_out(File& file) {
  if (file.buffers == nullptr || file.buffers->waiting.bytes.empty()) return SQLITE_OK;
  Stretch& waiting = file.buffers->waiting;
  const int code = file.io().xWrite(file.below(), waiting.bytes.data(),
                                    static_cast<int>(waiting.bytes.size()), waiting.offset);
  waiting.bytes.clear();
  return code;
}

int close_file(sqlite3_file* handle) {
  File& file = file_of(handle);
  const int written = write_out(file);
  const int closed = file.io().xClose(file.below());
  std::destroy_at(&file);
  return written != SQLITE_OK ? written : closed;
}

/// Fills `ahead` from `offset` on, as far as the file goes.
int read_ahead(File& file, std::int64_t offset) {
  sqlite3_int64 size = 0;
  int code = file.io().xFileSize(file.below(), &size);
  if (code != SQLITE_OK) return code;
  Stretch& ahead = file.buffers->ahead;
  const std::int64_t there = std::max<std::int64_t>(size - offset, 0);
  ahead.offset = offset;
  ahead.bytes.resize(std::min(kAheadBytes, static_cast<std::size_t>(there)));
  if (ahead.bytes.empty()) return SQLITE_OK;
  code = file.io().xRead(file.below(), ahead.bytes.data(), static_cast<int>(ahead.bytes.size()),
                         offset);
  if (code != SQLITE_OK) ahead.bytes.clear();
  return code;
}

int read_file(sqlite3_file* handle, void* out, int amount, sqlite3_int64 offset) {
  File& file = file_of(handle);
  if (file.buffers == nullptr) return file.io().xRead(file.below(), out, amount, offset);
  Buffers& buffers = *file.buffers;
  const int written = write_out(file);  // nothing is read while a commit or checkpoint writes
  if (written != SQLITE_OK) return written;
  const bool in_order = file.is_wal && offset == buffers.read_end + kFrameHead;
  buffers.read_end = offset + amount;
  if (in_order && !buffers.ahead.holds(offset, amount)) {
    const int code = read_ahead(file, offset);
    if (code != SQLITE_OK) return code;
  }
  if (!buffers.ahead.holds(offset, amount)) {
    return file.io().xRead(file.below(), out, amount, offset);
  }
  std::memcpy(out, buffers.ahead.bytes.data() + (offset - buffers.ahead.offset),
              static_cast<std::size_t>(amount));
  return SQLITE_OK;
}

int write_file(sqlite3_file* handle, const void* in, int amount, sqlite3_int64 offset) {
  File& file = file_of(handle);
  if (file.buffers == nullptr) return file.io().xWrite(file.below(), in, amount, offset);
  file.buffers->ahead.bytes.clear();
  Stretch& waiting = file.buffers->waiting;
  const auto size = static_cast<std::size_t>(amount);
  if (offset != waiting.end() || waiting.bytes.size() + size > kGatherBytes) {
    const int code = write_out(file);
    if (code != SQLITE_OK) return code;
  }
  if (waiting.bytes.empty()) waiting.offset = offset;
  waiting.bytes.append(static_cast<const char*>(in), size);
  return SQLITE_OK;
}

int truncate_file(sqlite3_file* handle, sqlite3_int64 size) {
  File& file = file_of(handle);
  const int code = write_out(file);
  if (code != SQLITE_OK) return code;
  if (file.buffers != nullptr) file.buffers->ahead.bytes.clear();
  return file.io().xTruncate(file.below(), size);
}

int sync_file(sqlite3_file* handle, int flags) {
  File& file = file_of(handle);
  const int code = write_out(file);
  if (code != SQLITE_OK) return code;
  const bool of_commit = file.is_wal && (flags & kSyncKind) != SQLITE_SYNC_FULL;
  if (of_commit && !file.commits_wait_for_disk) return SQLITE_OK;
  return file.io().xSync(file.below(), flags);
}

int size_of_file(sqlite3_file* handle, sqlite3_int64* size) {
  File& file = file_of(handle);
  const int code = write_out(file);
  return code != SQLITE_OK ? code : file.io().xFileSize(file.below(), size);
}

int lock_file(sqlite3_file* handle, int level) {
  File& file = file_of(handle);
  return file.io().xLock(file.below(), level);
}

int unlock_file(sqlite3_file* handle, int level) {
  File& file = file_of(handle);
  return file.io().xUnlock(file.below(), level);
}

int check_reserved_lock(sqlite3_file* handle, int* reserved) {
  File& file = file_of(handle);
  return file.io().xCheckReservedLock(file.below(), reserved);
}

int control_file(sqlite3_file* handle, int operation, void* argument) {
  File& file = file_of(handle);
  return file.io().xFileControl(file.below(), operation, argument);
}

int sector_size(sqlite3_file* handle) {
  File& file = file_of(handle);
  return file.io().xSectorSize(file.below());
}

int characteristics(sqlite3_file* handle) {
  File& file = file_of(handle);
  return file.io().xDeviceCharacteristics(file.below());
}

constexpr sqlite3_io_methods make_methods() {
  sqlite3_io_methods methods{};
  methods.iVersion = 1;  // neither shared memory nor mapped files: they would see what is below
  methods.xClose = close_file;
  methods.xRead = read_file;
  methods.xWrite = write_file;
  methods.xTruncate = truncate_file;
  methods.xSync = sync_file;
  methods.xFileSize = size_of_file;
  methods.xLock = lock_file;
  methods.xUnlock = unlock_file;
  methods.xCheckReservedLock = check_reserved_lock;
  methods.xFileControl = control_file;
  methods.xSectorSize = sector_size;
  methods.xDeviceCharacteristics = characteristics;
  return methods;
}
constexpr sqlite3_io_methods kMethods = make_methods();

}  // namespace

/// The VFS below in all but the name and how files are opened.
struct GatherVfs::Vfs : sqlite3_vfs {
  sqlite3_vfs* below = nullptr;
  bool commits_wait_for_disk = false;

  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* out, int flags,
                  int* flags_out) {
    const Vfs& self = *static_cast<Vfs*>(vfs);
    File& file = *::new (out) File();
    const int code = self.below->xOpen(self.below, name, file.below(), flags, flags_out);
    if (code != SQLITE_OK) return code;  // not closed then
    file.is_wal = (flags & SQLITE_OPEN_WAL) != 0;
    file.commits_wait_for_disk = self.commits_wait_for_disk;
    if (file.is_wal || (flags & SQLITE_OPEN_MAIN_DB) != 0)
      file.buffers = std::make_unique<Buffers>();
    file.base.pMethods = &kMethods;
    return SQLITE_OK;
  }
};

GatherVfs::GatherVfs(const std::string& below, bool commits_wait_for_disk)
    : name_(below), vfs_(std::make_unique<Vfs>()) {
  sqlite3_vfs* found = sqlite3_vfs_find(below.empty() ? nullptr : below.c_str());
  if (found == nullptr) return;
  name_ = fmt::format("berth-gather-{}", static_cast<const void*>(vfs_.get()));
  static_cast<sqlite3_vfs&>(*vfs_) = *found;
  vfs_->below = found;
  vfs_->commits_wait_for_disk = commits_wait_for_disk;
  vfs_->pNext = nullptr;
  vfs_->zName = name_.c_str();
  vfs_->szOsFile = static_cast<int>(sizeof(File)) + found->szOsFile;
  vfs_->xOpen = Vfs::open;
  sqlite3_vfs_register(vfs_.get(), 0);
}

GatherVfs::~GatherVfs() {
  if (vfs_->below != nullptr) sqlite3_vfs_unregister(vfs_.get());
}

}  // namespace berth::server
