// berth: timers, and messages between two reactors on two threads.
#include "berth_lanes.h"
#include "material.h"

#include <chrono>
#include <thread>

namespace berth::bench {

namespace {

using namespace berth::io;

class TimersLane final : public Lane {
 public:
  TimersLane(const Scenario& scenario, std::string_view engine)
      : scenario_(scenario),
        first_(timer_moments(scenario.size, kTimerSpanNs, 1)),
        second_(timer_moments(scenario.size, kTimerSpanNs, 2)),
        reactor_(make_engine(engine)) {
    for (std::size_t i = 0; i < scenario.size; ++i) timers_.emplace_back(fired_);
  }
  Sample round() override {
    fired_ = 0;
    reactor_->poll();
    const TimePoint now = reactor_->clock().now();
    Meter meter;
    meter.start();
    if (scenario_.job == Job::timer_cancel) {
      arm(now + std::chrono::hours(1), first_);
      arm(now + std::chrono::hours(1), second_);
      for (Timer& timer : timers_) reactor_->disarm(timer);
      check(fired_ == 0, "a timer fired");
    } else {
      arm(now - std::chrono::nanoseconds(kTimerSpanNs), first_);
      while (fired_ < timers_.size()) reactor_->poll();
    }
    meter.stop(timers_.size());
    return meter.sample();
  }

 private:
  class Timer final : public TimerOp {
   public:
    explicit Timer(std::size_t& fired) : fired_(fired) {}
    void on_timer() override { ++fired_; }

   private:
    std::size_t& fired_;
  };
  void arm(TimePoint start, const std::vector<long>& moments) {
    for (std::size_t i = 0; i < timers_.size(); ++i) {
      reactor_->arm(timers_[i], start + std::chrono::nanoseconds(moments[i]));
    }
  }

  const Scenario scenario_;
  const std::vector<long> first_;
  const std::vector<long> second_;
  std::unique_ptr<Reactor> reactor_;
  std::deque<Timer> timers_;
  std::size_t fired_ = 0;
};

/// Two reactors, ours and one that runs on a thread of its own.
class TwoReactors {
 public:
  TwoReactors(std::string_view engine, BerthWay way)
      : here_(make_engine(engine)), there_(make_engine(engine)), way_(way) {
    pin_to_core(0);
  }
  ~TwoReactors() {
    there_->stop();
    thread_.join();
  }
  Reactor& here() { return *here_; }
  void send_there(Runnable& runnable) { send(*here_, *there_, runnable); }
  void send_here(Runnable& runnable) { send(*there_, *here_, runnable); }

 private:
  void send(Reactor& from, Reactor& to, Runnable& runnable) {
    if (way_ == BerthWay::remote) return to.post_remote(runnable);
    to.post_from(from, runnable);
  }

  std::unique_ptr<Reactor> here_;
  std::unique_ptr<Reactor> there_;
  const BerthWay way_;
  std::thread thread_{[this] {
    pin_to_core(1);
    there_->run();
  }};
};

class BatchLane final : public Lane {
 public:
  BatchLane(const Scenario& scenario, std::string_view engine, BerthWay way)
      : scenario_(scenario), reactors_(engine, way) {
    for (std::size_t i = 0; i < scenario.size; ++i) letters_.emplace_back(*this);
  }
  Sample round() override {
    passes_left_ = scenario_.passes;
    read_ = 0;
    Meter meter;
    meter.start();
    // From within the loop, as what a reactor runs does it.
    reactors_.here().post(receipt_);
    reactors_.here().run();
    meter.stop(read_);
    return meter.sample();
  }

 private:
  struct Letter final : Runnable {
    explicit Letter(BatchLane& lane) : lane_(lane) {}
    void run() override { lane_.read(); }
    BatchLane& lane_;
  };
  struct Receipt final : Runnable {
    explicit Receipt(BatchLane& lane) : lane_(lane) {}
    void run() override { lane_.send(); }
    BatchLane& lane_;
  };
  void send() {
    if (passes_left_-- == 0) return reactors_.here().stop();
    for (Letter& letter : letters_) reactors_.send_there(letter);
  }
  void read() {  // on the other thread
    if (++read_ % scenario_.size == 0) reactors_.send_here(receipt_);
  }

  const Scenario scenario_;
  std::deque<Letter> letters_;
  Receipt receipt_{*this};
  std::size_t passes_left_ = 0;
  std::size_t read_ = 0;
  TwoReactors reactors_;
};

class BallLane final : public Lane {
 public:
  BallLane(const Scenario& scenario, std::string_view engine, BerthWay way)
      : scenario_(scenario), reactors_(engine, way) {
    round_trips_.reserve(scenario.size + 1);
  }
  Sample round() override {
    round_trips_.clear();
    Meter meter;
    meter.start();
    reactors_.here().post(start_);
    reactors_.here().run();
    meter.stop(round_trips_.size());
    Sample sample = meter.sample();
    add_quantiles(sample, round_trips_);
    return sample;
  }

 private:
  struct Start final : Runnable {
    explicit Start(BallLane& lane) : lane_(lane) {}
    void run() override { lane_.hit(); }
    BallLane& lane_;
  };
  struct There final : Runnable {
    explicit There(BallLane& lane) : lane_(lane) {}
    void run() override { lane_.reactors_.send_here(lane_.back_); }
    BallLane& lane_;
  };
  struct Back final : Runnable {
    explicit Back(BallLane& lane) : lane_(lane) {}
    void run() override { lane_.returned(); }
    BallLane& lane_;
  };
  void hit() {
    begun_ = now_ns();
    reactors_.send_there(there_);
  }
  void returned() {
    round_trips_.push_back(now_ns() - begun_);
    if (round_trips_.size() == scenario_.size) return reactors_.here().stop();
    hit();
  }

  const Scenario scenario_;
  std::vector<double> round_trips_;
  double begun_ = 0;
  Start start_{*this};
  There there_{*this};
  Back back_{*this};
  TwoReactors reactors_;
};

}  // namespace

std::unique_ptr<Lane> make_berth_loop_lane(const Scenario& scenario, std::string_view engine,
                                           BerthWay way) {
  switch (scenario.job) {
    case Job::timer_cancel:
    case Job::timer_fire:
      return std::make_unique<TimersLane>(scenario, engine);
    case Job::post_batch:
      return std::make_unique<BatchLane>(scenario, engine, way);
    case Job::post_ball:
      return std::make_unique<BallLane>(scenario, engine, way);
    default:
      return nullptr;
  }
}

}  // namespace berth::bench
