// io/shard_threads.h — shards, each on a thread and a reactor of its own.
#pragma once

#include <berth/io/shard.h>

#include <condition_variable>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <vector>

namespace berth::inline v0::io {

/// Owns reactors, shards and threads; all are joined before it is gone. The threads have all
/// signals blocked: signals are for the threads of the program.
class ShardThreads {
 public:
  /// Makes the reactor of one shard; called on the thread that starts them.
  using MakeReactor = std::function<Result<std::unique_ptr<Reactor>>(std::size_t index)>;

  /// Starts `count` shards (at least one). Errors: those of `make`; `overloaded` when the system
  /// gives no thread.
  static Result<std::unique_ptr<ShardThreads>> start(std::size_t count, const MakeReactor& make,
                                                     const ShardLimits& limits = {});
  ShardThreads(const ShardThreads&) = delete;
  ShardThreads& operator=(const ShardThreads&) = delete;
  /// As stop(); an exception that a task left is dropped.
  ~ShardThreads();

  std::size_t size() const { return shards_->size(); }
  Shard& operator[](std::size_t index) { return (*shards_)[index]; }

  /// Runs `fn(shard)` on a shard and returns what it returns, for a thread that is none of them
  /// (main, to begin with). Blocks. Not after stop().
  template <typename Fn>
  auto ask(std::size_t index, Fn fn);

  /// Asks the tasks of all scopes to stop, waits until nothing is left of any (calls between shards
  /// still go through meanwhile), ends the loops and joins the threads. Blocks; from a thread that
  /// is none of the shards. Twice is once. Rethrows the first exception that a task of a scope
  /// left.
  void stop();

 private:
  /// One look at one shard: waits until its scope is empty, then reports.
  struct Look final : Runnable {
    Look(ShardThreads& of, Shard& at) : all(of), shard(at), task(at.reactor()) {}
    void run() override;
    ShardThreads& all;
    Shard& shard;
    Scope task;
    std::uint64_t calls_begun = 0;
    std::exception_ptr failure;
  };

  ShardThreads() = default;
  static Task<void> report(Look* look);
  std::uint64_t look_at_all();
  void end_loops();

  // In the order of making: threads go first.
  std::vector<std::unique_ptr<Reactor>> reactors_;
  std::unique_ptr<Shards> shards_;
  std::vector<std::unique_ptr<Look>> looks_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable reported_;
  std::size_t reports_ = 0;  // guarded by mutex_
};

template <typename Fn>
auto ShardThreads::ask(std::size_t index, Fn fn) {
  using Answer = std::invoke_result_t<Fn&, Shard&>;
  struct Question final : Runnable {
    Question(Shard& of, Fn& what) : shard(of), ask(what) {}
    void run() override {
      Answer got = ask(shard);
      const std::lock_guard lock(mutex);
      answer.emplace(std::move(got));
      answered.notify_one();  // under the lock: whoever waits owns this
    }
    Shard& shard;
    Fn& ask;
    std::mutex mutex;
    std::condition_variable answered;
    std::optional<Answer> answer;  // guarded by mutex
  } question((*shards_)[index], fn);
  (*shards_)[index].reactor().post_remote(question);
  std::unique_lock lock(question.mutex);
  question.answered.wait(lock, [&question] { return question.answer.has_value(); });
  return std::move(*question.answer);
}

}  // namespace berth::inline v0::io
