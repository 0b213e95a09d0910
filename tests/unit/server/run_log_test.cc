// The file in front of the database: what it takes, and what is believed of it after a death.
#include <berth/server/store/run_log.h>
#include "store_worlds.h"

#include <gtest/gtest.h>

namespace berth::server {
namespace {

constexpr const char* kFile = "/store.db-log";

class RunLogTest : public testing::Test {
 protected:
  RunLogTest() { reopen(); }

  /// A new life that knows `mark`, and what it found.
  std::vector<EventRun> reopen(const LogMark& mark = {}) {
    log_ = std::make_unique<RunLog>(kFile, "store-world");
    return *log_->recover(mark);
  }
  Taken append(SessionNo session, std::uint64_t first_seq, std::uint32_t count,
               std::size_t text_bytes = 10) {
    CommitBatch batch;
    add_events(batch, session, first_seq, count, text_bytes);
    return log_->append(batch);
  }
  std::string& bytes() { return world_.disk().files().at(kFile).bytes; }

  SimWorld world_;
  SqliteStore& store_ = world_.restart();  // for its VFS; not open
  std::unique_ptr<RunLog> log_;
};

TEST_F(RunLogTest, TakesNothingBeforeTheDatabaseKnowsIt) {
  EXPECT_EQ(append(1, 1, 1), Taken::no);
  EXPECT_FALSE(world_.disk().files().contains(kFile));
  log_->start(7);
  EXPECT_EQ(append(1, 1, 1), Taken::yes);
}

TEST_F(RunLogTest, JoinsTheRunsOfASession) {
  log_->start(7);
  for (std::uint64_t seq = 1; seq <= 3; ++seq) {
    EXPECT_EQ(append(1, seq, 1), Taken::yes);
    EXPECT_EQ(append(2, 2 * seq - 1, 2), Taken::yes);
  }
  for (const bool death : {false, true}) {
    const std::vector<EventRun> runs = death ? reopen({7, 0}) : *log_->read(log_->pending());
    ASSERT_EQ(runs.size(), 2U);
    EXPECT_EQ(runs[0].frames, frames_of(1, 1, 3));
    EXPECT_EQ(runs[0].count, 3U);
    EXPECT_EQ(runs[1].frames, frames_of(2, 1, 6));
    EXPECT_EQ(runs[1].last_seq(), 6U);
  }
}

TEST_F(RunLogTest, JoinsNoMoreThanAPage) {
  log_->start(7);
  for (std::uint64_t seq = 1; seq <= 5; ++seq) EXPECT_EQ(append(1, seq, 1, 30'000), Taken::yes);
  const std::vector<EventRun> runs = *log_->read(log_->pending());
  ASSERT_EQ(runs.size(), 3U);
  EXPECT_EQ(runs[1].first_seq, 3U);
  EXPECT_EQ(runs[2].frames, frames_of(1, 5, 1, 30'000));
}

TEST_F(RunLogTest, LeavesLargeBatchesToTheDatabase) {
  log_->start(7);
  EXPECT_EQ(append(1, 1, 1, RunLog::kBatchBytesMax), Taken::no);
  EXPECT_EQ(append(1, 1, 1), Taken::yes);
}

TEST_F(RunLogTest, BelievesNothingOfAnotherLifeOrBehindTheDatabase) {
  log_->start(7);
  append(1, 1, 1);
  EXPECT_EQ(reopen({8, 0}).size(), 0U);
  EXPECT_EQ(reopen({7, 1}).size(), 0U);
  EXPECT_EQ(reopen({7, 0}).size(), 1U);
}

TEST_F(RunLogTest, EndsAtAFrameThatIsNotWhole) {
  log_->start(7);
  append(1, 1, 1);
  const std::size_t one = bytes().size();
  append(1, 2, 1);
  append(1, 3, 1);
  const std::string whole = bytes();
  for (const std::size_t at : {one + 3, one + 20, one + 45, 2 * one - 1}) {
    bytes() = whole;
    bytes()[at] = static_cast<char>(bytes()[at] ^ 1);
    const std::vector<EventRun> runs = reopen({7, 0});
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_EQ(runs[0].last_seq(), 1U) << at;
  }
  for (const std::size_t size : {one + 10, one + 50, 2 * one - 1}) {
    bytes() = whole.substr(0, size);
    EXPECT_EQ(reopen({7, 0})[0].last_seq(), 1U) << size;
  }
}

TEST_F(RunLogTest, WritesOneHalfWhileTheOtherIsFolded) {
  log_->start(7);
  std::uint64_t seq = 0;
  const auto fill = [&] {
    Taken taken = Taken::yes;
    while (taken == Taken::yes) taken = append(1, ++seq, 1, 30'000);
    return taken;
  };
  EXPECT_EQ(fill(), Taken::yes_fold);
  const std::uint64_t first_half = seq - 1;
  EXPECT_EQ(log_->read({*log_->sealed()})->back().last_seq(), first_half);
  EXPECT_EQ(fill(), Taken::no) << "both halves are full";
  EXPECT_EQ(log_->read(log_->pending())->back().last_seq(), --seq);
  log_->folded();
  EXPECT_EQ(append(1, ++seq, 1, 30'000), Taken::yes_fold);
  EXPECT_EQ(log_->read(log_->pending())->front().first_seq, first_half + 1);
  // The database knows of the first half only, then of the second as well.
  EXPECT_EQ(reopen({7, 1}).front().first_seq, first_half + 1);
  EXPECT_EQ(reopen({7, 1}).back().last_seq(), seq);
  EXPECT_EQ(reopen({7, 2}).front().first_seq, seq);
}

TEST_F(RunLogTest, AHalfThatDoesNotFollowTheOtherIsNotBelieved) {
  log_->start(7);
  append(1, 1, 1);
  const std::size_t one = bytes().size();
  append(1, 2, 1);
  log_->seal();
  append(1, 3, 1);
  EXPECT_EQ(reopen({7, 0})[0].last_seq(), 3U);
  bytes()[2 * one - 1] = '?';  // the second of the first half's frames was lost
  EXPECT_EQ(reopen({7, 0})[0].last_seq(), 1U);
}

TEST_F(RunLogTest, WhatFollowsACommitThatWasLostIsNotBelieved) {
  log_->start(7);
  append(1, 1, 1);
  log_->restart();  // the database has it and event 2, but the power fails before that is on the
                    // disk
  append(1, 3, 1);
  EXPECT_EQ(reopen({7, 0})[0].last_seq(), 1U);
  EXPECT_EQ(reopen({7, 1})[0].first_seq, 3U);
}

TEST_F(RunLogTest, AfterAFailedWriteOnlyTheDatabaseGoesOn) {
  log_->start(7);
  EXPECT_EQ(append(1, 1, 1), Taken::yes);
  world_.vfs().set_full(true);
  EXPECT_EQ(append(1, 2, 1), Taken::no);
  world_.vfs().set_full(false);
  EXPECT_EQ(append(1, 2, 1), Taken::no);
  log_->restart();
  EXPECT_EQ(append(1, 3, 1), Taken::yes);
}

TEST_F(RunLogTest, TellsDamageInsteadOfFoldingIt) {
  log_->start(7);
  append(1, 1, 1);
  bytes().back() = '?';
  const Result<std::vector<EventRun>> runs = log_->read(log_->pending());
  ASSERT_FALSE(runs.has_value());
  EXPECT_STREQ(runs.error().code, "store_corrupt");
}

TEST(SqliteStoreLog, IsReadWithTheRestAndGoneAfterAPoliteEnd) {
  SimWorld world;
  Store* store = &world.restart();
  const OwnerEpoch epoch = *store->open();
  CommitBatch batch;
  add_events(batch, 1, 1, 3);
  EXPECT_EQ(store->commit_now(batch, epoch - 1), Taken::no);
  ASSERT_EQ(store->commit_now(batch, epoch), Taken::yes);
  EXPECT_EQ(store->read_events(1, 0, 1000)->frames, frames_of(1, 1, 3));
  CommitBatch next;
  add_events(next, 1, 4, 3);
  ASSERT_EQ(store->commit_now(next, epoch), Taken::yes);
  EXPECT_TRUE(world.disk().files().contains(kFile));
  store = &world.restart();
  EXPECT_FALSE(world.disk().files().contains(kFile));
  EXPECT_TRUE(store->open().has_value());
  EXPECT_EQ(store->read_events(1, 0, 1000)->frames, frames_of(1, 1, 6));
}

TEST(SqliteStoreLog, IsFoundAgainAfterADeath) {
  SimWorld world;
  Store* store = &world.restart();
  OwnerEpoch epoch = *store->open();
  std::uint64_t seq = 0;
  for (int life = 0; life < 3; ++life) {
    // More than a half holds, and part of it is folded.
    for (int i = 0; i < 100; ++i) {
      CommitBatch batch;
      add_events(batch, 1, ++seq, 1, 30'000);
      const Taken taken = store->commit_now(batch, epoch);
      ASSERT_NE(taken, Taken::no);
      if (taken == Taken::yes_fold && life == 1) EXPECT_TRUE(store->fold().has_value());
    }
    world.kill();
    store = &world.restart();
    epoch = *store->open();
    EXPECT_EQ(store->read_events(1, 0, SIZE_MAX)->frames,
              frames_of(1, 1, static_cast<std::uint32_t>(seq), 30'000));
    EXPECT_EQ(*store->check(), std::vector<std::string>());
  }
}

TEST(SqliteStoreLog, CanBeReadWhileTheDiskTakesNothing) {
  SimWorld world;
  SqliteStore& store = world.restart();
  const OwnerEpoch epoch = *store.open();
  CommitBatch batch;
  add_events(batch, 1, 1, 2);
  batch.records.emplace_back(SessionRow{.no = 1, .project = "default", .id = "s"});
  ASSERT_EQ(store.commit(batch, epoch).outcome, CommitOutcome::committed);
  for (std::uint64_t seq = 3; seq <= 40; ++seq) {
    CommitBatch next;
    add_events(next, 1, seq, 1);
    add_events(next, 2, seq - 2, 1);
    ASSERT_EQ(store.commit_now(next, epoch), Taken::yes);
  }
  world.vfs().set_full(true);
  EXPECT_FALSE(store.fold_all().has_value());
  EXPECT_EQ(store.read_events(1, 0, SIZE_MAX)->frames, frames_of(1, 1, 40));
  EXPECT_EQ(store.read_events(1, 30, 1)->frames, frames_of(1, 31, 1));
  EXPECT_EQ(store.read_events(2, 10, SIZE_MAX)->frames, frames_of(2, 11, 28));
  EXPECT_EQ(store.load_session(1)->last_seq, 40U);
  world.vfs().set_full(false);
  EXPECT_TRUE(store.fold_all().has_value());
  EXPECT_EQ(store.read_events(1, 0, SIZE_MAX)->frames, frames_of(1, 1, 40));
}

TEST(SqliteStoreLog, WithPowerDurabilityEveryCommitIsTheLanes) {
  SimWorld world(1, Durability::power);
  Store& store = world.restart();
  const OwnerEpoch epoch = *store.open();
  CommitBatch batch;
  add_events(batch, 1, 1, 1);
  EXPECT_EQ(store.commit_now(batch, epoch), Taken::no);
}

TEST(SqliteStoreLog, ACopyHoldsWhatWasTakenUntilItsEnd) {
  SimWorld world;
  Store& store = world.restart();
  const OwnerEpoch epoch = *store.open();
  auto copy = store.begin_backup(world.second_path());
  ASSERT_TRUE(copy.has_value());
  CommitBatch batch;
  add_events(batch, 1, 1, 2);
  ASSERT_EQ(store.commit_now(batch, epoch), Taken::yes);
  while (*(*copy)->copy(1U << 20U)) {
  }
  copy->reset();
  Store& second = world.second();
  ASSERT_TRUE(second.open().has_value());
  EXPECT_EQ(second.read_events(1, 0, 1000)->frames, frames_of(1, 1, 2));
}

}  // namespace
}  // namespace berth::server
