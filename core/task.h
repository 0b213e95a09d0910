// core/task.h — a lazy coroutine with exactly one awaiter.
#pragma once

#include <berth/core/assert.h>
#include <berth/core/frame_pool.h>

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

namespace berth::inline v0 {

template <typename T>
class [[nodiscard]] Task;

namespace detail {

class TaskPromiseBase {
 public:
  std::suspend_always initial_suspend() noexcept { return {}; }

  // A child that ends while its awaiter is still starting it just returns there: no jump through
  // the awaiter's state. Stack is used as by ordinary calls, as deep as tasks are nested; a loop
  // over a million ready children uses none, whatever the compiler makes of tail calls.
  struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    template <typename Promise>
    void await_suspend(std::coroutine_handle<Promise> self) noexcept {
      const TaskPromiseBase& promise = self.promise();
      if (!promise.starting_) promise.continuation_.resume();
    }
    void await_resume() noexcept {}
  };
  FinalAwaiter final_suspend() noexcept { return {}; }

  void begin_start() { starting_ = true; }
  void end_start(std::coroutine_handle<> continuation) {
    starting_ = false;
    continuation_ = continuation;
  }

 protected:
  enum class Outcome : std::uint8_t { none, value, exception };

  // Every await pays for what stands here, so there is one byte that says which of value and
  // exception was built, and nothing else to set up.
  Outcome outcome_ = Outcome::none;

 private:
  bool starting_;
  std::coroutine_handle<> continuation_;
};

template <typename T>
class TaskPromise : public TaskPromiseBase {
 public:
  TaskPromise() noexcept {}
  TaskPromise(const TaskPromise&) = delete;
  TaskPromise& operator=(const TaskPromise&) = delete;
  ~TaskPromise() {
    if (outcome_ == Outcome::value) std::destroy_at(&value_);
    if (outcome_ == Outcome::exception) std::destroy_at(&exception_);
  }

  Task<T> get_return_object() noexcept;
  template <typename U>
  void return_value(U&& value) {
    std::construct_at(&value_, std::forward<U>(value));
    outcome_ = Outcome::value;
  }
  void unhandled_exception() noexcept {
    std::construct_at(&exception_, std::current_exception());
    outcome_ = Outcome::exception;
  }
  T take() {
    if (outcome_ != Outcome::value) [[unlikely]]
      rethrow();
    return std::move(value_);
  }

 private:
  void rethrow() {
    BERTH_ASSERT(outcome_ == Outcome::exception);
    std::rethrow_exception(exception_);
  }

  union {
    T value_;
    std::exception_ptr exception_;
  };
};

template <>
class TaskPromise<void> : public TaskPromiseBase {
 public:
  TaskPromise() noexcept {}
  TaskPromise(const TaskPromise&) = delete;
  TaskPromise& operator=(const TaskPromise&) = delete;
  ~TaskPromise() {
    if (outcome_ == Outcome::exception) std::destroy_at(&exception_);
  }

  Task<void> get_return_object() noexcept;
  void return_void() noexcept { outcome_ = Outcome::value; }
  void unhandled_exception() noexcept {
    std::construct_at(&exception_, std::current_exception());
    outcome_ = Outcome::exception;
  }
  void take() {
    if (outcome_ == Outcome::exception) [[unlikely]]
      std::rethrow_exception(exception_);
  }

 private:
  union {
    std::exception_ptr exception_;
  };
};

/// The promise of a coroutine that has a FramePool among its parameters. A Task holds it as a
/// TaskPromise<T>: it adds nothing to the object, only where the frame lies.
template <typename T>
class PooledTaskPromise final : public TaskPromise<T> {
 public:
  template <typename... Parameters>
  static void* operator new(std::size_t size, Parameters&... parameters) {
    return allocate_frame(pool_of(parameters...), size);
  }
  static void operator delete(void* frame, std::size_t size) noexcept {
    deallocate_frame(frame, size);
  }
};

}  // namespace detail

/// A computation that starts when it is awaited and has one awaiter. Owns its frame: dropping a
/// task that never started is free; one that is suspended inside must not be dropped (await it; ask
/// it to stop by a stop token). An exception of the body is rethrown at `co_await`. Resumes on the
/// thread (shard) it was awaited on.
///
/// Its frame comes from operator new, or, if a parameter of the coroutine is a `FramePool&` or
/// `FramePool*`, from that pool: `Task<int> answer(FramePool& pool, int question)`.
template <typename T = void>
class [[nodiscard]] Task {
 public:
  using promise_type = detail::TaskPromise<T>;
  using Handle = std::coroutine_handle<promise_type>;

  Task() = default;
  explicit Task(Handle handle) : awaiter_{handle} {}
  Task(Task&& other) noexcept : awaiter_{std::exchange(other.awaiter_.handle, nullptr)} {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (awaiter_.handle) awaiter_.handle.destroy();
      awaiter_.handle = std::exchange(other.awaiter_.handle, nullptr);
    }
    return *this;
  }
  ~Task() {
    if (awaiter_.handle) awaiter_.handle.destroy();
  }

  struct Awaiter {
    Handle handle;
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<> awaiting) {
      const Handle child = handle;  // on the stack: what stands in the frame is read again
      child.promise().begin_start();
      child.resume();
      if (child.done()) return false;
      child.promise().end_start(awaiting);
      return true;
    }
    T await_resume() { return handle.promise().take(); }
  };
  /// The awaiter lives in the task: one word in the frame, not two.
  Awaiter& operator co_await() && noexcept { return awaiter_; }

 private:
  Awaiter awaiter_;
};

namespace detail {
template <typename T>
Task<T> TaskPromise<T>::get_return_object() noexcept {
  return Task<T>(std::coroutine_handle<TaskPromise<T>>::from_promise(*this));
}
inline Task<void> TaskPromise<void>::get_return_object() noexcept {
  return Task<void>(std::coroutine_handle<TaskPromise<void>>::from_promise(*this));
}
}  // namespace detail

}  // namespace berth::inline v0

/// Chooses the promise by the parameters alone, so that coroutines without a pool stay what they
/// were.
template <typename T, typename... Parameters>
  requires(berth::detail::kNamesFramePool<Parameters> || ...)
struct std::coroutine_traits<berth::Task<T>, Parameters...> {
  using promise_type = berth::detail::PooledTaskPromise<T>;
  static_assert(sizeof(promise_type) == sizeof(berth::detail::TaskPromise<T>) &&
                alignof(promise_type) == alignof(berth::detail::TaskPromise<T>));
};
