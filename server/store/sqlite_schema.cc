#include <berth/server/store/sqlite_schema.h>

#include <fmt/format.h>

namespace berth::server {

namespace {

/// "brth": tells `file` and us whose database it is.
constexpr std::int64_t kApplicationId = 0x62727468;

/// One text for each version; kMigrations[i] leads from version i to i + 1. Never edit a released
/// one.
///
/// Enums are stored as their numbers in records.h: 0..4 of turns.state are the states before an
/// ending.
constexpr const char* kMigrations[kSchemaVersion] = {
    R"sql(
CREATE TABLE owner(
  id INTEGER PRIMARY KEY CHECK(id = 1),
  epoch INTEGER NOT NULL,
  last_session_no INTEGER NOT NULL) STRICT;
INSERT INTO owner VALUES(1, 0, 0);

CREATE TABLE sessions(
  no INTEGER PRIMARY KEY,
  project TEXT NOT NULL, id TEXT NOT NULL, key TEXT NOT NULL, state INTEGER NOT NULL,
  title TEXT NOT NULL, agent TEXT NOT NULL, permission TEXT NOT NULL,
  workspace_mode TEXT NOT NULL, repository TEXT NOT NULL, directory TEXT NOT NULL,
  branch TEXT NOT NULL, base_commit TEXT NOT NULL, base_tree TEXT NOT NULL,
  options TEXT NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,
  workspace_ready INTEGER NOT NULL, held INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX sessions_by_id ON sessions(project, id);
CREATE INDEX sessions_by_no ON sessions(project, no);

-- One stretch of a session's log: `count` SSE frames from first_seq on. See docs/decisions/002.
CREATE TABLE events(
  session INTEGER NOT NULL, first_seq INTEGER NOT NULL, count INTEGER NOT NULL,
  frames BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX events_by_seq ON events(session, first_seq);

CREATE TABLE turns(
  session INTEGER NOT NULL, number INTEGER NOT NULL, id TEXT NOT NULL, state INTEGER NOT NULL,
  agent TEXT NOT NULL, prompt TEXT NOT NULL, idempotency_key TEXT NOT NULL,
  body_hash TEXT NOT NULL, reason TEXT NOT NULL, usage TEXT NOT NULL, snapshot TEXT NOT NULL,
  started_seq INTEGER NOT NULL, created_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL,
  ended_ms INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX turns_by_number ON turns(session, number);
CREATE INDEX turns_by_id ON turns(session, id);
CREATE INDEX turns_by_key ON turns(session, idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX turns_open ON turns(session, number) WHERE state < 5;

CREATE TABLE bindings(
  session INTEGER NOT NULL, agent TEXT NOT NULL, state INTEGER NOT NULL,
  native_session_id TEXT NOT NULL, attach_epoch INTEGER NOT NULL,
  continuation_owed INTEGER NOT NULL, agent_info TEXT NOT NULL, mode TEXT NOT NULL,
  config TEXT NOT NULL, pid INTEGER NOT NULL, start_time INTEGER NOT NULL,
  updated_ms INTEGER NOT NULL, PRIMARY KEY(session, agent)) STRICT, WITHOUT ROWID;
CREATE INDEX bindings_live ON bindings(session) WHERE state = 1;

CREATE TABLE interactions(
  session INTEGER NOT NULL, id TEXT NOT NULL, turn TEXT NOT NULL, kind TEXT NOT NULL,
  payload TEXT NOT NULL, state INTEGER NOT NULL, answer TEXT NOT NULL,
  answered_by TEXT NOT NULL, opened_ms INTEGER NOT NULL, closed_ms INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX interactions_by_id ON interactions(session, id);
CREATE INDEX interactions_open ON interactions(session, id) WHERE state = 0;

CREATE TABLE changes(
  session INTEGER PRIMARY KEY, turn_number INTEGER NOT NULL, base TEXT NOT NULL,
  tree TEXT NOT NULL, summary TEXT NOT NULL, outcome TEXT NOT NULL,
  recorded_ms INTEGER NOT NULL) STRICT;
)sql",
    R"sql(
ALTER TABLE sessions ADD COLUMN rules TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN mcp_servers TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN additional_directories TEXT NOT NULL DEFAULT '';
ALTER TABLE turns ADD COLUMN snapshot_before TEXT NOT NULL DEFAULT '';
ALTER TABLE bindings ADD COLUMN native_history TEXT NOT NULL DEFAULT '';
ALTER TABLE bindings ADD COLUMN told_turn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bindings ADD COLUMN failure TEXT NOT NULL DEFAULT '';
ALTER TABLE bindings ADD COLUMN usage TEXT NOT NULL DEFAULT '';
ALTER TABLE interactions ADD COLUMN agent TEXT NOT NULL DEFAULT '';
ALTER TABLE interactions ADD COLUMN child TEXT NOT NULL DEFAULT '';
ALTER TABLE interactions ADD COLUMN expires_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE changes ADD COLUMN touched TEXT NOT NULL DEFAULT '';
CREATE INDEX sessions_ending ON sessions(no) WHERE state > 3;
)sql",
    R"sql(
CREATE TABLE tokens(
  id TEXT PRIMARY KEY, name TEXT NOT NULL, project TEXT NOT NULL, scopes TEXT NOT NULL,
  hash TEXT NOT NULL, created_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL,
  last_used_ms INTEGER NOT NULL, revoked_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
)sql",
    R"sql(
ALTER TABLE sessions ADD COLUMN client_state TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN client_state_version INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN idempotency_key TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN body_hash TEXT NOT NULL DEFAULT '';
CREATE INDEX sessions_by_key ON sessions(project, idempotency_key) WHERE idempotency_key <> '';
)sql",
    // Where the file in front of the database goes on, see run_log.h.
    R"sql(
ALTER TABLE owner ADD COLUMN log_salt INTEGER NOT NULL DEFAULT 0;
ALTER TABLE owner ADD COLUMN log_folded INTEGER NOT NULL DEFAULT 0;
)sql",
    R"sql(
ALTER TABLE turns ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';
ALTER TABLE turns ADD COLUMN tracestate TEXT NOT NULL DEFAULT '';
ALTER TABLE turns ADD COLUMN trace_parent TEXT NOT NULL DEFAULT '';
)sql",
    R"sql(
ALTER TABLE turns ADD COLUMN timeout_ms INTEGER NOT NULL DEFAULT 0;
CREATE TABLE log_cuts(
  session INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL, first_turn INTEGER NOT NULL,
  head TEXT NOT NULL, cut_ms INTEGER NOT NULL, erased INTEGER NOT NULL) STRICT;
CREATE INDEX log_cuts_to_erase ON log_cuts(session) WHERE erased = 0;
)sql",
};

}  // namespace

Result<void> migrate(SqliteDb& db) {
  Result<std::int64_t> version = db.integer_of("PRAGMA user_version");
  if (!version) return fail(std::move(version.error()));
  Result<std::int64_t> application = db.integer_of("PRAGMA application_id");
  if (!application) return fail(std::move(application.error()));
  if (*version > kSchemaVersion && *application == kApplicationId) {
    return fail(ErrorKind::unsupported, "store_too_new",
                fmt::format("the store has schema version {}, this berth knows versions up to {}: "
                            "start the berth that wrote it, or a later one",
                            *version, kSchemaVersion));
  }
  Result<std::int64_t> tables = db.integer_of("SELECT count(*) FROM sqlite_schema");
  if (!tables) return fail(std::move(tables.error()));
  const bool fresh = *tables == 0 && *version == 0;
  if (!fresh && *application != kApplicationId) {
    return fail(ErrorKind::invalid, "not_a_store", "the file is a database, but not berth's");
  }
  for (std::int64_t from = *version; from < kSchemaVersion; ++from) {
    if (Result<void> done = db.run(kMigrations[from]); !done) {
      return fail(std::move(done.error()).with_context(fmt::format("migration {}", from + 1)));
    }
  }
  if (*version == kSchemaVersion) return {};
  return db.run(fmt::format("PRAGMA application_id={}; PRAGMA user_version={}", kApplicationId,
                            kSchemaVersion));
}

}  // namespace berth::server
