// core/sync.h — waiting for something on the same shard: Event, and OneShot for a single value.
#pragma once

#include <berth/core/executor.h>

#include <optional>
#include <utility>

namespace berth {

/// Wakes all waiters when set and stays set until reset. Waiters resume by way of the executor, in
/// order of waiting, never inside set(). Must outlive its waiters. Single-threaded.
class Event {
 public:
  explicit Event(Executor& executor) : executor_(executor) {}

  void set() {
    set_ = true;
    while (Waiter* waiter = waiters_.pop_front()) waiter->resume.arm(executor_, waiter->handle);
  }
  void reset() { set_ = false; }
  bool is_set() const { return set_; }

  auto wait() { return Awaiter{*this, {}}; }

 private:
  struct Waiter : ListNode {
    std::coroutine_handle<> handle;
    ResumeLater resume;
  };
  struct Awaiter {
    Event& event;
    Waiter waiter;
    bool await_ready() const noexcept { return event.set_; }
    void await_suspend(std::coroutine_handle<> handle) {
      waiter.handle = handle;
      event.waiters_.push_back(waiter);
    }
    void await_resume() const noexcept {}
  };

  Executor& executor_;
  IntrusiveList<Waiter> waiters_;
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
  auto wait() { return given_.wait(); }
  /// The value; only after given().
  T take() { return std::move(*value_); }

 private:
  Event given_;
  std::optional<T> value_;
};

}  // namespace berth
