// io/shard.h — parts of a program that share nothing, each on one reactor, and the calls between
// them.
#pragma once

#include <berth/core/result.h>
#include <berth/core/scope.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/reactor.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

class Shard;
class Shards;

struct ShardLimits {
  /// Most calls of one shard to one other that are not answered yet (shard_mailbox_max).
  std::size_t mailbox_max = 1024;
  /// So many more of them if they are urgent (shard_mailbox_reserve).
  std::size_t mailbox_reserve = 64;
};

struct CallOptions {
  StopToken stop = {};
  /// For what must get through when the mailbox is full: endings, answers, cancels.
  bool urgent = false;
};

namespace detail {

/// A call on its way to another shard and back; lies in the frame of the caller, so that neither
/// way allocates.
class ShardCall : public ListNode {
 public:
  ShardCall(const ShardCall&) = delete;
  ShardCall& operator=(const ShardCall&) = delete;

 protected:
  ShardCall(Shard& from, Shard& to) : from_(from), to_(to) {}
  ~ShardCall() = default;

  /// On `to`: does it, or says later, by answer(), that it is done.
  virtual void begin() = 0;
  /// On `from`, afterwards; `withdrawn` when it never began.
  virtual void on_answer(bool withdrawn) = 0;

  Result<void> send(bool urgent);
  /// True when it will never begin and nothing follows; else on_answer comes.
  bool withdraw();
  /// On `to`, once. Nothing of this may be touched afterwards.
  void answer();

  Shard& from_;
  Shard& to_;

 private:
  friend class berth::io::Shard;
  enum class State : std::uint8_t { waiting, begun, withdrawn };
  std::atomic<State> state_ = State::waiting;  // who first leaves `waiting` decides
  bool answered_ = false;                      // it is on its way back
  std::uint64_t sent_in_ = 0;                  // the round of `from` that takes it out
};

template <typename T>
struct TaskValue {
  using type = T;
  static constexpr bool kIsTask = false;
};
template <typename T>
struct TaskValue<Task<T>> {
  using type = T;
  static constexpr bool kIsTask = true;
};

template <typename Fn>
class CallAwaiter;

}  // namespace detail

/// One reactor, the tasks on it, and its mailboxes. Everything is called on the reactor's thread,
/// if nothing else is said. There is no "current" shard: who calls says from where.
class Shard final : private TurnHook {
 public:
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;
  ~Shard();

  /// From any thread.
  std::size_t index() const { return index_; }
  /// From any thread, for post_remote() and the like.
  Reactor& reactor() { return reactor_; }
  /// Where the tasks of this shard live; whoever stops the shards joins it.
  Scope& scope() { return scope_; }
  StopToken stop_token() { return scope_.stop_token(); }

  /// `co_await here.call(there, fn)` -> Result<T>: runs `fn(there)` on the other shard and answers
  /// here. `fn` returns Result<T>, or Task<Result<T>>, which runs in the other shard's care. Calls
  /// from one shard to one other begin in the order of calling; all that a turn of the loop sends
  /// to a shard costs one wake-up. A call to the own shard is allowed.
  ///
  /// `fn`, its captures and T change threads: no slices, nothing of another shard. `fn` lives in
  /// the caller's frame until the answer. What it throws is rethrown here. Errors: its own;
  /// `overloaded` (shard_mailbox_full) before anything was sent; `cancelled`.
  /// Cancellation: terminal: a call that has begun runs to its end and its result is returned, one
  /// that has not never begins.
  template <typename Fn>
  auto call(Shard& there, Fn fn, CallOptions options = {}) {
    return detail::CallAwaiter<Fn>(*this, there, std::move(fn), options);
  }

  /// Gives an open handle, on which nothing is started, to `there`; returns what it is called
  /// there. Tell it by a call.
  Handle hand_over(Handle handle, Shard& there) {
    return &there == this ? handle : reactor_.hand_over(handle, there.reactor_);
  }

  /// Calls that were sent to `there` and not answered yet.
  std::size_t calls_open(const Shard& there) const { return out_[there.index_].open; }
  /// Calls that began here so far, and the wake-ups that brought them (or answers).
  std::uint64_t calls_begun() const { return calls_begun_; }
  std::uint64_t mails_received() const { return mails_received_; }
  /// No task, and no call that waits for an answer.
  bool idle() const;

 private:
  friend class Shards;
  friend class detail::ShardCall;
  template <typename Fn>
  friend class detail::CallAwaiter;

  /// What one shard sends to one other, calls and answers, and the one waking for all of it.
  struct Mail final : Runnable {
    explicit Mail(Shard& receiver) : to(receiver) {}
    void run() override;
    Shard& to;
    std::mutex mutex;
    IntrusiveList<detail::ShardCall> calls;  // guarded by mutex
    bool posted = false;  // guarded by mutex: run() is on its way and will see all of `calls`
  };
  /// What this shard will send to one other at the end of the turn.
  struct Out {
    IntrusiveList<detail::ShardCall> calls;
    std::size_t open = 0;
    std::unique_ptr<Mail> mail;
  };
  /// Makes sure that there is a turn, and thus an end of it.
  struct Nudge final : Runnable {
    void run() override {}
  };
  struct StopMail final : Runnable {
    explicit StopMail(Shard& of) : shard(of) {}
    void run() override { shard.scope_.request_stop(); }
    Shard& shard;
  };

  Shard(Reactor& reactor, std::size_t index, std::size_t count, const ShardLimits& limits);
  void on_turn_end() override;
  void put_out(Shard& there, detail::ShardCall& call);
  void deliver(detail::ShardCall& call);

  Reactor& reactor_;
  const std::size_t index_;
  const ShardLimits limits_;
  Scope scope_;
  Scope calls_;  // tasks that others called for; whoever called waits for them
  std::vector<Out> out_;
  bool anything_out_ = false;
  std::uint64_t round_ = 0;
  std::uint64_t calls_begun_ = 0;
  std::uint64_t mails_received_ = 0;
  Nudge nudge_;
  StopMail stop_mail_{*this};
};

/// A shard over each of some reactors. It runs nothing: whoever runs the reactors runs the shards,
/// each on a thread (shard_threads.h) or all on one (a simulated machine).
class Shards {
 public:
  /// The reactors outlive this, and do not run yet.
  explicit Shards(std::span<Reactor* const> reactors, const ShardLimits& limits = {});
  Shards(const Shards&) = delete;
  Shards& operator=(const Shards&) = delete;
  /// All are idle, and their reactors do not run any more.
  ~Shards() = default;

  std::size_t size() const { return shards_.size(); }
  Shard& operator[](std::size_t index) { return *shards_[index]; }

  /// Asks the tasks of all scopes to end. From any thread; once.
  void request_stop();

 private:
  std::vector<std::unique_ptr<Shard>> shards_;
};

namespace detail {

template <typename Fn>
class CallAwaiter final : private ShardCall, private StopListener {
 public:
  using Returned = TaskValue<std::invoke_result_t<Fn&, Shard&>>;
  using Answer = typename Returned::type;  // a Result<T>

  CallAwaiter(Shard& from, Shard& to, Fn fn, const CallOptions& options)
      : ShardCall(from, to), fn_(std::move(fn)), options_(options) {}

  bool await_ready() {
    if (options_.stop.stop_requested()) answer_cancelled();
    return answer_.has_value();
  }
  bool await_suspend(std::coroutine_handle<> handle) {
    handle_ = handle;
    Result<void> sent = send(options_.urgent);
    if (!sent.has_value()) {
      answer_.emplace(tl::unexpected<Error>(std::move(sent.error())));
      return false;
    }
    options_.stop.listen(*this);
    return true;
  }
  Answer await_resume() {
    if (failure_) std::rethrow_exception(std::move(failure_));
    return std::move(*answer_);
  }

 private:
  void begin() override {
    if constexpr (Returned::kIsTask) {
      to_.calls_.spawn(serve(this));
    } else {
      try {
        answer_.emplace(fn_(to_));
      } catch (...) {
        failure_ = std::current_exception();
      }
      answer();
    }
  }
  static Task<void> serve(CallAwaiter* call) {
    try {
      Answer got = co_await call->fn_(call->to_);
      call->answer_.emplace(std::move(got));
    } catch (...) {
      call->failure_ = std::current_exception();
    }
    call->answer();
  }
  void on_answer(bool withdrawn) override {
    StopListener::unlink();
    if (withdrawn) answer_cancelled();
    handle_.resume();
  }
  void on_stop() override {
    if (!withdraw()) return;
    answer_cancelled();
    resume_.arm(from_.reactor(), handle_);
  }
  void answer_cancelled() {
    answer_.emplace(fail(ErrorKind::cancelled, "cancelled", "asked to stop before the call began"));
  }

  Fn fn_;
  CallOptions options_;
  std::optional<Answer> answer_;
  std::exception_ptr failure_;
  std::coroutine_handle<> handle_;
  ResumeLater resume_;
};

}  // namespace detail

}  // namespace berth::inline v0::io
