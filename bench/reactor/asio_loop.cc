// Asio: timers, and messages between two io_contexts on two threads.
#include "asio_lanes.h"
#include "material.h"

#include <asio.hpp>

#include <chrono>
#include <thread>

namespace berth::bench {

namespace {

using Work = asio::executor_work_guard<asio::io_context::executor_type>;

class TimersLane final : public Lane {
 public:
  explicit TimersLane(const Scenario& scenario)
      : scenario_(scenario),
        first_(timer_moments(scenario.size, kTimerSpanNs, 1)),
        second_(timer_moments(scenario.size, kTimerSpanNs, 2)) {
    for (std::size_t i = 0; i < scenario.size; ++i) timers_.emplace_back(io_);
  }
  Sample round() override {
    fired_ = cancelled_ = 0;
    io_.restart();
    const auto now = std::chrono::steady_clock::now();
    Meter meter;
    meter.start();
    if (scenario_.job == Job::timer_cancel) {
      arm(now, first_);
      arm(now, second_);  // Asio moves a timer by cancelling the wait for it
      for (asio::steady_timer& timer : timers_) timer.cancel();
      io_.poll();
      check(cancelled_ == 2 * timers_.size(), "a timer was not cancelled");
    } else {
      arm(now - std::chrono::nanoseconds(kTimerSpanNs), first_);
      io_.poll();
      check(fired_ == timers_.size(), "a timer did not fire");
    }
    meter.stop(timers_.size());
    return meter.sample();
  }

 private:
  void arm(std::chrono::steady_clock::time_point start, const std::vector<long>& moments) {
    for (std::size_t i = 0; i < timers_.size(); ++i) {
      timers_[i].expires_at(start + std::chrono::nanoseconds(moments[i]));
      timers_[i].async_wait([this](asio::error_code error) { ++(error ? cancelled_ : fired_); });
    }
  }

  const Scenario scenario_;
  const std::vector<long> first_;
  const std::vector<long> second_;
  asio::io_context io_{1};
  std::deque<asio::steady_timer> timers_;
  std::size_t fired_ = 0;
  std::size_t cancelled_ = 0;
};

/// Two io_contexts, ours and one on a thread of its own.
class TwoContexts {
 public:
  TwoContexts() { pin_to_core(0); }
  ~TwoContexts() {
    there.stop();
    thread_.join();
  }
  asio::io_context here{1};
  asio::io_context there{1};

 private:
  Work work_here_{here.get_executor()};
  Work work_there_{there.get_executor()};
  std::thread thread_{[this] {
    pin_to_core(1);
    there.run();
  }};
};

class BatchLane final : public Lane {
 public:
  explicit BatchLane(const Scenario& scenario) : scenario_(scenario) {}
  Sample round() override {
    passes_left_ = scenario_.passes;
    read_ = 0;
    contexts_.here.restart();
    Meter meter;
    meter.start();
    asio::post(contexts_.here, [this] { send(); });
    contexts_.here.run();
    meter.stop(read_);
    return meter.sample();
  }

 private:
  void send() {
    if (passes_left_-- == 0) return contexts_.here.stop();
    for (std::size_t i = 0; i < scenario_.size; ++i)
      asio::post(contexts_.there, [this] { read(); });
  }
  void read() {  // on the other thread
    if (++read_ % scenario_.size == 0) asio::post(contexts_.here, [this] { send(); });
  }

  const Scenario scenario_;
  std::size_t passes_left_ = 0;
  std::size_t read_ = 0;
  TwoContexts contexts_;
};

class BallLane final : public Lane {
 public:
  explicit BallLane(const Scenario& scenario) : scenario_(scenario) {
    round_trips_.reserve(scenario.size + 1);
  }
  Sample round() override {
    round_trips_.clear();
    contexts_.here.restart();
    Meter meter;
    meter.start();
    asio::post(contexts_.here, [this] { hit(); });
    contexts_.here.run();
    meter.stop(round_trips_.size());
    Sample sample = meter.sample();
    add_quantiles(sample, round_trips_);
    return sample;
  }

 private:
  void hit() {
    begun_ = now_ns();
    asio::post(contexts_.there, [this] { asio::post(contexts_.here, [this] { returned(); }); });
  }
  void returned() {
    round_trips_.push_back(now_ns() - begun_);
    if (round_trips_.size() == scenario_.size) return contexts_.here.stop();
    hit();
  }

  const Scenario scenario_;
  std::vector<double> round_trips_;
  double begun_ = 0;
  TwoContexts contexts_;
};

}  // namespace

std::unique_ptr<Lane> make_asio_loop_lane(const Scenario& scenario) {
  switch (scenario.job) {
    case Job::timer_cancel:
    case Job::timer_fire:
      return std::make_unique<TimersLane>(scenario);
    case Job::post_batch:
      return std::make_unique<BatchLane>(scenario);
    case Job::post_ball:
      return std::make_unique<BallLane>(scenario);
    default:
      return nullptr;
  }
}

}  // namespace berth::bench
