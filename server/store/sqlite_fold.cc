// Where a SQLite store meets the file in front of it.
#include <berth/server/store/sqlite_store.h>

#include <utility>

namespace berth::server {

SqliteStore::~SqliteStore() {
  if (db_ != nullptr && fold_all().has_value()) log_.remove();
}

/// Takes what an earlier life left in the file; then the file is for this life.
Result<void> SqliteStore::recover_log() {
  const Result<std::int64_t> salt = db_->integer_of("SELECT log_salt FROM owner");
  if (!salt) return fail(salt.error());
  const Result<std::int64_t> folded = db_->integer_of("SELECT log_folded FROM owner");
  if (!folded) return fail(folded.error());
  Result<std::vector<EventRun>> left = log_.recover({*salt, *folded});
  if (!left) return fail(std::move(left.error()));
  Result<void> done = sql_->begin.run();
  if (done) done = add_runs(*left);
  // Random, not counted: a counter that a power cut took back would name old frames again.
  if (done) done = db_->run("UPDATE owner SET log_salt=random()|1, log_folded=0");
  if (done) done = sql_->end.run();
  if (!done) {
    db_->rollback_if_open();
    return done;
  }
  // The file is written over now: what lay in it must not be in the WAL alone, which may lie in the
  // page cache alone.
  if (!left->empty()) done = db_->checkpoint();
  if (!done) return done;
  const Result<std::int64_t> fresh = db_->integer_of("SELECT log_salt FROM owner");
  if (!fresh) return fail(fresh.error());
  if (options_.durability == Durability::process) log_.start(*fresh);
  return {};
}

Taken SqliteStore::commit_now(const CommitBatch& batch, OwnerEpoch epoch) {
  return epoch == epoch_ ? log_.append(batch) : Taken::no;
}

Result<void> SqliteStore::add_runs(const std::vector<EventRun>& runs) {
  for (const EventRun& run : runs) {
    if (Result<void> done = add_run(run); !done) return done;
    note_small_run(run);
  }
  return {};
}

Result<void> SqliteStore::fold() {
  if (Result<void> ready = require_open(); !ready) return ready;
  const std::optional<RunLog::Part> part = log_.sealed();
  if (!part) return {};
  Result<std::vector<EventRun>> runs = log_.read({*part});
  if (!runs) return fail(std::move(runs.error()));
  Result<void> done = sql_->begin.run();
  if (done) done = add_runs(*runs);
  if (done) done = sql_->mark_folded.bind(1, part->generation).run();
  if (done) done = sql_->end.run();
  if (!done) {
    db_->rollback_if_open();
    return done;
  }
  log_.folded();
  checkpoint_due_ = true;
  return {};
}

Result<void> SqliteStore::fold_all() {
  Result<void> done = fold();
  if (!done) return done;
  log_.seal();
  return fold();
}

/// For those who only read: a disk that takes nothing does not keep them from what is in the log.
/// The runs that did not get into the database.
Result<std::vector<EventRun>> SqliteStore::fold_or_read() {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  if (fold_all().has_value()) return std::vector<EventRun>();
  return log_.read(log_.pending());
}

}  // namespace berth::server
