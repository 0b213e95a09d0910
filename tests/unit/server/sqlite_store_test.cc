// What only the SQLite store promises: one process, honest errors, and its log after any kind of
// death.
#include "store_worlds.h"

#include <berth/server/store/sqlite_db.h>

#include <gtest/gtest.h>
#include <cstdlib>
#include <map>

namespace berth::server {
namespace {

OwnerEpoch opened(Store& store) {
  Result<OwnerEpoch> epoch = store.open();
  EXPECT_TRUE(epoch.has_value()) << epoch.error().message;
  return epoch ? *epoch : 0;
}

CommitBatch one_event(SessionNo session, std::uint64_t seq) {
  CommitBatch batch;
  add_events(batch, session, seq, 1);
  return batch;
}

TEST(SqliteStore, RefusesAStoreOfALaterBerthAndLeavesItAlone) {
  FileWorld world;
  opened(world.restart());
  {
    auto db = SqliteDb::open(world.path() + "2", "");
    ASSERT_TRUE((*db)->run("ATTACH '" + world.path() + "2' AS x"));
  }
  Store& closed = world.restart();  // gives the lock back
  {
    auto db = SqliteDb::open(world.path(), "");
    ASSERT_TRUE((*db)->run("PRAGMA user_version=99"));
  }
  Result<OwnerEpoch> epoch = closed.open();
  ASSERT_FALSE(epoch.has_value());
  EXPECT_EQ(epoch.error().kind, ErrorKind::unsupported);
  EXPECT_STREQ(epoch.error().code, "store_too_new");
  EXPECT_NE(epoch.error().message.find("99"), std::string::npos) << epoch.error().message;
  auto db = SqliteDb::open(world.path(), "");
  EXPECT_EQ(*(*db)->integer_of("SELECT epoch FROM owner"), 1);
}

TEST(SqliteStore, BringsAStoreOfVersionOneUpToDateAndKeepsWhatIsInIt) {
  FileWorld world;
  opened(world.restart());
  Store& migrated = world.restart();  // gives the lock back
  {
    // Undo the second migration: a version 1 database as it was, with a row of each kind.
    auto db = SqliteDb::open(world.path(), "");
    const std::pair<const char*, const char*> added[] = {{"sessions", "rules"},
                                                         {"sessions", "mcp_servers"},
                                                         {"sessions", "additional_directories"},
                                                         {"turns", "snapshot_before"},
                                                         {"bindings", "native_history"},
                                                         {"bindings", "told_turn"},
                                                         {"bindings", "failure"},
                                                         {"bindings", "usage"},
                                                         {"interactions", "agent"},
                                                         {"interactions", "child"},
                                                         {"interactions", "expires_ms"},
                                                         {"changes", "touched"}};
    ASSERT_TRUE((*db)->run("DROP INDEX sessions_ending"));
    for (const auto& [table, column] : added) {
      ASSERT_TRUE((*db)->run(std::string("ALTER TABLE ") + table + " DROP COLUMN " + column));
    }
    ASSERT_TRUE((*db)->run(
        "INSERT INTO sessions VALUES(1,'default','s','k',0,'t','one','ask','none','','/d','','','',"
        "'{}',1,1,1,0);"
        "INSERT INTO turns VALUES(1,1,'trn_a',5,'one','[]','','','end_turn','','',2,1,1,1);"
        "INSERT INTO bindings VALUES(1,'one',0,'native',3,1,'','','',0,0,1);"
        "INSERT INTO interactions VALUES(1,'int_a','trn_a','permission','{}',0,'','',1,0);"
        "PRAGMA user_version=1"));
  }
  const OwnerEpoch epoch = opened(migrated);
  Result<SessionSnapshot> loaded = migrated.load_session(1);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
  EXPECT_EQ(loaded->session.id, "s");
  EXPECT_EQ(loaded->session.rules, "");
  ASSERT_EQ(loaded->bindings.size(), 1U);
  EXPECT_EQ(loaded->bindings[0].native_session_id, "native");
  EXPECT_TRUE(loaded->bindings[0].continuation_owed);
  EXPECT_EQ(loaded->bindings[0].told_turn, 0);
  ASSERT_EQ(loaded->open_interactions.size(), 1U);
  EXPECT_EQ(loaded->open_interactions[0].expires_ms, 0);
  // And what the new columns hold comes back.
  CommitBatch batch;
  BindingRow binding = loaded->bindings[0];
  binding.told_turn = 7;
  binding.native_history = R"([{"id":"a"}])";
  batch.records.emplace_back(binding);
  EXPECT_EQ(migrated.commit(batch, epoch).outcome, CommitOutcome::committed);
  loaded = migrated.load_session(1);
  ASSERT_TRUE(loaded.has_value());
  EXPECT_EQ(loaded->bindings[0].told_turn, 7);
  EXPECT_EQ(loaded->bindings[0].native_history, R"([{"id":"a"}])");
}

TEST(SqliteStore, RefusesSomebodyElsesDatabase) {
  FileWorld world;
  Store& store = world.restart();
  {
    auto db = SqliteDb::open(world.path(), "");
    ASSERT_TRUE((*db)->run("CREATE TABLE theirs(x)"));
  }
  Result<OwnerEpoch> epoch = store.open();
  ASSERT_FALSE(epoch.has_value());
  EXPECT_STREQ(epoch.error().code, "not_a_store");
}

TEST(SqliteStore, RefusesAFileThatIsNoDatabase) {
  SimWorld world;
  Store& store = world.restart();
  world.disk().files()["/store.db"].bytes = std::string(8192, 'x');
  Result<OwnerEpoch> epoch = store.open();
  ASSERT_FALSE(epoch.has_value());
  EXPECT_STREQ(epoch.error().code, "store_corrupt");
}

TEST(SqliteStore, OneProcessHoldsItAndASecondIsToldSo) {
  FileWorld world;
  opened(world.restart());
  SqliteStore second(SqliteOptions{world.path()});
  Result<OwnerEpoch> epoch = second.open();
  ASSERT_FALSE(epoch.has_value());
  EXPECT_EQ(epoch.error().kind, ErrorKind::conflict);
  EXPECT_STREQ(epoch.error().code, "store_locked");
}

TEST(SqliteStore, TheSimulatedDiskKeepsASecondProcessOutUntilTheFirstDies) {
  SimWorld world;
  opened(world.restart());
  {
    SqliteStore second(world.options());
    EXPECT_STREQ(second.open().error().code, "store_locked");
  }
  world.kill();
  opened(world.restart());
}

TEST(SqliteStore, SaysThatAFolderIsMissing) {
  SqliteStore store(SqliteOptions{"/nonexistent/folder/store.db"});
  Result<OwnerEpoch> epoch = store.open();
  ASSERT_FALSE(epoch.has_value());
  EXPECT_STREQ(epoch.error().code, "store_cannot_open");
}

TEST(SqliteStore, SaysThatTheDiskIsReadOnly) {
  SimWorld world;
  Store& store = world.restart();
  world.vfs().set_read_only(true);
  world.disk().files()["/store.db"];
  Result<OwnerEpoch> epoch = store.open();
  ASSERT_FALSE(epoch.has_value());
  EXPECT_STREQ(epoch.error().code, "store_read_only");
}

TEST(SqliteStore, AnswersUnknownWhileTheDiskIsFullAndGoesOnWhenThereIsRoom) {
  SimWorld world;
  Store& store = world.restart();
  const OwnerEpoch epoch = opened(store);
  ASSERT_EQ(store.commit(one_event(1, 1), epoch).outcome, CommitOutcome::committed);
  world.vfs().set_full(true);
  for (int i = 0; i < 3; ++i) {
    const CommitAnswer answer = store.commit(one_event(1, 2), epoch);
    ASSERT_EQ(answer.outcome, CommitOutcome::unknown);
    EXPECT_STREQ(answer.error.code, "store_full");
    EXPECT_EQ(answer.error.kind, ErrorKind::unavailable);
  }
  EXPECT_EQ(store.read_events(1, 0, 1000)->last_seq, 1U);
  world.vfs().set_full(false);
  EXPECT_EQ(store.commit(one_event(1, 2), epoch).outcome, CommitOutcome::committed);
  EXPECT_EQ(store.read_events(1, 0, 1000)->frames, frames_of(1, 1, 2));
}

TEST(SqliteStore, SaysThatEventsAreMissingInsteadOfSkippingThem) {
  FileWorld world;
  Store& store = world.restart();
  const OwnerEpoch epoch = opened(store);
  for (std::uint64_t seq = 1; seq <= 3; ++seq) store.commit(one_event(1, seq), epoch);
  Store& damaged = world.restart();
  {
    auto db = SqliteDb::open(world.path(), "");
    ASSERT_TRUE((*db)->run("DELETE FROM events WHERE first_seq = 2"));
  }
  opened(damaged);
  Result<EventPage> page = damaged.read_events(1, 0, 10'000);
  ASSERT_FALSE(page.has_value());
  EXPECT_STREQ(page.error().code, "log_gap");
}

TEST(SqliteStore, ARepeatAfterCompactingStillFindsItsRun) {
  FileWorld world;
  Store& store = world.restart();
  const OwnerEpoch epoch = opened(store);
  for (std::uint64_t seq = 1; seq <= 40; ++seq) store.commit(one_event(1, seq), epoch);
  while (*store.compact(1U << 20U)) {
  }
  ASSERT_EQ(store.commit(one_event(1, 40), epoch).outcome, CommitOutcome::committed);
  world.restart();
  auto db = SqliteDb::open(world.path(), "");
  EXPECT_EQ(*(*db)->integer_of("SELECT sum(count) FROM events"), 40);
  EXPECT_EQ(*(*db)->integer_of("SELECT count(*) FROM events"), 2);
}

TEST(SqliteStore, CallsBeforeOpeningFailInsteadOfCrashing) {
  SqliteStore store(SqliteOptions{"/nonexistent/store.db"});
  EXPECT_EQ(store.commit(one_event(1, 1), 1).outcome, CommitOutcome::unknown);
  EXPECT_STREQ(store.read_events(1, 0, 1).error().code, "store_closed");
  EXPECT_STREQ(store.compact(1).error().code, "store_closed");
}

// --- Death at any moment ---

/// What the world may expect of the log.
struct Expected {
  std::map<SessionNo, std::uint64_t> committed;  ///< Answered `committed` up to here.
  std::map<SessionNo, std::uint64_t> submitted;  ///< Given to the store up to here.
  std::map<SessionNo, std::string> text;         ///< The log that was submitted.
  std::int64_t turns_committed = 0;
  std::int64_t turns_submitted = 0;
};

/// Commits random batches until the disk freezes or `commits` are made. A batch that is `unknown`
/// is repeated, as the journal does, until the process is dead.
void write_until_death(SimWorld& world, Store& store, OwnerEpoch epoch, int commits,
                       Expected& expected) {
  Random& random = world.random();
  for (int i = 0; i < commits && !world.vfs().frozen(); ++i) {
    CommitBatch batch;
    std::map<SessionNo, std::uint64_t> reached = expected.submitted;
    for (SessionNo session = 1; session <= 3; ++session) {
      if (random.one_in(3)) continue;
      const auto count = static_cast<std::uint32_t>(1 + random.below(6));
      add_events(batch, session, reached[session] + 1, count,
                 random.one_in(8) ? 5000 : random.below(300));
      reached[session] += count;
      expected.text[session] += batch.runs.back()->frames;
    }
    const bool turn = random.one_in(2);
    if (turn) {
      batch.records.push_back(
          TurnRow{.session = 1, .number = expected.turns_submitted + 1, .id = "trn"});
      ++expected.turns_submitted;
    }
    expected.submitted = reached;
    CommitAnswer answer;
    do {
      answer = store.commit(batch, epoch);
      ASSERT_NE(answer.outcome, CommitOutcome::stale_epoch);
    } while (answer.outcome == CommitOutcome::unknown && !world.vfs().frozen());
    if (answer.outcome == CommitOutcome::committed) {
      expected.committed = reached;
      expected.turns_committed = expected.turns_submitted;
    }
    if (random.one_in(6)) (void)store.compact(20'000);
  }
}

/// Reads the log whole and compares it with what was submitted; sequences are gapless or reading
/// fails.
void check_log(Store& store, const Expected& expected, bool all_committed) {
  for (const auto& [session, submitted] : expected.submitted) {
    Result<EventPage> page = store.read_events(session, 0, SIZE_MAX);
    ASSERT_TRUE(page.has_value()) << page.error().message;
    ASSERT_LE(page->last_seq, submitted);
    if (all_committed) {
      const auto found = expected.committed.find(session);
      if (found != expected.committed.end()) ASSERT_GE(page->last_seq, found->second);
    }
    ASSERT_TRUE(expected.text.at(session).starts_with(page->frames));
  }
  Result<std::vector<TurnRow>> turns = store.list_turns(1, 0, 10'000);
  ASSERT_TRUE(turns.has_value()) << turns.error().message;
  const auto count = static_cast<std::int64_t>(turns->size());
  ASSERT_LE(count, expected.turns_submitted);
  if (all_committed) ASSERT_GE(count, expected.turns_committed);
  if (count > 0) ASSERT_EQ(turns->front().number, count);
}

void check_integrity(SimWorld& world) {
  world.restart();  // closes the store
  Result<std::unique_ptr<SqliteDb>> db = SqliteDb::open("/store.db", "store-world");
  ASSERT_TRUE(db.has_value()) << db.error().message;
  ASSERT_TRUE((*db)->run("PRAGMA locking_mode=EXCLUSIVE"));
  Result<std::string> verdict = (*db)->value_of("PRAGMA integrity_check");
  ASSERT_TRUE(verdict.has_value()) << verdict.error().message;
  ASSERT_EQ(*verdict, "ok");
}

struct DeathPlan {
  Durability durability;
  bool power_loss;
  DiskFaults faults;
};

/// What happened, so that a test of nothing is noticed.
struct Tally {
  int deaths_in_mid_write = 0;
  std::uint64_t events_committed = 0;
  DiskFaultsFired faults;
};

/// A store of three lives on one disk: written, killed at a random write or sync, opened again.
void live_and_die(std::uint64_t seed, const DeathPlan& plan, const DiskImage& born, Tally& tally) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  SimWorld world(seed, plan.durability, std::make_shared<DiskImage>(born));
  Expected expected;
  for (int life = 0; life < 3; ++life) {
    Store& store = world.restart();
    const OwnerEpoch epoch = opened(store);
    const bool kept = !plan.power_loss || plan.durability == Durability::power;
    ASSERT_NO_FATAL_FAILURE(check_log(store, expected, kept));
    // What was not committed may be there or not; this life goes on from what is.
    for (auto& [session, last] : expected.submitted) {
      const EventPage page = *store.read_events(session, 0, SIZE_MAX);
      last = page.last_seq;
      expected.text[session] = page.frames;
    }
    expected.turns_submitted = static_cast<std::int64_t>(store.list_turns(1, 0, 10'000)->size());
    expected.committed = expected.submitted;
    expected.turns_committed = expected.turns_submitted;
    world.vfs().faults() = plan.faults;
    world.vfs().freeze_at(1 + world.random().below(150));
    ASSERT_NO_FATAL_FAILURE(write_until_death(world, store, epoch, 30, expected));
    tally.deaths_in_mid_write += world.vfs().frozen() ? 1 : 0;
    tally.faults.write_errors += world.vfs().fired().write_errors;
    tally.faults.disk_full += world.vfs().fired().disk_full;
    tally.faults.sync_errors += world.vfs().fired().sync_errors;
    world.kill();
    if (plan.power_loss) world.disk().lose_power(world.random());
  }
  Store& store = world.restart();
  opened(store);
  ASSERT_NO_FATAL_FAILURE(
      check_log(store, expected, !plan.power_loss || plan.durability == Durability::power));
  ASSERT_NO_FATAL_FAILURE(check_integrity(world));
  for (const auto& [session, last] : expected.committed) tally.events_committed += last;
}

/// The number of seeds; BERTH_STORE_SEEDS makes it another one.
std::uint64_t seeds() {
  const char* wanted = std::getenv("BERTH_STORE_SEEDS");
  return wanted == nullptr ? 250 : std::strtoull(wanted, nullptr, 10);
}

class SqliteDeath : public testing::Test {
 protected:
  /// Each seed has three deaths.
  void run(const DeathPlan& plan) {
    // A store that is new and closed: its image is copied for each seed, which saves the
    // migrations.
    auto disk = std::make_shared<DiskImage>();
    {
      SimWorld first(1, plan.durability, disk);
      opened(first.restart());
    }
    for (std::uint64_t seed = 1; seed <= seeds() && !HasFailure(); ++seed) {
      live_and_die(seed, plan, *disk, tally_);
    }
    EXPECT_GT(tally_.deaths_in_mid_write, static_cast<int>(seeds()));
    EXPECT_GT(tally_.events_committed, 50 * seeds());
  }

  Tally tally_;
};

TEST_F(SqliteDeath, WhatWasCommittedSurvivesTheDeathOfTheProcess) {
  run({Durability::process, false, {}});
}

TEST_F(SqliteDeath, APowerCutLeavesAGaplessPrefixOfTheLog) {
  run({Durability::process, true, {}});
}

TEST_F(SqliteDeath, WithPowerDurabilityAPowerCutTakesNothingThatWasCommitted) {
  run({Durability::power, true, {}});
}

TEST_F(SqliteDeath, ErrorsOfTheDiskLoseNothingEither) {
  run({Durability::power, true, {.write_error = 15, .disk_full = 15, .sync_error = 15}});
  EXPECT_GT(tally_.faults.write_errors, 0U);
  EXPECT_GT(tally_.faults.disk_full, 0U);
  EXPECT_GT(tally_.faults.sync_errors, 0U);
}

}  // namespace
}  // namespace berth::server
