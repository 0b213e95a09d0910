// What is done with a SQLite store as a whole: copied, shown, checked.
#include <berth/server/store/sqlite_rows.h>
#include <berth/server/store/sqlite_store.h>
#include <berth/server/store/stored_frames.h>
#include <berth/server/store/vfs_file.h>

#include <fmt/format.h>
#include <sqlite3.h>
#include <algorithm>
#include <map>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kSqlitePageBytes = 4096;
/// Damage that is listed; after so much of it nobody reads on.
constexpr std::size_t kProblemsMax = 100;
/// Of a check of one table while others wait: 20 to 60 ms.
constexpr int kCheckStepsMax = 200'000;
/// What a session costs a step of a scan besides its events.
constexpr std::size_t kSessionBytes = std::size_t{4} << 10U;

class SqliteBackup final : public StoreBackup {
 public:
  static Result<std::unique_ptr<StoreBackup>> begin(SqliteStore& store, SqliteDb& source,
                                                    const std::string& path,
                                                    const std::string& vfs) {
    Result<std::unique_ptr<SqliteDb>> target = SqliteDb::open(path, vfs);
    if (!target) return fail(std::move(target.error()));
    SqliteDb& db = **target;
    // It is new, so there is nothing to go back to; the end waits for the disk.
    Result<void> ready =
        db.run("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=OFF; PRAGMA synchronous=FULL");
    Result<std::int64_t> tables = db.integer_of("SELECT count(*) FROM sqlite_schema");
    const bool strange = !tables && std::string_view(tables.error().code) == "store_corrupt";
    if (strange || (tables && *tables > 0)) {
      return fail(ErrorKind::conflict, "backup_exists", path + ": there is something already");
    }
    if (!tables) return fail(std::move(tables.error()));
    if (!ready) return fail(std::move(ready.error()));
    sqlite3_backup* backup = sqlite3_backup_init(db.handle(), "main", source.handle(), "main");
    if (backup == nullptr) return fail(db.error(sqlite3_errcode(db.handle()), "backup"));
    return std::unique_ptr<StoreBackup>(new SqliteBackup(store, std::move(*target), backup));
  }
  ~SqliteBackup() override { sqlite3_backup_finish(backup_); }

  /// What the source's own connection commits in between goes into the copy, too.
  Result<bool> copy(std::size_t bytes_max) override {
    if (Result<void> done = store_.fold_all(); !done) return fail(std::move(done.error()));
    const auto pages = static_cast<int>(std::max(bytes_max / kSqlitePageBytes, std::size_t{1}));
    const int code = sqlite3_backup_step(backup_, pages);
    if (code == SQLITE_OK) return true;
    if (code == SQLITE_DONE) return false;
    return fail(target_->error(code, "backup"));
  }

 private:
  SqliteBackup(SqliteStore& store, std::unique_ptr<SqliteDb> target, sqlite3_backup* backup)
      : store_(store), target_(std::move(target)), backup_(backup) {}
  SqliteStore& store_;
  std::unique_ptr<SqliteDb> target_;
  sqlite3_backup* backup_;
};

template <typename Row>
Result<void> show_rows(SqliteDb& db, StoreVisitor& visitor) {
  using Columns = detail::Columns<Row>;
  Result<SqliteStatement> rows =
      db.prepare(detail::select_from<Row>() + " ORDER BY " + Columns::kKey);
  if (!rows) return fail(std::move(rows.error()));
  while (true) {
    Result<bool> more = rows->step();
    if (!more) return fail(std::move(more.error()));
    if (!*more) return {};
    Result<void> shown = visitor.on_record(detail::read_row<Row>(*rows));
    if (!shown) return shown;
  }
}

Result<void> show_log(SqliteDb& db, StoreVisitor& visitor) {
  Result<SqliteStatement> rows = db.prepare(
      "SELECT session, first_seq, count, frames FROM events ORDER BY session, first_seq");
  if (!rows) return fail(std::move(rows.error()));
  while (true) {
    Result<bool> more = rows->step();
    if (!more) return fail(std::move(more.error()));
    if (!*more) return {};
    EventRun run;
    run.session = rows->integer(0);
    run.first_seq = static_cast<std::uint64_t>(rows->integer(1));
    run.count = static_cast<std::uint32_t>(rows->integer(2));
    run.frames = rows->bytes(3);
    Result<void> shown = visitor.on_run(run);
    if (!shown) return shown;
  }
}

/// What is wrong with frames that shall be those of the events from `first` up to before `end`;
/// empty: nothing.
std::string fault_in(std::string_view frames, std::uint64_t first, std::uint64_t end) {
  for (std::uint64_t seq = first; seq < end; ++seq) {
    if (!skip_frame(frames, seq)) return fmt::format("event {} is damaged", seq);
  }
  return frames.empty() ? std::string() : fmt::format("bytes behind event {}", end - 1);
}

/// Each session's log is gapless from 1 on, or from where it was cut, and each frame says the
/// number that it has. What was cut may be there still, or a part of it.
class LogCheck final : public StoreVisitor {
 public:
  explicit LogCheck(std::vector<std::string>& problems) : problems_(problems) {}

  Result<void> on_record(const Record& record) override {
    if (const auto* cut = std::get_if<LogCutRow>(&record)) begins_[cut->session] = cut->first_seq;
    return {};
  }
  Result<void> on_run(const EventRun& run) override {
    if (run.session != session_) {
      const auto cut = begins_.find(run.session);
      next_ = cut == begins_.end() ? 1 : std::min(cut->second, run.first_seq);
    }
    session_ = run.session;
    if (run.first_seq != next_) {
      tell(run, fmt::format("events {} to {} are missing or overlap", next_, run.first_seq));
    }
    next_ = run.first_seq + run.count;
    const std::string fault = fault_in(run.frames, run.first_seq, next_);
    if (!fault.empty()) tell(run, fault);
    return {};
  }

 private:
  void tell(const EventRun& run, const std::string& what) {
    if (problems_.size() < kProblemsMax) {
      problems_.push_back(fmt::format("session {}: {}", run.session, what));
    }
  }
  std::vector<std::string>& problems_;
  std::map<SessionNo, std::uint64_t> begins_;  // of logs that were cut
  SessionNo session_ = 0;
  std::uint64_t next_ = 1;
};

/// A table and its indexes, each for itself, by SQLite's own check; false when it is too large for
/// the steps that it may take.
Result<bool> check_rows(SqliteDb& db, const std::string& check,
                        std::vector<std::string>& problems) {
  Result<SqliteStatement> rows = db.prepare(check);
  if (!rows) return fail(std::move(rows.error()));
  while (true) {
    Result<bool> more = rows->step();
    if (!more && std::string_view(more.error().code) == "store_slow") return false;
    if (!more) return fail(std::move(more.error()));
    if (!*more) return true;
    if (rows->bytes(0) != "ok") problems.emplace_back(rows->bytes(0));
  }
}

/// Table by table, then session by session as a client reads them. What is written meanwhile is
/// read like the rest, if its turn has not come yet.
class SqliteScan final : public StoreScan {
 public:
  SqliteScan(SqliteStore& store, SqliteDb& db, SessionNo last)
      : store_(store), db_(db), last_(last) {}

  Result<bool> look(std::size_t bytes_max) override {
    if (next_table_ < std::size(kTables)) return look_at_table(kTables[next_table_++]);
    for (std::size_t seen = 0; seen < bytes_max && session_ <= last_;) {
      Result<std::size_t> more = look_at_log(bytes_max - seen);
      if (!more) return fail(std::move(more.error()));
      seen += *more;
    }
    return session_ <= last_ && findings_.problems.size() < kProblemsMax;
  }
  const ScanFindings& findings() const override { return findings_; }

 private:
  /// All but `events`, which is large and is read row by row.
  static constexpr const char* kTables[] = {"owner",        "sessions", "turns",  "bindings",
                                            "interactions", "changes",  "tokens", "log_cuts"};

  /// Damage is written down; what a disk says is the caller's.
  Result<void> note(Error error, const std::string& where) {
    if (error.kind == ErrorKind::unavailable) return fail(std::move(error));
    const std::string_view code = error.code;
    // What a log says wrongly is that session's matter.
    if (code != "log_gap" && code != "log_conflict") findings_.corrupt = true;
    findings_.problems.push_back(where + ": " + error.message);
    return {};
  }

  Result<bool> look_at_table(const char* table) {
    db_.bound_statements(kCheckStepsMax);
    const std::size_t before = findings_.problems.size();
    const std::string check = fmt::format("PRAGMA quick_check('{}')", table);
    Result<bool> whole = check_rows(db_, check, findings_.problems);
    db_.bound_statements(0);
    if (findings_.problems.size() > before) findings_.corrupt = true;
    if (whole && !*whole) {
      findings_.left_out.push_back(fmt::format(
          "the table {}, which is too large: berth store check reads it, without a server", table));
    }
    if (whole) return true;
    Result<void> noted = note(std::move(whole.error()), table);
    return noted ? Result<bool>(true) : fail(std::move(noted.error()));
  }

  /// Reads on in the log of session_, or goes to the next one; what that has cost.
  Result<std::size_t> look_at_log(std::size_t bytes_max) {
    Result<EventPage> page = store_.read_events(session_, seen_, bytes_max);
    if (page && page->first_seq != 0) {
      // Gaps and each frame's number were looked at where it was read.
      seen_ = page->last_seq;
      return page->frames.size() + kSessionBytes;
    }
    if (!page) {
      Result<void> noted = note(std::move(page.error()), fmt::format("session {}", session_));
      if (!noted) return fail(std::move(noted.error()));
    }
    ++session_;
    seen_ = 0;
    return kSessionBytes;
  }

  SqliteStore& store_;
  SqliteDb& db_;
  const SessionNo last_;
  std::size_t next_table_ = 0;
  SessionNo session_ = 1;
  std::uint64_t seen_ = 0;
  ScanFindings findings_;
};

}  // namespace

Result<StoreSizes> SqliteStore::sizes() {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  const Result<std::int64_t> pages = db_->integer_of("PRAGMA page_count");
  const Result<std::int64_t> unused = db_->integer_of("PRAGMA freelist_count");
  if (!pages) return fail(pages.error());
  if (!unused) return fail(unused.error());
  StoreSizes sizes;
  sizes.database = static_cast<std::uint64_t>(*pages) * kSqlitePageBytes;
  sizes.unused = static_cast<std::uint64_t>(*unused) * kSqlitePageBytes;
  sizes.wal = VfsFile::size_of(options_.path + "-wal", options_.vfs);
  sizes.log = VfsFile::size_of(options_.path + "-log", options_.vfs);
  return sizes;
}

Result<std::unique_ptr<StoreScan>> SqliteStore::begin_scan() {
  Result<SessionNo> last = last_session_no();
  if (!last) return fail(std::move(last.error()));
  return std::unique_ptr<StoreScan>(std::make_unique<SqliteScan>(*this, *db_, *last));
}

Result<std::unique_ptr<StoreBackup>> SqliteStore::begin_backup(const std::string& path) {
  if (Result<void> ready = require_open(); !ready) return fail(std::move(ready.error()));
  return SqliteBackup::begin(*this, *db_, path, options_.vfs);
}

Result<void> SqliteStore::visit(StoreVisitor& visitor) {
  Result<void> done = fold_all();
  if (done) done = show_rows<SessionRow>(*db_, visitor);
  if (done) done = show_rows<TurnRow>(*db_, visitor);
  if (done) done = show_rows<BindingRow>(*db_, visitor);
  if (done) done = show_rows<InteractionRow>(*db_, visitor);
  if (done) done = show_rows<ChangeRow>(*db_, visitor);
  if (done) done = show_rows<TokenRow>(*db_, visitor);
  if (done) done = show_rows<LogCutRow>(*db_, visitor);
  if (done) done = show_log(*db_, visitor);
  return done;
}

Result<std::vector<std::string>> SqliteStore::check() {
  if (Result<void> ready = fold_all(); !ready) return fail(std::move(ready.error()));
  std::vector<std::string> problems;
  const Result<bool> pages =
      check_rows(*db_, fmt::format("PRAGMA integrity_check({})", kProblemsMax), problems);
  if (!pages) return fail(pages.error());
  LogCheck log(problems);
  Result<void> done = show_rows<LogCutRow>(*db_, log);
  if (done) done = show_log(*db_, log);
  if (!done) return fail(std::move(done.error()));
  return problems;
}

}  // namespace berth::server
