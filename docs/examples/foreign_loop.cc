// A program with a loop of its own, epoll here, that turns a berth reactor between its own events.
//
// Three calls are all of it: wait_fd() to wait for, next_deadline() to wait until, poll() to turn.
#include <berth/core/scope.h>
#include <berth/io/awaitables.h>
#include <berth/io/select.h>
#include <berth/io/stream.h>

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace {

using namespace std::chrono_literals;

/// What the host does without berth: some ticks.
class Ticks {
 public:
  explicit Ticks(int count) : left_(count), fd_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)) {
    const itimerspec every = {{0, 3'000'000}, {0, 3'000'000}};
    ::timerfd_settime(fd_, 0, &every, nullptr);
  }
  ~Ticks() { ::close(fd_); }
  int fd() const { return fd_; }
  bool done() const { return left_ == 0; }
  void on_readable() {
    std::uint64_t expirations = 0;
    if (::read(fd_, &expirations, sizeof expirations) > 0 && left_ > 0) {
      std::printf("host: tick\n");
      --left_;
    }
  }

 private:
  int left_;
  int fd_;
};

/// What the program uses berth for: follows a pipe, and waits a little now and then.
berth::Task<void> work(berth::io::Reactor* reactor, berth::io::ByteStream* pipe, bool* done) {
  for (;;) {
    const berth::Result<std::string_view> bytes = co_await pipe->read();
    if (!bytes.has_value() || bytes->empty()) break;
    std::printf("berth: %s\n", std::string(*bytes).c_str());
    co_await berth::io::Sleep(*reactor, reactor->clock().now() + 2ms);
  }
  co_await pipe->close();
  *done = true;
}

/// Somebody at the other end of the pipe, who takes his time.
void say_three_words(int fd) {
  for (const std::string_view word : {"one", "two", "three"}) {
    std::this_thread::sleep_for(5ms);
    if (::write(fd, word.data(), word.size()) < 0) break;
  }
  ::close(fd);
}

// [foreign-loop]
/// How long the host may wait: rounded up, so that it does not spin through the last millisecond.
int timeout_ms(berth::io::Reactor& reactor) {
  const std::optional<berth::TimePoint> next = reactor.next_deadline();
  if (!next.has_value()) return -1;  // only for wait_fd()
  const berth::TimePoint now = std::chrono::steady_clock::now();
  if (*next <= now) return 0;
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(*next - now).count());
}

void run_host_loop(int epoll, berth::io::Reactor& reactor, Ticks& ticks, const bool& done) {
  while (!done || !ticks.done()) {
    // One turn of berth; it never waits. The first one binds the reactor to this thread.
    reactor.poll();
    epoll_event events[8];
    const int count = ::epoll_wait(epoll, events, 8, timeout_ms(reactor));
    for (int i = 0; i < count; ++i) {
      // Nothing to do for the reactor's descriptor: the poll() above serves it.
      if (events[i].data.fd == ticks.fd()) ticks.on_readable();
    }
  }
}
// [foreign-loop]

}  // namespace

int main() {
  berth::NullLog log;
  auto reactor = berth::io::make_reactor(berth::io::EngineChoice::automatic, log);
  if (!reactor.has_value()) {
    std::fprintf(stderr, "%s\n", reactor.error().message.c_str());
    return 1;
  }
  Ticks ticks(4);
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  for (const int fd : {(*reactor)->wait_fd(), ticks.fd()}) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.fd = fd;
    ::epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  }
  int ends[2];
  if (::pipe(ends) != 0) return 1;
  const auto pipe = berth::io::make_stream(**reactor, (*reactor)->adopt(ends[0]).value());
  std::thread speaker(say_three_words, ends[1]);
  bool done = false;
  {
    berth::Scope scope(**reactor);
    scope.spawn(work(reactor->get(), pipe.get(), &done));
    run_host_loop(epoll, **reactor, ticks, done);
  }
  speaker.join();
  ::close(epoll);
  std::printf("both are done\n");
  return 0;
}
