// tests/unit/io/loop.h — a real reactor that a test turns until something has happened, with a
// bound.
#pragma once

#include <berth/core/assert.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/member_timer.h>
#include <berth/io/uring_ring.h>

#include <chrono>
#include <memory>

namespace berth::inline v0::io {

class Loop {
 public:
  Loop() {
    auto created = make_uring_reactor();
    BERTH_ASSERT(created.has_value());
    reactor_ = std::move(*created);
  }
  Reactor& reactor() { return *reactor_; }
  /// One turn, without waiting.
  void turn() { reactor_->poll(); }
  /// Turns the loop until `happened()`; false if it has not within ten seconds.
  template <typename Fn>
  bool run_until(Fn happened) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!happened()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      if (!reactor_->poll()) wait_a_little();
    }
    return true;
  }

 private:
  /// Two milliseconds inside of the reactor, which serves what comes meanwhile.
  void wait_a_little() {
    MemberTimer<&Reactor::stop> wake(*reactor_);
    reactor_->arm(wake, reactor_->clock().now() + std::chrono::milliseconds(2));
    reactor_->run();
  }
  std::unique_ptr<Reactor> reactor_;
};

}  // namespace berth::inline v0::io
