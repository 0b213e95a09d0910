#include <berth/server/store/sqlite_db.h>

#include <fmt/format.h>
#include <sqlite3.h>
#include <algorithm>
#include <cerrno>
#include <utility>

namespace berth::server {

namespace {

struct Meaning {
  ErrorKind kind;
  const char* code;
};

/// The errno of the last failure on the file that `pointer` names.
int last_errno_of(sqlite3* handle, int pointer) {
  sqlite3_file* file = nullptr;
  int value = 0;
  if (sqlite3_file_control(handle, "main", pointer, &file) != SQLITE_OK) return 0;
  if (file == nullptr || file->pMethods == nullptr) return 0;
  const int code = file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &value);
  return code == SQLITE_OK ? value : 0;
}

/// SQLite 3.40 does not keep the errno of a COMMIT that failed, but its files do; in a WAL store
/// the journal is what a commit writes.
int errno_of(sqlite3* handle, int extended_code) {
  const int code = extended_code & 0xff;
  if (code != SQLITE_IOERR && code != SQLITE_CANTOPEN) return 0;
  if (const int value = sqlite3_system_errno(handle); value != 0) return value;
  if (const int value = last_errno_of(handle, SQLITE_FCNTL_JOURNAL_POINTER); value != 0) {
    return value;
  }
  return last_errno_of(handle, SQLITE_FCNTL_FILE_POINTER);
}

/// `errno_value` says more than SQLite, for which all but ENOSPC is an error of the disk.
Meaning meaning_of(int extended_code, int errno_value) {
  const int code = extended_code & 0xff;
  if (code == SQLITE_IOERR && (errno_value == EDQUOT || errno_value == EFBIG)) {
    return {ErrorKind::unavailable, "store_full"};
  }
  if (code == SQLITE_IOERR && errno_value == EROFS) {
    return {ErrorKind::unavailable, "store_read_only"};
  }
  switch (code) {
    case SQLITE_FULL:
      return {ErrorKind::unavailable, "store_full"};
    case SQLITE_READONLY:
      return {ErrorKind::unavailable, "store_read_only"};
    case SQLITE_IOERR:
      return {ErrorKind::unavailable, "store_io"};
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
      return {ErrorKind::unavailable, "store_cannot_open"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {ErrorKind::conflict, "store_locked"};
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
      return {ErrorKind::internal, "store_corrupt"};
    case SQLITE_INTERRUPT:
      return {ErrorKind::timed_out, "store_slow"};
    case SQLITE_CONSTRAINT:
      return {ErrorKind::internal, "store_constraint"};
    default:
      return {ErrorKind::internal, "store_failed"};
  }
}

}  // namespace

SqliteStatement::SqliteStatement(SqliteStatement&& other) noexcept
    : db_(other.db_), statement_(std::exchange(other.statement_, nullptr)) {}

SqliteStatement& SqliteStatement::operator=(SqliteStatement&& other) noexcept {
  std::swap(db_, other.db_);
  std::swap(statement_, other.statement_);
  return *this;
}

SqliteStatement::~SqliteStatement() {
  sqlite3_finalize(statement_);
}

SqliteStatement& SqliteStatement::bind(int index, std::int64_t value) {
  sqlite3_bind_int64(statement_, index, value);
  return *this;
}

SqliteStatement& SqliteStatement::bind(int index, std::string_view text) {
  // A null pointer would bind NULL: the empty string is not that.
  sqlite3_bind_text64(statement_, index, text.empty() ? "" : text.data(), text.size(),
                      SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

SqliteStatement& SqliteStatement::bind_blob(int index, std::string_view bytes) {
  sqlite3_bind_blob64(statement_, index, bytes.empty() ? "" : bytes.data(), bytes.size(),
                      SQLITE_STATIC);
  return *this;
}

SqliteStatement& SqliteStatement::bind_zeros(int index, std::size_t bytes) {
  sqlite3_bind_zeroblob64(statement_, index, bytes);
  return *this;
}

Result<bool> SqliteStatement::step() {
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    sqlite3_reset(statement_);
    return false;
  }
  Error error = db_->error(code, sqlite3_sql(statement_));
  sqlite3_reset(statement_);
  return fail(std::move(error));
}

Result<void> SqliteStatement::run() {
  Result<bool> row = step();
  if (!row) return fail(std::move(row.error()));
  if (*row) reset();
  return {};
}

void SqliteStatement::reset() {
  sqlite3_reset(statement_);
}

std::int64_t SqliteStatement::integer(int column) const {
  return sqlite3_column_int64(statement_, column);
}

std::string_view SqliteStatement::bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_, column));
  return {static_cast<const char*>(data), data == nullptr ? 0 : size};
}

Result<std::unique_ptr<SqliteDb>> SqliteDb::open(const std::string& path, const std::string& vfs) {
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &handle,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                                   vfs.empty() ? nullptr : vfs.c_str());
  if (handle == nullptr) return fail(ErrorKind::internal, "store_failed", "out of memory");
  std::unique_ptr<SqliteDb> db(new SqliteDb(handle));
  sqlite3_extended_result_codes(handle, 1);
  if (code != SQLITE_OK) return fail(db->error(code, fmt::format("open {}", path)));
  return db;
}

SqliteDb::~SqliteDb() {
  // Statements are gone by now (their owner outlives nothing); what SQLite can't finish here, the
  // next open does.
  sqlite3_close(handle_);
}

Result<void> SqliteDb::run(const std::string& sql) {
  const int code = sqlite3_exec(handle_, sql.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return fail(error(code, sql));
  return {};
}

Result<std::string> SqliteDb::value_of(const std::string& sql) {
  Result<SqliteStatement> statement = prepare(sql);
  if (!statement) return fail(std::move(statement.error()));
  Result<bool> row = statement->step();
  if (!row) return fail(std::move(row.error()));
  return *row ? std::string(statement->bytes(0)) : std::string();
}

Result<std::int64_t> SqliteDb::integer_of(const std::string& sql) {
  Result<SqliteStatement> statement = prepare(sql);
  if (!statement) return fail(std::move(statement.error()));
  Result<bool> row = statement->step();
  if (!row) return fail(std::move(row.error()));
  return *row ? statement->integer(0) : 0;
}

Result<SqliteStatement> SqliteDb::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  const int code = sqlite3_prepare_v3(handle_, sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return fail(error(code, sql));
  return SqliteStatement(*this, statement);
}

void SqliteDb::bound_statements(int steps_max) {
  if (steps_max == 0) return sqlite3_progress_handler(handle_, 0, nullptr, nullptr);
  sqlite3_progress_handler(handle_, steps_max, [](void*) { return 1; }, nullptr);
}

/// `step` handles a piece of the value at an offset, and answers with a code of SQLite.
template <typename Step>
Result<void> SqliteDb::in_pieces(const BlobPlace& place, bool write, std::size_t size, Step step) {
  constexpr std::size_t kPiece = std::size_t{256} << 10U;
  sqlite3_blob* blob = nullptr;
  int code = sqlite3_blob_open(handle_, "main", place.table, place.column, place.rowid,
                               write ? 1 : 0, &blob);
  for (std::size_t at = 0; code == SQLITE_OK && at < size; at += kPiece) {
    code = step(blob, std::min(kPiece, size - at), at);
  }
  const int closed = sqlite3_blob_close(blob);
  if (code == SQLITE_OK) code = closed;
  if (code != SQLITE_OK) return fail(error(code, fmt::format("a value of {}", place.table)));
  return {};
}

Result<void> SqliteDb::write_blob(const BlobPlace& place, std::string_view bytes) {
  return in_pieces(place, true, bytes.size(),
                   [bytes](sqlite3_blob* blob, std::size_t size, std::size_t at) {
                     return sqlite3_blob_write(blob, bytes.data() + at, static_cast<int>(size),
                                               static_cast<int>(at));
                   });
}

Result<void> SqliteDb::read_blob(const BlobPlace& place, std::span<char> out) {
  return in_pieces(place, false, out.size(),
                   [out](sqlite3_blob* blob, std::size_t size, std::size_t at) {
                     return sqlite3_blob_read(blob, out.data() + at, static_cast<int>(size),
                                              static_cast<int>(at));
                   });
}

std::int64_t SqliteDb::last_rowid() const {
  return sqlite3_last_insert_rowid(handle_);
}

std::int64_t SqliteDb::changes() const {
  return sqlite3_changes64(handle_);
}

bool SqliteDb::in_transaction() const {
  return sqlite3_get_autocommit(handle_) == 0;
}

void SqliteDb::rollback_if_open() {
  if (in_transaction()) sqlite3_exec(handle_, "ROLLBACK", nullptr, nullptr, nullptr);
}

Result<void> SqliteDb::checkpoint() {
  const int code =
      sqlite3_wal_checkpoint_v2(handle_, nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  if (code != SQLITE_OK) return fail(error(code, "checkpoint"));
  return {};
}

Error SqliteDb::error(int code, std::string_view what) const {
  const int errno_value = errno_of(handle_, code);
  const Meaning meaning = meaning_of(code, errno_value);
  Error error = make_error(meaning.kind, meaning.code,
                           fmt::format("{}: {} ({})", what, sqlite3_errmsg(handle_), code));
  error.errno_value = errno_value;
  return error;
}

}  // namespace berth::server
