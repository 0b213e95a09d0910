// tests/unit/core/manual_executor.h — an executor that a test turns by hand, so that it can say
// "not yet".
#pragma once

#include <berth/core/executor.h>

#include <cstddef>

namespace berth {

class ManualExecutor final : public Executor {
 public:
  void post(Runnable& runnable) override { queue_.push_back(runnable); }
  bool idle() const { return queue_.empty(); }
  /// Runs the oldest; false when there is none.
  bool run_one() {
    Runnable* next = queue_.pop_front();
    if (next != nullptr) next->run();
    return next != nullptr;
  }
  /// Runs all, and what they post; returns how many.
  std::size_t run_all() {
    std::size_t ran = 0;
    while (run_one()) ++ran;
    return ran;
  }

 private:
  IntrusiveList<Runnable> queue_;
};

}  // namespace berth
