// core/mutex.h — one coroutine at a time, across its suspensions, in the order of asking.
#pragma once

#include <berth/core/semaphore.h>

namespace berth::inline v0 {

/// For what must not interleave although it suspends (a protocol exchange on one connection).
/// Unlocking hands it to whoever waits longest: nobody barges in between. Must outlive its waiters
/// and its guard. Single-threaded: it guards against other coroutines, not against threads.
class Mutex {
 public:
  explicit Mutex(Executor& executor) : one_(executor, 1) {}

  /// Unlocks when destroyed, or by release(). False when it holds nothing.
  using Guard = Semaphore::Permits;

  /// `co_await mutex.lock(stop)` -> Guard; it holds nothing when stop was asked first.
  /// Cancellation: total.
  auto lock(StopToken stop = {}) { return one_.acquire(1, stop); }
  Guard try_lock() { return one_.try_acquire(1); }
  bool locked() const { return one_.free() == 0; }

 private:
  Semaphore one_;
};

}  // namespace berth::inline v0
