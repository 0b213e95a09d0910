// tests/unit/server/store_worlds.h — stores to test, each with a disk that outlives it, and batches
// to write.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/prng.h>
#include <berth/server/store/lost_answer_store.h>
#include <berth/server/store/sim_vfs.h>
#include <berth/server/store/sqlite_store.h>
#include <berth/server/store/store.h>

#include <fmt/format.h>
#include <stdlib.h>
#include <filesystem>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

namespace berth::server {

class StillClock final : public Clock {
 public:
  TimePoint now() const override { return {}; }
  WallTime wall() const override { return WallTime(1'795'000'000'000); }
};

/// A disk and a way to open a store on it, again and again.
class StoreWorld {
 public:
  virtual ~StoreWorld() = default;
  /// A new store, not open yet; the one before is gone.
  virtual Store& restart() = 0;
  /// The name of another file on the same disk.
  virtual std::string second_path() const = 0;
  /// A store in that file, not open yet; lives as long as the world.
  virtual Store& second() = 0;
};

/// The real SQLite on the simulated disk.
class SimWorld : public StoreWorld {
 public:
  explicit SimWorld(std::uint64_t seed = 1, Durability durability = Durability::process,
                    std::shared_ptr<DiskImage> disk = std::make_shared<DiskImage>())
      : random_(seed), durability_(durability), disk_(std::move(disk)) {}

  SqliteStore& restart() override {
    store_.reset();
    second_.reset();
    vfs_.reset();
    vfs_ = std::make_unique<SimVfs>("store-world", disk_, random_, clock_);
    store_ = std::make_unique<SqliteStore>(options());
    return *store_;
  }
  std::string second_path() const override { return "/second.db"; }
  Store& second() override {
    second_ =
        std::make_unique<SqliteStore>(SqliteOptions{second_path(), "store-world", durability_});
    return *second_;
  }
  /// The process dies where it is; what is on the disk stays.
  void kill() {
    vfs_->freeze();
    store_.reset();
  }
  SqliteOptions options() const { return {"/store.db", "store-world", durability_}; }
  SimVfs& vfs() { return *vfs_; }
  DiskImage& disk() { return *disk_; }
  Prng& random() { return random_; }

 private:
  Prng random_;
  Durability durability_;
  StillClock clock_;
  std::shared_ptr<DiskImage> disk_;
  std::unique_ptr<SimVfs> vfs_;
  std::unique_ptr<SqliteStore> store_;
  std::unique_ptr<SqliteStore> second_;
};

/// The same behind a wire that loses every second answer.
class LostAnswerWorld final : public StoreWorld {
 public:
  Store& restart() override {
    lossy_ = std::make_unique<LostAnswerStore>(below_.restart(), random_, 2);
    return *lossy_;
  }
  std::string second_path() const override { return below_.second_path(); }
  Store& second() override {
    lossy_second_ = std::make_unique<LostAnswerStore>(below_.second(), random_, 2);
    return *lossy_second_;
  }

 private:
  Prng random_{7};
  SimWorld below_;
  std::unique_ptr<LostAnswerStore> lossy_;
  std::unique_ptr<LostAnswerStore> lossy_second_;
};

/// The real SQLite on real files.
class FileWorld final : public StoreWorld {
 public:
  FileWorld() {
    std::string folder = (std::filesystem::temp_directory_path() / "store_test.XXXXXX").string();
    if (mkdtemp(folder.data()) != nullptr) folder_ = folder;
  }
  ~FileWorld() override {
    store_.reset();
    second_.reset();
    std::error_code ignored;
    if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
  }
  Store& restart() override {
    store_.reset();
    store_ = std::make_unique<SqliteStore>(SqliteOptions{path()});
    return *store_;
  }
  std::string second_path() const override { return folder_ + "/second.db"; }
  Store& second() override {
    second_ = std::make_unique<SqliteStore>(SqliteOptions{second_path()});
    return *second_;
  }
  std::string path() const { return folder_ + "/store.db"; }

 private:
  std::string folder_;
  std::unique_ptr<SqliteStore> store_;
  std::unique_ptr<SqliteStore> second_;
};

/// Each implementation and decorator, for the tests of what all of them promise.
struct WorldKind {
  const char* name;
  std::function<std::unique_ptr<StoreWorld>()> make;
};

inline void PrintTo(const WorldKind& kind, std::ostream* out) {
  *out << kind.name;
}

inline std::vector<WorldKind> store_worlds() {
  return {{"SqliteOnSimDisk", [] { return std::make_unique<SimWorld>(); }},
          {"SqliteOnFiles", [] { return std::make_unique<FileWorld>(); }},
          {"SqliteWithLostAnswers", [] { return std::make_unique<LostAnswerWorld>(); }}};
}

/// What `count` events of a session look like in the log from `first_seq` on; a function of its
/// arguments.
inline std::string frames_of(SessionNo session, std::uint64_t first_seq, std::uint32_t count,
                             std::size_t text_bytes = 10) {
  std::string frames;
  for (std::uint64_t seq = first_seq; seq < first_seq + count; ++seq) {
    frames +=
        fmt::format("id: {}\nevent: agent.update\ndata: {{\"seq\":{},\"text\":\"s{} {}\"}}\n\n",
                    seq, seq, session, std::string(text_bytes, static_cast<char>('a' + seq % 26)));
  }
  return frames;
}

inline void add_events(CommitBatch& batch, SessionNo session, std::uint64_t first_seq,
                       std::uint32_t count, std::size_t text_bytes = 10) {
  auto run = std::make_shared<EventRun>();
  *run = {session, first_seq, count, ByteBuffer(frames_of(session, first_seq, count, text_bytes))};
  batch.event_bytes += run->frames.size();
  batch.event_count += count;
  batch.runs.push_back(std::move(run));
}

/// Submits the same batch until the answer is known, as the journal does.
inline CommitOutcome commit_until_known(Store& store, const CommitBatch& batch, OwnerEpoch epoch) {
  CommitAnswer answer;
  for (int tries = 0; tries < 100; ++tries) {
    answer = store.commit(batch, epoch);
    if (answer.outcome != CommitOutcome::unknown) break;
  }
  return answer.outcome;
}

}  // namespace berth::server
