#include <berth/server/store/vfs_file.h>

#include <sqlite3.h>
#include <algorithm>
#include <cstring>

namespace berth::server {

namespace {

sqlite3_vfs* vfs_named(const std::string& name) {
  return sqlite3_vfs_find(name.empty() ? nullptr : name.c_str());
}

Error file_error(int code, const char* what, const std::string& path) {
  const char* name = "store_io";
  if ((code & 0xff) == SQLITE_FULL) name = "store_full";
  if ((code & 0xff) == SQLITE_READONLY) name = "store_read_only";
  if ((code & 0xff) == SQLITE_CANTOPEN) name = "store_cannot_open";
  return make_error(ErrorKind::unavailable, name, path + ": " + what + ": " + sqlite3_errstr(code));
}

}  // namespace

Result<std::unique_ptr<VfsFile>> VfsFile::open(const std::string& path, const std::string& vfs,
                                               bool create) {
  sqlite3_vfs* found = vfs_named(vfs);
  if (found == nullptr) return fail(ErrorKind::internal, "store_failed", "no VFS " + vfs);
  std::unique_ptr<VfsFile> opened(new VfsFile(path));
  opened->memory_ = std::make_unique<char[]>(static_cast<std::size_t>(found->szOsFile));
  // To SQLite it is a WAL: no locks, and the mode of the database.
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_WAL | (create ? SQLITE_OPEN_CREATE : 0);
  const int code = found->xOpen(found, opened->path_.c_str(), opened->file(), flags, nullptr);
  if (code != SQLITE_OK) return fail(file_error(code, "open", path));
  return opened;
}

bool VfsFile::exists(const std::string& path, const std::string& vfs) {
  sqlite3_vfs* found = vfs_named(vfs);
  int there = 0;
  return found != nullptr &&
         found->xAccess(found, path.c_str(), SQLITE_ACCESS_EXISTS, &there) == SQLITE_OK &&
         there != 0;
}

std::uint64_t VfsFile::size_of(const std::string& path, const std::string& vfs) {
  if (!exists(path, vfs)) return 0;
  const Result<std::unique_ptr<VfsFile>> opened = open(path, vfs, false);
  sqlite3_int64 size = 0;
  if (!opened.has_value()) return 0;
  sqlite3_file* const file = (*opened)->file();
  if (file->pMethods->xFileSize(file, &size) != SQLITE_OK) return 0;
  return static_cast<std::uint64_t>(size);
}

void VfsFile::remove(const std::string& path, const std::string& vfs) {
  if (sqlite3_vfs* found = vfs_named(vfs)) found->xDelete(found, path.c_str(), 0);
}

VfsFile::~VfsFile() {
  if (file()->pMethods != nullptr) file()->pMethods->xClose(file());
}

Result<void> VfsFile::write(std::size_t offset, std::string_view bytes) {
  const int code = file()->pMethods->xWrite(file(), bytes.data(), static_cast<int>(bytes.size()),
                                            static_cast<sqlite3_int64>(offset));
  if (code != SQLITE_OK) return fail(file_error(code, "write", path_));
  return {};
}

Result<std::string> VfsFile::read(std::size_t offset, std::size_t size) {
  sqlite3_int64 length = 0;
  int code = file()->pMethods->xFileSize(file(), &length);
  if (code != SQLITE_OK) return fail(file_error(code, "size", path_));
  const auto there = static_cast<std::size_t>(length);
  std::string bytes(std::min(size, there - std::min(there, offset)), '\0');
  if (bytes.empty()) return bytes;
  code = file()->pMethods->xRead(file(), bytes.data(), static_cast<int>(bytes.size()),
                                 static_cast<sqlite3_int64>(offset));
  if (code != SQLITE_OK) return fail(file_error(code, "read", path_));
  return bytes;
}

}  // namespace berth::server
