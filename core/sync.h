// core/sync.h — waiting for something on the same shard: Event, and OneShot for a single value.
//
// Their kin, one a file: mutex.h, semaphore.h, channel.h, gate.h.
#pragma once

#include <berth/core/wait.h>

#include <optional>
#include <utility>

namespace berth::inline v0 {

/// Wakes all waiters when set and stays set until reset. Waiters resume by way of the executor, in
/// order of waiting, never inside set(). Must outlive its waiters. Single-threaded.
class Event {
 public:
  explicit Event(Executor& executor) : executor_(executor) {}

  void set() {
    set_ = true;
    while (Awaiter* waiter = waiters_.front()) waiter->grant();
  }
  void reset() { set_ = false; }
  bool is_set() const { return set_; }

  /// `co_await event.wait(stop)`: true when it was set, false when stop was asked first.
  /// Cancellation: total.
  auto wait(StopToken stop = {}) { return Awaiter(*this, stop); }

 private:
  class Awaiter final : public detail::Waiting {
   public:
    Awaiter(Event& event, StopToken stop) : Waiting(event.executor_, stop), event_(event) {}
    bool await_ready() {
      if (stopped()) return true;
      if (event_.set_) grant_without_waiting();
      return event_.set_;
    }
    void await_suspend(std::coroutine_handle<> handle) {
      event_.waiters_.push_back(*this);
      wait(handle);
    }
    bool await_resume() const { return granted(); }

   private:
    Event& event_;
  };

  Executor& executor_;
  IntrusiveList<Awaiter> waiters_;
  bool set_ = false;
};

/// A value that is given once and taken once. The first of several givers wins.
template <typename T>
class OneShot {
 public:
  explicit OneShot(Executor& executor) : given_(executor) {}

  bool given() const { return given_.is_set(); }
  /// False if a value was given before; then `value` is dropped.
  bool give(T value) {
    if (given_.is_set()) return false;
    value_.emplace(std::move(value));
    given_.set();
    return true;
  }
  /// As Event::wait: true when a value is there to take.
  auto wait(StopToken stop = {}) { return given_.wait(stop); }
  /// The value; only after given().
  T take() { return std::move(*value_); }

 private:
  Event given_;
  std::optional<T> value_;
};

}  // namespace berth::inline v0
