// core/gate.h — counts who is inside, so that something can be closed when the last one has left.
#pragma once

#include <berth/core/assert.h>
#include <berth/core/sync.h>

#include <cstddef>
#include <utility>

namespace berth::inline v0 {

/// In front of a resource that many use and one ends: users enter, close() refuses new ones and
/// waits for those inside. Must outlive its passes and waiters. Single-threaded.
class Gate {
 public:
  explicit Gate(Executor& executor) : empty_(executor) {}
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate() { BERTH_ASSERT(inside_ == 0); }

  /// Being inside; ends when this is destroyed, or by leave(). False when the gate was closed.
  class [[nodiscard]] Pass {
   public:
    Pass() = default;
    Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Pass& operator=(Pass&& other) noexcept {
      if (this != &other) {
        leave();
        gate_ = std::exchange(other.gate_, nullptr);
      }
      return *this;
    }
    ~Pass() { leave(); }
    explicit operator bool() const { return gate_ != nullptr; }
    void leave() {
      if (Gate* gate = std::exchange(gate_, nullptr)) gate->left();
    }

   private:
    friend class Gate;
    explicit Pass(Gate& gate) : gate_(&gate) {}
    Gate* gate_ = nullptr;
  };

  Pass enter() {
    if (closed_) return {};
    ++inside_;
    return Pass(*this);
  }

  /// `co_await gate.close(stop)`: closed from the call on, for good; true when the last one has
  /// left, false when stop was asked first (call it again to wait again). Cancellation: total.
  auto close(StopToken stop = {}) {
    closed_ = true;
    if (inside_ == 0) empty_.set();
    return empty_.wait(stop);
  }
  bool closed() const { return closed_; }
  std::size_t inside() const { return inside_; }

 private:
  void left() {
    --inside_;
    if (closed_ && inside_ == 0) empty_.set();
  }

  std::size_t inside_ = 0;
  bool closed_ = false;
  Event empty_;
};

}  // namespace berth::inline v0
