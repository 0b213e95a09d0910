#include "layouts.h"

#include "database.h"

#include <berth/server/store/sqlite_store.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>

namespace berth::bench {
namespace {

std::uint64_t rowid_key(std::uint64_t session, std::uint64_t seq) {
  return session << 40U | seq;
}

/// A row for each event; the plainest schema.
class Rows final : public Layout {
 public:
  Rows(const std::string& folder, const StoreSettings& settings)
      : db_(folder + "/log.db", settings) {
    db_.run(
        "CREATE TABLE events(session INTEGER, seq INTEGER, data BLOB, PRIMARY KEY(session, seq))"
        " WITHOUT ROWID");
    insert_ = db_.prepare("INSERT INTO events VALUES(?1, ?2, ?3)");
    select_ = db_.prepare("SELECT seq, data FROM events WHERE session=?1 AND seq>?2 ORDER BY seq");
  }

  void commit(std::span<const SessionRun> runs) override {
    db_.begin();
    for (const SessionRun& run : runs) {
      const std::size_t size = run.data.size() / run.count;
      for (std::uint32_t i = 0; i < run.count; ++i) {
        bind_value(insert_, 1, run.session);
        bind_value(insert_, 2, run.first_seq + i);
        bind_value(insert_, 3, run.data.substr(i * size, size));
        db_.execute(insert_);
      }
    }
    db_.end();
  }

  void finish() override { db_.checkpoint(); }

  std::uint64_t read(std::uint64_t session, std::uint64_t after, std::size_t bytes_max,
                     std::string& out) override {
    bind_value(select_, 1, session);
    bind_value(select_, 2, after);
    while (out.size() < bytes_max && db_.next(select_)) {
      after = column(select_, 0);
      out.append(column_bytes(select_, 1));
    }
    sqlite3_reset(select_);
    return after;
  }

 private:
  Database db_;
  sqlite3_stmt* insert_;
  sqlite3_stmt* select_;
};

/// A blob for each session and commit; only the key differs between the three.
class Packed final : public Layout {
 public:
  enum class Key : std::uint8_t { index, primary, rowid };

  Packed(const std::string& folder, const StoreSettings& settings, Key key)
      : key_(key), db_(folder + "/log.db", settings) {
    if (key == Key::rowid) {
      db_.run("CREATE TABLE events(key INTEGER PRIMARY KEY, count INTEGER, data BLOB)");
      insert_ = db_.prepare("INSERT INTO events VALUES(?1, ?3, ?4)");
      select_ = db_.prepare(
          "SELECT key & 0xffffffffff, count, data FROM events"
          " WHERE key>?2 AND key<?1 ORDER BY key");
      return;
    }
    if (key == Key::primary) {
      db_.run(
          "CREATE TABLE events(session INTEGER, first_seq INTEGER, count INTEGER, data BLOB,"
          " PRIMARY KEY(session, first_seq)) WITHOUT ROWID");
    } else {
      db_.run("CREATE TABLE events(session INTEGER, first_seq INTEGER, count INTEGER, data BLOB)");
      db_.run("CREATE UNIQUE INDEX by_session ON events(session, first_seq)");
    }
    insert_ = db_.prepare("INSERT INTO events VALUES(?1, ?2, ?3, ?4)");
    select_ = db_.prepare(
        "SELECT first_seq, count, data FROM events WHERE session=?1 AND first_seq>?2"
        " ORDER BY first_seq");
  }

  void commit(std::span<const SessionRun> runs) override {
    db_.begin();
    for (const SessionRun& run : runs) insert(run);
    db_.end();
  }

  void finish() override { db_.checkpoint(); }

  std::uint64_t read(std::uint64_t session, std::uint64_t after, std::size_t bytes_max,
                     std::string& out) override {
    const bool rowid = key_ == Key::rowid;
    bind_value(select_, 1, rowid ? rowid_key(session + 1, 0) : session);
    bind_value(select_, 2, rowid ? rowid_key(session, after) : after);
    while (out.size() < bytes_max && db_.next(select_)) {
      after = column(select_, 0) + column(select_, 1) - 1;
      out.append(column_bytes(select_, 2));
    }
    sqlite3_reset(select_);
    return after;
  }

  Database& database() { return db_; }

  void insert(const SessionRun& run) {
    if (key_ == Key::rowid) {
      bind_value(insert_, 1, rowid_key(run.session, run.first_seq));
    } else {
      bind_value(insert_, 1, run.session);
      bind_value(insert_, 2, run.first_seq);
    }
    bind_value(insert_, 3, run.count);
    bind_value(insert_, 4, run.data);
    db_.execute(insert_);
  }

 private:
  Key key_;
  Database db_;
  sqlite3_stmt* insert_;
  sqlite3_stmt* select_;
};

/// One blob for the whole commit and a small index row for each session in it.
class Batches final : public Layout {
 public:
  Batches(const std::string& folder, const StoreSettings& settings)
      : db_(folder + "/log.db", settings) {
    db_.run("CREATE TABLE batches(id INTEGER PRIMARY KEY, data BLOB)");
    db_.run(
        "CREATE TABLE runs(session INTEGER, first_seq INTEGER, count INTEGER, batch INTEGER,"
        " place INTEGER, bytes INTEGER, PRIMARY KEY(session, first_seq)) WITHOUT ROWID");
    batch_ = db_.prepare("INSERT INTO batches VALUES(?1, ?2)");
    run_ = db_.prepare("INSERT INTO runs VALUES(?1, ?2, ?3, ?4, ?5, ?6)");
    select_ = db_.prepare(
        "SELECT first_seq, count, substr(data, place+1, bytes) FROM runs JOIN batches ON id=batch"
        " WHERE session=?1 AND first_seq>?2 ORDER BY first_seq");
  }

  void commit(std::span<const SessionRun> runs) override {
    arena_.clear();
    ++id_;
    db_.begin();
    for (const SessionRun& run : runs) {
      bind_value(run_, 1, run.session);
      bind_value(run_, 2, run.first_seq);
      bind_value(run_, 3, run.count);
      bind_value(run_, 4, id_);
      bind_value(run_, 5, arena_.size());
      bind_value(run_, 6, run.data.size());
      db_.execute(run_);
      arena_.append(run.data);
    }
    bind_value(batch_, 1, id_);
    bind_value(batch_, 2, arena_);
    db_.execute(batch_);
    db_.end();
  }

  void finish() override { db_.checkpoint(); }

  std::uint64_t read(std::uint64_t session, std::uint64_t after, std::size_t bytes_max,
                     std::string& out) override {
    bind_value(select_, 1, session);
    bind_value(select_, 2, after);
    while (out.size() < bytes_max && db_.next(select_)) {
      after = column(select_, 0) + column(select_, 1) - 1;
      out.append(column_bytes(select_, 2));
    }
    sqlite3_reset(select_);
    return after;
  }

 private:
  Database db_;
  sqlite3_stmt* batch_;
  sqlite3_stmt* run_;
  sqlite3_stmt* select_;
  std::string arena_;
  std::uint64_t id_ = 0;
};

/// What was made durable elsewhere and waits in memory for its place in the packed table.
class Backlog {
 public:
  static constexpr std::size_t kBytesMax = std::size_t{16} << 20U;

  void add(std::span<const SessionRun> runs) {
    for (const SessionRun& run : runs) {
      Page& page = pages_[run.session];
      if (page.count == 0) page.first_seq = run.first_seq;
      page.count += run.count;
      page.data.append(run.data);
      bytes_ += run.data.size();
    }
  }

  bool full() const { return bytes_ >= kBytesMax; }

  /// Inside the caller's transaction.
  void move_into(Packed& packed) {
    for (const auto& [session, page] : pages_) {
      packed.insert({session, page.first_seq, page.count, page.data});
    }
    pages_.clear();
    bytes_ = 0;
  }

 private:
  struct Page {
    std::uint64_t first_seq = 0;
    std::uint32_t count = 0;
    std::string data;
  };
  std::map<std::uint64_t, Page> pages_;
  std::size_t bytes_ = 0;
};

/// One blob for each commit, found through memory, later moved to one blob for each session. Runs
/// of at least `direct_min` bytes go to their place at once.
class LazyBatches final : public Layout {
 public:
  LazyBatches(const std::string& folder, const StoreSettings& settings, std::size_t direct_min)
      : direct_min_(direct_min), packed_(folder, settings, Packed::Key::index) {
    packed_.database().run("CREATE TABLE batches(id INTEGER PRIMARY KEY, data BLOB)");
    batch_ = packed_.database().prepare("INSERT INTO batches VALUES(?1, ?2)");
    clear_ = packed_.database().prepare("DELETE FROM batches");
  }

  void commit(std::span<const SessionRun> runs) override {
    arena_.clear();
    packed_.database().begin();
    for (const SessionRun& run : runs) {
      if (run.data.size() >= direct_min_) {
        packed_.insert(run);
        continue;
      }
      arena_.append(reinterpret_cast<const char*>(&run), offsetof(SessionRun, data));
      arena_.append(run.data);
      backlog_.add({&run, 1});
    }
    if (!arena_.empty()) {
      bind_value(batch_, 1, ++id_);
      bind_value(batch_, 2, arena_);
      packed_.database().execute(batch_);
    }
    packed_.database().end();
    if (backlog_.full()) merge();
  }

  void finish() override {
    merge();
    packed_.finish();
  }

  std::uint64_t read(std::uint64_t session, std::uint64_t after, std::size_t bytes_max,
                     std::string& out) override {
    return packed_.read(session, after, bytes_max, out);
  }

 private:
  void merge() {
    packed_.database().begin();
    backlog_.move_into(packed_);
    packed_.database().execute(clear_);
    packed_.database().end();
  }

  std::size_t direct_min_;
  Packed packed_;
  sqlite3_stmt* batch_;
  sqlite3_stmt* clear_;
  Backlog backlog_;
  std::string arena_;
  std::uint64_t id_ = 0;
};

/// A file that is only appended to, in front of the packed table.
class Journal final : public Layout {
 public:
  Journal(const std::string& folder, const StoreSettings& settings)
      : sync_(settings.synchronous == Synchronous::full),
        fd_(open((folder + "/journal").c_str(), O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600)),
        packed_(folder, settings, Packed::Key::index) {
    if (fd_ < 0) die("open journal", std::strerror(errno));
  }
  ~Journal() override { close(fd_); }

  void commit(std::span<const SessionRun> runs) override {
    arena_.assign(16, '\0');
    for (const SessionRun& run : runs) {
      arena_.append(reinterpret_cast<const char*>(&run), offsetof(SessionRun, data));
      arena_.append(run.data);
    }
    const std::uint64_t header[2] = {arena_.size(), checksum(arena_)};
    std::memcpy(arena_.data(), header, sizeof header);
    if (write(fd_, arena_.data(), arena_.size()) != static_cast<ssize_t>(arena_.size())) {
      die("write journal", std::strerror(errno));
    }
    if (sync_ && fdatasync(fd_) != 0) die("fdatasync journal", std::strerror(errno));
    backlog_.add(runs);
    if (backlog_.full()) merge();
  }

  void finish() override {
    merge();
    packed_.finish();
  }

  std::uint64_t read(std::uint64_t session, std::uint64_t after, std::size_t bytes_max,
                     std::string& out) override {
    return packed_.read(session, after, bytes_max, out);
  }

 private:
  void merge() {
    packed_.database().begin();
    backlog_.move_into(packed_);
    packed_.database().end();
    if (ftruncate(fd_, 0) != 0) die("truncate journal", std::strerror(errno));
  }

  /// As strong as is needed to find a torn tail, and about as cheap as a copy.
  static std::uint64_t checksum(std::string_view bytes) {
    std::uint64_t sum = 0x9e3779b97f4a7c15U;
    for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), 8);
      sum = (sum ^ word) * 0xff51afd7ed558ccdU;
      sum ^= sum >> 32U;
    }
    for (const char byte : bytes) sum = (sum ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
    return sum;
  }

  bool sync_;
  int fd_;
  Packed packed_;
  Backlog backlog_;
  std::string arena_;
};

/// The store of this build, as the server uses it: what the decision came to.
class Berth final : public Layout {
 public:
  Berth(const std::string& folder, const StoreSettings& settings)
      : store_({folder + "/store.db", "",
                settings.synchronous == Synchronous::full ? server::Durability::power
                                                          : server::Durability::process}) {
    Result<server::OwnerEpoch> epoch = store_.open();
    if (!epoch) die("open store", epoch.error().message);
    epoch_ = *epoch;
  }

  /// Copies the events into a batch first; the server does that while the batch fills.
  void commit(std::span<const SessionRun> runs) override {
    batch_.runs.resize(runs.size());
    for (std::size_t i = 0; i < runs.size(); ++i) {
      if (batch_.runs[i] == nullptr) batch_.runs[i] = std::make_shared<server::EventRun>();
      server::EventRun& run = *batch_.runs[i];
      run.session = static_cast<server::SessionNo>(runs[i].session);
      run.first_seq = runs[i].first_seq;
      run.count = runs[i].count;
      run.frames = std::string_view(runs[i].data);
    }
    const server::CommitAnswer answer = store_.commit(batch_, epoch_);
    if (answer.outcome != server::CommitOutcome::committed) die("commit", answer.error.message);
  }

  void finish() override {
    Result<bool> more = true;
    while (more && *more) more = store_.compact(std::size_t{1} << 20U);
    if (!more) die("compact", more.error().message);
  }

  std::uint64_t read(std::uint64_t session, std::uint64_t after, std::size_t bytes_max,
                     std::string& out) override {
    Result<server::EventPage> page =
        store_.read_events(static_cast<server::SessionNo>(session), after, bytes_max);
    if (!page) die("read", page.error().message);
    out = std::move(page->frames);
    return page->first_seq == 0 ? after : page->last_seq;
  }

 private:
  server::SqliteStore store_;
  server::OwnerEpoch epoch_ = 0;
  server::CommitBatch batch_;
};

}  // namespace

std::vector<LayoutKind> layout_kinds() {
  using Folder = const std::string&;
  using Settings = const StoreSettings&;
  return {
      {"rows", "a row per event, WITHOUT ROWID (session, seq)",
       [](Folder f, Settings s) { return std::make_unique<Rows>(f, s); }},
      {"packed/index", "a blob per session and commit, rowid table + index (session, first_seq)",
       [](Folder f, Settings s) { return std::make_unique<Packed>(f, s, Packed::Key::index); }},
      {"packed/primary", "the same, WITHOUT ROWID (session, first_seq)",
       [](Folder f, Settings s) { return std::make_unique<Packed>(f, s, Packed::Key::primary); }},
      {"packed/rowid", "the same, rowid = session << 40 | first_seq",
       [](Folder f, Settings s) { return std::make_unique<Packed>(f, s, Packed::Key::rowid); }},
      {"batch/index", "a blob per commit, an index row per session in it",
       [](Folder f, Settings s) { return std::make_unique<Batches>(f, s); }},
      {"batch/lazy", "a blob per commit, index in memory, merged per session every 16 MiB",
       [](Folder f, Settings s) { return std::make_unique<LazyBatches>(f, s, SIZE_MAX); }},
      {"tail+pages", "as batch/lazy, but runs of 4 KiB and more go to their place at once",
       [](Folder f, Settings s) { return std::make_unique<LazyBatches>(f, s, 4096); }},
      {"journal", "an appended file, index in memory, merged into packed/index every 16 MiB",
       [](Folder f, Settings s) { return std::make_unique<Journal>(f, s); }},
      {"berth", "the store of this build: packed/index, then merged into pages of 64 KiB",
       [](Folder f, Settings s) { return std::make_unique<Berth>(f, s); }},
  };
}

}  // namespace berth::bench
