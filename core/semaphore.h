// core/semaphore.h — a number of permits on one shard, given out in the order of asking.
#pragma once

#include <berth/core/assert.h>
#include <berth/core/wait.h>

#include <cstddef>
#include <utility>

namespace berth::inline v0 {

/// At most `permits` are out at a time. Strictly first come, first served: who asks for much is not
/// overtaken by those who ask for little. Must outlive its waiters and the permits that are out.
/// Single-threaded.
class Semaphore {
 public:
  Semaphore(Executor& executor, std::size_t permits)
      : executor_(executor), total_(permits), free_(permits) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;
  ~Semaphore() { BERTH_ASSERT(free_ == total_ && line_.empty()); }

  /// Permits that go back when this is destroyed. False when it holds none (stopped, none free).
  class [[nodiscard]] Permits {
   public:
    Permits() = default;
    Permits(Permits&& other) noexcept
        : from_(std::exchange(other.from_, nullptr)), count_(other.count_) {}
    Permits& operator=(Permits&& other) noexcept {
      if (this != &other) {
        release();
        from_ = std::exchange(other.from_, nullptr);
        count_ = other.count_;
      }
      return *this;
    }
    ~Permits() { release(); }
    explicit operator bool() const { return from_ != nullptr; }
    void release() {
      if (Semaphore* from = std::exchange(from_, nullptr)) from->give_back(count_);
    }

   private:
    friend class Semaphore;
    Permits(Semaphore& from, std::size_t count) : from_(&from), count_(count) {}
    Semaphore* from_ = nullptr;
    std::size_t count_ = 0;
  };

  /// `co_await semaphore.acquire(count, stop)` -> Permits: waits for its turn and for `count`
  /// permits (at most all there are); none when stop was asked first. Cancellation: total.
  auto acquire(std::size_t count = 1, StopToken stop = {}) { return Awaiter(*this, count, stop); }
  /// None when somebody waits or too few are free.
  Permits try_acquire(std::size_t count = 1) {
    if (!line_.empty() || free_ < count) return {};
    free_ -= count;
    return {*this, count};
  }
  std::size_t free() const { return free_; }

 private:
  class Awaiter final : public detail::Waiting {
   public:
    Awaiter(Semaphore& from, std::size_t count, StopToken stop)
        : Waiting(from.executor_, stop), from_(from), count_(count) {
      BERTH_ASSERT(count <= from.total_);
    }
    bool await_ready() {
      if (stopped()) return true;
      if (!from_.line_.empty() || from_.free_ < count_) return false;
      from_.free_ -= count_;
      grant_without_waiting();
      return true;
    }
    void await_suspend(std::coroutine_handle<> handle) {
      from_.line_.push_back(*this);
      wait(handle);
    }
    Permits await_resume() {
      if (!granted()) return {};
      return {from_, count_};
    }

   private:
    friend class Semaphore;
    void left_line() override { from_.serve(); }
    Semaphore& from_;
    std::size_t count_;
  };

  void give_back(std::size_t count) {
    free_ += count;
    serve();
  }
  void serve() {
    for (Awaiter* next = line_.front(); next != nullptr && next->count_ <= free_;
         next = line_.front()) {
      free_ -= next->count_;
      next->grant();
    }
  }

  Executor& executor_;
  const std::size_t total_;
  std::size_t free_;
  IntrusiveList<Awaiter> line_;
};

}  // namespace berth::inline v0
