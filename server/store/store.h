// server/store/store.h — where sessions survive: the interface that SQLite implements (PostgreSQL
// later).
#pragma once

#include <berth/core/result.h>
#include <berth/server/store/commit.h>
#include <berth/server/store/records.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

enum class CommitOutcome : std::uint8_t {
  committed,    ///< All of it is in the log, once.
  stale_epoch,  ///< Another owner took over; nothing was written; drop what was not published.
  unknown,      ///< It may or may not be there: submit the very same batch again.
};

struct CommitAnswer {
  CommitOutcome outcome = CommitOutcome::unknown;
  Error error;  ///< Why, unless committed.
};

/// A stretch of a session's log as stored: whole frames (see EventRun), in order, without gap.
struct EventPage {
  std::uint64_t first_seq = 0;  ///< 0 when the page is empty.
  std::uint64_t last_seq = 0;
  std::string frames;
};

/// A turn's place in the log.
struct LogTurn {
  std::int64_t number = 0;
  std::uint64_t started_seq = 0;
  std::int64_t ended_ms = 0;  ///< 0 = it has not.
};

/// What there is of a session's log.
struct LogExtent {
  std::uint64_t first_seq = 1;
  std::uint64_t last_seq = 0;
  std::vector<LogTurn> turns;  ///< Those that began in it, in order.
};

/// The end of a log, as far as it was looked at.
struct LogStretch {
  std::uint64_t first_seq = 0;  ///< 0: there is nothing below, or it is too much.
  std::size_t bytes = 0;
  bool over = false;  ///< What is below it would be too much.
};

/// What erase_cut() did.
struct ErasedLog {
  std::size_t bytes = 0;
  bool more = false;
};

/// What an actor needs to be opened, in one read.
struct SessionSnapshot {
  SessionRow session;
  std::uint64_t first_seq = 1;  ///< Where its log begins.
  std::uint64_t last_seq = 0;
  std::int64_t last_turn_number = 0;
  std::vector<TurnRow> open_turns;  ///< Not ended, by number.
  std::vector<BindingRow> bindings;
  std::vector<InteractionRow> open_interactions;
  std::optional<ChangeRow> change;
};

struct SessionQuery {
  std::string project = "default";
  bool every_project = false;  ///< In place of the one above.
  bool include_deleted = false;
  bool include_archived = false;
  std::optional<SessionState> state;  ///< Only these; hides none of them.
  std::string repository;             ///< Only of this path or URL; empty = of any, or none.
  std::string title;                  ///< Only with this in the title, ASCII case aside.
  std::int64_t updated_since_ms = 0;  ///< Only those that changed then or later.
  SessionNo before_no = 0;  ///< Keyset: numbers below it, newest first; 0 = from the newest.
  int limit = 100;
};

/// What a store takes of the disk, in bytes.
struct StoreSizes {
  std::uint64_t database = 0;
  std::uint64_t unused = 0;  ///< Of these, in pages that the next commits take first.
  std::uint64_t wal = 0;     ///< Of the database: it grows to its limit, and is used again.
  std::uint64_t log = 0;     ///< The file in front of it (commit_now()).
};

/// Is shown what a store holds, see Store::visit(). An error ends the visit and is its answer.
class StoreVisitor {
 public:
  virtual ~StoreVisitor() = default;
  virtual Result<void> on_record(const Record& record) = 0;
  virtual Result<void> on_run(const EventRun& run) = 0;
};

/// A copy of a store that grows while the store goes on. Called on the store's lane and gone before
/// the store is; one that is dropped before its end leaves a file that is no store.
class StoreBackup {
 public:
  virtual ~StoreBackup() = default;
  /// Copies about `bytes_max` more; true while something is left. After false the file is whole, on
  /// the disk, and holds all that was committed before this call.
  virtual Result<bool> copy(std::size_t bytes_max) = 0;
};

/// What a look at everything found.
struct ScanFindings {
  std::vector<std::string> problems;  ///< In words, the first hundred.
  /// What would have taken longer than a pause that others bear, in words.
  std::vector<std::string> left_out;
  /// Some of it is in the database's own pages, not only in what a session's log says.
  bool corrupt = false;
};

/// A look at everything in steps, while the store goes on. Called on the store's lane and gone
/// before the store is.
class StoreScan {
 public:
  virtual ~StoreScan() = default;
  /// Looks at one part more, about `bytes_max` of events; true while something is left. Errors: of
  /// a disk that cannot be read now. Damage is no error.
  virtual Result<bool> look(std::size_t bytes_max) = 0;
  virtual const ScanFindings& findings() const = 0;
};

/// Blocking; every call but commit_now() on the one thread of the `store` lane (the first one,
/// open(), too).
///
/// commit() applies the list in one transaction and checks nothing but the owner's epoch: no
/// decision is made here. Repeating a batch is idempotent: runs by (session, first_seq), records by
/// their keys.
class Store {
 public:
  virtual ~Store() = default;

  /// Opens or creates, migrates, raises and returns the owner's epoch.
  /// Errors: `unsupported` ("store_too_new") for a future schema, `conflict` when another process
  /// holds it.
  virtual Result<OwnerEpoch> open() = 0;
  /// Whether open() found what somebody leaves who did not close it.
  virtual bool was_left_open() const { return false; }

  virtual CommitAnswer commit(const CommitBatch& batch, OwnerEpoch epoch) = 0;

  /// For a few events and no records; takes microseconds. On the shard's thread; the lane may run
  /// other calls meanwhile, but no commit(). After `no` the batch may be in the log or not, as
  /// after `unknown`: nothing may follow that does not begin with its events.
  virtual Taken commit_now(const CommitBatch& /*batch*/, OwnerEpoch /*epoch*/) { return Taken::no; }
  /// Carries over what commit_now() left in front of the database.
  virtual Result<void> fold() { return {}; }

  /// Events of `session` with seq > after, at least one if there is any, else about `bytes_max` of
  /// frames. Where the log begins later the page does, too.
  virtual Result<EventPage> read_events(SessionNo session, std::uint64_t after,
                                        std::size_t bytes_max) = 0;

  /// The oldest `turns_max` turns of it.
  virtual Result<LogExtent> measure_log(SessionNo session, int turns_max) = 0;
  /// Weighs the log from `below` down as far as that is within `bytes_max`, by at most `steps_max`
  /// of the pieces that it is stored in.
  virtual Result<LogStretch> weigh_log(SessionNo session, std::uint64_t below,
                                       std::size_t bytes_max, int steps_max) = 0;
  virtual Result<std::optional<LogCutRow>> find_log_cut(SessionNo session) = 0;
  /// Takes about `bytes_max` of what lies before the begin of a log out of the database. For a
  /// moment without hurry; what it leaves is nobody's to see.
  virtual Result<ErasedLog> erase_cut(std::size_t bytes_max) = 0;

  /// The highest session number ever used; 0 in a new store.
  virtual Result<SessionNo> last_session_no() = 0;
  /// Error `not_found`.
  virtual Result<SessionNo> find_session(std::string_view project, std::string_view id) = 0;
  /// The session that was opened with this key; 0 when none was.
  virtual Result<SessionNo> find_session_by_key(std::string_view project,
                                                std::string_view idempotency_key) = 0;
  virtual Result<SessionSnapshot> load_session(SessionNo session) = 0;
  virtual Result<std::vector<SessionRow>> list_sessions(const SessionQuery& query) = 0;

  /// Sessions with a turn that has not ended, an open interaction or a binding that reads live, or
  /// that are being closed or deleted:
  /// what a restart must settle first.
  virtual Result<std::vector<SessionNo>> unsettled_sessions() = 0;

  /// Turns by number, newest first, below `before_number` (0 = all).
  virtual Result<std::vector<TurnRow>> list_turns(SessionNo session, std::int64_t before_number,
                                                  int limit) = 0;
  virtual Result<std::optional<TurnRow>> find_turn(SessionNo session, std::string_view id) = 0;
  virtual Result<std::optional<TurnRow>> find_turn_by_key(SessionNo session,
                                                          std::string_view idempotency_key) = 0;
  virtual Result<std::vector<InteractionRow>> list_interactions(SessionNo session, bool open_only,
                                                                int limit) = 0;
  virtual Result<std::optional<InteractionRow>> find_interaction(SessionNo session,
                                                                 std::string_view id) = 0;

  /// All of them, also those that ended, by id.
  virtual Result<std::vector<TokenRow>> list_tokens() = 0;

  virtual Result<StoreSizes> sizes() = 0;

  /// For a quiet moment: merges small runs of finished stretches into pages of about 64 KiB,
  /// bounded by `bytes_max`; false when there is nothing left to do.
  virtual Result<bool> compact(std::size_t bytes_max) = 0;

  /// Begins a copy of the store at `path`, an absent or empty file. Error `conflict`
  /// ("backup_exists") when something is there.
  virtual Result<std::unique_ptr<StoreBackup>> begin_backup(const std::string& path) = 0;
  /// Shows everything: all sessions, then all turns, bindings, interactions, changes, tokens and
  /// cuts of logs, then each session's log in its order. Takes the time that it takes: for a store
  /// that serves nobody.
  virtual Result<void> visit(StoreVisitor& visitor) = 0;
  /// Looks at every page and every event; what is damaged, in words. As long as visit().
  virtual Result<std::vector<std::string>> check() = 0;
  /// Begins the same for a store that serves.
  virtual Result<std::unique_ptr<StoreScan>> begin_scan() = 0;
};

}  // namespace berth::server
