// core/wait.h — one coroutine that waits in line for something on its shard, and may be told to
// stop.
#pragma once

#include <berth/core/executor.h>
#include <berth/core/stop.h>

#include <coroutine>

namespace berth::inline v0::detail {

/// Base of the awaiters of sync.h, mutex.h, semaphore.h, channel.h and gate.h. It lies in the frame
/// of the coroutine that waits: first linked in the line of the thing that it waits for, then, once
/// granted or stopped, in the queue of the executor.
///
/// One rule for all of them: a token that has stopped ends the wait at once and takes nothing;
/// while waiting, whatever comes first counts, and what was granted is never taken back.
class Waiting : public Runnable {
 public:
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;

  /// It has what it waited for: leaves the line and resumes by way of the executor.
  void grant() {
    unlink();
    on_stop_.unlink();
    granted_ = true;
    executor_.post(*this);
  }

 protected:
  Waiting(Executor& executor, StopToken stop) : executor_(executor), stop_(stop), on_stop_(*this) {}
  ~Waiting() = default;

  bool stopped() const { return stop_.stop_requested(); }
  bool granted() const { return granted_; }
  void grant_without_waiting() { granted_ = true; }

  /// To be called after this was linked in a line.
  void wait(std::coroutine_handle<> handle) {
    handle_ = handle;
    stop_.listen(on_stop_);
  }
  /// It has left the line because it was told to stop: somebody behind it may be next.
  virtual void left_line() {}

 private:
  struct OnStop final : StopListener {
    explicit OnStop(Waiting& owner) : waiting(owner) {}
    void on_stop() override {
      waiting.unlink();
      waiting.executor_.post(waiting);
      waiting.left_line();
    }
    Waiting& waiting;
  };
  void run() override { handle_.resume(); }

  Executor& executor_;
  StopToken stop_;
  OnStop on_stop_;
  std::coroutine_handle<> handle_;
  bool granted_ = false;
};

}  // namespace berth::inline v0::detail
