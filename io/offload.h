// io/offload.h — bounded lanes of blocking work (SQLite, libgit2, small files) beside the reactors.
#pragma once

#include <berth/core/executor.h>
#include <berth/core/histogram.h>
#include <berth/core/result.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/reactor.h>

#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace berth::inline v0::io {

/// What a lane is for. `store` has one thread (its connection is one-thread), the others may have
/// several.
enum class Lane : std::uint8_t { store, git, files };
inline constexpr std::size_t kLaneCount = 3;
/// "store", "git", "files".
std::string_view to_string(Lane lane);

namespace detail {
inline constexpr std::array kLaneWaitBounds = {0.0001, 0.001, 0.01, 0.1, 0.5, 2.5, 10.0, 60.0};
}  // namespace detail

/// How a lane stands, and what it did since its start.
struct LaneStats {
  std::size_t queued = 0;                     ///< Jobs that wait.
  std::size_t running = 0;                    ///< Jobs that are worked at.
  Histogram waited{detail::kLaneWaitBounds};  ///< From submission to begin, of those that began.
};

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

 private:
  friend class Offload;
  // Guarded by the lane:
  bool waiting_ = false;  // in its queue, and not begun
  TimePoint submitted_at_{};
};

/// Lanes of threads for what blocks. Outlived by every reactor that submits.
class Offload {
 public:
  virtual ~Offload() = default;
  /// Queues `job` on `lane`; from the thread of `home`. Jobs of a lane start in the order of
  /// submission; on a lane of one thread they also end in it. Error `overloaded` names the lane's
  /// limit (offload_queue_max), `cancelled` says that the lanes were stopped; the job is then
  /// untouched.
  virtual Result<void> submit(Lane lane, Reactor& home, OffloadJob& job) = 0;
  /// Takes a job that was submitted to `lane` out of it again, if it has not begun: true, and none
  /// of its functions is called any more. False: on_done() comes, or has come. On the shard that
  /// submitted it.
  virtual bool withdraw(Lane lane, OffloadJob& job) = 0;

  /// For figures; from any thread.
  virtual LaneStats stats(Lane lane) = 0;

  /// `co_await offload.run(lane, home, fn, stop)` -> Result<T> where fn() returns Result<T>.
  /// Cancellation: terminal (a job that has begun runs to its end, and its result is returned; one
  /// that still waits is withdrawn and answers `cancelled`).
  template <typename Fn>
  auto run(Lane lane, Reactor& home, Fn fn, StopToken stop = {});

 protected:
  /// For the lanes: whether a job waits in a queue of theirs.
  static bool& waiting(OffloadJob& job) { return job.waiting_; }
  static TimePoint& submitted_at(OffloadJob& job) { return job.submitted_at_; }
};

namespace detail {

template <typename Fn>
class OffloadAwaiter final : private OffloadJob, private StopListener {
 public:
  using Answer = std::invoke_result_t<Fn&>;  // a Result<T>

  OffloadAwaiter(Offload& offload, Lane lane, Reactor& reactor, Fn fn, StopToken stop)
      : offload_(offload), lane_(lane), reactor_(reactor), fn_(std::move(fn)), stop_(stop) {}

  bool await_ready() {
    if (stop_.stop_requested()) answer_cancelled();
    return answer_.has_value();
  }
  bool await_suspend(std::coroutine_handle<> handle) {
    handle_ = handle;
    Result<void> queued = offload_.submit(lane_, reactor_, *this);
    if (queued.has_value()) {
      stop_.listen(*this);
      return true;
    }
    answer_.emplace(tl::unexpected<Error>(std::move(queued.error())));
    return false;
  }
  Answer await_resume() { return std::move(*answer_); }

 private:
  void work() override { answer_.emplace(fn_()); }
  void on_done() override {
    StopListener::unlink();
    handle_.resume();
  }
  void on_stop() override {
    if (!offload_.withdraw(lane_, *this)) return;
    answer_cancelled();
    resume_.arm(reactor_, handle_);
  }
  void answer_cancelled() {
    answer_.emplace(
        fail(ErrorKind::cancelled, "cancelled", "asked to stop before the work had begun"));
  }

  Offload& offload_;
  Lane lane_;
  Reactor& reactor_;
  Fn fn_;
  StopToken stop_;
  std::optional<Answer> answer_;
  std::coroutine_handle<> handle_;
  ResumeLater resume_;
};

}  // namespace detail

template <typename Fn>
auto Offload::run(Lane lane, Reactor& home, Fn fn, StopToken stop) {
  return detail::OffloadAwaiter<Fn>(*this, lane, home, std::move(fn), stop);
}

}  // namespace berth::inline v0::io
