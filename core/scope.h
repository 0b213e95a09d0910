// core/scope.h — a nursery: the one place where concurrency starts, and it ends before the scope
// does.
#pragma once

#include <berth/core/executor.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>

#include <cstddef>
#include <exception>

namespace berth::inline v0 {

/// Owns the tasks spawned into it. `co_await scope.join()` waits for all of them; a scope that
/// still has children when it is destroyed ends the program (that would be a detached task).
/// Single-threaded.
///
/// An exception that leaves a child asks the others to stop and is rethrown by join().
class Scope {
 public:
  explicit Scope(Executor& executor, StopToken parent = {}) : executor_(executor), stop_(parent) {}
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;
  ~Scope() { BERTH_ASSERT(children_ == 0); }

  /// Starts `task` now, on this shard, up to its first suspension.
  void spawn(Task<void> task) {
    ++children_;
    run_child(*this, std::move(task));
  }

  /// The token that children should carry; request_stop() asks all of them to end.
  StopToken stop_token() { return stop_.token(); }
  void request_stop() { stop_.request_stop(); }
  bool stop_requested() const { return stop_.stop_requested(); }
  std::size_t size() const { return children_; }

  /// Waits until no child is left; one waiter at a time.
  auto join() { return JoinAwaiter{*this}; }

 private:
  struct Child {
    struct promise_type {
      Child get_return_object() noexcept { return {}; }
      std::suspend_never initial_suspend() noexcept { return {}; }
      std::suspend_never final_suspend() noexcept { return {}; }
      void return_void() noexcept {}
      void unhandled_exception() noexcept { std::terminate(); }
    };
  };
  static Child run_child(Scope& scope, Task<void> task) {
    try {
      co_await std::move(task);
    } catch (...) {
      if (!scope.failure_) scope.failure_ = std::current_exception();
      scope.request_stop();
    }
    // The task's frame (and what it owns) goes first: a joined scope means that nothing of a child
    // is left.
    task = Task<void>();
    scope.child_ended();
  }
  void child_ended() {
    --children_;
    if (children_ == 0 && joiner_) resume_.arm(executor_, std::exchange(joiner_, nullptr));
  }

  struct JoinAwaiter {
    Scope& scope;
    bool await_ready() const noexcept { return scope.children_ == 0; }
    void await_suspend(std::coroutine_handle<> handle) {
      BERTH_ASSERT(!scope.joiner_);
      scope.joiner_ = handle;
    }
    void await_resume() {
      if (scope.failure_) std::rethrow_exception(std::exchange(scope.failure_, nullptr));
    }
  };

  Executor& executor_;
  StopSource stop_;
  std::size_t children_ = 0;
  std::coroutine_handle<> joiner_;
  ResumeLater resume_;
  std::exception_ptr failure_;
};

}  // namespace berth::inline v0
