// io/broadcast.h — one log, many readers: each is a cursor, none is a queue.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/intrusive.h>
#include <berth/core/slice.h>
#include <berth/io/port.h>
#include <berth/io/reactor.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace berth::inline v0::io {

class BroadcastCursor;

struct BroadcastLimits {
  std::size_t bytes_max = 4 * 1024 * 1024;  ///< Of the entries that are kept; the newest always is.
  std::size_t entries_max = 8192;           ///< Kept entries; 24 bytes each are taken at once.
  std::size_t burst_bytes = 256 * 1024;     ///< One write of one cursor stops growing above this.
  std::size_t parts_max = 64;               ///< Entries in one write; at most IOV_MAX.
  /// A cursor whose outlet takes nothing for so long is ended (half of it sooner or later). Zero:
  /// never.
  Duration stall_max = std::chrono::seconds(30);
};

struct BroadcastStats {
  std::uint64_t writes = 0;
  std::uint64_t deliveries = 0;  ///< Entries handed to an outlet.
  std::uint64_t lags = 0;
  std::uint64_t stalls = 0;
};

/// The newest entries of a log, numbered without a gap. What was appended in one turn of the loop
/// becomes visible at its end, and goes to each cursor in one write: on TCP the number of writes is
/// the cost. Bounded whatever the readers do: what is dropped from here, a slow cursor has to get
/// from elsewhere. Delivering allocates nothing once each cursor has seen its longest write.
///
/// On one shard; outlives its cursors.
class Broadcast final : private TurnHook, private TimerOp, private Runnable {
 public:
  explicit Broadcast(Reactor& reactor, BroadcastLimits limits = {}, std::uint64_t first_seq = 1);
  ~Broadcast();
  Broadcast(const Broadcast&) = delete;
  Broadcast& operator=(const Broadcast&) = delete;

  /// Adds an entry (not empty) and returns its number. Its bytes never change, and are held as long
  /// as the entry is kept or a cursor writes it; several entries may be parts of one block, which
  /// then lives as long as any of them. Cheap: who reads learns of it at the end of the turn.
  std::uint64_t append(Slice entry);

  /// The oldest entry that is kept, or the next one if there is none.
  std::uint64_t first_seq() const { return next_ - count_; }
  /// The number that the next entry gets.
  std::uint64_t next_seq() const { return next_; }
  std::size_t bytes() const { return bytes_; }
  std::size_t cursors() const { return cursors_; }
  const BroadcastStats& stats() const { return stats_; }

 private:
  friend class BroadcastCursor;

  struct Node : ListNode {
    explicit Node(BroadcastCursor& owner) : cursor(owner) {}
    BroadcastCursor& cursor;
  };

  void on_turn_end() override;
  void on_timer() override;
  void run() override {}  // its posting alone is of use: there will be an end of a turn
  const Slice& entry(std::uint64_t seq) const { return ring_[seq % ring_.size()]; }
  void watch_stalls();

  Reactor& reactor_;
  const BroadcastLimits limits_;
  std::vector<Slice> ring_;
  std::uint64_t next_;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;
  bool dirty_ = false;        // something was appended since the last end of a turn
  IntrusiveList<Node> idle_;  // cursors that have seen all
  IntrusiveList<Node> writing_;
  std::size_t cursors_ = 0;
  BroadcastStats stats_;
};

/// One reader: a position and one write in flight. Derive to say what becomes of it. Lives until
/// on_end() (or before it joined); not thread-safe.
class BroadcastCursor : private WriteOp {
 public:
  /// Both outlive it. Nobody else writes to `outlet` while the cursor has joined.
  BroadcastCursor(Broadcast& log, Outlet& outlet) : log_(log), outlet_(outlet), node_(*this) {}

  /// Begins (again, after on_lag) with entry `seq`, at most log.next_seq(). False, and nothing
  /// happens, when that is not kept any more: get it from elsewhere first.
  bool join(std::uint64_t seq);
  /// Asks for the end: on_end(ECANCELED) comes later, once. For who has joined or lags.
  void leave();

  /// The first entry that was not handed to the outlet.
  std::uint64_t position() const { return position_; }

 protected:
  ~BroadcastCursor() { BERTH_ASSERT(state_ == State::out); }
  /// Entry position() was dropped before it could be written. The outlet is free until join() or
  /// leave(), one of which has to follow: that is the policy.
  virtual void on_lag() = 0;
  /// It has left: ECANCELED after leave(), ETIMEDOUT when it was stuck, else why the write failed.
  /// Called once, last; may destroy this.
  virtual void on_end(int error) = 0;

 private:
  friend class Broadcast;
  class Ending final : public Runnable {
   public:
    explicit Ending(BroadcastCursor& cursor) : cursor_(cursor) {}
    void run() override { cursor_.end(ECANCELED); }

   private:
    BroadcastCursor& cursor_;
  };
  enum class State : std::uint8_t { out, idle, writing, lagging, ending };

  void on_written(int error) override;
  void pump();
  void end(int error);

  Broadcast& log_;
  Outlet& outlet_;
  Broadcast::Node node_;
  Ending ending_{*this};
  State state_ = State::out;
  std::uint64_t position_ = 0;
  SliceChain chain_;  // what is being written
  std::vector<iovec> iovecs_;
  std::size_t written_before_ = 0;
  bool moved_ = false;   // a write began since the last look for stalls
  int quiet_looks_ = 0;  // without progress
  int why_ = 0;          // it is ended
};

}  // namespace berth::inline v0::io
