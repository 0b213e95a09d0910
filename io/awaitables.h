// io/awaitables.h — coroutine faces of reactor operations that are waited for one at a time.
#pragma once

#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/reactor.h>

#include <coroutine>

namespace berth::inline v0::io {

/// `co_await Sleep(reactor, when, stop)`: true when the time came, false when stop was asked first.
/// Cancellation: total.
class Sleep final : private TimerOp, private StopListener {
 public:
  Sleep(Reactor& reactor, TimePoint when, StopToken stop = {})
      : reactor_(reactor), when_(when), stop_(stop) {}

  bool await_ready() const { return stop_.stop_requested(); }
  void await_suspend(std::coroutine_handle<> handle) {
    handle_ = handle;
    reactor_.arm(*this, when_);
    stop_.listen(*this);
  }
  bool await_resume() const { return fired_; }

 private:
  void on_timer() override {
    StopListener::unlink();
    fired_ = true;
    resume_.arm(reactor_, handle_);
  }
  void on_stop() override {
    reactor_.disarm(*this);
    resume_.arm(reactor_, handle_);
  }

  Reactor& reactor_;
  TimePoint when_;
  StopToken stop_;
  std::coroutine_handle<> handle_;
  ResumeLater resume_;
  bool fired_ = false;
};

}  // namespace berth::inline v0::io
