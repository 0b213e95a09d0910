#include "database.h"

#include <fmt/core.h>
#include <cstdlib>

namespace berth::bench {

void die(std::string_view what, std::string_view reason) {
  fmt::print(stderr, "layout_bench: {}: {}\n", what, reason);
  std::exit(1);
}

Database::Database(const std::string& path, const StoreSettings& settings) {
  if (sqlite3_open(path.c_str(), &db_) != SQLITE_OK) die(path, sqlite3_errmsg(db_));
  const char* synchronous = settings.synchronous == Synchronous::off      ? "OFF"
                            : settings.synchronous == Synchronous::normal ? "NORMAL"
                                                                          : "FULL";
  run(fmt::format("PRAGMA page_size={}", settings.page_size).c_str());
  run(settings.exclusive ? "PRAGMA locking_mode=EXCLUSIVE" : "PRAGMA locking_mode=NORMAL");
  run("PRAGMA journal_mode=WAL");
  run(fmt::format("PRAGMA synchronous={}", synchronous).c_str());
  run(fmt::format("PRAGMA wal_autocheckpoint={}", settings.autocheckpoint_pages).c_str());
  run("PRAGMA cache_size=-16384");
  begin_ = prepare("BEGIN IMMEDIATE");
  end_ = prepare("COMMIT");
}

Database::~Database() {
  for (sqlite3_stmt* statement : statements_) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

void Database::run(const char* sql) {
  if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) die(sql, sqlite3_errmsg(db_));
}

sqlite3_stmt* Database::prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) !=
      SQLITE_OK) {
    die(sql, sqlite3_errmsg(db_));
  }
  statements_.push_back(statement);
  return statement;
}

void Database::execute(sqlite3_stmt* statement) {
  if (sqlite3_step(statement) != SQLITE_DONE) die(sqlite3_sql(statement), sqlite3_errmsg(db_));
  sqlite3_reset(statement);
}

bool Database::next(sqlite3_stmt* statement) {
  const int code = sqlite3_step(statement);
  if (code == SQLITE_ROW) return true;
  if (code != SQLITE_DONE) die(sqlite3_sql(statement), sqlite3_errmsg(db_));
  sqlite3_reset(statement);
  return false;
}

}  // namespace berth::bench
