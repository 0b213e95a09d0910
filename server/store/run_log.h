// server/store/run_log.h — an append-only file in front of the database: small commits of events
// lie in it until they are folded into rows.
#pragma once

#include <berth/core/result.h>
#include <berth/server/store/commit.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace berth::server {

class VfsFile;

/// Where the database and the file in front of it meet; a row of the database holds it.
struct LogMark {
  std::int64_t salt = 0;    ///< Of this life of the store; what carries another is left over.
  std::int64_t folded = 0;  ///< All generations up to this one are in the database.
};

/// Why, and what may be believed after which death: docs/decisions/007-log-in-front.md.
///
/// The file has two halves, used in turns: one takes what comes while the other is folded. Each use
/// of a half is a *generation* with a number of its own, and each frame carries the life's salt,
/// its generation, and the sum of the frame before it; the first behind a commit of the database
/// carries 0. So what is read back is always a beginning of what was appended, right behind what
/// the database holds.
///
/// append() comes from the shard's thread, all else from the lane's; they may overlap, but
/// nothing is appended between pending() and restart().
class RunLog {
 public:
  /// What lies in one generation: `bytes` of frames.
  struct Part {
    std::int64_t generation = 0;
    std::size_t bytes = 0;
  };
  /// Batches with more bytes of events than this are not for the file: the database takes them in
  /// less time than both would need.
  static constexpr std::size_t kBatchBytesMax = std::size_t{64} << 10U;

  /// `vfs` as for SqliteDb. Touches no file.
  RunLog(std::string path, std::string vfs);
  ~RunLog();

  /// What an earlier life left behind `mark`, runs of a session joined; none without a file.
  Result<std::vector<EventRun>> recover(const LogMark& mark);
  /// The database now says `salt`, and that generation 0 is folded. From here on append() takes.
  void start(std::int64_t salt);

  bool started() const { return salt_ != 0; }

  /// For the shard's thread.
  Taken append(const CommitBatch& batch);

  /// Closes the current generation, so that it can be folded while others are appended; unless one
  /// is closed already, as by an append() just now.
  void seal();
  /// The generation that is closed and waits.
  std::optional<Part> sealed();
  /// Everything that waits, in order.
  std::vector<Part> pending();
  /// The runs of some parts, those of a session joined to about a page. Errors: `internal`
  /// "store_corrupt" when they are not what was written, those of the disk.
  Result<std::vector<EventRun>> read(const std::vector<Part>& parts);
  /// The database has the closed generation.
  void folded();
  /// The generation that is written; or will be.
  std::int64_t generation();
  /// The database has everything, and more than what was appended: a new generation begins.
  void restart();
  /// Deletes the file. Nothing is pending.
  void remove();

 private:
  Result<void> open_reader();

  const std::string path_;
  const std::string vfs_;
  std::string buffer_;               // append(): a frame on its way
  std::unique_ptr<VfsFile> writer_;  // append()'s own
  std::unique_ptr<VfsFile> reader_;  // the lane's own
  std::mutex mutex_;                 // guards what follows
  std::int64_t salt_ = 0;            // 0: not started
  std::int64_t generation_ = 1;      // that is appended to
  std::size_t end_ = 0;              // of its frames
  std::uint64_t sum_ = 0;            // of the last frame; 0 = the next one follows the database
  std::optional<Part> sealed_;       // the one before, when it is not folded yet
  bool broken_ = false;              // a write failed: nothing more until restart()
};

}  // namespace berth::server
