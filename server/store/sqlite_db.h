// server/store/sqlite_db.h — one SQLite connection and its prepared statements, with our errors.
#pragma once

#include <berth/core/result.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

struct sqlite3;
struct sqlite3_stmt;

namespace berth::server {

class SqliteDb;

/// A prepared statement. Bound strings are not copied: they must live until reset(). Outlived by
/// its SqliteDb.
class SqliteStatement {
 public:
  SqliteStatement() = default;
  SqliteStatement(SqliteStatement&& other) noexcept;
  SqliteStatement& operator=(SqliteStatement&& other) noexcept;
  ~SqliteStatement();

  /// Indexes start at 1.
  SqliteStatement& bind(int index, std::int64_t value);
  SqliteStatement& bind(int index, std::string_view text);
  SqliteStatement& bind_blob(int index, std::string_view bytes);
  /// So many zeros, which take no memory as the last column of a row; see SqliteDb::write_blob().
  SqliteStatement& bind_zeros(int index, std::size_t bytes);

  /// True with a row to read; at the end and after an error the statement is reset already.
  Result<bool> step();
  /// For statements without rows.
  Result<void> run();
  void reset();

  /// Of the current row; columns start at 0. Views are valid until the next step() or reset().
  std::int64_t integer(int column) const;
  std::string_view bytes(int column) const;

 private:
  friend class SqliteDb;
  SqliteStatement(SqliteDb& db, sqlite3_stmt* statement) : db_(&db), statement_(statement) {}
  SqliteDb* db_ = nullptr;
  sqlite3_stmt* statement_ = nullptr;
};

/// A value of a column, named by the number of its row; the table has numbers for its rows.
struct BlobPlace {
  const char* table = "";
  const char* column = "";
  std::int64_t rowid = 0;
};

/// Resets a statement that may be left in the middle of its rows.
class ResetAtExit {
 public:
  explicit ResetAtExit(SqliteStatement& statement) : statement_(statement) {}
  ResetAtExit(const ResetAtExit&) = delete;
  ResetAtExit& operator=(const ResetAtExit&) = delete;
  ~ResetAtExit() { statement_.reset(); }

 private:
  SqliteStatement& statement_;
};

/// Not thread-safe. Errors of all calls, by what SQLite and the system said: `unavailable` with
/// code "store_full" (no room on the disk, in the quota or below the limit of a file's size),
/// "store_read_only", "store_io" or "store_cannot_open"; `conflict` "store_locked"
/// (another process has it); `internal` "store_corrupt", "store_constraint" or "store_failed".
class SqliteDb {
 public:
  /// Opens or creates the file; `vfs` names a registered VFS, empty = the system's.
  static Result<std::unique_ptr<SqliteDb>> open(const std::string& path, const std::string& vfs);
  SqliteDb(const SqliteDb&) = delete;
  SqliteDb& operator=(const SqliteDb&) = delete;
  ~SqliteDb();

  /// Runs a text of one or more statements; rows are ignored.
  Result<void> run(const std::string& sql);
  /// The first column of the first row, as text.
  Result<std::string> value_of(const std::string& sql);
  Result<std::int64_t> integer_of(const std::string& sql);
  Result<SqliteStatement> prepare(std::string_view sql);
  /// From now on a statement of more than about so many steps (of its program, or pages and rows of
  /// a check) ends with `timed_out` ("store_slow"); 0: none does.
  void bound_statements(int steps_max);

  /// Puts `bytes` over the value there, which has their size. SQLite makes a whole copy of a row
  /// that it is given at once, but none here.
  Result<void> write_blob(const BlobPlace& place, std::string_view bytes);
  /// Reads the whole value into `out` (of its size), without a copy of it in SQLite.
  Result<void> read_blob(const BlobPlace& place, std::span<char> out);
  std::int64_t last_rowid() const;

  /// Rows touched by the last INSERT, UPDATE or DELETE.
  std::int64_t changes() const;
  bool in_transaction() const;
  /// Undoes an open transaction, if SQLite has not done it by itself.
  void rollback_if_open();
  /// Copies what it can of the log into the database file.
  Result<void> checkpoint();

  /// The last failure as ours; `what` names the step.
  Error error(int code, std::string_view what) const;
  /// For what only SQLite itself can do with it; stays this object's.
  sqlite3* handle() const { return handle_; }

 private:
  template <typename Step>
  Result<void> in_pieces(const BlobPlace& place, bool write, std::size_t size, Step step);
  explicit SqliteDb(sqlite3* handle) : handle_(handle) {}
  sqlite3* handle_;
};

}  // namespace berth::server
