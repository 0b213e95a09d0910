// server/store/sqlite_schema.h — the tables, and how an older store becomes a current one.
#pragma once

#include <berth/core/result.h>
#include <berth/server/store/sqlite_db.h>

#include <cstdint>

namespace berth::server {

/// What this build writes; PRAGMA user_version of the file.
inline constexpr std::int64_t kSchemaVersion = 7;

/// Brings the tables to kSchemaVersion, step by step, inside the caller's transaction.
/// Errors: `unsupported` "store_too_new" (written by a later berth; nothing was touched), `invalid`
/// "not_a_store" (somebody else's database), and those of SqliteDb.
Result<void> migrate(SqliteDb& db);

}  // namespace berth::server
