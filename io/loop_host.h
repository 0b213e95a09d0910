// io/loop_host.h — somebody else's loop, in which a reactor takes its turns.
#pragma once

#include <atomic>

namespace berth::inline v0::io {

/// Told by a reactor whenever what wait_fd() and next_deadline() say may have changed. Owned by the
/// reactor. Never runs a turn inside of these calls, but for run().
class LoopHost {
 public:
  virtual ~LoopHost() = default;
  /// Something was started, armed, posted or cancelled outside of a turn.
  virtual void on_outside_work() = 0;
  /// A turn has ended.
  virtual void on_turn_end() = 0;
  /// post_remote() or stop(), on any thread: wait_fd() is readable now.
  virtual void on_wake() = 0;
  /// Reactor::run(): runs the loop, and with it the turns, until `stop`, or until somebody else
  /// ended the loop.
  virtual void run(const std::atomic<bool>& stop) = 0;
};

}  // namespace berth::inline v0::io
