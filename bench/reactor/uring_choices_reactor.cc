// Choices that are made inside of the reactor: how it receives, and how reactors wake each other.
#include "uring_choices.h"
#include "uring_choices_ring.h"

#include <berth/io/asio_reactor.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/uring_ring.h>

#include <poll.h>
#include <atomic>
#include <cstring>
#include <deque>
#include <thread>

namespace berth::bench {
namespace {

using io::FdReactor;

std::unique_ptr<FdReactor> uring() {
  return io::make_uring_reactor().value();
}

class Receive final : public Way {
 public:
  struct Load {
    std::size_t sockets;
    std::size_t active;
    std::size_t bytes;
  };
  Receive(io::ReadOp::Way way, Load load) : load_(load), bytes_(load.bytes, 'x') {
    for (std::size_t i = 0; i < load.sockets; ++i) {
      pairs_.push_back(listener_.connect());
      Reading& reading = readings_.emplace_back(seen_);
      reading.handle = reactor_->adopt(pairs_[i].far).value();
      reading.way = way;
      reactor_->start(reading);
    }
    for (int i = 0; i < 10; ++i) reactor_->poll();
  }
  ~Receive() override {
    for (Reading& reading : readings_) reactor_->cancel(reading);
    while (ended_ < readings_.size()) {
      reactor_->poll();
      ended_ = 0;
      for (Reading& reading : readings_) ended_ += reading.started() ? 0U : 1U;
    }
    for (const Pair& pair : pairs_) {
      reset(pair.near);
      reset(pair.far);
    }
  }
  double round() override {
    constexpr std::size_t kRepeats = 10;
    double spent = 0;
    for (std::size_t repeat = 0; repeat < kRepeats; ++repeat) {
      for (std::size_t i = 0; i < load_.active; ++i) {
        const Pair& pair = pairs_[(next_ + i) % pairs_.size()];
        const ssize_t sent = ::send(pair.near, bytes_.data(), bytes_.size(), 0);
        need(sent == static_cast<ssize_t>(bytes_.size()));
      }
      next_ += load_.active;
      seen_ = 0;
      const double start = cpu_ns();
      while (seen_ < load_.active * load_.bytes) reactor_->poll();
      spent += cpu_ns() - start;
    }
    return spent / static_cast<double>(kRepeats * load_.active);
  }

 private:
  class Reading final : public io::ReadOp {
   public:
    explicit Reading(std::size_t& seen) : seen_(seen) {}
    void on_read(std::span<char> bytes) override { seen_ += bytes.size(); }
    void on_read_end(int) override {}

   private:
    std::size_t& seen_;
  };
  const Load load_;
  std::vector<char> bytes_;
  TcpListener listener_;
  std::unique_ptr<FdReactor> reactor_ = uring();
  std::vector<Pair> pairs_;
  std::deque<Reading> readings_;
  std::size_t seen_ = 0;
  std::size_t next_ = 0;
  std::size_t ended_ = 0;
};

std::vector<NamedWay> both_ways(Receive::Load load) {
  std::vector<NamedWay> ways;
  ways.push_back(
      {"poll, then read(2)", std::make_unique<Receive>(io::ReadOp::Way::readiness, load)});
  ways.push_back(
      {"multishot recv into buffers", std::make_unique<Receive>(io::ReadOp::Way::buffers, load)});
  return ways;
}

// Some balls that two reactors on two threads throw at each other.
class Balls final : public Way {
 public:
  Balls(bool message, std::size_t balls) : message_(message), count_(balls) {}
  double round() override {
    constexpr int kFlights = 2'000;
    std::deque<Ball> balls;
    for (std::size_t i = 0; i < count_; ++i) balls.emplace_back(*this, kFlights);
    flying_ = count_;
    const double start = cpu_ns();
    for (Ball& ball : balls) reactors_[0]->post_remote(ball);
    std::thread other([this] { reactors_[1]->run(); });
    reactors_[0]->run();
    other.join();
    const double spent = cpu_ns() - start;
    reactors_ = {uring(), uring()};
    return spent / static_cast<double>(count_ * kFlights);
  }

 private:
  struct Ball final : Runnable {
    Ball(Balls& game_value, int flights_value) : game(game_value), flights(flights_value) {}
    void run() override {
      if (flights-- == 0) return game.landed();
      FdReactor& from = *game.reactors_[place];
      place = 1 - place;
      FdReactor& to = *game.reactors_[place];
      if (game.message_) {
        to.post_from(from, *this);
      } else {
        to.post_remote(*this);
      }
    }
    Balls& game;
    int flights;
    std::size_t place = 0;
  };
  void landed() {
    if (flying_.fetch_sub(1) > 1) return;
    for (auto& reactor : reactors_) reactor->stop();
  }
  const bool message_;
  const std::size_t count_;
  std::atomic<std::size_t> flying_ = 0;
  std::array<std::unique_ptr<FdReactor>, 2> reactors_ = {uring(), uring()};
};

std::vector<NamedWay> both_wakes(std::size_t balls) {
  std::vector<NamedWay> ways;
  ways.push_back({"eventfd (post_remote)", std::make_unique<Balls>(false, balls)});
  ways.push_back({"MSG_RING (post_from)", std::make_unique<Balls>(true, balls)});
  return ways;
}

// What looking after lost events costs: one poll(2) a second.
class Watchdog final : public Way {
 public:
  Watchdog() {
    for (std::size_t i = 0; i < 512; ++i) {
      pairs_.push_back(unix_pair());
      handles_.push_back(pollfd{pairs_[i].near, POLLIN, 0});
    }
  }
  ~Watchdog() override {
    for (const Pair& pair : pairs_) {
      ::close(pair.near);
      ::close(pair.far);
    }
  }
  double round() override {
    const double start = cpu_ns();
    need(::poll(handles_.data(), handles_.size(), 0) == 0);
    return cpu_ns() - start;
  }

 private:
  std::vector<Pair> pairs_;
  std::vector<pollfd> handles_;
};

}  // namespace

std::vector<Choice> receive_choices() {
  return {
      {"receive-requests", "300 B on each of 64 TCP connections",
       [] { return both_ways({64, 64, 300}); }},
      {"receive-bodies", "16 KiB on each of 32 TCP connections",
       [] { return both_ways({32, 32, 16 * 1024}); }},
      {"receive-events", "500 B on 100 of 1000 TCP connections",
       [] { return both_ways({1'000, 100, 500}); }},
      {"receive-one", "300 B on one TCP connection", [] { return both_ways({1, 1, 300}); }},
      {"wake-one", "a runnable to and fro, both threads", [] { return both_wakes(1); }},
      {"wake-many", "each of 64 runnables to and fro, both threads", [] { return both_wakes(64); }},
      {"watchdog", "one look at 512 quiet handles, once a second",
       [] {
         std::vector<NamedWay> ways;
         ways.push_back({"poll(2)", std::make_unique<Watchdog>()});
         return ways;
       }},
  };
}

}  // namespace berth::bench
