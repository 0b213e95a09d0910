// core/executor.h — where something ready to run is queued, so that nobody runs inside somebody
// else's callback.
#pragma once

#include <berth/core/intrusive.h>

#include <coroutine>

namespace berth::inline v0 {

/// Something to run once, owned by its poster, who keeps it alive until it ran or unlinks it.
class Runnable : public ListNode {
 public:
  virtual void run() = 0;

 protected:
  ~Runnable() = default;
};

/// A shard's queue of runnables. Single-threaded: post only from the shard's own thread.
class Executor {
 public:
  virtual ~Executor() = default;
  /// Runs `runnable` later in this turn of the loop, in order of posting, never inside this call.
  virtual void post(Runnable& runnable) = 0;
};

/// Resumes a coroutine by way of the executor; lives in the awaiter, thus in the frame.
class ResumeLater final : public Runnable {
 public:
  void arm(Executor& executor, std::coroutine_handle<> handle) {
    handle_ = handle;
    executor.post(*this);
  }
  void run() override { handle_.resume(); }

 private:
  std::coroutine_handle<> handle_;
};

}  // namespace berth::inline v0
