#include <berth/server/store/sim_vfs.h>

#include <berth/core/assert.h>

#include <sqlite3.h>
#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kSectorBytes = 512;
/// Of the page cache, in which a write lies until it is on the platter.
constexpr std::size_t kPageBytes = 4096;
/// SQLite's own VFS takes no more at a time either.
constexpr int kWriteMax = (1 << 17) - 1;
/// 1970-01-01 in SQLite's Julian milliseconds.
constexpr sqlite3_int64 kUnixEpochMs = 210'866'760'000'000;

void apply(std::string& bytes, const DiskImage::Write& write, std::size_t size) {
  if (write.truncate) {
    bytes.resize(write.offset);
    return;
  }
  if (bytes.size() < write.offset + size) bytes.resize(write.offset + size);
  std::memcpy(bytes.data() + write.offset, write.bytes.data(), size);
}

}  // namespace

void DiskImage::lose_power(Random& random) {
  locks_.clear();
  for (auto entry = files_.begin(); entry != files_.end();) {
    File& file = entry->second;
    if (!file.entry_synced && random.one_in(2)) {
      entry = files_.erase(entry);
      continue;
    }
    for (const Write& write : file.pending) {
      const std::uint64_t fate = random.below(4);
      if (fate == 0) continue;
      const std::size_t sectors = write.bytes.size() / kSectorBytes;
      const bool torn = fate == 1 && sectors > 0;
      apply(file.synced, write, torn ? random.below(sectors) * kSectorBytes : write.bytes.size());
    }
    file.pending.clear();
    file.bytes = file.synced;
    file.entry_synced = true;
    ++entry;
  }
}

/// SQLite's tables of functions, and the file handle that they get.
struct SimVfs::Methods {
  struct Handle {
    sqlite3_file base;  // first, as SQLite wants it
    SimVfs* vfs;
    DiskImage::File* file;
    std::string* path;
    DiskImage::File* own;  // of a temporary file without a name
    int level;
    bool read_only;
  };

  sqlite3_vfs vfs{};
  sqlite3_io_methods io{};

  static SimVfs& self(sqlite3_vfs* vfs) { return *static_cast<SimVfs*>(vfs->pAppData); }
  static Handle& handle(sqlite3_file* file) { return *reinterpret_cast<Handle*>(file); }

  explicit Methods(SimVfs& owner);

  // Files.
  static int close(sqlite3_file* file);
  static int read(sqlite3_file* file, void* out, int amount, sqlite3_int64 offset);
  static int write(sqlite3_file* file, const void* in, int amount, sqlite3_int64 offset);
  static int truncate(sqlite3_file* file, sqlite3_int64 size);
  static int sync(sqlite3_file* file, int flags);
  static int size(sqlite3_file* file, sqlite3_int64* out);
  static int lock(sqlite3_file* file, int level);
  static int unlock(sqlite3_file* file, int level);
  static int check_reserved(sqlite3_file* file, int* out);
  static int control(sqlite3_file* file, int operation, void* arg);
  static int sector_size(sqlite3_file*) { return static_cast<int>(kSectorBytes); }
  static int characteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

  // The machine.
  static int open(sqlite3_vfs* vfs, const char* name, sqlite3_file* out, int flags, int* flags_out);
  static int remove(sqlite3_vfs* vfs, const char* name, int sync_folder);
  static int access(sqlite3_vfs* vfs, const char* name, int flags, int* out);
  static int full_path(sqlite3_vfs*, const char* name, int size, char* out);
  static int randomness(sqlite3_vfs* vfs, int size, char* out);
  static int sleep(sqlite3_vfs*, int us) { return us; }
  static int last_error(sqlite3_vfs*, int, char*) { return 0; }
  static int time_ms(sqlite3_vfs* vfs, sqlite3_int64* out);
  static int time_days(sqlite3_vfs* vfs, double* out);

  static DiskImage::Lock* find_lock(SimVfs& vfs, const Handle& handle);
};

SimVfs::Methods::Methods(SimVfs& owner) {
  io.iVersion = 1;  // no shared memory, no mapping
  io.xClose = close;
  io.xRead = read;
  io.xWrite = write;
  io.xTruncate = truncate;
  io.xSync = sync;
  io.xFileSize = size;
  io.xLock = lock;
  io.xUnlock = unlock;
  io.xCheckReservedLock = check_reserved;
  io.xFileControl = control;
  io.xSectorSize = sector_size;
  io.xDeviceCharacteristics = characteristics;
  vfs.iVersion = 2;
  vfs.szOsFile = sizeof(Handle);
  vfs.mxPathname = 512;
  vfs.zName = owner.name_.c_str();
  vfs.pAppData = &owner;
  vfs.xOpen = open;
  vfs.xDelete = remove;
  vfs.xAccess = access;
  vfs.xFullPathname = full_path;
  vfs.xRandomness = randomness;
  vfs.xSleep = sleep;
  vfs.xCurrentTime = time_days;
  vfs.xCurrentTimeInt64 = time_ms;
  vfs.xGetLastError = last_error;
}

int SimVfs::Methods::open(sqlite3_vfs* vfs, const char* name, sqlite3_file* out, int flags,
                          int* flags_out) {
  SimVfs& me = self(vfs);
  out->pMethods = nullptr;
  if (me.frozen_) return SQLITE_CANTOPEN;
  Handle& opened = handle(out);
  opened = {};
  opened.vfs = &me;
  if (name == nullptr) {
    opened.file = opened.own = std::make_unique<DiskImage::File>().release();
  } else {
    auto found = me.disk_->files().find(name);
    if (found == me.disk_->files().end()) {
      if ((flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
      found = me.disk_->files().emplace(name, DiskImage::File{}).first;
    }
    opened.file = &found->second;
    opened.path = std::make_unique<std::string>(name).release();
  }
  opened.base.pMethods = &me.methods_->io;
  me.open_files_.push_back(&opened);
  if (me.read_only_) {
    opened.read_only = true;
    flags = (flags & ~(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)) | SQLITE_OPEN_READONLY;
  }
  if (flags_out != nullptr) *flags_out = flags;
  return SQLITE_OK;
}

int SimVfs::Methods::close(sqlite3_file* file) {
  Handle& closed = handle(file);
  if (!closed.vfs->frozen_) unlock(file, SQLITE_LOCK_NONE);
  std::erase(closed.vfs->open_files_, &closed);
  const std::unique_ptr<std::string> path(closed.path);
  const std::unique_ptr<DiskImage::File> own(closed.own);
  file->pMethods = nullptr;
  return SQLITE_OK;
}

int SimVfs::Methods::read(sqlite3_file* file, void* out, int amount, sqlite3_int64 offset) {
  const Handle& from = handle(file);
  if (from.vfs->frozen_) return SQLITE_IOERR_READ;
  ++from.vfs->reads_;
  const std::string& bytes = from.file->bytes;
  const auto start = std::min(static_cast<std::size_t>(offset), bytes.size());
  const auto wanted = static_cast<std::size_t>(amount);
  const std::size_t got = std::min(wanted, bytes.size() - start);
  std::memcpy(out, bytes.data() + start, got);
  if (got == wanted) return SQLITE_OK;
  std::memset(static_cast<char*>(out) + got, 0, wanted - got);
  return SQLITE_IOERR_SHORT_READ;
}

int SimVfs::Methods::write(sqlite3_file* file, const void* in, int amount, sqlite3_int64 offset) {
  const Handle& to = handle(file);
  SimVfs& me = *to.vfs;
  if (me.frozen_) return SQLITE_IOERR_WRITE;
  if (to.read_only) return SQLITE_READONLY;
  if (me.write_errno_ != 0) return SQLITE_IOERR_WRITE;
  if (amount > kWriteMax) return SQLITE_FULL;
  DiskImage::Write write;
  write.offset = static_cast<std::size_t>(offset);
  write.bytes.assign(static_cast<const char*>(in), static_cast<std::size_t>(amount));
  const bool died = me.dies_now();
  if (died) write.bytes.resize(me.random_.below(write.bytes.size() + 1));
  if (!died && (me.full_ || me.random_.below(1000) < me.faults_.disk_full)) {
    ++me.fired_.disk_full;
    return SQLITE_FULL;
  }
  if (!died && me.random_.below(1000) < me.faults_.write_error) {
    ++me.fired_.write_errors;
    return SQLITE_IOERR_WRITE;
  }
  apply(to.file->bytes, write, write.bytes.size());
  // What one call wrote need not reach the platter as one.
  for (std::size_t at = 0; at < write.bytes.size(); at += kPageBytes) {
    to.file->pending.push_back({write.offset + at, write.bytes.substr(at, kPageBytes)});
  }
  return died ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

int SimVfs::Methods::truncate(sqlite3_file* file, sqlite3_int64 size) {
  const Handle& to = handle(file);
  if (to.vfs->frozen_ || to.vfs->dies_now()) return SQLITE_IOERR_TRUNCATE;
  to.file->bytes.resize(static_cast<std::size_t>(size));
  to.file->pending.push_back({static_cast<std::size_t>(size), {}, true});
  return SQLITE_OK;
}

int SimVfs::Methods::sync(sqlite3_file* file, int) {
  const Handle& to = handle(file);
  SimVfs& me = *to.vfs;
  if (me.frozen_ || me.dies_now()) return SQLITE_IOERR_FSYNC;
  if (me.random_.below(1000) < me.faults_.sync_error) {
    ++me.fired_.sync_errors;
    return SQLITE_IOERR_FSYNC;
  }
  for (const DiskImage::Write& write : to.file->pending) {
    apply(to.file->synced, write, write.bytes.size());
  }
  to.file->pending.clear();
  to.file->entry_synced = true;
  return SQLITE_OK;
}

int SimVfs::Methods::control(sqlite3_file* file, int operation, void* arg) {
  if (operation != SQLITE_FCNTL_LAST_ERRNO) return SQLITE_NOTFOUND;
  *static_cast<int*>(arg) = handle(file).vfs->write_errno_;
  return SQLITE_OK;
}

int SimVfs::Methods::size(sqlite3_file* file, sqlite3_int64* out) {
  if (handle(file).vfs->frozen_) return SQLITE_IOERR_FSTAT;
  *out = static_cast<sqlite3_int64>(handle(file).file->bytes.size());
  return SQLITE_OK;
}

DiskImage::Lock* SimVfs::Methods::find_lock(SimVfs& vfs, const Handle& handle) {
  for (DiskImage::Lock& lock : vfs.disk_->locks()) {
    if (lock.holder == &handle) return &lock;
  }
  return nullptr;
}

int SimVfs::Methods::lock(sqlite3_file* file, int level) {
  Handle& wants = handle(file);
  SimVfs& me = *wants.vfs;
  if (me.frozen_) return SQLITE_IOERR_LOCK;
  if (wants.level >= level || wants.path == nullptr) return SQLITE_OK;
  for (const DiskImage::Lock& other : me.disk_->locks()) {
    if (other.holder == &wants || other.path != *wants.path) continue;
    const bool refused = level == SQLITE_LOCK_SHARED     ? other.level >= SQLITE_LOCK_PENDING
                         : level == SQLITE_LOCK_RESERVED ? other.level >= SQLITE_LOCK_RESERVED
                                                         : other.level >= SQLITE_LOCK_SHARED;
    if (refused) return SQLITE_BUSY;
  }
  if (DiskImage::Lock* mine = find_lock(me, wants)) {
    mine->level = level;
  } else {
    me.disk_->locks().push_back({*wants.path, &wants, level});
  }
  wants.level = level;
  return SQLITE_OK;
}

int SimVfs::Methods::unlock(sqlite3_file* file, int level) {
  Handle& gives = handle(file);
  SimVfs& me = *gives.vfs;
  if (me.frozen_) return SQLITE_IOERR_UNLOCK;
  gives.level = level;
  if (DiskImage::Lock* mine = find_lock(me, gives)) mine->level = level;
  std::erase_if(me.disk_->locks(), [](const DiskImage::Lock& lock) { return lock.level == 0; });
  return SQLITE_OK;
}

int SimVfs::Methods::check_reserved(sqlite3_file* file, int* out) {
  const Handle& asks = handle(file);
  *out = 0;
  for (const DiskImage::Lock& lock : asks.vfs->disk_->locks()) {
    if (asks.path != nullptr && lock.path == *asks.path && lock.level >= SQLITE_LOCK_RESERVED) {
      *out = 1;
    }
  }
  return SQLITE_OK;
}

int SimVfs::Methods::remove(sqlite3_vfs* vfs, const char* name, int) {
  SimVfs& me = self(vfs);
  if (me.frozen_ || me.dies_now()) return SQLITE_IOERR_DELETE;
  return me.disk_->files().erase(name) == 1 ? SQLITE_OK : SQLITE_IOERR_DELETE_NOENT;
}

int SimVfs::Methods::access(sqlite3_vfs* vfs, const char* name, int, int* out) {
  SimVfs& me = self(vfs);
  if (me.frozen_) return SQLITE_IOERR_ACCESS;
  *out = me.disk_->files().contains(name) ? 1 : 0;
  return SQLITE_OK;
}

int SimVfs::Methods::full_path(sqlite3_vfs*, const char* name, int size, char* out) {
  const std::size_t length = std::strlen(name);
  if (length >= static_cast<std::size_t>(size)) return SQLITE_CANTOPEN;
  std::memcpy(out, name, length + 1);
  return SQLITE_OK;
}

int SimVfs::Methods::randomness(sqlite3_vfs* vfs, int size, char* out) {
  for (int i = 0; i < size; ++i) out[i] = static_cast<char>(self(vfs).random_.next() & 0x7fU);
  return size;
}

int SimVfs::Methods::time_ms(sqlite3_vfs* vfs, sqlite3_int64* out) {
  *out = kUnixEpochMs + self(vfs).clock_.wall().count();
  return SQLITE_OK;
}

int SimVfs::Methods::time_days(sqlite3_vfs* vfs, double* out) {
  sqlite3_int64 milliseconds = 0;
  time_ms(vfs, &milliseconds);
  *out = static_cast<double>(milliseconds) / 86'400'000.0;
  return SQLITE_OK;
}

SimVfs::SimVfs(std::string name, std::shared_ptr<DiskImage> disk, Random& random,
               const Clock& clock)
    : name_(std::move(name)),
      disk_(std::move(disk)),
      random_(random),
      clock_(clock),
      methods_(std::make_unique<Methods>(*this)) {
  BERTH_ASSERT(sqlite3_vfs_find(name_.c_str()) == nullptr);
  sqlite3_vfs_register(&methods_->vfs, 0);
}

SimVfs::~SimVfs() {
  BERTH_ASSERT(open_files_.empty());
  sqlite3_vfs_unregister(&methods_->vfs);
}

void SimVfs::freeze() {
  frozen_ = true;
  std::erase_if(disk_->locks(), [this](const DiskImage::Lock& lock) {
    return std::ranges::find(open_files_, lock.holder) != open_files_.end();
  });
}

bool SimVfs::dies_now() {
  ++operations_;
  if (freeze_in_ == 0 || --freeze_in_ > 0) return false;
  freeze();
  return true;
}

}  // namespace berth::server
