// server/store/sqlite_store.h — the embedded store: one SQLite database in one file, owned by one
// process.
#pragma once

#include <berth/server/store/gather_vfs.h>
#include <berth/server/store/run_log.h>
#include <berth/server/store/sqlite_db.h>
#include <berth/server/store/store.h>

#include <array>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>

namespace berth::server {

enum class Durability : std::uint8_t {
  process,  ///< What was committed survives the death of berth; a power cut may take the last
            ///< moments.
  power,    ///< It survives a power cut, too: each commit waits for the disk.
};

struct SqliteOptions {
  std::string path;  ///< Of the database file; "-wal" and "-log" are put beside it. The folder
                     ///< exists.
  std::string vfs;   ///< Name of a registered SQLite VFS; empty = the system's.
  Durability durability = Durability::process;
  /// Pages in memory. One commit may have more: what does not fit goes to the WAL before its end.
  std::size_t cache_bytes = std::size_t{2} << 20U;
};

/// How the log lies on disk and why: docs/decisions/002-event-log-layout.md.
///
/// The connection holds the file's lock from open() to the end, so no other process can have raised
/// the epoch in between, and commit() compares it in memory.
///
/// Errors of all calls: see SqliteDb; `internal` "log_gap" or "log_conflict" when the log itself is
/// not as it was written. A commit that fails for any reason is `unknown` and left nothing or
/// everything; its error says why.
class SqliteStore : public Store {
 public:
  explicit SqliteStore(SqliteOptions options);
  /// Leaves everything in the database, if the disk takes it.
  ~SqliteStore() override;

  Result<OwnerEpoch> open() override;
  bool was_left_open() const override { return was_left_open_; }
  CommitAnswer commit(const CommitBatch& batch, OwnerEpoch epoch) override;
  /// With Durability::process only: waiting for the disk is for the lane.
  Taken commit_now(const CommitBatch& batch, OwnerEpoch epoch) override;
  Result<void> fold() override;
  /// The same for all that commit_now() took before this call: for whoever looks at the log.
  Result<void> fold_all();
  Result<EventPage> read_events(SessionNo session, std::uint64_t after,
                                std::size_t bytes_max) override;
  Result<LogExtent> measure_log(SessionNo session, int turns_max) override;
  Result<LogStretch> weigh_log(SessionNo session, std::uint64_t below, std::size_t bytes_max,
                               int steps_max) override;
  Result<std::optional<LogCutRow>> find_log_cut(SessionNo session) override;
  Result<ErasedLog> erase_cut(std::size_t bytes_max) override;
  Result<SessionNo> last_session_no() override;
  Result<SessionNo> find_session(std::string_view project, std::string_view id) override;
  Result<SessionNo> find_session_by_key(std::string_view project,
                                        std::string_view idempotency_key) override;
  Result<SessionSnapshot> load_session(SessionNo session) override;
  Result<std::vector<SessionRow>> list_sessions(const SessionQuery& query) override;
  Result<std::vector<SessionNo>> unsettled_sessions() override;
  Result<std::vector<TurnRow>> list_turns(SessionNo session, std::int64_t before_number,
                                          int limit) override;
  Result<std::optional<TurnRow>> find_turn(SessionNo session, std::string_view id) override;
  Result<std::optional<TurnRow>> find_turn_by_key(SessionNo session,
                                                  std::string_view idempotency_key) override;
  Result<std::vector<InteractionRow>> list_interactions(SessionNo session, bool open_only,
                                                        int limit) override;
  Result<std::optional<InteractionRow>> find_interaction(SessionNo session,
                                                         std::string_view id) override;
  Result<std::vector<TokenRow>> list_tokens() override;
  Result<StoreSizes> sizes() override;
  Result<bool> compact(std::size_t bytes_max) override;
  Result<std::unique_ptr<StoreBackup>> begin_backup(const std::string& path) override;
  Result<void> visit(StoreVisitor& visitor) override;
  Result<std::vector<std::string>> check() override;
  Result<std::unique_ptr<StoreScan>> begin_scan() override;

 private:
  struct Statements {
    SqliteStatement begin, end;
    SqliteStatement add_run, find_run, mark_folded;
    std::array<SqliteStatement, std::variant_size_v<Record>> put;
    std::array<SqliteStatement, 7> erase;
    SqliteStatement erase_token;
    SqliteStatement raise_session_no, last_session_no;
    SqliteStatement read_events, last_seq, first_seq, log_cut, log_turns, run_sizes_below;
    SqliteStatement next_to_erase, runs_to_erase, mark_erased;
    SqliteStatement find_session, find_session_by_key, load_session;
    SqliteStatement list_sessions, list_all_sessions, unsettled;
    SqliteStatement list_turns, open_turns, find_turn, find_turn_by_key;
    SqliteStatement bindings, list_interactions, find_interaction, change, list_tokens;
    SqliteStatement run_sizes, run_frames, drop_run;
  };
  /// A row of `events` without its bytes.
  struct StoredRun {
    std::int64_t rowid = 0;
    std::uint64_t first_seq = 0;
    std::int64_t count = 0;
    std::size_t bytes = 0;
  };

  Result<void> configure();
  Result<void> prepare_writes();
  Result<void> prepare_reads();
  Result<void> recover_log();
  Result<std::vector<EventRun>> fold_or_read();
  Result<std::uint64_t> first_seq_of(SessionNo session);
  Result<void> erase_some(SessionNo session, std::uint64_t first_seq, std::size_t bytes_max,
                          ErasedLog& erased);
  Result<void> apply(const CommitBatch& batch);
  Result<void> add_runs(const std::vector<EventRun>& runs);
  Result<void> add_run(const EventRun& run);
  Result<void> compare_run(const EventRun& run);
  Result<void> put(const Record& record);
  Result<void> erase(SessionNo session);
  void note_small_run(const EventRun& run);
  Result<std::vector<StoredRun>> next_merge(SessionNo session);
  Result<void> merge_some(std::size_t bytes_max, std::vector<SessionNo>& finished);
  Result<void> merge(SessionNo session, const std::vector<StoredRun>& runs);
  Result<void> require_open() const;

  SqliteOptions options_;
  std::optional<GatherVfs> gather_;  // outlives db_
  std::unique_ptr<SqliteDb> db_;
  std::unique_ptr<Statements> sql_;  // destroyed before db_
  RunLog log_;
  OwnerEpoch epoch_ = 0;
  /// Runs since the last merge of a session that are worth merging; its session waits in mergeable_
  /// from the sixteenth on.
  std::unordered_map<SessionNo, std::uint32_t> small_runs_;
  std::deque<SessionNo> mergeable_;
  bool checkpoint_due_ = false;
  bool was_left_open_ = false;
};

}  // namespace berth::server
