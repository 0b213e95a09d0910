// git/patience.h — how long a blocking git call may go on: a deadline, a cancel flag, both or none.
#pragma once

#include <berth/core/result.h>
#include <berth/git/steps.h>

#include <atomic>
#include <chrono>
#include <optional>

namespace berth::git {

/// Asked between files and objects, not within one. Copy freely; `cancelled` must outlive the call.
struct Patience {
  /// Set by any thread; the call then ends with `cancelled`.
  const std::atomic<bool>* cancelled = nullptr;
  /// The call ends with `timed_out` soon after.
  std::optional<std::chrono::steady_clock::time_point> deadline;
  /// For tests: told of each step before it is taken, and may end the process there.
  void (*on_step)(Step step) = nullptr;

  /// Tells that a step which changes something on disk comes next. Each step has one place.
  void note(Step step) const {
    if (on_step != nullptr) on_step(step);
  }

  bool exhausted() const {
    if (cancelled != nullptr && cancelled->load(std::memory_order_relaxed)) return true;
    return deadline && std::chrono::steady_clock::now() >= *deadline;
  }

  /// Nothing while there is patience left, else the error to return; `what` names the work given
  /// up.
  Result<void> check(const char* what) const;
};

}  // namespace berth::git
