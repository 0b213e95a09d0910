// Logs whose oldest part went: what a store gives out of them, and that the rest is kept.
#include "store_worlds.h"

#include <berth/server/store/sqlite_db.h>

#include <gtest/gtest.h>

namespace berth::server {
namespace {

class CutLog : public testing::TestWithParam<WorldKind> {
 protected:
  void SetUp() override { reopen(); }
  void reopen() {
    store_ = &world_->restart();
    Result<OwnerEpoch> epoch = store_->open();
    ASSERT_TRUE(epoch.has_value()) << epoch.error().message;
    epoch_ = *epoch;
  }
  void commit(const CommitBatch& batch) {
    ASSERT_EQ(commit_until_known(*store_, batch, epoch_), CommitOutcome::committed);
  }
  void commit_record(Record record) {
    CommitBatch batch;
    batch.records.push_back(std::move(record));
    commit(batch);
  }
  /// Events 1 to `count` of a session, `each` in a row of the table.
  void fill(SessionNo session, std::uint64_t count, std::uint32_t each) {
    commit_record(SessionRow{.no = session, .project = "p", .id = fmt::format("s{}", session)});
    for (std::uint64_t seq = 1; seq <= count; seq += each) {
      CommitBatch batch;
      add_events(batch, session, seq, each, 100);
      commit(batch);
    }
  }
  std::string all_after(SessionNo session, std::uint64_t after) {
    Result<EventPage> page = store_->read_events(session, after, 1U << 20U);
    EXPECT_TRUE(page.has_value()) << page.error().message;
    return page ? page->frames : std::string();
  }
  std::size_t erase_all(std::size_t step) {
    std::size_t bytes = 0;
    for (bool more = true; more;) {
      Result<ErasedLog> erased = store_->erase_cut(step);
      EXPECT_TRUE(erased.has_value()) << erased.error().message;
      if (!erased) return bytes;
      EXPECT_LE(erased->bytes, step + 2000) << "a step is bounded";
      bytes += erased->bytes;
      more = erased->more;
    }
    return bytes;
  }

  std::unique_ptr<StoreWorld> world_ = GetParam().make();
  Store* store_ = nullptr;
  OwnerEpoch epoch_ = 0;
};

TEST_P(CutLog, BeginsWhereItWasCutWhateverIsAskedForAndOverARestart) {
  fill(1, 40, 4);
  fill(2, 40, 4);
  EXPECT_EQ(store_->load_session(1)->first_seq, 1U);
  EXPECT_FALSE(store_->find_log_cut(1)->has_value());
  commit_record(LogCutRow{.session = 1, .first_seq = 18, .first_turn = 3, .head = "kept"});
  for (int life = 0; life < 2; ++life) {
    EXPECT_EQ(all_after(1, 0), frames_of(1, 18, 23, 100));
    EXPECT_EQ(all_after(1, 16), frames_of(1, 18, 23, 100));
    EXPECT_EQ(all_after(1, 17), frames_of(1, 18, 23, 100));
    EXPECT_EQ(all_after(1, 18), frames_of(1, 19, 22, 100));
    EXPECT_EQ(all_after(2, 0), frames_of(2, 1, 40, 100));
    EXPECT_EQ(store_->load_session(1)->first_seq, 18U);
    EXPECT_EQ(store_->load_session(1)->last_seq, 40U);
    EXPECT_EQ((*store_->find_log_cut(1))->head, "kept");
    EXPECT_EQ(*store_->check(), std::vector<std::string>());
    reopen();
  }
}

TEST_P(CutLog, IsErasedInBoundedStepsAndOnlyWhatWasCut) {
  fill(1, 400, 4);
  fill(2, 40, 4);
  commit_record(LogCutRow{.session = 1, .first_seq = 318, .first_turn = 3});
  Result<ErasedLog> first = store_->erase_cut(3000);
  ASSERT_TRUE(first.has_value()) << first.error().message;
  EXPECT_TRUE(first->more);
  EXPECT_EQ(*store_->check(), std::vector<std::string>()) << "in the middle of it";
  reopen();
  EXPECT_GT(erase_all(3000), 20'000U) << "goes on after a restart";
  EXPECT_EQ(erase_all(3000), 0U) << "and has an end";
  EXPECT_EQ(all_after(1, 0), frames_of(1, 318, 83, 100));
  EXPECT_EQ(all_after(2, 0), frames_of(2, 1, 40, 100));
  EXPECT_EQ(*store_->check(), std::vector<std::string>());
  commit_record(LogCutRow{.session = 1, .first_seq = 350, .first_turn = 4});
  EXPECT_GT(erase_all(1U << 20U), 0U) << "a later cut is erased, too";
  EXPECT_EQ(all_after(1, 0), frames_of(1, 350, 51, 100));
}

TEST_P(CutLog, GoesOnWhereItEnds) {
  fill(1, 40, 4);
  commit_record(LogCutRow{.session = 1, .first_seq = 38});
  erase_all(1U << 20U);
  CommitBatch further;
  add_events(further, 1, 41, 4, 100);
  commit(further);
  commit(further);
  reopen();
  EXPECT_EQ(all_after(1, 0), frames_of(1, 38, 7, 100));
  EXPECT_EQ(store_->load_session(1)->last_seq, 44U);
}

TEST_P(CutLog, CompactingMixesNothingUp) {
  fill(1, 400, 1);
  commit_record(LogCutRow{.session = 1, .first_seq = 118});
  store_->erase_cut(2000);
  while (*store_->compact(1U << 20U)) {
  }
  EXPECT_EQ(all_after(1, 0), frames_of(1, 118, 283, 100));
  erase_all(2000);
  EXPECT_EQ(all_after(1, 0), frames_of(1, 118, 283, 100));
  EXPECT_EQ(*store_->check(), std::vector<std::string>());
}

TEST_P(CutLog, IsForgottenWithTheSession) {
  fill(1, 40, 4);
  commit_record(LogCutRow{.session = 1, .first_seq = 18, .head = "kept"});
  commit_record(Erasure{1});
  EXPECT_FALSE(store_->find_log_cut(1)->has_value());
}

TEST_P(CutLog, IsMeasuredByItsTurnsAndWeighedFromItsEnd) {
  fill(1, 40, 4);
  for (std::int64_t number = 1; number <= 5; ++number) {
    const bool unsent = number == 4;
    commit_record(TurnRow{.session = 1,
                          .number = number,
                          .id = fmt::format("trn_{}", number),
                          .started_seq = unsent ? 0 : static_cast<std::uint64_t>(number) * 8 - 6,
                          .ended_ms = number == 5 ? 0 : number * 100});
  }
  const LogExtent whole = *store_->measure_log(1, 100);
  EXPECT_EQ(whole.first_seq, 1U);
  EXPECT_EQ(whole.last_seq, 40U);
  ASSERT_EQ(whole.turns.size(), 4U) << "without the one that was never sent";
  EXPECT_EQ(whole.turns[1].started_seq, 10U);
  EXPECT_EQ(whole.turns[1].ended_ms, 200);
  EXPECT_EQ(whole.turns[3].ended_ms, 0);
  EXPECT_EQ(store_->measure_log(1, 2)->turns.size(), 2U);
  commit_record(LogCutRow{.session = 1, .first_seq = 18, .first_turn = 3});
  EXPECT_EQ(store_->measure_log(1, 100)->first_seq, 18U);
  EXPECT_EQ(store_->measure_log(1, 100)->turns.front().number, 3);

  const std::size_t row = frames_of(1, 37, 4, 100).size();
  const LogStretch two = *store_->weigh_log(1, 41, 2 * row, 100);
  EXPECT_EQ(two.first_seq, 33U);
  EXPECT_EQ(two.bytes, 2 * row);
  EXPECT_TRUE(two.over);
  const LogStretch none = *store_->weigh_log(1, 41, row - 1, 100);
  EXPECT_EQ(none.first_seq, 0U);
  EXPECT_TRUE(none.over);
  const LogStretch stepped = *store_->weigh_log(1, 41, SIZE_MAX, 3);
  EXPECT_EQ(stepped.first_seq, 29U);
  EXPECT_FALSE(stepped.over);
  EXPECT_EQ(store_->weigh_log(1, 1, SIZE_MAX, 3)->first_seq, 0U) << "nothing is below";
}

INSTANTIATE_TEST_SUITE_P(Stores, CutLog, testing::ValuesIn(store_worlds()),
                         [](const auto& kind) { return kind.param.name; });

TEST(CutLogOnDisk, ACheckNamesWhatIsMissingBehindTheCut) {
  FileWorld world;
  {
    Store& store = world.restart();
    const OwnerEpoch epoch = *store.open();
    for (std::uint64_t seq = 1; seq <= 12; seq += 4) {
      CommitBatch batch;
      add_events(batch, 1, seq, 4);
      batch.records.emplace_back(LogCutRow{.session = 1, .first_seq = 6});
      ASSERT_EQ(store.commit(batch, epoch).outcome, CommitOutcome::committed);
    }
    EXPECT_TRUE(store.check()->empty());
  }
  Store& damaged = world.restart();
  ASSERT_TRUE((*SqliteDb::open(world.path(), ""))->run("DELETE FROM events WHERE first_seq < 9"));
  ASSERT_TRUE(damaged.open().has_value());
  const std::vector<std::string> problems = *damaged.check();
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0], "session 1: events 6 to 9 are missing or overlap");
}

}  // namespace
}  // namespace berth::server
