// io/offload.h — bounded lanes of blocking work (SQLite, libgit2, small files) beside the reactors.
#pragma once

#include <berth/core/executor.h>
#include <berth/core/result.h>
#include <berth/core/task.h>
#include <berth/io/reactor.h>

#include <coroutine>
#include <cstdint>
#include <optional>
#include <type_traits>
#include <utility>

namespace berth::io {

/// What a lane is for. `store` has one thread (its connection is one-thread), the others may have
/// several.
enum class Lane : std::uint8_t { store, git, files };
inline constexpr std::size_t kLaneCount = 3;

/// One piece of blocking work; owned by its submitter until on_done().
class OffloadJob : public ListNode {
 public:
  /// On a thread of the lane: owns its inputs, never touches a reactor, never waits for another
  /// lane.
  virtual void work() = 0;
  /// On the submitter's shard, afterwards.
  virtual void on_done() = 0;

  Reactor* home = nullptr;  ///< Set by Offload: the shard that on_done() runs on.

 protected:
  ~OffloadJob() = default;
};

class Offload {
 public:
  virtual ~Offload() = default;
  /// Queues `job` on `lane`. Jobs of a lane start in the order of submission; on a lane of one
  /// thread they also end in it. Error `overloaded` names the lane's limit (offload_queue_max),
  /// `cancelled` says that the lanes were stopped; the job is then untouched.
  virtual Result<void> submit(Lane lane, Reactor& home, OffloadJob& job) = 0;

  /// `co_await offload.run(lane, home, fn)` -> Result<T> where fn() returns Result<T>.
  /// Cancellation: terminal (a job that was queued runs to its end).
  template <typename Fn>
  auto run(Lane lane, Reactor& home, Fn fn);
};

namespace detail {

template <typename Fn>
class OffloadAwaiter final : public OffloadJob {
 public:
  using Answer = std::invoke_result_t<Fn&>;  // a Result<T>

  OffloadAwaiter(Offload& offload, Lane lane, Reactor& reactor, Fn fn)
      : offload_(offload), lane_(lane), reactor_(reactor), fn_(std::move(fn)) {}

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> handle) {
    handle_ = handle;
    Result<void> queued = offload_.submit(lane_, reactor_, *this);
    if (queued.has_value()) return true;
    answer_.emplace(tl::unexpected<Error>(std::move(queued.error())));
    return false;
  }
  Answer await_resume() { return std::move(*answer_); }

  void work() override { answer_.emplace(fn_()); }
  void on_done() override { handle_.resume(); }

 private:
  Offload& offload_;
  Lane lane_;
  Reactor& reactor_;
  Fn fn_;
  std::optional<Answer> answer_;
  std::coroutine_handle<> handle_;
};

}  // namespace detail

template <typename Fn>
auto Offload::run(Lane lane, Reactor& home, Fn fn) {
  return detail::OffloadAwaiter<Fn>(*this, lane, home, std::move(fn));
}

}  // namespace berth::io
