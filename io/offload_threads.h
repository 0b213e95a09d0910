// io/offload_threads.h — lanes of blocking work as threads with bounded queues.
#pragma once

#include <berth/core/intrusive.h>
#include <berth/core/result.h>
#include <berth/io/offload.h>

#include <array>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace berth::inline v0::io {

struct OffloadOptions {
  /// Most jobs that may wait in one lane (offload_queue_max); those that run are not counted.
  std::size_t queue_max = 4096;
  /// Threads by Lane. The store's connection is used by one thread only.
  std::array<std::size_t, kLaneCount> threads = {1, 2, 1};
};

/// Finished jobs travel home in batches: one post_remote() for all that end before the home shard
/// comes to look. Every reactor that submits outlives this object.
class OffloadThreads final : public Offload {
 public:
  /// Starts all threads (with all signals blocked: signals are for the threads of the program).
  /// Error `overloaded` when the system gives no thread.
  static Result<std::unique_ptr<OffloadThreads>> start(const OffloadOptions& options);
  ~OffloadThreads() override;

  Result<void> submit(Lane lane, Reactor& home, OffloadJob& job) override;
  bool withdraw(Lane lane, OffloadJob& job) override;
  LaneStats stats(Lane lane) override;

  /// Refuses new jobs, runs those that are queued to their end (a commit that was accepted is not
  /// lost) and joins the threads. on_done() of the last jobs still comes if their shard turns once
  /// more; jobs whose shard never turns again just stay with their owners. Blocks; from any thread
  /// but a lane's own. Twice is once.
  void stop();

 private:
  /// One reactor's finished jobs.
  struct Home final : Runnable {
    explicit Home(OffloadThreads& offload, Reactor& of) : lanes(offload), reactor(of) {}
    void run() override;
    OffloadThreads& lanes;
    Reactor& reactor;
    IntrusiveList<OffloadJob> done;  // under homes_mutex_
    bool posted = false;  // under homes_mutex_: run() is on its way and will see all of `done`
  };

  struct LaneState {
    std::mutex mutex;
    std::condition_variable wake;
    IntrusiveList<OffloadJob> queue;
    LaneStats stats;
    bool stopping = false;
    std::vector<std::thread> threads;
  };

  explicit OffloadThreads(std::size_t queue_max) : queue_max_(queue_max) {}
  void serve(Lane lane);
  void send_home(OffloadJob& job);

  const std::size_t queue_max_;
  std::array<LaneState, kLaneCount> lanes_;
  std::mutex homes_mutex_;
  std::vector<std::unique_ptr<Home>> homes_;  // one per shard: searched, not indexed
};

}  // namespace berth::inline v0::io
