// Pages side by side become one write, and nobody but the disk sees a difference.
#include "store_worlds.h"

#include <berth/server/store/gather_vfs.h>

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <array>

namespace berth::server {
namespace {

constexpr int kPage = 4096;

/// A file of a VFS, opened as SQLite opens it.
class OpenFile {
 public:
  OpenFile(const std::string& vfs_name, std::string path, int kind) : path_(std::move(path)) {
    sqlite3_vfs* vfs = sqlite3_vfs_find(vfs_name.c_str());
    memory_ = std::make_unique<char[]>(static_cast<std::size_t>(vfs->szOsFile));
    EXPECT_EQ(vfs->xOpen(vfs, path_.c_str(), file(),
                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | kind, nullptr),
              SQLITE_OK);
  }
  ~OpenFile() { close(); }

  int write(std::int64_t offset, const std::string& bytes) {
    return io().xWrite(file(), bytes.data(), static_cast<int>(bytes.size()), offset);
  }
  /// What xRead leaves in the buffer, and its answer.
  std::pair<int, std::string> read(std::int64_t offset, int amount) {
    std::string bytes(static_cast<std::size_t>(amount), '?');
    const int code = io().xRead(file(), bytes.data(), amount, offset);
    return {code, bytes};
  }
  std::int64_t size() {
    sqlite3_int64 found = -1;
    EXPECT_EQ(io().xFileSize(file(), &found), SQLITE_OK);
    return found;
  }
  int truncate(std::int64_t to) { return io().xTruncate(file(), to); }
  int sync(int flags) { return io().xSync(file(), flags); }
  void close() {
    if (memory_ != nullptr) io().xClose(file());
    memory_.reset();
  }

 private:
  sqlite3_file* file() { return reinterpret_cast<sqlite3_file*>(memory_.get()); }
  const sqlite3_io_methods& io() { return *file()->pMethods; }

  std::string path_;
  std::unique_ptr<char[]> memory_;
};

class GatherVfsTest : public testing::Test {
 protected:
  std::string page(char letter) { return std::string(kPage, letter); }
  std::uint64_t writes() const { return below_.operations(); }
  const DiskImage::File& on_disk(const std::string& path) { return disk_->files().at(path); }

  std::shared_ptr<DiskImage> disk_ = std::make_shared<DiskImage>();
  Prng random_{7};
  StillClock clock_;
  SimVfs below_{"gather-test", disk_, random_, clock_};
  GatherVfs gather_{"gather-test", false};
};

TEST_F(GatherVfsTest, WritesSideBySideAreOne) {
  OpenFile wal(gather_.name(), "/a-wal", SQLITE_OPEN_WAL);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(wal.write(i * (kPage + 24), std::string(24, 'h')), SQLITE_OK);
    EXPECT_EQ(wal.write(i * (kPage + 24) + 24, page('p')), SQLITE_OK);
  }
  EXPECT_EQ(writes(), 0U);
  EXPECT_EQ(wal.sync(SQLITE_SYNC_NORMAL), SQLITE_OK);
  EXPECT_EQ(writes(), 1U);
  EXPECT_EQ(on_disk("/a-wal").bytes.size(), 20U * (kPage + 24));
}

TEST_F(GatherVfsTest, NoWriteIsLargerThanTheSystemTakes) {
  OpenFile wal(gather_.name(), "/a-wal", SQLITE_OPEN_WAL);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(wal.write(i * kPage, page('p')), SQLITE_OK);
  EXPECT_EQ(wal.sync(SQLITE_SYNC_NORMAL), SQLITE_OK);
  EXPECT_EQ(on_disk("/a-wal").bytes.size(), 100U * kPage);
  EXPECT_EQ(writes(), 4U);
}

TEST_F(GatherVfsTest, OnlyTheSyncOfACommitStaysHere) {
  OpenFile wal(gather_.name(), "/a-wal", SQLITE_OPEN_WAL);
  EXPECT_EQ(wal.write(0, page('p')), SQLITE_OK);
  EXPECT_EQ(wal.sync(SQLITE_SYNC_NORMAL), SQLITE_OK);
  EXPECT_TRUE(on_disk("/a-wal").synced.empty());
  EXPECT_EQ(wal.sync(SQLITE_SYNC_FULL), SQLITE_OK);
  EXPECT_EQ(on_disk("/a-wal").synced, page('p'));

  OpenFile database(gather_.name(), "/a", SQLITE_OPEN_MAIN_DB);
  EXPECT_EQ(database.write(0, page('d')), SQLITE_OK);
  EXPECT_EQ(database.sync(SQLITE_SYNC_NORMAL), SQLITE_OK);
  EXPECT_EQ(on_disk("/a").synced, page('d'));

  GatherVfs durable("gather-test", true);
  OpenFile second(durable.name(), "/b-wal", SQLITE_OPEN_WAL);
  EXPECT_EQ(second.write(0, page('p')), SQLITE_OK);
  EXPECT_EQ(second.sync(SQLITE_SYNC_NORMAL), SQLITE_OK);
  EXPECT_EQ(on_disk("/b-wal").synced, page('p'));
}

TEST_F(GatherVfsTest, OtherFilesArePassedThrough) {
  OpenFile journal(gather_.name(), "/a-journal", SQLITE_OPEN_MAIN_JOURNAL);
  EXPECT_EQ(journal.write(0, page('j')), SQLITE_OK);
  EXPECT_EQ(on_disk("/a-journal").bytes, page('j'));
}

TEST_F(GatherVfsTest, AFailureIsToldAndWhatWaitedIsDropped) {
  OpenFile wal(gather_.name(), "/a-wal", SQLITE_OPEN_WAL);
  EXPECT_EQ(wal.write(0, page('a')), SQLITE_OK);
  below_.set_full(true);
  EXPECT_EQ(wal.sync(SQLITE_SYNC_NORMAL), SQLITE_FULL);
  below_.set_full(false);
  EXPECT_EQ(wal.sync(SQLITE_SYNC_NORMAL), SQLITE_OK);
  EXPECT_EQ(wal.size(), 0);
  EXPECT_EQ(wal.write(0, page('b')), SQLITE_OK);
  EXPECT_EQ(wal.sync(SQLITE_SYNC_NORMAL), SQLITE_OK);
  EXPECT_EQ(on_disk("/a-wal").bytes, page('b'));
}

TEST_F(GatherVfsTest, AWalThatIsReadInOrderIsReadAhead) {
  OpenFile wal(gather_.name(), "/a-wal", SQLITE_OPEN_WAL);
  constexpr int kFrame = kPage + 24;
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(wal.write(i * kFrame, std::string(kFrame, static_cast<char>(i))), SQLITE_OK);
  }
  EXPECT_EQ(wal.sync(SQLITE_SYNC_NORMAL), SQLITE_OK);
  const std::uint64_t before = below_.reads();
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(wal.read(i * kFrame + 24, kPage).second, page(static_cast<char>(i)));
  }
  EXPECT_LE(below_.reads() - before, 7U);
  EXPECT_EQ(wal.write(59 * kFrame, std::string(kFrame, 'x')), SQLITE_OK);
  EXPECT_EQ(wal.read(59 * kFrame + 24, kPage).second, page('x'));
}

/// The same random calls on a file with and one without it, of pages and heads of frames.
TEST_F(GatherVfsTest, WhatIsReadIsAlwaysWhatWasWritten) {
  for (const int kind : {SQLITE_OPEN_WAL, SQLITE_OPEN_MAIN_DB}) {
    SCOPED_TRACE(kind);
    OpenFile gathered(gather_.name(), "/gathered", kind);
    OpenFile plain("gather-test", "/plain", kind);
    std::int64_t at = 0;
    for (int step = 0; step < 20'000; ++step) {
      if (random_.below(4) == 0) at = static_cast<std::int64_t>(random_.below(64)) * (kPage + 24);
      const int amount = random_.below(2) == 0 ? kPage : 24;
      switch (random_.below(16)) {
        case 0:
          ASSERT_EQ(gathered.size(), plain.size());
          break;
        case 1:
          ASSERT_EQ(gathered.truncate(at), plain.truncate(at));
          break;
        case 2:
          ASSERT_EQ(gathered.sync(SQLITE_SYNC_NORMAL), plain.sync(SQLITE_SYNC_NORMAL));
          ASSERT_TRUE(on_disk("/gathered").bytes == on_disk("/plain").bytes) << step;
          break;
        case 3:
        case 4:
        case 5:
        case 6:
        case 7: {
          ASSERT_TRUE(gathered.read(at, amount) == plain.read(at, amount)) << step;
          at += amount + (random_.below(2) == 0 ? 24 : 0);
          break;
        }
        default: {
          const std::string bytes(static_cast<std::size_t>(amount),
                                  static_cast<char>('a' + step % 26));
          ASSERT_EQ(gathered.write(at, bytes), plain.write(at, bytes));
          at += amount;
        }
      }
    }
    gathered.close();
    plain.close();
    EXPECT_TRUE(on_disk("/gathered").bytes == on_disk("/plain").bytes);
  }
}

TEST(GatherVfs, AStoreWritesACommitOfManyPagesAtOnce) {
  SimWorld world;
  Store& store = world.restart();
  const Result<OwnerEpoch> epoch = store.open();
  ASSERT_TRUE(epoch.has_value());
  CommitBatch batch;
  add_events(batch, 1, 1, 200, 500);
  const std::uint64_t before = world.vfs().operations();
  ASSERT_EQ(store.commit(batch, *epoch).outcome, CommitOutcome::committed);
  EXPECT_LE(world.vfs().operations() - before, 3U);
}

TEST(GatherVfs, AStoreOverAnUnknownVfsSaysSo) {
  SqliteStore store(SqliteOptions{"/store.db", "no-such-vfs"});
  EXPECT_STREQ(store.open().error().code, "store_failed");
}

}  // namespace
}  // namespace berth::server
