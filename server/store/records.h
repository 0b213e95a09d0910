// server/store/records.h — the domain's rows as plain data: what a commit writes and what recovery
// reads.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace berth::server {

/// The store's number of a session: small, never reused, chosen by the directory before the first
/// commit.
using SessionNo = std::int64_t;

enum class SessionState : std::uint8_t {
  open,
  archived,
  closed,
  deleted,
  // On the way to one of them; a start after a crash goes on.
  closing,
  deleting,    ///< Unless something would be lost by it.
  discarding,  ///< What would be lost is salvaged.
  purging,     ///< The same, and the log is erased.
};
inline bool is_ending(SessionState state) {
  return state > SessionState::deleted;
}

struct SessionRow {
  SessionNo no = 0;
  std::string project;  ///< "default" in this version.
  std::string id;       ///< The caller's, unique in its project. Never in a file or ref name.
  std::string key;      ///< ULID: what files, branches and refs are called.
  SessionState state = SessionState::open;
  std::string title;
  std::string agent;           ///< Profile of the default agent.
  std::string permission;      ///< Policy: "ask" | "allow" | "reject".
  std::string workspace_mode;  ///< "worktree" | "overlay" | "directory" | "none".
  std::string repository;      ///< Absolute path, empty without one.
  std::string directory;       ///< Where agents work: the worktree's path, or the directory.
  std::string branch;          ///< "berth/<key>" in mode worktree.
  std::string base_commit;     ///< 40 hex, in mode worktree.
  std::string base_tree;       ///< What the change is measured against: commit or tree id.
  std::string options;         ///< The immutable options as canonical JSON, for idempotent opening.
  std::string rules;           ///< JSON array of permission rules, last match wins; empty = none.
  std::string mcp_servers;     ///< JSON array as ACP's session/new takes it; empty = none.
  std::string additional_directories;     ///< JSON array of absolute paths; empty = none.
  std::string client_state;               ///< JSON that clients keep here for themselves, or empty.
  std::int64_t client_state_version = 0;  ///< Raised with each change of it.
  std::string idempotency_key;            ///< Of the request that opened it; empty without one.
  std::string body_hash;  ///< Of that request, to tell a retry from a reuse of the key.
  std::int64_t created_ms = 0;
  std::int64_t updated_ms = 0;
  bool workspace_ready = false;
  bool held = false;  ///< The queue waits for a human.
};

enum class TurnState : std::uint8_t {
  queued,
  starting,
  running,
  waiting,
  stopping,  // not ended
  completed,
  refused,
  cancelled,
  failed,
  interrupted,
  expired,
};
inline bool is_ended(TurnState state) {
  return state >= TurnState::completed;
}

struct TurnRow {
  SessionNo session = 0;
  std::int64_t number = 0;  ///< 1, 2, ... in order of acceptance.
  std::string id;           ///< "trn_<ulid>"
  TurnState state = TurnState::queued;
  std::string agent;
  std::string prompt;             ///< ACP content blocks, a JSON array.
  std::string idempotency_key;    ///< Empty without one; unique in the session.
  std::string body_hash;          ///< Of the request, to tell a retry from a reuse of the key.
  std::string reason;             ///< Why it ended so: the agent's stop reason or our words.
  std::string usage;              ///< JSON object or empty.
  std::string snapshot_before;    ///< Commit id of the tree at its start, empty without one.
  std::string snapshot;           ///< Commit id of the tree after the turn, empty without one.
  std::uint64_t started_seq = 0;  ///< Number of its turn.started event, 0 before.
  std::int64_t created_ms = 0;
  std::int64_t started_ms = 0;
  std::int64_t ended_ms = 0;
  std::string traceparent;   ///< Its span, as W3C writes it; empty in stores of old.
  std::string tracestate;    ///< Passed on as it came, empty without.
  std::string trace_parent;  ///< Id of the span that asked for it, empty without.
  /// Longest that it may run, without the time in which a person is waited for; 0 = what its
  /// agent's profile says.
  std::int64_t timeout_ms = 0;
};

enum class BindingState : std::uint8_t { sleeping, live, crashed, needs_decision };

/// One agent's part in a session.
struct BindingRow {
  SessionNo session = 0;
  std::string agent;
  BindingState state = BindingState::sleeping;
  std::string native_session_id;  ///< Never overwritten by a failure.
  std::int64_t attach_epoch = 0;  ///< Raised at each attach; what carries another one is late.
  bool continuation_owed = false;
  std::string agent_info;  ///< JSON of the agent's own name and version.
  std::string mode;        ///< Wanted mode id, restored at attach; empty = the agent's default.
  std::string config;      ///< JSON object of wanted config option values, restored at attach.
  /// JSON array of {"id", "from_turn", "to_turn"}: native sessions that it had before the present.
  std::string native_history;
  std::int64_t told_turn = 0;  ///< Up to this turn its native session knows the story.
  std::string failure;         ///< JSON of what a person must decide on, empty without.
  std::string usage;           ///< JSON: sums over its turns, and the context in use.
  int pid = 0;
  std::uint64_t start_time = 0;
  std::int64_t updated_ms = 0;
};

enum class InteractionState : std::uint8_t { open, answered, cancelled, expired };

/// A question that somebody must answer (here: permission requests).
struct InteractionRow {
  SessionNo session = 0;
  std::string id;  ///< "int_<ulid>"
  std::string turn;
  std::string agent;    ///< Which binding asks.
  std::string child;    ///< Native id of the child session (sub-agent) that asks; empty: itself.
  std::string kind;     ///< "permission" | "elicitation" | "client_tool"
  std::string payload;  ///< The agent's params, raw JSON.
  InteractionState state = InteractionState::open;
  std::string answer;       ///< JSON: {"option_id": ...} or empty.
  std::string answered_by;  ///< "user", "policy:allow", ...
  std::int64_t opened_ms = 0;
  std::int64_t closed_ms = 0;
  std::int64_t expires_ms = 0;  ///< 0 = never.
};

/// The open change of a session after a turn; one row a session, latest wins.
struct ChangeRow {
  SessionNo session = 0;
  std::int64_t turn_number = 0;
  std::string base;     ///< Commit or tree id it is measured against.
  std::string tree;     ///< Tree id of the snapshot.
  std::string summary;  ///< JSON: the list of files with status and counts.
  /// JSON object, path -> array of {"turn", "agent"} that touched it, oldest first; a person's edit
  /// between turns has agent null.
  std::string touched;
  std::string outcome;  ///< "recorded" | "skipped" | "failed"
  std::int64_t recorded_ms = 0;
};

/// A way in: what its holder may do, and where. The secret is shown once and kept by its hash only.
struct TokenRow {
  std::string id;       ///< ULID; stands in the token, in front of the secret.
  std::string name;     ///< For people; need not be unique.
  std::string project;  ///< Empty: every project, for an admin.
  std::string scopes;   ///< "sessions:view sessions:run"
  std::string hash;     ///< SHA-256 of the secret in hex.
  std::int64_t created_ms = 0;
  std::int64_t expires_ms = 0;    ///< 0 = never.
  std::int64_t last_used_ms = 0;  ///< To about ten minutes; 0 = never.
  std::int64_t revoked_ms = 0;    ///< 0 = not.
};

/// A token that ended makes room for another.
struct TokenErasure {
  std::string id;
};

/// All that is known of a session goes, but for its row: its id is never given out again.
struct Erasure {
  SessionNo session = 0;
};

/// Where a session's log begins since its oldest part went (sessions/log_retention.h); without a
/// row it begins at 1.
struct LogCutRow {
  SessionNo session = 0;
  std::uint64_t first_seq = 1;  ///< Nothing before it is given out any more.
  std::int64_t first_turn = 0;  ///< Number of the turn that begins there.
  std::string head;             ///< Frames out of what went that stories still need.
  std::int64_t cut_ms = 0;
  bool erased = false;  ///< What went is out of the database, too; Store::erase_cut() says so.
};

/// Each record puts a whole row (insert or replace by its key), so that repeating a commit changes
/// nothing.
using Record = std::variant<SessionRow, TurnRow, BindingRow, InteractionRow, ChangeRow, Erasure,
                            TokenRow, TokenErasure, LogCutRow>;

}  // namespace berth::server
