// Plain system calls and the standard library: timers, and messages between threads.
#include "bare_lanes.h"
#include "material.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <chrono>
#include <map>
#include <mutex>
#include <thread>

namespace berth::bench {

namespace {

using SteadyClock = std::chrono::steady_clock;

// --- timers ---

class MapTimer {
 public:
  explicit MapTimer(std::size_t& fired) : fired_(fired) {}
  virtual ~MapTimer() = default;
  virtual void on_timer() { ++fired_; }

  std::multimap<SteadyClock::time_point, MapTimer*>::iterator place;

 private:
  std::size_t& fired_;
};

class TimersLane final : public Lane {
 public:
  explicit TimersLane(const Scenario& scenario)
      : scenario_(scenario),
        first_(timer_moments(scenario.size, kTimerSpanNs, 1)),
        second_(timer_moments(scenario.size, kTimerSpanNs, 2)) {
    for (std::size_t i = 0; i < scenario.size; ++i) timers_.emplace_back(fired_);
  }
  Sample round() override {
    fired_ = 0;
    const SteadyClock::time_point now = SteadyClock::now();
    Meter meter;
    meter.start();
    if (scenario_.job == Job::timer_cancel) {
      arm(now, first_);
      for (std::size_t i = 0; i < timers_.size(); ++i) {
        armed_.erase(timers_[i].place);
        timers_[i].place = armed_.emplace(now + std::chrono::nanoseconds(second_[i]), &timers_[i]);
      }
      for (MapTimer& timer : timers_) armed_.erase(timer.place);
    } else {
      arm(now - std::chrono::nanoseconds(kTimerSpanNs), first_);
      fire(now);
      check(fired_ == timers_.size(), "a timer did not fire");
    }
    meter.stop(timers_.size());
    check(armed_.empty(), "a timer is left over");
    return meter.sample();
  }

 private:
  void arm(SteadyClock::time_point start, const std::vector<long>& moments) {
    for (std::size_t i = 0; i < timers_.size(); ++i) {
      timers_[i].place = armed_.emplace(start + std::chrono::nanoseconds(moments[i]), &timers_[i]);
    }
  }
  void fire(SteadyClock::time_point now) {
    while (!armed_.empty() && armed_.begin()->first <= now) {
      MapTimer* timer = armed_.begin()->second;
      armed_.erase(armed_.begin());
      timer->on_timer();
    }
  }

  const Scenario scenario_;
  const std::vector<long> first_;
  const std::vector<long> second_;
  std::multimap<SteadyClock::time_point, MapTimer*> armed_;
  std::deque<MapTimer> timers_;
  std::size_t fired_ = 0;
};

// --- messages ---

class Message {
 public:
  virtual void run() = 0;

 protected:
  ~Message() = default;
};

/// A locked queue; the eventfd is written when it stops being empty.
class QueueLoop {
 public:
  QueueLoop() {
    epoll_event event = {};
    event.events = EPOLLIN;
    check(::epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event) == 0, "epoll_ctl");
  }
  ~QueueLoop() {
    ::close(epoll_);
    ::close(wake_);
  }
  void post(Message& message) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(&message);
      if (queue_.size() > 1) return;
    }
    const std::uint64_t one = 1;
    check(::write(wake_, &one, sizeof one) == sizeof one, "write");
  }
  void run() {
    stopped_ = false;
    while (!stopped_) {
      epoll_event event = {};
      if (::epoll_wait(epoll_, &event, 1, -1) != 1) continue;
      std::uint64_t count = 0;
      check(::read(wake_, &count, sizeof count) == sizeof count, "read");
      {
        const std::lock_guard lock(mutex_);
        running_.swap(queue_);
      }
      for (Message* message : running_) message->run();
      running_.clear();
    }
  }
  /// From a message of this loop.
  void stop() { stopped_ = true; }

 private:
  int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  int wake_ = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  std::mutex mutex_;
  std::vector<Message*> queue_;  // guarded by mutex_
  std::vector<Message*> running_;
  bool stopped_ = false;
};

class Stop final : public Message {
 public:
  explicit Stop(QueueLoop& loop) : loop_(loop) {}
  void run() override { loop_.stop(); }

 private:
  QueueLoop& loop_;
};

/// Two loops, ours and one on a thread of its own.
class TwoLoops {
 public:
  TwoLoops() { pin_to_core(0); }
  ~TwoLoops() {
    there.post(stop_);
    thread_.join();
  }
  QueueLoop here;
  QueueLoop there;

 private:
  Stop stop_{there};
  std::thread thread_{[this] {
    pin_to_core(1);
    there.run();
  }};
};

class BatchLane final : public Lane {
 public:
  explicit BatchLane(const Scenario& scenario) : scenario_(scenario) {
    for (std::size_t i = 0; i < scenario.size; ++i) letters_.emplace_back(*this);
  }
  Sample round() override {
    passes_left_ = scenario_.passes;
    read_ = 0;
    Meter meter;
    meter.start();
    send();
    loops_.here.run();
    meter.stop(read_);
    return meter.sample();
  }

 private:
  struct Letter final : Message {
    explicit Letter(BatchLane& lane) : lane_(lane) {}
    void run() override { lane_.read(); }
    BatchLane& lane_;
  };
  struct Receipt final : Message {
    explicit Receipt(BatchLane& lane) : lane_(lane) {}
    void run() override { lane_.send(); }
    BatchLane& lane_;
  };
  void send() {
    if (passes_left_-- == 0) return loops_.here.stop();
    for (Letter& letter : letters_) loops_.there.post(letter);
  }
  void read() {  // on the other thread
    if (++read_ % scenario_.size == 0) loops_.here.post(receipt_);
  }

  const Scenario scenario_;
  std::deque<Letter> letters_;
  Receipt receipt_{*this};
  std::size_t passes_left_ = 0;
  std::size_t read_ = 0;
  TwoLoops loops_;
};

class BallLane final : public Lane {
 public:
  explicit BallLane(const Scenario& scenario) : scenario_(scenario) {
    round_trips_.reserve(scenario.size + 1);
  }
  Sample round() override {
    round_trips_.clear();
    Meter meter;
    meter.start();
    hit();
    loops_.here.run();
    meter.stop(round_trips_.size());
    Sample sample = meter.sample();
    add_quantiles(sample, round_trips_);
    return sample;
  }

 private:
  struct There final : Message {
    explicit There(BallLane& lane) : lane_(lane) {}
    void run() override { lane_.loops_.here.post(lane_.back_); }
    BallLane& lane_;
  };
  struct Back final : Message {
    explicit Back(BallLane& lane) : lane_(lane) {}
    void run() override { lane_.returned(); }
    BallLane& lane_;
  };
  void hit() {
    begun_ = now_ns();
    loops_.there.post(there_);
  }
  void returned() {
    round_trips_.push_back(now_ns() - begun_);
    if (round_trips_.size() == scenario_.size) return loops_.here.stop();
    hit();
  }

  const Scenario scenario_;
  std::vector<double> round_trips_;
  double begun_ = 0;
  There there_{*this};
  Back back_{*this};
  TwoLoops loops_;
};

}  // namespace

std::unique_ptr<Lane> make_bare_loop_lane(const Scenario& scenario) {
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
