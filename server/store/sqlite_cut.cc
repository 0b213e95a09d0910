// What a SQLite store knows of logs whose oldest part went.
#include <berth/server/store/sqlite_rows.h>
#include <berth/server/store/sqlite_store.h>

#include <algorithm>
#include <utility>

namespace berth::server {

using detail::read_integer;
using detail::read_optional;
using detail::signed_seq;
using detail::unsigned_seq;

Result<std::uint64_t> SqliteStore::first_seq_of(SessionNo session) {
  Result<std::int64_t> first = read_integer(sql_->first_seq.bind(1, session));
  if (!first) return fail(std::move(first.error()));
  return std::max(unsigned_seq(*first), std::uint64_t{1});
}

Result<std::optional<LogCutRow>> SqliteStore::find_log_cut(SessionNo session) {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  return read_optional<LogCutRow>(sql_->log_cut.bind(1, session));
}

Result<LogExtent> SqliteStore::measure_log(SessionNo session, int turns_max) {
  Result<std::vector<EventRun>> unfolded = fold_or_read();
  if (!unfolded) return fail(std::move(unfolded.error()));
  LogExtent extent;
  Result<std::uint64_t> first = first_seq_of(session);
  if (!first) return fail(std::move(first.error()));
  extent.first_seq = *first;
  Result<std::int64_t> last = read_integer(sql_->last_seq.bind(1, session));
  if (!last) return fail(std::move(last.error()));
  extent.last_seq = unsigned_seq(*last);
  for (const EventRun& run : *unfolded) {
    if (run.session == session) extent.last_seq = run.last_seq();
  }
  Result<std::vector<LogTurn>> turns = detail::collect(
      sql_->log_turns.bind(1, session).bind(2, turns_max), [](const SqliteStatement& row) {
        return LogTurn{row.integer(0), unsigned_seq(row.integer(1)), row.integer(2)};
      });
  if (!turns) return fail(std::move(turns.error()));
  extent.turns = std::move(*turns);
  return extent;
}

Result<LogStretch> SqliteStore::weigh_log(SessionNo session, std::uint64_t below,
                                          std::size_t bytes_max, int steps_max) {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  LogStretch stretch;
  SqliteStatement& runs = sql_->run_sizes_below.bind(1, session);
  runs.bind(2, signed_seq(below)).bind(3, steps_max);
  ResetAtExit reset(runs);
  while (true) {
    Result<bool> more = runs.step();
    if (!more) return fail(std::move(more.error()));
    if (!*more) return stretch;
    const auto bytes = static_cast<std::size_t>(runs.integer(1));
    stretch.over = bytes > bytes_max - stretch.bytes;
    if (stretch.over) return stretch;
    stretch.first_seq = unsigned_seq(runs.integer(0));
    stretch.bytes += bytes;
  }
}

Result<ErasedLog> SqliteStore::erase_cut(std::size_t bytes_max) {
  if (Result<void> ready = fold_all(); !ready) return fail(std::move(ready.error()));
  SessionNo session = 0;
  std::uint64_t first_seq = 0;
  {
    ResetAtExit reset(sql_->next_to_erase);
    Result<bool> found = sql_->next_to_erase.step();
    if (!found) return fail(std::move(found.error()));
    if (!*found) return ErasedLog();
    session = sql_->next_to_erase.integer(0);
    first_seq = unsigned_seq(sql_->next_to_erase.integer(1));
  }
  ErasedLog erased;
  Result<void> done = sql_->begin.run();
  if (done) done = erase_some(session, first_seq, bytes_max, erased);
  if (done) done = sql_->end.run();
  if (!done) {
    db_->rollback_if_open();
    return fail(std::move(done.error()));
  }
  checkpoint_due_ = true;
  return erased;
}

/// The row that holds the first event itself stays whole: what of it is before goes with it, later.
Result<void> SqliteStore::erase_some(SessionNo session, std::uint64_t first_seq,
                                     std::size_t bytes_max, ErasedLog& erased) {
  erased.more = true;
  std::vector<std::int64_t> rows;
  bool all = false;
  {
    SqliteStatement& runs = sql_->runs_to_erase.bind(1, session);
    runs.bind(2, signed_seq(first_seq));
    ResetAtExit reset(runs);
    while (erased.bytes < bytes_max && !all) {
      Result<bool> more = runs.step();
      if (!more) return fail(std::move(more.error()));
      all = !*more;
      if (all) break;
      rows.push_back(runs.integer(0));
      erased.bytes += static_cast<std::size_t>(runs.integer(1));
    }
  }
  for (const std::int64_t row : rows) {
    if (Result<void> done = sql_->drop_run.bind(1, row).run(); !done) return done;
  }
  return all ? sql_->mark_erased.bind(1, session).run() : Result<void>();
}

}  // namespace berth::server
