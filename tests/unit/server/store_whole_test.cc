// A store as a whole: its backup, its export and import, its check; and what it costs to open one.
#include "store_worlds.h"

#include <berth/server/store/sqlite_db.h>
#include <berth/server/store/sqlite_rows.h>
#include <berth/server/store/store_dump.h>

#include <gtest/gtest.h>
#include <cerrno>

namespace berth::server {
namespace {

/// A row whose every column says where it is: `number` and the name of the column.
template <typename Row>
Row telling_row(std::int64_t number) {
  Row row;
  detail::Columns<Row>::each(row, [number](const char* name, auto& field) {
    using Field = std::remove_cvref_t<decltype(field)>;
    if constexpr (std::same_as<Field, std::string>) {
      field = fmt::format("{} {} \"\\\n\xc3\xa9", name, number);
    } else {
      field = static_cast<Field>(1);
    }
  });
  return row;
}

class Lines final : public DumpSink {
 public:
  Result<void> on_line(std::string_view line) override {
    all.emplace_back(line);
    return {};
  }
  std::vector<std::string> all;
};

class WholeStore : public testing::TestWithParam<WorldKind> {
 protected:
  void SetUp() override { epoch_ = opened(*store_); }

  static OwnerEpoch opened(Store& store) {
    Result<OwnerEpoch> epoch = store.open();
    EXPECT_TRUE(epoch.has_value()) << epoch.error().message;
    return epoch ? *epoch : 0;
  }
  void commit(const CommitBatch& batch) {
    ASSERT_EQ(commit_until_known(*store_, batch, epoch_), CommitOutcome::committed);
  }
  /// Sessions with a row of each kind and a log.
  void fill(SessionNo sessions, std::uint64_t commits_each) {
    for (SessionNo no = 1; no <= sessions; ++no) {
      CommitBatch batch;
      auto session = telling_row<SessionRow>(no);
      session.no = no;
      auto turn = telling_row<TurnRow>(no);
      auto binding = telling_row<BindingRow>(no);
      auto interaction = telling_row<InteractionRow>(no);
      auto change = telling_row<ChangeRow>(no);
      auto token = telling_row<TokenRow>(no);
      auto cut = telling_row<LogCutRow>(no);
      turn.session = binding.session = interaction.session = change.session = cut.session = no;
      batch.records = {session, turn, binding, interaction, change, token, cut};
      commit(batch);
    }
    for (std::uint64_t commit_no = 0; commit_no < commits_each; ++commit_no) {
      CommitBatch batch;
      for (SessionNo no = 1; no <= sessions; ++no) add_events(batch, no, commit_no * 3 + 1, 3, 900);
      commit(batch);
    }
  }
  static std::vector<std::string> exported(Store& store) {
    Lines lines;
    Result<DumpCounts> counts = export_store(store, lines);
    EXPECT_TRUE(counts.has_value()) << counts.error().message;
    return std::move(lines.all);
  }
  Result<DumpCounts> import(Store& store, const std::vector<std::string>& lines) {
    StoreImport import(store, opened(store));
    for (const std::string& line : lines) {
      Result<void> taken = import.line(line);
      if (!taken) return fail(std::move(taken.error()));
    }
    return import.finish();
  }
  const char* refusal(const std::vector<std::string>& lines) {
    const Result<DumpCounts> counts = import(world_->second(), lines);
    return counts ? "none" : counts.error().code;
  }

  std::unique_ptr<StoreWorld> world_ = GetParam().make();
  Store* store_ = &world_->restart();
  OwnerEpoch epoch_ = 0;
};

TEST_P(WholeStore, AnImportGivesTheSameAnswersAsTheStoreThatWasExported) {
  fill(3, 400);  // more than one batch of the import
  const std::vector<std::string> lines = exported(*store_);
  Store& copy = world_->second();
  const Result<DumpCounts> counts = import(copy, lines);
  ASSERT_TRUE(counts.has_value()) << counts.error().message;
  EXPECT_EQ(counts->sessions, 3U);
  EXPECT_EQ(counts->rows, 21U);
  EXPECT_EQ(counts->events, 3600U);
  EXPECT_EQ(exported(copy), lines);
  EXPECT_EQ(*copy.last_session_no(), 3);
  EXPECT_EQ(copy.load_session(2)->session.title, telling_row<SessionRow>(2).title);
  EXPECT_EQ(copy.list_tokens()->size(), 3U);
  EXPECT_EQ(copy.load_session(2)->bindings[0].config, telling_row<BindingRow>(2).config);
  EXPECT_EQ(copy.read_events(3, 0, SIZE_MAX)->frames, frames_of(3, 1, 1200, 900));
  EXPECT_TRUE(copy.check()->empty());
}

TEST_P(WholeStore, TextThatIsNotUtf8SurvivesAnExport) {
  SessionRow row = telling_row<SessionRow>(1);
  row.no = 1;
  row.directory = std::string("/tmp/\xff\x01\xc3");
  CommitBatch batch;
  batch.records.emplace_back(row);
  commit(batch);
  Store& copy = world_->second();
  ASSERT_TRUE(import(copy, exported(*store_)).has_value());
  EXPECT_EQ(copy.load_session(1)->session.directory, row.directory);
}

TEST_P(WholeStore, AnImportRefusesWhatIsNoWholeExport) {
  fill(1, 1);
  const std::vector<std::string> lines = exported(*store_);
  std::vector<std::string> changed = lines;
  changed.pop_back();
  EXPECT_STREQ(refusal(changed), "export_truncated");
  changed = lines;
  changed.erase(changed.begin() + 2);
  EXPECT_STREQ(refusal({"{}"}), "bad_export");
  EXPECT_STREQ(refusal({lines[0], R"({"table":"turns","row":{"session":"one"}})"}), "bad_export");
  EXPECT_STREQ(refusal({lines[0], R"({"table":"turns","row":{"colour":1}})"}), "bad_export");
  EXPECT_STREQ(refusal({lines[0], R"({"table":"colours","row":{}})"}), "bad_export");
  EXPECT_STREQ(refusal({R"({"berth_store":1,"schema":99})"}), "export_too_new");
  EXPECT_STREQ(refusal(changed), "bad_export") << "a line is missing in the middle";
  EXPECT_STREQ(refusal(lines), "none") << "nothing of all that was kept";
  EXPECT_STREQ(refusal(lines), "store_not_empty");
}

TEST_P(WholeStore, AnExportOfAnOlderBerthFillsNewColumnsWithTheirDefaults) {
  const std::vector<std::string> lines = {
      R"({"berth_store":1,"schema":1})",
      R"({"table":"sessions","row":{"no":7,"project":"default","id":"old","key":"k"}})",
      R"({"end":2})"};
  Store& copy = world_->second();
  ASSERT_TRUE(import(copy, lines).has_value());
  EXPECT_EQ(copy.load_session(7)->session.id, "old");
  EXPECT_EQ(copy.load_session(7)->session.rules, "");
}

TEST_P(WholeStore, ABackupHoldsAllThatWasCommittedBeforeItsLastPiece) {
  fill(4, 60);
  Result<std::unique_ptr<StoreBackup>> backup = store_->begin_backup(world_->second_path());
  ASSERT_TRUE(backup.has_value()) << backup.error().message;
  // The store goes on: pages that are copied already change, and new ones come.
  std::uint64_t pieces = 0;
  std::uint64_t seq = 60 * 3 + 1;
  while (true) {
    const Result<bool> more = (*backup)->copy(16 * 4096);
    ASSERT_TRUE(more.has_value()) << more.error().message;
    if (!*more) break;
    ++pieces;
    if (pieces % 4 != 0) continue;  // else it would never come to an end
    CommitBatch batch;
    add_events(batch, 2, seq, 3, 900);
    batch.records.emplace_back(ChangeRow{.session = 1, .tree = fmt::format("{}", pieces)});
    commit(batch);
    seq += 3;
    if (pieces % 16 == 0) EXPECT_TRUE(store_->compact(100'000).has_value());
  }
  backup->reset();
  EXPECT_GT(pieces, 8U);
  EXPECT_GT(seq, 60U * 3 + 1);
  const std::vector<std::string> lines = exported(*store_);
  Store& copy = world_->second();
  opened(copy);
  EXPECT_EQ(exported(copy), lines);
  EXPECT_TRUE(copy.check()->empty());
  CommitBatch further;
  add_events(further, 2, seq, 1);
  EXPECT_EQ(commit_until_known(*store_, further, epoch_), CommitOutcome::committed)
      << "the store itself is none the worse";
}

TEST_P(WholeStore, ABackupOverwritesNothing) {
  fill(1, 1);
  opened(world_->second());
  Store& other = *store_;
  const Result<std::unique_ptr<StoreBackup>> refused = other.begin_backup(world_->second_path());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, ErrorKind::conflict) << refused.error().message;
}

TEST_P(WholeStore, ACheckFindsNothingInAStoreThatWasCompacted) {
  fill(2, 50);
  while (*store_->compact(1 << 20)) {
  }
  const Result<std::vector<std::string>> problems = store_->check();
  ASSERT_TRUE(problems.has_value());
  EXPECT_EQ(*problems, std::vector<std::string>());
}

/// Looks to the end, in steps so small that each is one; `between` is done after each.
ScanFindings scanned(Store& store, const std::function<void()>& between = [] {}) {
  Result<std::unique_ptr<StoreScan>> scan = store.begin_scan();
  EXPECT_TRUE(scan.has_value());
  Result<bool> more = true;
  while (more.has_value() && *more) {
    more = (*scan)->look(1);
    between();
  }
  EXPECT_TRUE(more.has_value()) << more.error().message;
  return (*scan)->findings();
}

TEST_P(WholeStore, AScanFindsNothingWhileTheStoreIsWrittenAndCompacted) {
  fill(3, 50);
  std::uint64_t seq = store_->load_session(2)->last_seq;
  int writes = 20;
  const ScanFindings findings = scanned(*store_, [&] {
    ASSERT_TRUE(store_->compact(1 << 12).has_value());
    if (writes-- <= 0) return;
    CommitBatch batch;
    add_events(batch, 2, ++seq, 1);
    commit(batch);
  });
  EXPECT_LE(writes, 0);
  EXPECT_EQ(findings.problems, std::vector<std::string>());
  EXPECT_EQ(findings.left_out, std::vector<std::string>());
  EXPECT_FALSE(findings.corrupt);
}

INSTANTIATE_TEST_SUITE_P(Stores, WholeStore, testing::ValuesIn(store_worlds()),
                         [](const auto& kind) { return kind.param.name; });

// --- SQLite's own ---

/// Writes `sessions` sessions, of which one has a turn that has not ended.
void fill_quickly(Store& store, OwnerEpoch epoch, SessionNo sessions) {
  CommitBatch batch;
  for (SessionNo no = 1; no <= sessions; ++no) {
    auto row = telling_row<SessionRow>(no);
    row.no = no;
    row.state = SessionState::open;
    auto turn = telling_row<TurnRow>(no);
    turn.session = no;
    turn.state = no == sessions / 2 ? TurnState::running : TurnState::completed;
    auto binding = telling_row<BindingRow>(no);
    binding.session = no;
    binding.state = BindingState::sleeping;
    batch.records.emplace_back(std::move(row));
    batch.records.emplace_back(std::move(turn));
    batch.records.emplace_back(std::move(binding));
    add_events(batch, no, 1, 2);
  }
  ASSERT_EQ(store.commit(batch, epoch).outcome, CommitOutcome::committed);
}

/// Reads of the disk until it is known what a restart must settle.
std::uint64_t reads_of_a_start(SessionNo sessions) {
  SimWorld world;
  Store& first = world.restart();
  fill_quickly(first, *first.open(), sessions);
  Store& second = world.restart();
  EXPECT_TRUE(second.open().has_value());
  EXPECT_EQ(*second.last_session_no(), sessions);
  EXPECT_EQ(*second.unsettled_sessions(), (std::vector<SessionNo>{sessions / 2}));
  return world.vfs().reads();
}

TEST(SqliteWhole, AStartReadsNoMoreOfTheDiskWhenThereAreMoreSessions) {
  const std::uint64_t few = reads_of_a_start(100);
  const std::uint64_t many = reads_of_a_start(5000);
  EXPECT_GT(few, 0U);
  EXPECT_LE(many, few + 10) << "trees grow by a level, nothing else";
}

TEST(SqliteWhole, TheWriteAheadLogStaysBoundedUnderSteadyCommits) {
  SimWorld world;
  Store& store = world.restart();
  const OwnerEpoch epoch = *store.open();
  std::size_t longest = 0;
  for (std::uint64_t seq = 1; seq <= 4000; ++seq) {
    CommitBatch batch;
    add_events(batch, 1 + static_cast<SessionNo>(seq % 7), seq / 7 + 1, 1, 2000);
    ASSERT_EQ(store.commit(batch, epoch).outcome, CommitOutcome::committed);
    longest = std::max(longest, world.disk().files()["/store.db-wal"].bytes.size());
  }
  EXPECT_GT(world.disk().files()["/store.db"].bytes.size(), 2 * longest);
  EXPECT_LT(longest, 6U << 20U) << "checkpoints come at 1000 pages";
}

TEST(SqliteWhole, TellsWhatItTakesOfTheDisk) {
  SimWorld world;
  SqliteStore* store = &world.restart();
  OwnerEpoch epoch = *store->open();
  CommitBatch batch;
  add_events(batch, 1, 1, 300, 1000);
  ASSERT_EQ(store->commit(batch, epoch).outcome, CommitOutcome::committed);
  CommitBatch small;
  add_events(small, 1, 301, 1);
  ASSERT_EQ(store->commit_now(small, epoch), Taken::yes);
  StoreSizes sizes = *store->sizes();
  EXPECT_GT(sizes.database, 300'000U);
  EXPECT_EQ(sizes.unused, 0U);
  EXPECT_EQ(sizes.wal, world.disk().files()["/store.db-wal"].bytes.size());
  EXPECT_EQ(sizes.log, world.disk().files()["/store.db-log"].bytes.size());
  EXPECT_GT(sizes.wal, 300'000U);
  EXPECT_GT(sizes.log, 0U);

  CommitBatch erasure;
  erasure.records.emplace_back(Erasure{1});
  ASSERT_EQ(store->commit(erasure, epoch).outcome, CommitOutcome::committed);
  sizes = *store->sizes();
  EXPECT_GT(sizes.unused, 250'000U);
  EXPECT_GT(sizes.database, sizes.unused) << "they stay in the file";
  store = &world.restart();  // leaves all in the database
  ASSERT_TRUE(store->open().has_value());
  EXPECT_EQ(store->sizes()->database, world.disk().files()["/store.db"].bytes.size());
}

TEST(SqliteWhole, TellsAFullDiskFromABrokenOneAndGoesOnAfterwards) {
  SimWorld world;
  Store& store = world.restart();
  const OwnerEpoch epoch = *store.open();
  CommitBatch batch;
  add_events(batch, 1, 1, 1);
  const std::pair<int, const char*> meanings[] = {
      {EDQUOT, "store_full"}, {EFBIG, "store_full"}, {EROFS, "store_read_only"}, {EIO, "store_io"}};
  for (const auto& [errno_value, code] : meanings) {
    world.vfs().fail_writes_with(errno_value);
    const CommitAnswer answer = store.commit(batch, epoch);
    EXPECT_EQ(answer.outcome, CommitOutcome::unknown);
    EXPECT_STREQ(answer.error.code, code) << errno_value;
    EXPECT_EQ(answer.error.kind, ErrorKind::unavailable);
    EXPECT_EQ(answer.error.errno_value, errno_value);
  }
  world.vfs().fail_writes_with(0);
  EXPECT_EQ(store.commit(batch, epoch).outcome, CommitOutcome::committed);
  EXPECT_EQ(store.read_events(1, 0, 1000)->frames, frames_of(1, 1, 1));
}

TEST(SqliteWhole, ACheckNamesEventsThatAreMissingOrDamaged) {
  FileWorld world;
  Store& store = world.restart();
  const OwnerEpoch epoch = *store.open();
  for (std::uint64_t seq = 1; seq <= 3; ++seq) {
    CommitBatch batch;
    for (const SessionNo session : {1, 2, 3}) {
      auto row = telling_row<SessionRow>(session);
      row.no = session;
      batch.records.emplace_back(std::move(row));
      add_events(batch, session, seq, 1);
    }
    ASSERT_EQ(store.commit(batch, epoch).outcome, CommitOutcome::committed);
  }
  Store& damaged = world.restart();
  {
    auto db = SqliteDb::open(world.path(), "");
    ASSERT_TRUE(
        (*db)->run("DELETE FROM events WHERE session = 1 AND first_seq = 2; "
                   "UPDATE events SET frames = x'00' WHERE session = 3 AND first_seq = 3"));
  }
  ASSERT_TRUE(damaged.open().has_value());
  const std::vector<std::string> problems = *damaged.check();
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_NE(problems[0].find("session 1: events 2 to 3"), std::string::npos) << problems[0];
  EXPECT_NE(problems[1].find("session 3: event 3 is damaged"), std::string::npos) << problems[1];
  const ScanFindings findings = scanned(damaged);
  ASSERT_EQ(findings.problems.size(), 2U);
  EXPECT_NE(findings.problems[0].find("session 1: missing at event 2"), std::string::npos)
      << findings.problems[0];
  EXPECT_NE(findings.problems[1].find("session 3: damaged at event 3"), std::string::npos)
      << findings.problems[1];
  EXPECT_FALSE(findings.corrupt) << "it is the matter of these two";
}

TEST(SqliteWhole, AScanSeesTheDatabasesOwnDamageAndLeavesOutWhatTakesTooLong) {
  SimWorld world;
  Store& store = world.restart();
  fill_quickly(store, *store.open(), 500);
  world.restart();
  const std::string page_of =
      "SELECT max(pageno) FROM dbstat WHERE name='turns_by_id' AND pagetype='leaf'";
  std::unique_ptr<SqliteDb> db = std::move(*SqliteDb::open("/store.db", "store-world"));
  // As the store does it: the disk has no memory to share.
  ASSERT_TRUE(db->run("PRAGMA locking_mode=EXCLUSIVE").has_value());
  const Result<std::int64_t> page = db->integer_of(page_of);
  db.reset();
  ASSERT_TRUE(page.has_value()) << page.error().message;
  std::string& bytes = world.disk().files()["/store.db"].bytes;
  bytes.at(static_cast<std::size_t>(*page - 1) * 4096 + 3) ^= 0x55;  // the number of its cells
  Store& damaged = world.restart();
  ASSERT_TRUE(damaged.open().has_value());
  const ScanFindings findings = scanned(damaged);
  EXPECT_TRUE(findings.corrupt);
  ASSERT_FALSE(findings.problems.empty());
  EXPECT_EQ(findings.left_out, std::vector<std::string>());
}

TEST(SqliteWhole, WhoeverClosesAStoreIsToldApartFromWhoDiesWithIt) {
  SimWorld world;
  Store& fresh = world.restart();
  OwnerEpoch epoch = *fresh.open();
  EXPECT_FALSE(fresh.was_left_open()) << "there was nothing";
  fill_quickly(fresh, epoch, 10);
  Store& closed = world.restart();
  ASSERT_TRUE(closed.open().has_value());
  EXPECT_FALSE(closed.was_left_open());
  world.kill();
  Store& killed = world.restart();
  epoch = *killed.open();
  EXPECT_TRUE(killed.was_left_open()) << "also when it had only begun";
  CommitBatch batch;
  add_events(batch, 3, 3, 1);
  ASSERT_EQ(killed.commit(batch, epoch).outcome, CommitOutcome::committed);
  world.kill();
  Store& again = world.restart();
  ASSERT_TRUE(again.open().has_value());
  EXPECT_TRUE(again.was_left_open());
}

TEST(SqliteWhole, ACheckFindsADamagedPage) {
  SimWorld world;
  Store& store = world.restart();
  fill_quickly(store, *store.open(), 500);
  world.restart();
  std::string& bytes = world.disk().files()["/store.db"].bytes;
  ASSERT_GT(bytes.size(), 40U * 4096);
  for (std::size_t page = 20; page < 40; ++page) bytes[page * 4096 + 1] ^= 0x55;
  Store& damaged = world.restart();
  Result<OwnerEpoch> epoch = damaged.open();
  if (!epoch.has_value()) {
    EXPECT_STREQ(epoch.error().code, "store_corrupt");
    return;
  }
  const Result<std::vector<std::string>> problems = damaged.check();
  EXPECT_TRUE(!problems.has_value() || !problems->empty());
}

}  // namespace
}  // namespace berth::server
