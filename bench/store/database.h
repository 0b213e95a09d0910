// bench/store/database.h — just enough of SQLite for the layouts: run a text, prepare, bind, step.
#pragma once

#include "layouts.h"

#include <sqlite3.h>
#include <string>
#include <string_view>

namespace berth::bench {

/// Ends the program with `what` and the reason; a bench has no other answer to a broken disk.
[[noreturn]] void die(std::string_view what, std::string_view reason);

class Database {
 public:
  Database(const std::string& path, const StoreSettings& settings);
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;
  ~Database();

  void run(const char* sql);
  /// The statement lives as long as the database.
  sqlite3_stmt* prepare(const char* sql);
  /// Steps a statement that returns no rows, and resets it.
  void execute(sqlite3_stmt* statement);
  /// True while there is a row; resets at the end.
  bool next(sqlite3_stmt* statement);
  void begin() { execute(begin_); }
  void end() { execute(end_); }
  void checkpoint() { run("PRAGMA wal_checkpoint(TRUNCATE)"); }

 private:
  sqlite3* db_ = nullptr;
  std::vector<sqlite3_stmt*> statements_;
  sqlite3_stmt* begin_ = nullptr;
  sqlite3_stmt* end_ = nullptr;
};

inline void bind_value(sqlite3_stmt* statement, int index, std::uint64_t value) {
  sqlite3_bind_int64(statement, index, static_cast<sqlite3_int64>(value));
}
inline void bind_value(sqlite3_stmt* statement, int index, std::string_view value) {
  sqlite3_bind_blob64(statement, index, value.data(), value.size(), SQLITE_STATIC);
}
inline std::uint64_t column(sqlite3_stmt* statement, int index) {
  return static_cast<std::uint64_t>(sqlite3_column_int64(statement, index));
}
inline std::string_view column_bytes(sqlite3_stmt* statement, int index) {
  const void* data = sqlite3_column_blob(statement, index);
  return {static_cast<const char*>(data),
          static_cast<std::size_t>(sqlite3_column_bytes(statement, index))};
}

}  // namespace berth::bench
