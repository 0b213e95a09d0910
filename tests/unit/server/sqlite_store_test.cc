// What only the SQLite store promises: one process, honest errors, and its log after any kind of
// death.
#include "store_worlds.h"

#include <berth/server/store/sqlite_db.h>
#include <berth/server/store/sqlite_schema.h>

#include <gtest/gtest.h>
#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>
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

/// What tells two schemas apart.
std::string schema_of(const std::string& path) {
  auto db = SqliteDb::open(path, "");
  return *(*db)->value_of(
      "SELECT group_concat(sql, char(10)) FROM "
      "(SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name)");
}

/// The parameter is the schema version of a berth that was released: tests/data/stores has a store
/// of each.
class OldStore : public testing::TestWithParam<std::int64_t> {};

TEST_P(OldStore, BecomesACurrentOneAndKeepsWhatIsInIt) {
  const std::string name = fmt::format("{}/stores/v{}.sql", BERTH_TEST_DATA, GetParam());
  std::ifstream file(name);
  const std::string sql((std::istreambuf_iterator<char>(file)), {});
  ASSERT_FALSE(sql.empty()) << name << ": each version of the schema leaves a store there";
  FileWorld world;
  Store& store = world.restart();
  {
    auto db = SqliteDb::open(world.path(), "");
    ASSERT_TRUE((*db)->run(sql));
  }
  EXPECT_EQ(opened(store), 8) << "one above the old owner's";
  EXPECT_EQ(*store.last_session_no(), 1);
  Result<SessionSnapshot> loaded = store.load_session(1);
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
  EXPECT_EQ(loaded->session.id, "old");
  EXPECT_EQ(loaded->session.title, "title of sessions");
  ASSERT_EQ(loaded->open_turns.size(), 1U);
  EXPECT_EQ(loaded->open_turns[0].prompt, "prompt of turns");
  ASSERT_EQ(loaded->bindings.size(), 1U);
  EXPECT_EQ(loaded->bindings[0].native_session_id, "native_session_id of bindings");
  ASSERT_EQ(loaded->open_interactions.size(), 1U);
  ASSERT_TRUE(loaded->change.has_value());
  EXPECT_EQ(loaded->change->summary, "summary of changes");
  EXPECT_EQ(loaded->last_seq, 3U);
  EXPECT_EQ(*store.check(), std::vector<std::string>());
  if (GetParam() == 1) {  // columns that it did not have
    EXPECT_EQ(loaded->session.rules, "");
    EXPECT_EQ(loaded->bindings[0].told_turn, 0);
    EXPECT_EQ(loaded->open_interactions[0].expires_ms, 0);
  }
  const Result<std::vector<TokenRow>> tokens = store.list_tokens();
  ASSERT_EQ(tokens->size(), GetParam() < 3 ? 0U : 1U);
  if (GetParam() >= 3) EXPECT_EQ((*tokens)[0].scopes, "scopes of tokens");
  EXPECT_EQ(loaded->open_turns[0].timeout_ms, GetParam() < 7 ? 0 : 1);
  EXPECT_EQ(loaded->first_seq, GetParam() < 7 ? 1U : 2U);
  EXPECT_EQ(store.find_log_cut(1)->has_value(), GetParam() >= 7);
  CommitBatch batch;
  BindingRow binding = loaded->bindings[0];
  binding.told_turn = 7;
  batch.records.emplace_back(binding);
  EXPECT_EQ(store.commit(batch, 8).outcome, CommitOutcome::committed);
  EXPECT_EQ(store.load_session(1)->bindings[0].told_turn, 7);
  FileWorld fresh;
  opened(fresh.restart());
  world.restart();  // both are closed
  fresh.restart();
  EXPECT_EQ(schema_of(world.path()), schema_of(fresh.path()));
}

INSTANTIATE_TEST_SUITE_P(Versions, OldStore, testing::Range<std::int64_t>(1, kSchemaVersion + 1));

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

TEST(SqliteStore, ARowThatIsPutAgainWritesNoIndexAnew) {
  SimWorld world;
  Store& store = world.restart();
  const OwnerEpoch epoch = opened(store);
  CommitBatch batch;
  batch.records = {SessionRow{.no = 1, .project = "p", .id = "a"}};
  ASSERT_EQ(store.commit(batch, epoch).outcome, CommitOutcome::committed);
  std::get<SessionRow>(batch.records[0]).title = "new";
  const std::string& wal = world.disk().files()["/store.db-wal"].bytes;
  const std::size_t before = wal.size();
  ASSERT_EQ(store.commit(batch, epoch).outcome, CommitOutcome::committed);
  // Two pages, the row's and the mark of the log in front, each with its head.
  EXPECT_EQ(wal.size() - before, 2U * (24 + 4096));
  EXPECT_EQ(store.load_session(1)->session.title, "new");
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
  /// The last event of sessions 1 to 3, and the number of turns.
  using State = std::array<std::uint64_t, 4>;
  std::vector<State> states;  ///< Behind each commit that was submitted, from the first state on.
  std::map<SessionNo, std::uint64_t> committed;  ///< Answered `committed` up to here.
  std::map<SessionNo, std::uint64_t> submitted;  ///< Given to the store up to here.
  std::map<SessionNo, std::string> text;         ///< The log that was submitted.
  std::int64_t turns_committed = 0;
  std::int64_t turns_submitted = 0;
  std::uint64_t at_once = 0;  ///< Commits without the lane.
};

Expected::State state_of(const std::map<SessionNo, std::uint64_t>& reached, std::int64_t turns) {
  Expected::State state = {0, 0, 0, static_cast<std::uint64_t>(turns)};
  for (const auto& [session, last] : reached) state[static_cast<std::size_t>(session - 1)] = last;
  return state;
}

/// Commits random batches until the disk freezes or `commits` are made. A batch that is `unknown`
/// is repeated, as the journal does, until the process is dead.
void write_until_death(SimWorld& world, SqliteStore& store, OwnerEpoch epoch, int commits,
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
    if (batch.runs.empty() && !turn) continue;
    expected.submitted = reached;
    expected.states.push_back(state_of(reached, expected.turns_submitted));
    CommitAnswer answer;
    const Taken taken = turn ? Taken::no : store.commit_now(batch, epoch);
    if (taken != Taken::no) {
      answer.outcome = CommitOutcome::committed;
      ++expected.at_once;
    }
    while (answer.outcome == CommitOutcome::unknown && !world.vfs().frozen()) {
      answer = store.commit(batch, epoch);
      ASSERT_NE(answer.outcome, CommitOutcome::stale_epoch);
    }
    if (answer.outcome == CommitOutcome::committed) {
      expected.committed = reached;
      expected.turns_committed = expected.turns_submitted;
    }
    if (taken == Taken::yes_fold || random.one_in(12)) (void)store.fold();
    if (random.one_in(6)) (void)store.fold_all();
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
  std::map<SessionNo, std::uint64_t> reached;
  for (const SessionNo session : {1, 2, 3}) {
    reached[session] = store.read_events(session, 0, SIZE_MAX)->last_seq;
  }
  const Expected::State found = state_of(reached, count);
  const bool known = std::ranges::find(expected.states, found) != expected.states.end();
  ASSERT_TRUE(known || expected.states.empty()) << "a later commit is there without an earlier one";
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
  std::uint64_t at_once = 0;
  DiskFaultsFired faults;
};

/// A store of three lives on one disk: written, killed at a random write or sync, opened again.
void live_and_die(std::uint64_t seed, const DeathPlan& plan, const DiskImage& born, Tally& tally) {
  SCOPED_TRACE(fmt::format("seed {}", seed));
  SimWorld world(seed, plan.durability, std::make_shared<DiskImage>(born));
  Expected expected;
  for (int life = 0; life < 3; ++life) {
    SqliteStore& store = world.restart();
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
    expected.states = {state_of(expected.submitted, expected.turns_submitted)};
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
  tally.at_once += expected.at_once;
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
    if (plan.durability == Durability::process) EXPECT_GT(tally_.at_once, 5 * seeds());
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
  const DiskFaults faults = {.write_error = 15, .disk_full = 15, .sync_error = 15};
  run({Durability::power, true, faults});
  run({Durability::process, false, faults});
  EXPECT_GT(tally_.faults.write_errors, 0U);
  EXPECT_GT(tally_.faults.disk_full, 0U);
  EXPECT_GT(tally_.faults.sync_errors, 0U);
}

}  // namespace
}  // namespace berth::server
