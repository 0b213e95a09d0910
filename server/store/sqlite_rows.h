// server/store/sqlite_rows.h — each record's columns in one list, for writing and for reading.
#pragma once

#include <berth/server/store/records.h>
#include <berth/server/store/sqlite_db.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace berth::server::detail {

/// A record's table, its key, what else of it never changes, and all fields in the order of their
/// columns. Enough for SQL of every kind.
template <typename Row>
struct Columns;

template <>
struct Columns<SessionRow> {
  static constexpr const char* kTable = "sessions";
  static constexpr const char* kKey = "no";
  static constexpr std::array<std::string_view, 3> kFixed = {"project", "id", "idempotency_key"};
  template <typename Row, typename F>
  static void each(Row& row, F&& f) {
    f("no", row.no), f("project", row.project), f("id", row.id), f("key", row.key);
    f("state", row.state), f("title", row.title), f("agent", row.agent);
    f("permission", row.permission), f("workspace_mode", row.workspace_mode);
    f("repository", row.repository), f("directory", row.directory), f("branch", row.branch);
    f("base_commit", row.base_commit), f("base_tree", row.base_tree), f("options", row.options);
    f("created_ms", row.created_ms), f("updated_ms", row.updated_ms);
    f("workspace_ready", row.workspace_ready), f("held", row.held), f("rules", row.rules);
    f("mcp_servers", row.mcp_servers);
    f("additional_directories", row.additional_directories);
    f("client_state", row.client_state), f("client_state_version", row.client_state_version);
    f("idempotency_key", row.idempotency_key), f("body_hash", row.body_hash);
  }
};

template <>
struct Columns<TurnRow> {
  static constexpr const char* kTable = "turns";
  static constexpr const char* kKey = "session, number";
  /// Not the id: turns that wait can change places, and with them their numbers.
  static constexpr std::array<std::string_view, 0> kFixed = {};
  template <typename Row, typename F>
  static void each(Row& row, F&& f) {
    f("session", row.session), f("number", row.number), f("id", row.id), f("state", row.state);
    f("agent", row.agent), f("prompt", row.prompt), f("idempotency_key", row.idempotency_key);
    f("body_hash", row.body_hash), f("reason", row.reason), f("usage", row.usage);
    f("snapshot", row.snapshot), f("started_seq", row.started_seq);
    f("created_ms", row.created_ms), f("started_ms", row.started_ms), f("ended_ms", row.ended_ms);
    f("snapshot_before", row.snapshot_before), f("traceparent", row.traceparent);
    f("tracestate", row.tracestate), f("trace_parent", row.trace_parent);
    f("timeout_ms", row.timeout_ms);
  }
};

template <>
struct Columns<BindingRow> {
  static constexpr const char* kTable = "bindings";
  static constexpr const char* kKey = "session, agent";
  static constexpr std::array<std::string_view, 0> kFixed = {};
  template <typename Row, typename F>
  static void each(Row& row, F&& f) {
    f("session", row.session), f("agent", row.agent), f("state", row.state);
    f("native_session_id", row.native_session_id), f("attach_epoch", row.attach_epoch);
    f("continuation_owed", row.continuation_owed), f("agent_info", row.agent_info);
    f("mode", row.mode), f("config", row.config), f("pid", row.pid);
    f("start_time", row.start_time), f("updated_ms", row.updated_ms);
    f("native_history", row.native_history), f("told_turn", row.told_turn);
    f("failure", row.failure), f("usage", row.usage);
  }
};

template <>
struct Columns<InteractionRow> {
  static constexpr const char* kTable = "interactions";
  static constexpr const char* kKey = "session, id";
  static constexpr std::array<std::string_view, 0> kFixed = {};
  template <typename Row, typename F>
  static void each(Row& row, F&& f) {
    f("session", row.session), f("id", row.id), f("turn", row.turn), f("kind", row.kind);
    f("payload", row.payload), f("state", row.state), f("answer", row.answer);
    f("answered_by", row.answered_by), f("opened_ms", row.opened_ms);
    f("closed_ms", row.closed_ms), f("agent", row.agent), f("child", row.child);
    f("expires_ms", row.expires_ms);
  }
};

template <>
struct Columns<ChangeRow> {
  static constexpr const char* kTable = "changes";
  static constexpr const char* kKey = "session";
  static constexpr std::array<std::string_view, 0> kFixed = {};
  template <typename Row, typename F>
  static void each(Row& row, F&& f) {
    f("session", row.session), f("turn_number", row.turn_number), f("base", row.base);
    f("tree", row.tree), f("summary", row.summary), f("outcome", row.outcome);
    f("recorded_ms", row.recorded_ms), f("touched", row.touched);
  }
};

template <>
struct Columns<TokenRow> {
  static constexpr const char* kTable = "tokens";
  static constexpr const char* kKey = "id";
  static constexpr std::array<std::string_view, 0> kFixed = {};
  template <typename Row, typename F>
  static void each(Row& row, F&& f) {
    f("id", row.id), f("name", row.name), f("project", row.project), f("scopes", row.scopes);
    f("hash", row.hash), f("created_ms", row.created_ms), f("expires_ms", row.expires_ms);
    f("last_used_ms", row.last_used_ms), f("revoked_ms", row.revoked_ms);
  }
};

template <>
struct Columns<LogCutRow> {
  static constexpr const char* kTable = "log_cuts";
  static constexpr const char* kKey = "session";
  static constexpr std::array<std::string_view, 0> kFixed = {};
  template <typename Row, typename F>
  static void each(Row& row, F&& f) {
    f("session", row.session), f("first_seq", row.first_seq), f("first_turn", row.first_turn);
    f("head", row.head), f("cut_ms", row.cut_ms), f("erased", row.erased);
  }
};

/// "a, b, c" of a record's columns.
template <typename Row>
std::string column_list() {
  std::string list;
  Row row;
  Columns<Row>::each(row, [&list](const char* name, auto&) {
    if (!list.empty()) list += ", ";
    list += name;
  });
  return list;
}

template <typename Row>
std::string select_from() {
  return "SELECT " + column_list<Row>() + " FROM " + Columns<Row>::kTable;
}

/// Whether `name` is in the key, or fixed.
template <typename Row>
bool never_changes(std::string_view name) {
  const std::string key = std::string(Columns<Row>::kKey) + ",";
  if (key.starts_with(std::string(name) + ",")) return true;
  if (key.find(" " + std::string(name) + ",") != std::string::npos) return true;
  return std::find(Columns<Row>::kFixed.begin(), Columns<Row>::kFixed.end(), name) !=
         Columns<Row>::kFixed.end();
}

/// Insert, or replace the columns of the row with the same key. Those that never change are not
/// named again: SQLite would write each index that they are in, and of a key the whole row, anew.
template <typename Row>
std::string upsert_into() {
  std::string marks;
  std::string sets;
  Row row;
  Columns<Row>::each(row, [&](const char* name, auto&) {
    if (!marks.empty()) marks += ", ";
    marks += '?';
    if (never_changes<Row>(name)) return;
    if (!sets.empty()) sets += ", ";
    sets += std::string(name) + "=excluded." + name;
  });
  return std::string("INSERT INTO ") + Columns<Row>::kTable + "(" + column_list<Row>() +
         ") VALUES(" + marks + ") ON CONFLICT(" + Columns<Row>::kKey + ") DO UPDATE SET " + sets;
}

template <typename Row>
void bind_row(SqliteStatement& statement, const Row& row) {
  int index = 0;
  Columns<Row>::each(row, [&](const char*, const auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    if constexpr (std::same_as<Field, std::string>) {
      statement.bind(++index, std::string_view(field));
    } else {
      statement.bind(++index, static_cast<std::int64_t>(field));
    }
  });
}

/// The current row of a `select_from<Row>()`.
template <typename Row>
Row read_row(const SqliteStatement& statement) {
  Row row;
  int column = 0;
  Columns<Row>::each(row, [&](const char*, auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    if constexpr (std::same_as<Field, std::string>) {
      field = statement.bytes(column++);
    } else {
      field = static_cast<Field>(statement.integer(column++));
    }
  });
  return row;
}

/// What `make` makes of each row of a bound statement, which is ready for its next use afterwards.
template <typename Make>
auto collect(SqliteStatement& statement, Make make)
    -> Result<std::vector<std::invoke_result_t<Make, const SqliteStatement&>>> {
  ResetAtExit reset(statement);
  std::vector<std::invoke_result_t<Make, const SqliteStatement&>> all;
  while (true) {
    Result<bool> more = statement.step();
    if (!more) return fail(std::move(more.error()));
    if (!*more) return all;
    all.push_back(make(statement));
  }
}

/// All rows of a bound `select_from<Row>()`.
template <typename Row>
Result<std::vector<Row>> read_rows(SqliteStatement& statement) {
  return collect(statement, read_row<Row>);
}

/// The first of them.
template <typename Row>
Result<std::optional<Row>> read_optional(SqliteStatement& statement) {
  ResetAtExit reset(statement);
  Result<bool> found = statement.step();
  if (!found) return fail(std::move(found.error()));
  if (!*found) return std::optional<Row>();
  return std::optional<Row>(read_row<Row>(statement));
}

/// The first column of the first row; 0 without one.
inline Result<std::int64_t> read_integer(SqliteStatement& statement) {
  ResetAtExit reset(statement);
  Result<bool> found = statement.step();
  if (!found) return fail(std::move(found.error()));
  return *found ? statement.integer(0) : 0;
}

/// SQLite's integers have a sign.
inline std::int64_t signed_seq(std::uint64_t seq) {
  return static_cast<std::int64_t>(seq);
}
inline std::uint64_t unsigned_seq(std::int64_t seq) {
  return static_cast<std::uint64_t>(seq);
}

}  // namespace berth::server::detail
