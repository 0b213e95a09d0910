// Asio: pipes, fan-out and ping-pong by coroutines.
#include "asio_lanes.h"
#include "material.h"

#include <asio.hpp>

#include <unistd.h>

namespace berth::bench {

namespace {

using asio::awaitable;
using asio::use_awaitable;

/// What one connection reads into: its own, as an operation of Asio needs it until its end. Holds
/// the longest line.
constexpr std::size_t kReadBytes = 4096;

/// Single-threaded, as Asio is told by this hint.
class OneThread {
 public:
  /// Runs until somebody calls io().stop(), who must do so when the last message is there.
  void run() {
    io_.restart();
    io_.run();
  }
  asio::io_context& io() { return io_; }

 private:
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{io_.get_executor()};
};

class PipesLane final : public Lane {
 public:
  explicit PipesLane(const Scenario& scenario) : scenario_(scenario), pipes_(scenario) {
    work_.parse = scenario.job == Job::pipes;
    for (std::size_t i = 0; i < scenario.size; ++i) {
      ends_.emplace_back(loop_.io(), pipes_.take_reader(i));
      asio::co_spawn(loop_.io(), read_lines(ends_.back()), asio::detached);
    }
    loop_.io().poll();
  }
  Sample round() override {
    Meter meter;
    for (std::size_t pass = 0; pass < scenario_.passes; ++pass) {
      pipes_.write_lines();
      work_.lines = 0;
      meter.start();
      loop_.run();
      meter.stop(work_.lines);
    }
    return meter.sample();
  }

 private:
  awaitable<void> read_lines(asio::posix::stream_descriptor& end) {
    LineReader lines(work_);
    std::vector<char> buffer(kReadBytes + kLinePadding, 1);
    for (;;) {
      const std::size_t got =
          co_await end.async_read_some(asio::buffer(buffer.data(), kReadBytes), use_awaitable);
      lines.feed({buffer.data(), got});
      if (work_.lines == scenario_.active) loop_.io().stop();
    }
  }

  const Scenario scenario_;
  Pipes pipes_;
  LineWork work_;
  OneThread loop_;
  std::deque<asio::posix::stream_descriptor> ends_;
};

/// A queue and a writing coroutine a connection, one write an event, as in Asio's own chat server.
class FanOutLane final : public Lane {
 public:
  explicit FanOutLane(const Scenario& scenario) : scenario_(scenario), sockets_(scenario.size) {
    for (const int fd : sockets_.near()) {
      Connection& connection = connections_.emplace_back(loop_.io(), ::dup(fd));
      asio::co_spawn(loop_.io(), write_events(connection), asio::detached);
    }
    loop_.io().poll();
  }
  Sample round() override {
    Meter meter;
    for (std::size_t pass = 0; pass < scenario_.passes; ++pass) {
      written_ = 0;
      meter.start();
      for (std::size_t i = 0; i < scenario_.active; ++i)
        asio::post(loop_.io(), [this] { publish(); });
      loop_.run();
      meter.stop(written_);
      sockets_.drain(kEventBytes * scenario_.active);
    }
    return meter.sample();
  }

 private:
  struct Connection {
    Connection(asio::io_context& io, int fd)
        : socket(io, asio::ip::tcp::v4(), fd), arrived(io, asio::steady_timer::time_point::max()) {}
    asio::ip::tcp::socket socket;
    std::size_t waiting = 0;  // events, which are all alike
    asio::steady_timer arrived;
  };
  void publish() {
    for (Connection& connection : connections_) {
      if (connection.waiting++ == 0) connection.arrived.cancel_one();
    }
  }
  awaitable<void> write_events(Connection& connection) {
    for (;;) {
      while (connection.waiting == 0) {
        asio::error_code cancelled;
        co_await connection.arrived.async_wait(asio::redirect_error(use_awaitable, cancelled));
      }
      co_await asio::async_write(connection.socket, asio::buffer(event_), use_awaitable);
      --connection.waiting;
      if (++written_ == scenario_.size * scenario_.active) loop_.io().stop();
    }
  }

  const Scenario scenario_;
  TcpSockets sockets_;
  std::string event_ = std::string(kEventBytes, 'e');
  std::size_t written_ = 0;
  OneThread loop_;
  std::deque<Connection> connections_;
};

class PingPongLane final : public Lane {
 public:
  explicit PingPongLane(const Scenario& scenario) : scenario_(scenario) {
    const std::array<int, 2> ends = make_socket_pair();
    near_.assign(asio::local::stream_protocol(), ends[0]);
    far_.assign(asio::local::stream_protocol(), ends[1]);
    round_trips_.reserve(scenario.size);
    asio::co_spawn(loop_.io(), echo(), asio::detached);
    loop_.io().poll();
  }
  Sample round() override {
    round_trips_.clear();
    Meter meter;
    meter.start();
    asio::co_spawn(loop_.io(), go(), asio::detached);
    loop_.run();
    meter.stop(round_trips_.size());
    Sample sample = meter.sample();
    add_quantiles(sample, round_trips_);
    return sample;
  }

 private:
  awaitable<void> go() {
    std::array<char, 4096> buffer;
    for (std::size_t i = 0; i < scenario_.size; ++i) {
      const double begun = now_ns();
      co_await asio::async_write(near_, asio::buffer(message_), use_awaitable);
      const std::size_t got = co_await near_.async_read_some(asio::buffer(buffer), use_awaitable);
      check(got == kPingBytes, "read");
      round_trips_.push_back(now_ns() - begun);
    }
    loop_.io().stop();
  }
  awaitable<void> echo() {
    std::array<char, 4096> buffer;
    for (;;) {
      const std::size_t got = co_await far_.async_read_some(asio::buffer(buffer), use_awaitable);
      co_await asio::async_write(far_, asio::buffer(buffer.data(), got), use_awaitable);
    }
  }

  const Scenario scenario_;
  OneThread loop_;
  asio::local::stream_protocol::socket near_{loop_.io()};
  asio::local::stream_protocol::socket far_{loop_.io()};
  std::string message_ = std::string(kPingBytes, 'x');
  std::vector<double> round_trips_;
};

}  // namespace

std::unique_ptr<Lane> make_asio_stream_lane(const Scenario& scenario) {
  switch (scenario.job) {
    case Job::pipes:
    case Job::raw_pipes:
      return std::make_unique<PipesLane>(scenario);
    case Job::fan_out:
      return std::make_unique<FanOutLane>(scenario);
    case Job::ping_pong:
      return std::make_unique<PingPongLane>(scenario);
    default:
      return nullptr;
  }
}

}  // namespace berth::bench
