// What it costs a reactor to wait in an asio::io_context instead of by itself, and what Asio's own
// waits for each descriptor cost: one byte goes back and forth over a socket pair, both ends of
// which the same thread serves, so that every hop is a turn that finds one event.
#include <berth/io/asio_reactor.h>
#include <berth/io/uring_ring.h>

#include <sys/socket.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <asio/buffer.hpp>
#include <asio/io_context.hpp>
#include <asio/local/stream_protocol.hpp>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <functional>
#include <memory>
#include <vector>

namespace {

using berth::io::Reactor;

constexpr int kHops = 50'000;
constexpr int kRounds = 7;

std::array<int, 2> make_pair() {
  std::array<int, 2> ends = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    std::perror("socketpair");
    std::abort();
  }
  return ends;
}

void send_byte(int fd) {
  if (::write(fd, "x", 1) != 1) std::abort();
}

class End final : public berth::io::ReadOp {
 public:
  End(Reactor& reactor, int fd, int& hops) : reactor_(reactor), hops_(hops) { handle = fd; }
  void on_read(std::span<char>) override {
    if (++hops_ >= kHops) return reactor_.stop();
    send_byte(handle);
  }
  void on_read_end(int) override {}

 private:
  Reactor& reactor_;
  int& hops_;
};

void play(Reactor& reactor) {
  const std::array<int, 2> ends = make_pair();
  int hops = 0;
  End one(reactor, ends[0], hops);
  End two(reactor, ends[1], hops);
  reactor.start(one);
  reactor.start(two);
  send_byte(ends[0]);
  reactor.run();
  reactor.cancel(one);
  reactor.cancel(two);
  while (one.started() || two.started()) reactor.poll();
  reactor.close(ends[0]);
  reactor.close(ends[1]);
}

void play_hosted(std::unique_ptr<Reactor> reactor, asio::io_context& context) {
  if (!berth::io::run_in(context, *reactor).has_value()) std::abort();
  play(*reactor);
}

/// Asio as it is: a wait for each descriptor.
class AsioEnd {
 public:
  AsioEnd(asio::io_context& context, int fd, int& hops)
      : context_(context),
        socket_(context, asio::local::stream_protocol(), fd),
        fd_(fd),
        hops_(hops) {}
  void wait() {
    socket_.async_wait(asio::socket_base::wait_read, [this](std::error_code) {
      char byte = 0;
      if (::read(fd_, &byte, 1) != 1) std::abort();
      if (++hops_ >= kHops) return context_.stop();
      send_byte(fd_);
      wait();
    });
  }

 private:
  asio::io_context& context_;
  asio::local::stream_protocol::socket socket_;
  int fd_;
  int& hops_;
};

void play_asio() {
  asio::io_context context(1);
  const std::array<int, 2> ends = make_pair();
  int hops = 0;
  AsioEnd one(context, ends[0], hops);
  AsioEnd two(context, ends[1], hops);
  one.wait();
  two.wait();
  send_byte(ends[0]);
  context.run();
}

double cpu_ns() {
  timespec now = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

}  // namespace

int main() {
  struct Way {
    const char* name;
    std::function<void()> play;
    std::vector<double> ns = {};
  };
  std::array ways = {
      Way{"asio engine by itself", [] { play(*berth::io::make_asio_reactor().value()); }},
      Way{"asio engine in a context",
          [] {
            asio::io_context context(1);
            play_hosted(berth::io::make_asio_reactor().value(), context);
          }},
      Way{"uring by itself", [] { play(*berth::io::make_uring_reactor().value()); }},
      Way{"uring in a context",
          [] {
            asio::io_context context(1);
            play_hosted(berth::io::make_uring_reactor().value(), context);
          }},
      Way{"Asio, a wait for each descriptor", play_asio},
  };
  for (int round = 0; round < kRounds; ++round) {  // interleaved: the machine's moods hit all alike
    for (Way& way : ways) {
      const double began = cpu_ns();
      way.play();
      way.ns.push_back((cpu_ns() - began) / kHops);
    }
  }
  std::printf("CPU per hop, median of %d rounds (least .. most)\n", kRounds);
  for (Way& way : ways) {
    std::sort(way.ns.begin(), way.ns.end());
    std::printf("%-34s %6.0f ns  (%.0f .. %.0f)\n", way.name, way.ns[kRounds / 2], way.ns.front(),
                way.ns.back());
  }
  return 0;
}
