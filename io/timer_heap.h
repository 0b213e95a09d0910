// io/timer_heap.h — the armed timers of one reactor, soonest first; equal times in order of arming.
#pragma once

#include <berth/core/clock.h>
#include <berth/io/reactor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace berth::inline v0::io {

/// A 4-ary heap whose elements know their place (in the operation's engine word): arming, moving
/// and disarming cost O(log n) and allocate only when the heap grows past its largest size so far.
/// Timers are owned by their armers.
class TimerHeap {
 public:
  TimerHeap();

  /// Adds `timer`, or moves it when it is in.
  void insert(TimerOp& timer, TimePoint when);
  /// Takes `timer` out; false when it was not in.
  bool remove(TimerOp& timer);
  /// Takes out the soonest timer that is due at `now`, or null.
  TimerOp* pop_due(TimePoint now);

  std::optional<TimePoint> next() const;
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    TimePoint when;
    std::uint64_t order;
    TimerOp* timer;
    bool before(const Entry& other) const {
      return when != other.when ? when < other.when : order < other.order;
    }
  };

  void place(std::size_t index, const Entry& entry);
  void sift_up(std::size_t index, const Entry& entry);
  void sift_down(std::size_t index, const Entry& entry);
  void remove_at(std::size_t index);

  std::vector<Entry> entries_;
  std::uint64_t next_order_ = 0;
};

}  // namespace berth::inline v0::io
