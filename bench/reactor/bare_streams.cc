// Plain system calls: pipes and sockets.
#include "bare_lanes.h"
#include "material.h"

#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>
#include <algorithm>

namespace berth::bench {

namespace {

constexpr std::size_t kBufferBytes = 64 * 1024;

class Epoll {
 public:
  ~Epoll() { ::close(fd_); }
  void add(int fd, std::uint64_t data) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = data;
    check(::epoll_ctl(fd_, EPOLL_CTL_ADD, fd, &event) == 0, "epoll_ctl");
  }
  std::span<const epoll_event> wait() {
    const int ready = ::epoll_wait(fd_, events_.data(), static_cast<int>(events_.size()), -1);
    return std::span(events_).first(static_cast<std::size_t>(std::max(ready, 0)));
  }

 private:
  int fd_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::array<epoll_event, 512> events_ = {};
};

class PipesLane final : public Lane {
 public:
  PipesLane(const Scenario& scenario, BareWay way)
      : scenario_(scenario), way_(way), pipes_(scenario), buffer_(kBufferBytes + kLinePadding, 1) {
    work_.parse = scenario.job == Job::pipes;
    for (std::size_t i = 0; i < pipes_.all().size(); ++i) {
      readers_.emplace_back(work_);
      if (way == BareWay::epoll) epoll_.add(pipes_.all()[i].reader, i);
    }
  }
  Sample round() override {
    Meter meter;
    for (std::size_t pass = 0; pass < scenario_.passes; ++pass) {
      pipes_.write_lines();
      work_.lines = 0;
      meter.start();
      read_lines();
      meter.stop(work_.lines);
    }
    return meter.sample();
  }

 private:
  void read_lines() {
    if (way_ == BareWay::reads) {
      for (const std::size_t which : pipes_.written()) read_from(which);
      return;
    }
    while (work_.lines < scenario_.active) {
      for (const epoll_event& event : epoll_.wait()) read_from(event.data.u64);
    }
  }
  void read_from(std::size_t which) {
    const ssize_t got = ::read(pipes_.all()[which].reader, buffer_.data(), kBufferBytes);
    check(got > 0, "read");
    readers_[which].feed({buffer_.data(), static_cast<std::size_t>(got)});
  }

  const Scenario scenario_;
  const BareWay way_;
  Pipes pipes_;
  LineWork work_;
  std::deque<LineReader> readers_;
  std::vector<char> buffer_;
  Epoll epoll_;
};

class FanOutLane final : public Lane {
 public:
  FanOutLane(const Scenario& scenario, bool gather)
      : scenario_(scenario), gather_(gather), sockets_(scenario.size) {}
  Sample round() override {
    Meter meter;
    for (std::size_t pass = 0; pass < scenario_.passes; ++pass) {
      meter.start();
      if (gather_) {
        write_gathered();
      } else {
        for (std::size_t event = 0; event < scenario_.active; ++event) write_event();
      }
      meter.stop(scenario_.size * scenario_.active);
      sockets_.drain(kEventBytes * scenario_.active);
    }
    return meter.sample();
  }

 private:
  void write_event() {
    for (const int fd : sockets_.near()) {
      check(::write(fd, event_.data(), event_.size()) == kEventBytes, "write");
    }
  }
  void write_gathered() {
    std::vector<iovec> parts(scenario_.active, iovec{event_.data(), event_.size()});
    const auto all = static_cast<ssize_t>(kEventBytes * parts.size());
    for (const int fd : sockets_.near()) {
      check(::writev(fd, parts.data(), static_cast<int>(parts.size())) == all, "writev");
    }
  }

  const Scenario scenario_;
  const bool gather_;
  TcpSockets sockets_;
  std::string event_ = std::string(kEventBytes, 'e');
};

class PingPongLane final : public Lane {
 public:
  explicit PingPongLane(const Scenario& scenario) : scenario_(scenario), ends_(make_socket_pair()) {
    for (const int end : ends_) epoll_.add(end, static_cast<std::uint64_t>(end));
    round_trips_.reserve(scenario.size);
  }
  ~PingPongLane() override {
    for (const int end : ends_) ::close(end);
  }
  Sample round() override {
    round_trips_.clear();
    Meter meter;
    meter.start();
    for (std::size_t i = 0; i < scenario_.size; ++i) {
      const double begun = now_ns();
      round_trip();
      round_trips_.push_back(now_ns() - begun);
    }
    meter.stop(scenario_.size);
    Sample sample = meter.sample();
    add_quantiles(sample, round_trips_);
    return sample;
  }

 private:
  void round_trip() {
    check(::write(ends_[0], message_.data(), kPingBytes) == kPingBytes, "write");
    for (;;) {
      for (const epoll_event& event : epoll_.wait()) {
        const int fd = static_cast<int>(event.data.u64);
        check(::read(fd, buffer_.data(), buffer_.size()) == kPingBytes, "read");
        if (fd == ends_[0]) return;
        check(::write(fd, message_.data(), kPingBytes) == kPingBytes, "write");
      }
    }
  }

  const Scenario scenario_;
  std::array<int, 2> ends_;
  Epoll epoll_;
  std::string message_ = std::string(kPingBytes, 'x');
  std::array<char, 4096> buffer_ = {};
  std::vector<double> round_trips_;
};

}  // namespace

std::unique_ptr<Lane> make_bare_stream_lane(const Scenario& scenario, BareWay way) {
  switch (scenario.job) {
    case Job::pipes:
    case Job::raw_pipes:
      return std::make_unique<PipesLane>(scenario, way);
    case Job::fan_out:
      return std::make_unique<FanOutLane>(scenario, way == BareWay::writev);
    case Job::ping_pong:
      return std::make_unique<PingPongLane>(scenario);
    default:
      return nullptr;
  }
}

}  // namespace berth::bench
