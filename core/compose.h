// core/compose.h — several tasks as one: all of them, or the first of them; and one that its
// parent's stop does not reach.
//
// The children's way to be asked to stop is a StopSource that the caller makes beneath its own
// token and hands to them:
//
//   StopSource group(stop);
//   Task<int> size = measure(path, group.token());
//   Task<std::string> text = load(path, group.token());
//   auto both = co_await when_all(executor, group, std::move(size), std::move(text));
#pragma once

#include <berth/core/assert.h>
#include <berth/core/executor.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>

#include <cstddef>
#include <exception>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace berth::inline v0 {

/// The value of a Task<T> where a void cannot stand.
template <typename T>
using ValueOf = std::conditional_t<std::is_void_v<T>, std::monostate, T>;

/// Which of several ended first, and with what.
template <typename T>
struct First {
  std::size_t index = 0;
  T value;
};

namespace detail {

/// What the children of one composition share; lives in the frame of the parent, which joins it.
class Siblings {
 public:
  enum class Until : std::uint8_t { all_ended, first_ended };
  static constexpr std::size_t kNobody = static_cast<std::size_t>(-1);

  Siblings(Executor& executor, StopSource& group, Until until)
      : executor_(executor), group_(group), until_(until) {}
  Siblings(const Siblings&) = delete;
  Siblings& operator=(const Siblings&) = delete;
  ~Siblings() { BERTH_ASSERT(running_ == 0); }

  /// Starts `task` now; not at all when it is decided already (a lazy task is dropped freely).
  template <typename T>
  void start(std::size_t index, Task<T>& task, std::optional<ValueOf<T>>& value) {
    if (decided_) return;
    ++running_;
    run(*this, index, std::move(task), value);
  }

  auto join() { return Join{*this}; }
  /// Who ended first.
  std::size_t first() const { return first_; }

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
  template <typename T>
  static Child run(Siblings& siblings, std::size_t index, Task<T> task,
                   std::optional<ValueOf<T>>& value) {
    std::exception_ptr failure;
    try {
      if constexpr (std::is_void_v<T>) {
        co_await std::move(task);
        value.emplace();
      } else {
        T result = co_await std::move(task);
        value.emplace(std::move(result));
      }
    } catch (...) {
      failure = std::current_exception();
    }
    task = Task<T>();  // joined means that nothing of a child is left
    siblings.ended(index, std::move(failure));
  }

  void ended(std::size_t index, std::exception_ptr failure) {
    const bool is_first = first_ == kNobody;
    if (is_first) first_ = index;
    const bool decides = until_ == Until::first_ended ? is_first : failure != nullptr;
    if (decides && !decided_) {
      decided_ = true;
      failure_ = std::move(failure);
      group_.request_stop();
    }
    --running_;
    if (running_ == 0 && parent_) resume_.arm(executor_, std::exchange(parent_, nullptr));
  }

  struct Join {
    Siblings& siblings;
    bool await_ready() const noexcept { return siblings.running_ == 0; }
    void await_suspend(std::coroutine_handle<> parent) { siblings.parent_ = parent; }
    void await_resume() {
      if (siblings.failure_) std::rethrow_exception(std::exchange(siblings.failure_, nullptr));
    }
  };

  Executor& executor_;
  StopSource& group_;
  const Until until_;
  std::size_t running_ = 0;
  std::size_t first_ = kNobody;
  bool decided_ = false;  // what is still running is asked to stop, what has not begun never does
  std::exception_ptr failure_;
  std::coroutine_handle<> parent_;
  ResumeLater resume_;
};

template <typename Variant, typename Values, std::size_t... I>
Variant take_one(std::size_t index, Values& values, std::index_sequence<I...>) {
  std::optional<Variant> taken;
  ((I == index
        ? static_cast<void>(taken.emplace(std::in_place_index<I>, std::move(*std::get<I>(values))))
        : void()),
   ...);
  return std::move(*taken);
}

}  // namespace detail

/// Runs all of `tasks` at once and waits for all of them: their values, in order.
///
/// An exception of one asks `group` to stop; it is rethrown when all have ended (the first one, if
/// there are several). A failed Result is a value like any other: see when_all_ok. Cancellation: as
/// the tasks, which end as they do when `group` stops; all of them are always joined.
template <typename... T>
Task<std::tuple<ValueOf<T>...>> when_all(Executor& executor, StopSource& group, Task<T>... tasks) {
  detail::Siblings siblings(executor, group, detail::Siblings::Until::all_ended);
  std::tuple<std::optional<ValueOf<T>>...> values;
  std::size_t index = 0;
  std::apply([&](auto&... value) { (siblings.start(index++, tasks, value), ...); }, values);
  co_await siblings.join();
  co_return std::apply(
      [](auto&... value) { return std::tuple<ValueOf<T>...>(std::move(*value)...); }, values);
}

/// The same for any number of tasks of one type.
template <typename T>
Task<std::vector<ValueOf<T>>> when_all(Executor& executor, StopSource& group,
                                       std::vector<Task<T>> tasks) {
  detail::Siblings siblings(executor, group, detail::Siblings::Until::all_ended);
  std::vector<std::optional<ValueOf<T>>> slots(tasks.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) siblings.start(i, tasks[i], slots[i]);
  co_await siblings.join();
  std::vector<ValueOf<T>> values;
  values.reserve(slots.size());
  for (std::optional<ValueOf<T>>& slot : slots) values.push_back(std::move(*slot));
  co_return values;
}

/// Runs all of `tasks` at once; the first to end wins, the others are asked to stop by `group`, and
/// are joined before this returns: which one it was, and its value (a variant, by place).
///
/// If the winner ended by an exception, that is rethrown. What the others give or throw afterwards
/// is dropped. Tasks behind one that ends at once never begin. Cancellation: as the tasks.
template <typename... T>
  requires(sizeof...(T) > 0)
Task<First<std::variant<ValueOf<T>...>>> when_any(Executor& executor, StopSource& group,
                                                  Task<T>... tasks) {
  detail::Siblings siblings(executor, group, detail::Siblings::Until::first_ended);
  std::tuple<std::optional<ValueOf<T>>...> values;
  std::size_t index = 0;
  std::apply([&](auto&... value) { (siblings.start(index++, tasks, value), ...); }, values);
  co_await siblings.join();
  co_return First<std::variant<ValueOf<T>...>>{
      siblings.first(), detail::take_one<std::variant<ValueOf<T>...>>(
                            siblings.first(), values, std::index_sequence_for<T...>())};
}

/// The same for any number of tasks (at least one) of one type.
template <typename T>
Task<First<ValueOf<T>>> when_any(Executor& executor, StopSource& group,
                                 std::vector<Task<T>> tasks) {
  BERTH_ASSERT(!tasks.empty());
  detail::Siblings siblings(executor, group, detail::Siblings::Until::first_ended);
  std::vector<std::optional<ValueOf<T>>> slots(tasks.size());
  for (std::size_t i = 0; i < tasks.size(); ++i) siblings.start(i, tasks[i], slots[i]);
  co_await siblings.join();
  co_return First<ValueOf<T>>{siblings.first(), std::move(*slots[siblings.first()])};
}

/// Awaits `fn(arguments..., token)`, whose token is stopped by nobody: for what must not be left
/// half done (give back, flush, say goodbye). It is joined like any task, so it must end by itself:
/// give it a deadline. Whoever awaits this looks at its own token afterwards.
template <typename Fn, typename... Arguments>
auto shield(Fn fn, Arguments... arguments) -> std::invoke_result_t<Fn&, Arguments..., StopToken> {
  co_return co_await fn(std::move(arguments)..., StopToken());
}

}  // namespace berth::inline v0
