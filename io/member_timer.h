// io/member_timer.h — a timer that calls one member function of its owner.
#pragma once

#include <berth/io/reactor.h>

namespace berth::inline v0::io {

template <auto kMember>
class MemberTimer;

/// `MemberTimer<&Session::on_grace_over> grace_{*this};` calls `on_grace_over()` each time it
/// fires. The owner outlives it, and disarms it before it goes.
template <typename T, void (T::*kMember)()>
class MemberTimer<kMember> final : public TimerOp {
 public:
  explicit MemberTimer(T& owner) : owner_(owner) {}
  void on_timer() override { (owner_.*kMember)(); }

 private:
  T& owner_;
};

}  // namespace berth::inline v0::io
