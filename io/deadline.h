// io/deadline.h — a deadline kept by a reactor's timer.
#pragma once

#include <berth/core/deadline.h>
#include <berth/io/reactor.h>

#include <utility>

namespace berth::inline v0::io {

/// The time until `when` on a reactor's clock. On the reactor's thread.
class ReactorTimeout final : public Timeout, private TimerOp {
 public:
  ReactorTimeout(Reactor& reactor, TimePoint when) : reactor_(reactor), when_(when) {}

  void begin(StopSource& group) override {
    group_ = &group;
    reactor_.arm(*this, when_);
  }
  bool end() override {
    if (started()) reactor_.disarm(*this);
    return fired_;
  }

 private:
  void on_timer() override {
    if (group_->stop_requested()) return;  // somebody else was first
    fired_ = true;
    group_->request_stop();
  }

  Reactor& reactor_;
  TimePoint when_;
  StopSource* group_ = nullptr;
  bool fired_ = false;
};

/// berth::with_deadline against the clock of `reactor`: at `when`, `group` is asked to stop.
template <typename T>
Task<Result<T>> with_deadline(Reactor& reactor, TimePoint when, StopSource& group,
                              Task<Result<T>> work) {
  ReactorTimeout timeout(reactor, when);
  Result<T> result = co_await berth::with_deadline(timeout, group, std::move(work));
  co_return result;
}

}  // namespace berth::inline v0::io
