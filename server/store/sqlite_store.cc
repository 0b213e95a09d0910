#include <berth/server/store/sqlite_store.h>

#include <berth/core/assert.h>
#include <berth/server/store/sqlite_rows.h>
#include <berth/server/store/sqlite_schema.h>
#include <berth/server/store/stored_frames.h>
#include <berth/server/store/vfs_file.h>

#include <fmt/format.h>
#include <algorithm>
#include <utility>

namespace berth::server {

using detail::read_integer;
using detail::read_optional;
using detail::read_rows;
using detail::signed_seq;
using detail::unsigned_seq;

namespace {

/// What small runs are merged into. Larger pages cost more to read for one event, smaller ones more
/// index.
constexpr std::size_t kPageBytes = std::size_t{64} << 10U;
/// Fewer are not worth a rewrite while their session is still written.
constexpr std::uint32_t kMergeRunsMin = 16;
/// Frames of more bytes go in and out of their row piece by piece.
constexpr std::size_t kLargeBytes = std::size_t{512} << 10U;
/// Of so many sessions are small runs counted; above, counting begins anew and merges come later.
constexpr std::size_t kCountedSessionsMax = 16 * 1024;

/// Moves the error of `step` out, for `if (auto error = failed(...)) return fail(...)` chains.
template <typename T>
bool take(Result<T> result, T& into, Error& error) {
  if (!result) {
    error = std::move(result.error());
    return false;
  }
  into = std::move(*result);
  return true;
}

/// Makes a page of what follows an event out of runs in their order.
class PageReader {
 public:
  PageReader(SessionNo session, std::uint64_t after, std::size_t bytes_max)
      : session_(session), next_(after + 1), bytes_max_(bytes_max) {}

  bool full() const { return page_.first_seq != 0 && (cut_ || page_.frames.size() >= bytes_max_); }

  /// Error `internal` "log_gap" when it does not follow, or does not hold what it says.
  Result<void> take(std::uint64_t first, std::uint64_t count, std::string_view frames) {
    Result<std::string_view> part = choose(first, count, frames);
    if (!part) return fail(std::move(part.error()));
    page_.frames.append(*part);
    return {};
  }

  /// The same for memory that can become the page.
  Result<void> take_whole(std::uint64_t first, std::uint64_t count, std::string frames) {
    Result<std::string_view> part = choose(first, count, frames);
    if (!part) return fail(std::move(part.error()));
    if (!page_.frames.empty()) {
      page_.frames.append(*part);
    } else if (!part->empty()) {
      const auto begin = static_cast<std::size_t>(part->data() - frames.data());
      frames.resize(begin + part->size());
      frames.erase(0, begin);
      page_.frames = std::move(frames);
    }
    return {};
  }

  EventPage finish() {
    page_.last_seq = page_.first_seq == 0 ? 0 : next_ - 1;
    return std::move(page_);
  }

 private:
  /// What of `frames` belongs into the page, counted already.
  Result<std::string_view> choose(std::uint64_t first, std::uint64_t count,
                                  std::string_view frames) {
    const std::uint64_t end = first + count;
    if (end <= next_) return std::string_view();  // only when `after` is the last event
    if (first > next_) return gap("missing");
    for (; first < next_; ++first) {
      if (!skip_frame(frames, first)) return gap("damaged");
    }
    if (page_.first_seq == 0) page_.first_seq = next_;
    std::string_view rest = frames;
    for (; next_ < end && has_room(frames.size() - rest.size()); ++next_) {
      if (!skip_frame(rest, next_)) return gap("damaged");
    }
    cut_ = next_ < end;
    if (!cut_ && !rest.empty()) return gap("damaged");
    return frames.substr(0, frames.size() - rest.size());
  }
  /// For one frame more, of any size, beside so many bytes.
  bool has_room(std::size_t bytes) const {
    const std::size_t taken = page_.frames.size() + bytes;
    return taken < bytes_max_ || taken == 0;
  }
  tl::unexpected<Error> gap(std::string_view what) const {
    return fail(ErrorKind::internal, "log_gap",
                fmt::format("session {}: {} at event {}", session_, what, next_));
  }

  const SessionNo session_;
  std::uint64_t next_;
  const std::size_t bytes_max_;
  bool cut_ = false;
  EventPage page_;
};

BlobPlace frames_at(std::int64_t rowid) {
  return {.table = "events", .column = "frames", .rowid = rowid};
}

struct Prepare {
  SqliteStatement* statement;
  std::string sql;
};

Result<void> prepare_all(SqliteDb& db, const std::vector<Prepare>& list) {
  for (const Prepare& entry : list) {
    Result<SqliteStatement> statement = db.prepare(entry.sql);
    if (!statement) return fail(std::move(statement.error()));
    *entry.statement = std::move(*statement);
  }
  return {};
}

}  // namespace

SqliteStore::SqliteStore(SqliteOptions options)
    : options_(std::move(options)), log_(options_.path + "-log", options_.vfs) {}

Result<OwnerEpoch> SqliteStore::open() {
  BERTH_ASSERT(db_ == nullptr);
  // Whoever closes the store leaves the one file.
  was_left_open_ = VfsFile::exists(options_.path + "-wal", options_.vfs) ||
                   VfsFile::exists(options_.path + "-log", options_.vfs);
  gather_.emplace(options_.vfs, options_.durability == Durability::power);
  Result<std::unique_ptr<SqliteDb>> db = SqliteDb::open(options_.path, gather_->name());
  if (!db) return fail(std::move(db.error()));
  db_ = std::move(*db);
  sql_ = std::make_unique<Statements>();
  Result<void> ready = configure();
  if (ready) ready = prepare_writes();
  if (ready) ready = prepare_reads();
  if (ready) ready = recover_log();
  if (ready) return epoch_;
  sql_.reset();
  db_.reset();
  return fail(std::move(ready.error()).with_context(options_.path));
}

Result<void> SqliteStore::configure() {
  // Exclusive before the first access: then the index of the WAL lives in our memory, not in a
  // shared file.
  Result<void> done = db_->run("PRAGMA locking_mode=EXCLUSIVE; PRAGMA page_size=4096");
  if (!done) return done;
  Result<std::string> mode = db_->value_of("PRAGMA journal_mode=WAL");
  if (!mode) return fail(std::move(mode.error()));
  if (*mode != "wal") {
    return fail(ErrorKind::unsupported, "store_no_wal", "SQLite cannot use a WAL here: " + *mode);
  }
  // A commit ends with a sync, of which the VFS makes what the durability asks for.
  done = db_->run(fmt::format(
      "PRAGMA synchronous=FULL; PRAGMA checkpoint_fullfsync=ON; PRAGMA cache_size=-{}; "
      "PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF; PRAGMA journal_size_limit={}",
      options_.cache_bytes >> 10U, 16 << 20U));
  if (!done) return done;
  done = db_->run("BEGIN EXCLUSIVE");
  if (done) done = migrate(*db_);
  if (done) done = db_->run("UPDATE owner SET epoch = epoch + 1");
  if (done) done = db_->run("COMMIT");
  if (!done) {
    db_->rollback_if_open();
    return done;
  }
  Result<std::int64_t> epoch = db_->integer_of("SELECT epoch FROM owner");
  if (!epoch) return fail(std::move(epoch.error()));
  epoch_ = *epoch;
  return {};
}

Result<void> SqliteStore::prepare_writes() {
  Statements& sql = *sql_;
  return prepare_all(
      *db_,
      {{&sql.begin, "BEGIN IMMEDIATE"},
       {&sql.end, "COMMIT"},
       {&sql.add_run,
        "INSERT INTO events(session, first_seq, count, frames) VALUES(?1, ?2, ?3, ?4) "
        "ON CONFLICT(session, first_seq) DO NOTHING"},
       {&sql.find_run,
        "SELECT count, length(frames) FROM events WHERE session=?1 AND first_seq=?2"},
       {&sql.mark_folded, "UPDATE owner SET log_folded=?1"},
       {&sql.put[0], detail::upsert_into<SessionRow>()},
       {&sql.put[1], detail::upsert_into<TurnRow>()},
       {&sql.put[2], detail::upsert_into<BindingRow>()},
       {&sql.put[3], detail::upsert_into<InteractionRow>()},
       {&sql.put[4], detail::upsert_into<ChangeRow>()},
       {&sql.put[6], detail::upsert_into<TokenRow>()},
       {&sql.put[8], detail::upsert_into<LogCutRow>()},
       {&sql.erase_token, "DELETE FROM tokens WHERE id=?1"},
       {&sql.erase[0], "DELETE FROM events WHERE session=?1"},
       {&sql.erase[1], "DELETE FROM turns WHERE session=?1"},
       {&sql.erase[2], "DELETE FROM bindings WHERE session=?1"},
       {&sql.erase[3], "DELETE FROM interactions WHERE session=?1"},
       {&sql.erase[4], "DELETE FROM changes WHERE session=?1"},
       {&sql.erase[5],
        "UPDATE sessions SET title='', options='', rules='', mcp_servers='', "
        "additional_directories='', repository='', directory='', branch='', client_state='', "
        "idempotency_key='', body_hash='' WHERE no=?1"},
       {&sql.erase[6], "DELETE FROM log_cuts WHERE session=?1"},
       {&sql.mark_erased, "UPDATE log_cuts SET erased=1 WHERE session=?1"},
       {&sql.raise_session_no, "UPDATE owner SET last_session_no=?1 WHERE last_session_no<?1"},
       {&sql.run_sizes,
        "SELECT rowid, first_seq, count, length(frames) FROM events WHERE session=?1 "
        "ORDER BY first_seq"},
       {&sql.run_frames, "SELECT frames FROM events WHERE rowid=?1"},
       {&sql.drop_run, "DELETE FROM events WHERE rowid=?1"}});
}

Result<void> SqliteStore::prepare_reads() {
  Statements& sql = *sql_;
  // What is 0, empty or negative filters nothing.
  const std::string listed =
      "no<?2 AND state<>?3 AND state<>?4 AND (?6<0 OR state=?6) AND "
      "(?7='' OR repository=?7 OR CASE WHEN json_valid(options) THEN "
      "json_extract(options, '$.repository')=?7 ELSE 0 END) AND "
      "(?8='' OR instr(lower(title), lower(?8))>0) AND updated_ms>=?9 "
      "ORDER BY no DESC LIMIT ?5";
  const std::string turns = detail::select_from<TurnRow>() + " WHERE session=?1";
  const std::string interactions = detail::select_from<InteractionRow>() + " WHERE session=?1";
  return prepare_all(
      *db_,
      {{&sql.last_session_no, "SELECT last_session_no FROM owner"},
       {&sql.read_events,
        "SELECT first_seq, count, length(frames), rowid, "
        "CASE WHEN length(frames)<=?3 THEN frames END FROM events WHERE session=?1 AND first_seq>="
        "coalesce((SELECT max(first_seq) FROM events WHERE session=?1 AND first_seq<=?2), 0) "
        "ORDER BY first_seq"},
       {&sql.last_seq,
        "SELECT first_seq + count - 1 FROM events WHERE session=?1 "
        "ORDER BY first_seq DESC LIMIT 1"},
       {&sql.first_seq, "SELECT first_seq FROM log_cuts WHERE session=?1"},
       {&sql.log_cut, detail::select_from<LogCutRow>() + " WHERE session=?1"},
       {&sql.log_turns,
        "SELECT number, started_seq, ended_ms FROM turns WHERE session=?1 AND number>="
        "coalesce((SELECT first_turn FROM log_cuts WHERE session=?1), 0) AND started_seq>0 "
        "ORDER BY number LIMIT ?2"},
       {&sql.run_sizes_below,
        "SELECT first_seq, length(frames) FROM events WHERE session=?1 AND first_seq<?2 "
        "ORDER BY first_seq DESC LIMIT ?3"},
       {&sql.next_to_erase,
        "SELECT session, first_seq FROM log_cuts WHERE erased=0 ORDER BY session LIMIT 1"},
       {&sql.runs_to_erase,
        "SELECT rowid, length(frames) FROM events WHERE session=?1 AND first_seq<?2 AND "
        "first_seq+count<=?2 ORDER BY first_seq"},
       {&sql.find_session, "SELECT no FROM sessions WHERE project=?1 AND id=?2"},
       {&sql.find_session_by_key,
        "SELECT no FROM sessions WHERE project=?1 AND idempotency_key=?2 AND idempotency_key<>''"},
       {&sql.load_session, detail::select_from<SessionRow>() + " WHERE no=?1"},
       {&sql.list_sessions, detail::select_from<SessionRow>() + " WHERE project=?1 AND " + listed},
       {&sql.list_all_sessions, detail::select_from<SessionRow>() + " WHERE " + listed},
       {&sql.unsettled,
        "SELECT session FROM turns WHERE state < 5 UNION "
        "SELECT session FROM bindings WHERE state = 1 UNION "
        "SELECT session FROM interactions WHERE state = 0 UNION "
        "SELECT no FROM sessions WHERE state > 3 ORDER BY 1"},
       {&sql.list_turns, turns + " AND number<?2 ORDER BY number DESC LIMIT ?3"},
       {&sql.open_turns, turns + " AND state < 5 ORDER BY number"},
       {&sql.find_turn, turns + " AND id=?2"},
       {&sql.find_turn_by_key, turns + " AND idempotency_key=?2 AND idempotency_key<>''"},
       {&sql.bindings, detail::select_from<BindingRow>() + " WHERE session=?1 ORDER BY agent"},
       {&sql.list_interactions, interactions + " AND state<=?2 ORDER BY id LIMIT ?3"},
       {&sql.find_interaction, interactions + " AND id=?2"},
       {&sql.change, detail::select_from<ChangeRow>() + " WHERE session=?1"},
       {&sql.list_tokens, detail::select_from<TokenRow>() + " ORDER BY id"}});
}

Result<void> SqliteStore::require_open() const {
  if (db_ == nullptr) return fail(ErrorKind::unavailable, "store_closed", "the store is not open");
  return {};
}

CommitAnswer SqliteStore::commit(const CommitBatch& batch, OwnerEpoch epoch) {
  if (Result<void> ready = require_open(); !ready) {
    return {CommitOutcome::unknown, std::move(ready.error())};
  }
  if (epoch != epoch_) {
    return {CommitOutcome::stale_epoch,
            make_error(ErrorKind::conflict, "stale_epoch",
                       fmt::format("epoch {} is over, the owner has {}", epoch, epoch_))};
  }
  Result<void> done = apply(batch);
  if (!done) {
    db_->rollback_if_open();
    return {CommitOutcome::unknown, std::move(done.error())};
  }
  for (const auto& run : batch.runs) note_small_run(*run);
  log_.restart();
  checkpoint_due_ = true;
  return {CommitOutcome::committed, {}};
}

/// What lies in front of the database comes before the batch, and so it must in the database.
Result<void> SqliteStore::apply(const CommitBatch& batch) {
  Result<std::vector<EventRun>> waiting = log_.read(log_.pending());
  if (!waiting) return fail(std::move(waiting.error()));
  Result<void> done = sql_->begin.run();
  if (done) done = add_runs(*waiting);
  for (std::size_t i = 0; done && i < batch.runs.size(); ++i) done = add_run(*batch.runs[i]);
  for (std::size_t i = 0; done && i < batch.records.size(); ++i) done = put(batch.records[i]);
  if (done && log_.started()) done = sql_->mark_folded.bind(1, log_.generation()).run();
  if (done) done = sql_->end.run();
  return done;
}

Result<void> SqliteStore::add_run(const EventRun& run) {
  BERTH_ASSERT(run.count > 0 && run.first_seq > 0);
  const bool large = run.frames.size() > kLargeBytes;
  sql_->add_run.bind(1, run.session).bind(2, signed_seq(run.first_seq)).bind(3, run.count);
  Result<void> done = large ? sql_->add_run.bind_zeros(4, run.frames.size()).run()
                            : sql_->add_run.bind_blob(4, run.frames).run();
  if (!done) return done;
  if (db_->changes() != 1) return compare_run(run);
  return large ? db_->write_blob(frames_at(db_->last_rowid()), run.frames) : done;
}

Result<void> SqliteStore::compare_run(const EventRun& run) {
  // The batch is here already: a repeat after a lost answer. Anything else would change what was
  // shown.
  SqliteStatement& found = sql_->find_run.bind(1, run.session).bind(2, signed_seq(run.first_seq));
  ResetAtExit reset(found);
  Result<bool> row = found.step();
  if (!row) return fail(std::move(row.error()));
  if (*row && found.integer(0) == run.count &&
      found.integer(1) == static_cast<std::int64_t>(run.frames.size())) {
    return {};
  }
  return fail(ErrorKind::internal, "log_conflict",
              fmt::format("session {} has other events from {} on", run.session, run.first_seq));
}

Result<void> SqliteStore::erase(SessionNo session) {
  Result<void> done;
  for (SqliteStatement& statement : sql_->erase) {
    if (done) done = statement.bind(1, session).run();
  }
  return done;
}

Result<void> SqliteStore::put(const Record& record) {
  if (const auto* erasure = std::get_if<Erasure>(&record)) return erase(erasure->session);
  if (const auto* erasure = std::get_if<TokenErasure>(&record)) {
    return sql_->erase_token.bind(1, std::string_view(erasure->id)).run();
  }
  SqliteStatement& statement = sql_->put[record.index()];
  std::visit(
      [&statement](const auto& row) {
        using Row = std::remove_cvref_t<decltype(row)>;
        if constexpr (!std::is_same_v<Row, Erasure> && !std::is_same_v<Row, TokenErasure>) {
          detail::bind_row(statement, row);
        }
      },
      record);
  Result<void> done = statement.run();
  if (!done) return done;
  const auto* session = std::get_if<SessionRow>(&record);
  return session == nullptr ? done : sql_->raise_session_no.bind(1, session->no).run();
}

Result<EventPage> SqliteStore::read_events(SessionNo session, std::uint64_t after,
                                           std::size_t bytes_max) {
  Result<std::vector<EventRun>> unfolded = fold_or_read();
  if (!unfolded) return fail(std::move(unfolded.error()));
  Result<std::uint64_t> first = first_seq_of(session);
  if (!first) return fail(std::move(first.error()));
  after = std::max(after, *first - 1);
  SqliteStatement& rows = sql_->read_events.bind(1, session).bind(2, signed_seq(after + 1));
  rows.bind(3, static_cast<std::int64_t>(kLargeBytes));
  ResetAtExit reset(rows);
  PageReader page(session, after, bytes_max);
  while (!page.full()) {
    Result<bool> more = rows.step();
    if (!more) return fail(std::move(more.error()));
    if (!*more) break;
    const std::uint64_t first_seq = unsigned_seq(rows.integer(0));
    const std::uint64_t count = unsigned_seq(rows.integer(1));
    const auto bytes = static_cast<std::size_t>(rows.integer(2));
    Result<void> taken;
    if (bytes > kLargeBytes) {
      std::string frames(bytes, '\0');
      taken = db_->read_blob(frames_at(rows.integer(3)), frames);
      if (taken) taken = page.take_whole(first_seq, count, std::move(frames));
    } else {
      taken = page.take(first_seq, count, rows.bytes(4));
    }
    if (!taken) return fail(std::move(taken.error()));
  }
  for (const EventRun& run : *unfolded) {
    if (page.full() || run.session != session) continue;
    Result<void> taken = page.take(run.first_seq, run.count, run.frames);
    if (!taken) return fail(std::move(taken.error()));
  }
  return page.finish();
}

Result<SessionNo> SqliteStore::last_session_no() {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  return read_integer(sql_->last_session_no);
}

Result<SessionNo> SqliteStore::find_session(std::string_view project, std::string_view id) {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  Result<SessionNo> no = read_integer(sql_->find_session.bind(1, project).bind(2, id));
  if (no && *no == 0) {
    return fail(ErrorKind::not_found, "session_unknown", fmt::format("no session '{}'", id));
  }
  return no;
}

Result<SessionNo> SqliteStore::find_session_by_key(std::string_view project,
                                                   std::string_view idempotency_key) {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  return read_integer(sql_->find_session_by_key.bind(1, project).bind(2, idempotency_key));
}

Result<SessionSnapshot> SqliteStore::load_session(SessionNo session) {
  Result<std::vector<EventRun>> unfolded = fold_or_read();
  if (!unfolded) return fail(std::move(unfolded.error()));
  Result<std::optional<SessionRow>> row =
      read_optional<SessionRow>(sql_->load_session.bind(1, session));
  if (!row) return fail(std::move(row.error()));
  if (!*row) {
    return fail(ErrorKind::not_found, "session_unknown", fmt::format("no session {}", session));
  }
  SessionSnapshot snapshot;
  snapshot.session = std::move(**row);
  Error error;
  std::int64_t last_seq = 0;
  std::vector<TurnRow> last_turn;
  const bool read =
      take(first_seq_of(session), snapshot.first_seq, error) &&
      take(read_integer(sql_->last_seq.bind(1, session)), last_seq, error) &&
      take(list_turns(session, 0, 1), last_turn, error) &&
      take(read_rows<TurnRow>(sql_->open_turns.bind(1, session)), snapshot.open_turns, error) &&
      take(read_rows<BindingRow>(sql_->bindings.bind(1, session)), snapshot.bindings, error) &&
      take(list_interactions(session, true, -1), snapshot.open_interactions, error) &&
      take(read_optional<ChangeRow>(sql_->change.bind(1, session)), snapshot.change, error);
  if (!read) return fail(std::move(error));
  snapshot.last_seq = unsigned_seq(last_seq);
  for (const EventRun& run : *unfolded) {
    if (run.session == session) snapshot.last_seq = run.last_seq();
  }
  snapshot.last_turn_number = last_turn.empty() ? 0 : last_turn.front().number;
  return snapshot;
}

Result<std::vector<SessionRow>> SqliteStore::list_sessions(const SessionQuery& query) {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  const SessionNo before = query.before_no == 0 ? INT64_MAX : query.before_no;
  const int hidden = query.include_deleted ? -1 : static_cast<int>(SessionState::deleted);
  const bool with_archived = query.include_archived || query.state == SessionState::archived;
  const int away = with_archived ? -1 : static_cast<int>(SessionState::archived);
  SqliteStatement& statement = query.every_project ? sql_->list_all_sessions : sql_->list_sessions;
  statement.bind(1, std::string_view(query.project)).bind(2, before).bind(3, hidden);
  statement.bind(4, away).bind(5, query.limit);
  statement.bind(6, query.state ? static_cast<std::int64_t>(*query.state) : std::int64_t{-1});
  statement.bind(7, std::string_view(query.repository)).bind(8, std::string_view(query.title));
  return read_rows<SessionRow>(statement.bind(9, query.updated_since_ms));
}

Result<std::vector<SessionNo>> SqliteStore::unsettled_sessions() {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  return detail::collect(sql_->unsettled,
                         [](const SqliteStatement& row) -> SessionNo { return row.integer(0); });
}

Result<std::vector<TurnRow>> SqliteStore::list_turns(SessionNo session, std::int64_t before_number,
                                                     int limit) {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  const std::int64_t before = before_number == 0 ? INT64_MAX : before_number;
  return read_rows<TurnRow>(sql_->list_turns.bind(1, session).bind(2, before).bind(3, limit));
}

Result<std::optional<TurnRow>> SqliteStore::find_turn(SessionNo session, std::string_view id) {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  return read_optional<TurnRow>(sql_->find_turn.bind(1, session).bind(2, id));
}

Result<std::optional<TurnRow>> SqliteStore::find_turn_by_key(SessionNo session,
                                                             std::string_view idempotency_key) {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  return read_optional<TurnRow>(sql_->find_turn_by_key.bind(1, session).bind(2, idempotency_key));
}

Result<std::vector<InteractionRow>> SqliteStore::list_interactions(SessionNo session,
                                                                   bool open_only, int limit) {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  const auto state_max = open_only ? InteractionState::open : InteractionState::expired;
  SqliteStatement& statement = sql_->list_interactions;
  statement.bind(1, session).bind(2, static_cast<std::int64_t>(state_max));
  return read_rows<InteractionRow>(statement.bind(3, limit));
}

Result<std::optional<InteractionRow>> SqliteStore::find_interaction(SessionNo session,
                                                                    std::string_view id) {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  return read_optional<InteractionRow>(sql_->find_interaction.bind(1, session).bind(2, id));
}

void SqliteStore::note_small_run(const EventRun& run) {
  if (run.frames.size() >= kPageBytes / 2) return;
  if (small_runs_.size() >= kCountedSessionsMax) small_runs_.clear();
  if (++small_runs_[run.session] == kMergeRunsMin) mergeable_.push_back(run.session);
}

Result<std::vector<TokenRow>> SqliteStore::list_tokens() {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  return read_rows<TokenRow>(sql_->list_tokens);
}

Result<bool> SqliteStore::compact(std::size_t bytes_max) {
  if (Result<void> ready = fold_all(); !ready) return fail(std::move(ready.error()));
  if (!mergeable_.empty()) {
    // One transaction: runs of many sessions lie on the same pages, which are then rewritten once.
    std::vector<SessionNo> finished;
    Result<void> done = sql_->begin.run();
    if (done) done = merge_some(bytes_max, finished);
    if (done) done = sql_->end.run();
    if (!done) {
      db_->rollback_if_open();
      return fail(std::move(done.error()));
    }
    for (const SessionNo session : finished) small_runs_.erase(session);
    mergeable_.erase(mergeable_.begin(),
                     mergeable_.begin() + static_cast<std::ptrdiff_t>(finished.size()));
    checkpoint_due_ = true;
    if (!mergeable_.empty()) return true;
  }
  if (checkpoint_due_) {
    if (Result<void> done = db_->checkpoint(); !done) return fail(std::move(done.error()));
    checkpoint_due_ = false;
  }
  return false;
}

/// Merges about `bytes_max`, session by session; `finished` get those at the front of mergeable_
/// that have no more.
Result<void> SqliteStore::merge_some(std::size_t bytes_max, std::vector<SessionNo>& finished) {
  std::size_t moved = 0;
  while (moved < bytes_max && finished.size() < mergeable_.size()) {
    const SessionNo session = mergeable_[finished.size()];
    Result<std::vector<StoredRun>> runs = next_merge(session);
    if (!runs) return fail(std::move(runs.error()));
    if (runs->empty()) {
      finished.push_back(session);
      continue;
    }
    for (const StoredRun& run : *runs) moved += run.bytes;
    if (Result<void> done = merge(session, *runs); !done) return done;
  }
  return {};
}

/// The first neighbours in the session's log that are worth one row; empty when there are none. The
/// last row of all stays as it is: a repeat of the commit that wrote it must find it.
Result<std::vector<SqliteStore::StoredRun>> SqliteStore::next_merge(SessionNo session) {
  SqliteStatement& rows = sql_->run_sizes.bind(1, session);
  ResetAtExit reset(rows);
  std::vector<StoredRun> group;
  std::size_t bytes = 0;
  while (true) {
    Result<bool> more = rows.step();
    if (!more) return fail(std::move(more.error()));
    StoredRun run;
    if (*more) {
      run = {rows.integer(0), unsigned_seq(rows.integer(1)), rows.integer(2),
             static_cast<std::size_t>(rows.integer(3))};
    } else {
      if (!group.empty()) group.pop_back();
      if (group.size() < kMergeRunsMin) group.clear();
      return group;
    }
    // `bytes` is without `run`, so what was gathered never holds the last row here.
    if (bytes + run.bytes > kPageBytes) {
      if (group.size() > 1) return group;
      group.clear();
      bytes = 0;
    }
    if (run.bytes < kPageBytes / 2) {
      group.push_back(run);
      bytes += run.bytes;
    } else if (group.size() >= kMergeRunsMin) {
      return group;
    } else {
      group.clear();
      bytes = 0;
    }
  }
}

Result<void> SqliteStore::merge(SessionNo session, const std::vector<StoredRun>& runs) {
  EventRun merged;
  merged.session = session;
  merged.first_seq = runs.front().first_seq;
  Result<void> done;
  for (std::size_t i = 0; done && i < runs.size(); ++i) {
    SqliteStatement& frames = sql_->run_frames.bind(1, runs[i].rowid);
    Result<bool> row = frames.step();
    if (!row) return fail(std::move(row.error()));
    BERTH_ASSERT(*row && merged.first_seq + merged.count == runs[i].first_seq);
    merged.frames.append(frames.bytes(0));
    merged.count += static_cast<std::uint32_t>(runs[i].count);
    frames.reset();
    done = sql_->drop_run.bind(1, runs[i].rowid).run();
  }
  return done ? add_run(merged) : done;
}

}  // namespace berth::server
