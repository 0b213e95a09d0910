// core/deadline.h — a task that is asked to stop when its time is over.
#pragma once

#include <berth/core/result.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>

namespace berth::inline v0 {

/// The time that something has: a timer of somebody's loop (io/deadline.h), or of a test.
class Timeout {
 public:
  /// From now until end(): asks `group` to stop, once, when the time is over.
  virtual void begin(StopSource& group) = 0;
  /// Nothing comes after this. True when it was the timeout that asked `group` to stop.
  virtual bool end() = 0;

 protected:
  ~Timeout() = default;
};

/// Awaits `work`, which carries a token of `group`; a time that is over asks it to stop.
///
/// The deadline is a request too: `work` is waited for to its end, and if it succeeded all the same
/// its value is returned. Errors: those of `work`; `timed_out` (deadline) in place of its
/// `cancelled` when it was the deadline that stopped it. Cancellation: as `work`.
template <typename T>
Task<Result<T>> with_deadline(Timeout& timeout, StopSource& group, Task<Result<T>> work) {
  struct Running {
    explicit Running(Timeout& of, StopSource& group) : timeout(of) { timeout.begin(group); }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    ~Running() { end(); }
    bool end() { return !std::exchange(ended, true) && timeout.end(); }
    Timeout& timeout;
    bool ended = false;
  };
  Running running(timeout, group);
  Result<T> result = co_await std::move(work);
  const bool late = running.end();
  if (late && !result.has_value() && result.error().kind == ErrorKind::cancelled) {
    co_return fail(ErrorKind::timed_out, "deadline", "it did not end in time");
  }
  co_return result;
}

}  // namespace berth::inline v0
