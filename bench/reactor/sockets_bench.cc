// bench/reactor/sockets_bench.cc — what the reactor adds to bare system calls on sockets.
//
// Ping-pong: 100 bytes to and fro over a socket pair, both ends on one thread, against a bare epoll
// loop (p50 of a round trip). Fan-out: one 500-byte event to many loopback TCP sockets, against a
// bare loop of write(2) (CPU per delivery). Both sides alternate in rounds. Exits with 1 when a
// limit of the targets is missed.

#include <berth/io/fd_reactor.h>
#include <berth/io/uring_ring.h>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <functional>
#include <string>
#include <vector>

namespace {

using namespace berth::io;

constexpr std::size_t kPingBytes = 100;
constexpr std::size_t kEventBytes = 500;
constexpr double kPingRatioMax = 1.1;
constexpr double kFanOutRatioMax = 1.05;

double clock_ns(clockid_t clock) {
  timespec now = {};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void check(bool fine, const char* what) {
  if (fine) return;
  std::perror(what);
  std::exit(1);
}

// ---- bare epoll ----

class EpollPair {
 public:
  EpollPair() {
    check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends_.data()) == 0,
          "socketpair");
    for (const int end : ends_) {
      epoll_event event = {};
      event.events = EPOLLIN;
      event.data.fd = end;
      ::epoll_ctl(epoll_, EPOLL_CTL_ADD, end, &event);
    }
  }
  ~EpollPair() {
    for (const int fd : {ends_[0], ends_[1], epoll_}) ::close(fd);
  }
  void round_trip() {
    check(::write(ends_[0], message_.data(), kPingBytes) == kPingBytes, "write");
    for (;;) {
      std::array<epoll_event, 8> events = {};
      const int ready = ::epoll_wait(epoll_, events.data(), 8, -1);
      for (int i = 0; i < ready; ++i) {
        const int fd = events[static_cast<std::size_t>(i)].data.fd;
        check(::read(fd, buffer_.data(), buffer_.size()) == kPingBytes, "read");
        if (fd == ends_[0]) return;
        check(::write(fd, message_.data(), kPingBytes) == kPingBytes, "write");
      }
    }
  }

 private:
  std::array<int, 2> ends_ = {};
  int epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  std::string message_ = std::string(kPingBytes, 'x');
  std::array<char, 4096> buffer_ = {};
};

// ---- berth ----

class Writing final : public WriteOp {
 public:
  void send(Reactor& reactor, std::string& bytes) {
    part_ = iovec{bytes.data(), bytes.size()};
    parts = std::span(&part_, 1);
    reactor.start(*this);
  }
  void on_written(int error) override { check(error == 0, "on_written"); }

 private:
  iovec part_ = {};
};

class End final : public ReadOp {
 public:
  std::function<void()> heard;
  void on_read(std::span<char> bytes) override {
    check(bytes.size() == kPingBytes, "on_read");
    heard();
  }
  void on_read_end(int) override {}
};

class BerthPair {
 public:
  BerthPair() {
    std::array<int, 2> ends = {};
    check(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0, "socketpair");
    near_.handle = to_far_.handle = reactor_->adopt(ends[0]).value();
    far_.handle = to_near_.handle = reactor_->adopt(ends[1]).value();
    near_.heard = [this] { home_ = true; };
    far_.heard = [this] { to_near_.send(*reactor_, message_); };
    reactor_->start(near_);
    reactor_->start(far_);
    reactor_->poll();
  }
  ~BerthPair() {
    reactor_->cancel(near_);
    reactor_->cancel(far_);
    while (near_.started() || far_.started() || to_far_.started() || to_near_.started()) {
      reactor_->poll();
    }
    reactor_->close(near_.handle);
    reactor_->close(far_.handle);
  }
  void round_trip() {
    home_ = false;
    to_far_.send(*reactor_, message_);
    while (!home_) reactor_->poll();
  }

 private:
  std::unique_ptr<FdReactor> reactor_ = make_uring_reactor().value();
  std::string message_ = std::string(kPingBytes, 'x');
  End near_;
  End far_;
  Writing to_far_;
  Writing to_near_;
  bool home_ = false;
};

bool measure_ping_pong() {
  EpollPair epoll;
  BerthPair berth;
  std::vector<double> ratios;
  std::vector<double> epoll_p50;
  std::vector<double> berth_p50;
  for (int round = 0; round < 30; ++round) {
    std::vector<double> epoll_ns;
    std::vector<double> berth_ns;
    const auto time = [](std::vector<double>& into, auto& pair) {
      const double start = clock_ns(CLOCK_MONOTONIC);
      pair.round_trip();
      into.push_back(clock_ns(CLOCK_MONOTONIC) - start);
    };
    for (int i = 0; i < 1'000; ++i) time(epoll_ns, epoll);
    for (int i = 0; i < 1'000; ++i) time(berth_ns, berth);
    epoll_p50.push_back(median(epoll_ns));
    berth_p50.push_back(median(berth_ns));
    ratios.push_back(berth_p50.back() / epoll_p50.back());
  }
  const double ratio = median(ratios);
  std::printf("ping-pong of 100 B: epoll %.0f ns  berth %.0f ns  ratio %.3f (limit %.2f)\n",
              median(epoll_p50), median(berth_p50), ratio, kPingRatioMax);
  return ratio <= kPingRatioMax;
}

// ---- fan-out ----

struct Sockets {
  std::vector<int> near;
  std::vector<int> far;

  explicit Sockets(std::size_t count) {
    sockaddr_storage address = {};
    socklen_t size = sizeof(sa_family_t) + 14;
    reinterpret_cast<sockaddr*>(&address)->sa_family = AF_INET;
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(::bind(listener, reinterpret_cast<sockaddr*>(&address), size) == 0, "bind");
    check(::listen(listener, 128) == 0, "listen");
    ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
    for (std::size_t i = 0; i < count; ++i) {
      far.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      check(::connect(far.back(), reinterpret_cast<sockaddr*>(&address), size) == 0, "connect");
      near.push_back(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      check(near.back() >= 0, "accept");
    }
    ::close(listener);
  }
  void drain() {
    std::array<char, 8192> buffer;
    for (const int fd : far) check(::recv(fd, buffer.data(), buffer.size(), 0) > 0, "recv");
  }
  ~Sockets() {
    for (const int fd : near) ::close(fd);
    for (const int fd : far) ::close(fd);
  }
};

bool measure_fan_out(std::size_t count, int rounds) {
  Sockets sockets(count);
  std::unique_ptr<FdReactor> reactor = make_uring_reactor().value();
  std::string event(kEventBytes, 'e');
  std::deque<Writing> writes(count);
  for (std::size_t i = 0; i < count; ++i) writes[i].handle = sockets.near[i];
  std::vector<double> ratios;
  std::vector<double> bare_ns;
  std::vector<double> berth_ns;
  for (int round = 0; round < rounds; ++round) {
    double start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (const int fd : sockets.near) {
      check(::write(fd, event.data(), event.size()) == kEventBytes, "write");
    }
    bare_ns.push_back((clock_ns(CLOCK_THREAD_CPUTIME_ID) - start) / static_cast<double>(count));
    sockets.drain();
    start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (Writing& write : writes) write.send(*reactor, event);
    while (writes.back().started()) reactor->poll();
    berth_ns.push_back((clock_ns(CLOCK_THREAD_CPUTIME_ID) - start) / static_cast<double>(count));
    sockets.drain();
    ratios.push_back(berth_ns.back() / bare_ns.back());
  }
  const double ratio = median(ratios);
  std::printf("fan-out of 500 B to %zu: write(2) %.0f ns  berth %.0f ns  ratio %.3f (limit %.2f)\n",
              count, median(bare_ns), median(berth_ns), ratio, kFanOutRatioMax);
  return ratio <= kFanOutRatioMax;
}

}  // namespace

int main() {
  const bool ping_pong = measure_ping_pong();
  const bool few = measure_fan_out(1'000, 100);
  const bool many = measure_fan_out(5'000, 30);
  return ping_pong && few && many ? 0 : 1;
}
