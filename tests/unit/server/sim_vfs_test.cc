// The simulated disk itself: what survives which death.
#include "store_worlds.h"

#include <berth/server/store/sqlite_db.h>

#include <gtest/gtest.h>

namespace berth::server {
namespace {

class SimDisk : public testing::Test {
 protected:
  std::unique_ptr<SqliteDb> open(const char* synchronous) {
    Result<std::unique_ptr<SqliteDb>> db = SqliteDb::open("/x.db", "disk-test");
    EXPECT_TRUE((*db)->run(std::string("PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; "
                                       "PRAGMA synchronous=") +
                           synchronous));
    return std::move(*db);
  }

  Prng random_{3};
  StillClock clock_;
  std::shared_ptr<DiskImage> disk_ = std::make_shared<DiskImage>();
  SimVfs vfs_{"disk-test", disk_, random_, clock_};
};

TEST_F(SimDisk, KeepsFilesForTheNextConnection) {
  ASSERT_TRUE(open("FULL")->run("CREATE TABLE t(x); INSERT INTO t VALUES(7)"));
  EXPECT_EQ(*open("FULL")->integer_of("SELECT x FROM t"), 7);
}

TEST_F(SimDisk, TheClockOfSqliteIsTheInjectedOne) {
  EXPECT_EQ(*open("FULL")->value_of("SELECT strftime('%s', 'now')"), "1795000000");
}

TEST_F(SimDisk, AFrozenProcessChangesNothingAnyMore) {
  auto db = open("FULL");
  ASSERT_TRUE(db->run("CREATE TABLE t(x)"));
  const std::string before = disk_->files().at("/x.db-wal").bytes;
  vfs_.freeze();
  EXPECT_FALSE(db->run("INSERT INTO t VALUES(1)"));
  db.reset();
  EXPECT_EQ(disk_->files().at("/x.db-wal").bytes, before);
}

TEST_F(SimDisk, APowerCutTakesWhatWasNotSynced) {
  disk_->files()["/f"] = {.bytes = "old", .synced = "old", .entry_synced = true};
  int lost = 0;
  int kept = 0;
  int torn = 0;
  for (int i = 0; i < 200; ++i) {
    DiskImage::File& file = disk_->files().at("/f");
    const std::string written(2048, 'n');
    file = {.bytes = written, .synced = "", .pending = {{0, written, false}}, .entry_synced = true};
    disk_->lose_power(random_);
    lost += file.bytes.empty() ? 1 : 0;
    kept += file.bytes == written ? 1 : 0;
    torn += !file.bytes.empty() && file.bytes.size() < written.size() ? 1 : 0;
  }
  EXPECT_GT(lost, 20);
  EXPECT_GT(kept, 20);
  EXPECT_GT(torn, 20);
}

TEST_F(SimDisk, FreezesInTheMiddleOfTheOperationThatWasNamed) {
  auto db = open("FULL");
  ASSERT_TRUE(db->run("CREATE TABLE t(x)"));
  const std::uint64_t before = vfs_.operations();
  vfs_.freeze_at(2);
  EXPECT_FALSE(db->run("INSERT INTO t VALUES(1)"));
  EXPECT_TRUE(vfs_.frozen());
  EXPECT_EQ(vfs_.operations(), before + 2);
}

}  // namespace
}  // namespace berth::server
