// io/asio_interop.h — between Asio and berth: a berth task as an Asio operation, an Asio operation
// as something to co_await. The only public header that includes Asio.
#pragma once

#include <berth/core/executor.h>
#include <berth/core/result.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/reactor.h>

#include <asio/associated_cancellation_slot.hpp>
#include <asio/associated_executor.hpp>
#include <asio/async_result.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/error.hpp>
#include <asio/error_code.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/system_error.hpp>
#include <atomic>
#include <coroutine>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace berth::inline v0::io {

/// The berth error of an Asio one; nothing of it may be a success. The kind is that of the errno,
/// `unavailable` for the end of a stream, `cancelled` for operation_aborted, else `internal`.
/// `what` names the operation.
inline Error from_asio_error(const asio::error_code& error, std::string_view what) {
  if (error == asio::error::operation_aborted) {
    return make_error(ErrorKind::cancelled, "cancelled", std::string(what) + ": cancelled");
  }
  if (error == asio::error::eof) {
    return make_error(ErrorKind::unavailable, "end_of_stream",
                      std::string(what) + ": end of stream");
  }
  if (error.category() == asio::error::get_system_category()) {
    return errno_error(error.value(), what);
  }
  return make_error(ErrorKind::internal, "asio", std::string(what) + ": " + error.message());
}

namespace detail {

/// Stands for the shard where a completion handler has no executor of its own.
struct OnTheShard {};

template <typename T>
struct AsioSignature {
  using type = void(std::exception_ptr, T);
};
template <>
struct AsioSignature<void> {
  using type = void(std::exception_ptr);
};

template <typename T>
struct TaskValue;
template <typename T>
struct TaskValue<Task<T>> {
  using type = T;
};
template <typename Factory>
using ValueOf = typename TaskValue<std::invoke_result_t<Factory&, StopToken>>::type;

/// What stands beside an exception, where a value must: the handler does not look at it.
template <typename T>
T no_value() {
  if constexpr (std::is_constructible_v<T, tl::unexpected<Error>>) {
    return T(fail(ErrorKind::internal, "exception", "the task ended with an exception"));
  } else {
    static_assert(std::is_default_constructible_v<T>);
    return T();
  }
}

struct DrivenTask {
  struct promise_type {
    DrivenTask get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};

/// One async_run(): the parent of its task. Keeps itself alive until the completion is on its way.
/// All members are the shard's but `handler_` and `state_`.
template <typename Factory, typename Handler>
class RunOnShard final : public std::enable_shared_from_this<RunOnShard<Factory, Handler>> {
  using T = ValueOf<Factory>;
  using Executor = asio::associated_executor_t<Handler, OnTheShard>;
  static constexpr bool kOnTheShard = std::is_same_v<Executor, OnTheShard>;

 public:
  RunOnShard(Reactor& reactor, Factory make, Handler handler)
      : reactor_(reactor), make_(std::move(make)), handler_(std::move(handler)) {}

  /// On the thread of the initiation.
  void begin() {
    auto slot = asio::get_associated_cancellation_slot(*handler_);
    if (slot.is_connected()) {
      // Weak: after the end a signal finds nothing. Emitted and cleared by the handler's executor.
      slot.assign([weak = this->weak_from_this()](asio::cancellation_type type) {
        if (type == asio::cancellation_type::none) return;
        if (const auto operation = weak.lock()) operation->ask_stop();
      });
    }
    if constexpr (!kOnTheShard) {
      work_.emplace(asio::associated_executor<Handler, OnTheShard>::get(*handler_, {}));
    }
    self_ = this->shared_from_this();
    reactor_.post_remote(start_);
  }

 private:
  /// A stop that was posted is waited for before the end is told: afterwards nobody of ours touches
  /// the reactor.
  enum class State : std::uint8_t { open, stopping, closed };

  template <void (RunOnShard::*kStep)()>
  struct Step final : Runnable {
    explicit Step(RunOnShard& of) : operation(of) {}
    void run() override { (operation.*kStep)(); }
    RunOnShard& operation;
  };

  void ask_stop() {
    State expected = State::open;
    if (state_.compare_exchange_strong(expected, State::stopping)) reactor_.post_remote(stopping_);
  }
  void start() { drive(this); }
  void stop() {
    stop_arrived_ = true;
    if (finished_) {
      deliver();
    } else {
      stop_.request_stop();
    }
  }

  static DrivenTask drive(RunOnShard* self) {
    try {
      if constexpr (std::is_void_v<T>) {
        co_await (*self->make_)(self->stop_.token());
      } else {
        self->value_.emplace(co_await (*self->make_)(self->stop_.token()));
      }
    } catch (...) {
      self->exception_ = std::current_exception();
    }
    self->finish();
  }

  void finish() {
    finished_ = true;
    State expected = State::open;
    if (state_.compare_exchange_strong(expected, State::closed) || stop_arrived_) {
      reactor_.post(deliver_);  // the driving frame is not over yet
    }
  }

  void deliver() {
    const std::shared_ptr<RunOnShard> self = std::move(self_);
    make_.reset();  // here, wherever the last reference goes
    auto complete = [handler = std::move(*handler_), exception = std::move(exception_),
                     value = std::move(value_)]() mutable {
      asio::get_associated_cancellation_slot(handler).clear();
      if constexpr (std::is_void_v<T>) {
        static_cast<void>(value);
        std::move(handler)(std::move(exception));
      } else {
        std::move(handler)(std::move(exception),
                           value.has_value() ? std::move(*value) : no_value<T>());
      }
    };
    if constexpr (kOnTheShard) {
      complete();
    } else {
      const auto executor = work_->get_executor();
      asio::post(executor, std::move(complete));
    }
  }

  struct Nothing {};

  Reactor& reactor_;
  std::optional<Factory> make_;
  std::optional<Handler> handler_;
  std::optional<std::conditional_t<
      kOnTheShard, Nothing,
      asio::executor_work_guard<std::conditional_t<kOnTheShard, asio::system_executor, Executor>>>>
      work_;
  std::shared_ptr<RunOnShard> self_;
  std::atomic<State> state_ = State::open;
  Step<&RunOnShard::start> start_{*this};
  Step<&RunOnShard::stop> stopping_{*this};
  Step<&RunOnShard::deliver> deliver_{*this};
  StopSource stop_;
  std::optional<std::conditional_t<std::is_void_v<T>, Nothing, T>> value_;
  std::exception_ptr exception_;
  bool finished_ = false;
  bool stop_arrived_ = false;
};

struct InitiateRun {
  template <typename Handler, typename Factory>
  void operator()(Handler&& handler, Reactor* reactor, Factory&& make) const {
    using Operation = RunOnShard<std::decay_t<Factory>, std::decay_t<Handler>>;
    std::make_shared<Operation>(*reactor, std::forward<Factory>(make),
                                std::forward<Handler>(handler))
        ->begin();
  }
};

}  // namespace detail

/// Runs a berth task from an Asio program: `make(StopToken)` is called on the reactor's thread and
/// returns a Task<T>, whose end completes the operation with `void(std::exception_ptr, T)`, or
/// `void(std::exception_ptr)` for Task<void>, as asio::co_spawn does. Any completion token will do.
///
///     Result<Answer> answer = co_await async_run(reactor, make, asio::use_awaitable);
///
/// May be called on any thread. `make` is kept until the task has ended, so it may own what the
/// task uses. The completion is posted to the handler's executor, whose context is kept from
/// running out of work; a handler without an executor runs on the reactor's thread. The reactor
/// outlives the operation, and somebody must turn it until the handler was called.
///
/// Cancellation: a signal of any type asks the StopToken to stop, on the reactor's thread; what
/// that amounts to is the task's own matter (each operation of berth says its class). Data that won
/// the race is returned: the task ends as it ends, nothing is thrown away here. Emit a signal only
/// where the handler runs, as Asio wants it.
template <typename Factory, typename CompletionToken>
auto async_run(Reactor& reactor, Factory&& make, CompletionToken&& token) {
  using Signature = typename detail::AsioSignature<detail::ValueOf<std::decay_t<Factory>>>::type;
  return asio::async_initiate<CompletionToken, Signature>(detail::InitiateRun(), token, &reactor,
                                                          std::forward<Factory>(make));
}

/// A completion token: makes an Asio operation something that a berth task awaits; see use_task().
template <typename Executor>
struct UseTask {
  Reactor* reactor;
  Executor executor;
  StopToken stop;
  asio::cancellation_type cancellation;
};

/// `co_await socket.async_read_some(buffer, use_task(reactor, socket.get_executor(), stop))` in a
/// task on `reactor`. Gives what the handler would be given: one argument as it is, several as a
/// std::tuple (std::get them: structured bindings of awaited values miscompile on old compilers).
/// An exception_ptr is rethrown and left out.
///
/// The operation is begun, and cancelled, on `executor`, which must run one thing at a time (a
/// strand, or a context that one thread runs), and is that of the object used; its result comes
/// back to the reactor's thread. Buffers stay until then. It may be the same thread.
///
/// Cancellation: when `stop` stops, a signal of the types `cancellation` is emitted; the class is
/// that of the Asio operation, and its result is returned whatever it is. If the context is
/// destroyed with the operation in it, that counts as asio::error::operation_aborted.
template <typename Executor>
UseTask<Executor> use_task(Reactor& reactor, Executor executor, StopToken stop = {},
                           asio::cancellation_type cancellation = asio::cancellation_type::all) {
  return UseTask<Executor>{&reactor, std::move(executor), stop, cancellation};
}

namespace detail {

template <typename First, typename... Rest>
constexpr bool is_first_v = false;
template <typename First, typename... Rest>
constexpr bool is_first_v<First, First, Rest...> = true;

/// One awaited Asio operation; lives in the frame of the task that waits for it.
///
/// Three things are under way at most: the operation (with its initiation before it), a signal to
/// emit, and the way back. The task resumes when the operation has ended and no signal is left.
template <typename Executor, typename Initiation, typename Arguments, typename... Results>
class AsioAwaiter final : private StopListener {
 public:
  AsioAwaiter(UseTask<Executor> token, Initiation initiation, Arguments arguments)
      : token_(std::move(token)),
        initiation_(std::move(initiation)),
        arguments_(std::move(arguments)) {}

  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> handle) {
    waiting_ = handle;
    asio::post(token_.executor, [completion = Completion(*this)]() mutable {
      completion.awaiter().initiate(std::move(completion));
    });
    token_.stop.listen(*this);
  }
  auto await_resume() {
    StopListener::unlink();
    if constexpr (is_first_v<std::exception_ptr, Results...>) {
      if (std::get<0>(*results_)) std::rethrow_exception(std::get<0>(*results_));
      return without_first(std::make_index_sequence<sizeof...(Results) - 1>());
    } else {
      return unpack(std::move(*results_));
    }
  }

 private:
  /// Told that a step on the executor is over, on whatever thread that becomes known. Also when the
  /// executor's context is destroyed and drops the step instead of running it.
  class Told {
   public:
    explicit Told(AsioAwaiter& awaiter, Runnable& on_shard)
        : awaiter_(&awaiter), on_shard_(&on_shard) {}
    Told(Told&& other) noexcept
        : awaiter_(std::exchange(other.awaiter_, nullptr)), on_shard_(other.on_shard_) {}
    Told& operator=(Told&&) = delete;
    ~Told() {
      if (awaiter_ != nullptr) awaiter_->token_.reactor->post_remote(*on_shard_);
    }
    AsioAwaiter& awaiter() const { return *awaiter_; }

   private:
    AsioAwaiter* awaiter_;  // null: moved from
    Runnable* on_shard_;
  };

  /// The completion handler; dropped without a call it counts as aborted.
  class Completion : public Told {
   public:
    using executor_type = Executor;
    using cancellation_slot_type = asio::cancellation_slot;

    explicit Completion(AsioAwaiter& awaiter) : Told(awaiter, awaiter.ended_) {}
    Completion(Completion&&) noexcept = default;

    executor_type get_executor() const noexcept { return this->awaiter().token_.executor; }
    cancellation_slot_type get_cancellation_slot() const noexcept {
      return this->awaiter().signal_.slot();
    }
    template <typename... Given>
    void operator()(Given&&... given) {
      this->awaiter().signal_.slot().clear();  // a signal that comes now comes too late
      this->awaiter().results_.emplace(std::forward<Given>(given)...);
      const Told told = std::move(*this);
    }
  };

  template <void (AsioAwaiter::*kStep)()>
  struct Step final : Runnable {
    explicit Step(AsioAwaiter& of) : awaiter(of) {}
    void run() override { (awaiter.*kStep)(); }
    AsioAwaiter& awaiter;
  };

  // On the executor.
  void initiate(Completion completion) {
    std::apply(
        [&](auto&&... arguments) {
          std::move(initiation_)(std::move(completion), std::move(arguments)...);
        },
        std::move(arguments_));
  }

  // On the shard.
  void on_stop() override {
    if (ended_already_) return;
    signals_ = 1;
    asio::post(token_.executor, [told = Told(*this, signalled_)]() mutable {
      told.awaiter().signal_.emit(told.awaiter().token_.cancellation);
    });
  }
  void signalled() {
    signals_ = 0;
    if (ended_already_) waiting_.resume();
  }
  void ended() {
    ended_already_ = true;
    if (!results_.has_value()) results_.emplace(aborted());
    if (signals_ == 0) waiting_.resume();
  }

  static std::tuple<Results...> aborted() {
    std::tuple<Results...> results;
    if constexpr (is_first_v<asio::error_code, Results...>) {
      std::get<0>(results) = asio::error::operation_aborted;
    } else if constexpr (is_first_v<std::exception_ptr, Results...>) {
      std::get<0>(results) =
          std::make_exception_ptr(asio::system_error(asio::error::operation_aborted));
    }
    return results;
  }
  template <std::size_t... kIndex>
  auto without_first(std::index_sequence<kIndex...>) {
    return unpack(std::make_tuple(std::move(std::get<kIndex + 1>(*results_))...));
  }
  template <typename... Values>
  static auto unpack(std::tuple<Values...> values) {
    if constexpr (sizeof...(Values) == 1) {
      return std::get<0>(std::move(values));
    } else if constexpr (sizeof...(Values) > 1) {
      return values;
    }
  }

  UseTask<Executor> token_;
  Initiation initiation_;
  Arguments arguments_;
  asio::cancellation_signal signal_;
  std::optional<std::tuple<Results...>> results_;
  std::coroutine_handle<> waiting_;
  Step<&AsioAwaiter::ended> ended_{*this};
  Step<&AsioAwaiter::signalled> signalled_{*this};
  int signals_ = 0;
  bool ended_already_ = false;
};

/// Not begun yet: what `async_x(..., use_task(...))` returns.
template <typename Executor, typename Initiation, typename Arguments, typename... Results>
class [[nodiscard]] AsioOperation {
 public:
  AsioOperation(UseTask<Executor> token, Initiation initiation, Arguments arguments)
      : token_(std::move(token)),
        initiation_(std::move(initiation)),
        arguments_(std::move(arguments)) {}

  auto operator co_await() && {
    return AsioAwaiter<Executor, Initiation, Arguments, Results...>(
        std::move(token_), std::move(initiation_), std::move(arguments_));
  }

 private:
  UseTask<Executor> token_;
  Initiation initiation_;
  Arguments arguments_;
};

}  // namespace detail

}  // namespace berth::inline v0::io

/// Asio's way to teach it a completion token.
template <typename Executor, typename Return, typename... Results>
class asio::async_result<berth::io::UseTask<Executor>, Return(Results...)> {
 public:
  template <typename Initiation, typename... Arguments>
  static auto initiate(Initiation&& initiation, berth::io::UseTask<Executor> token,
                       Arguments&&... arguments) {
    return berth::io::detail::AsioOperation<Executor, std::decay_t<Initiation>,
                                            std::tuple<std::decay_t<Arguments>...>,
                                            std::decay_t<Results>...>(
        std::move(token), std::forward<Initiation>(initiation),
        std::tuple<std::decay_t<Arguments>...>(std::forward<Arguments>(arguments)...));
  }
};
