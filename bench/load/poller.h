// bench/load/poller.h — the load program's own event loop: plain epoll, one thread.
#pragma once

#include <sys/epoll.h>
#include <unistd.h>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace berth::bench {

/// A load run whose ground is gone has nothing to say. Caught by main() alone, so that servers are
/// ended and their folders removed on the way.
class Fatal : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
[[noreturn]] inline void die(const char* what) {
  throw Fatal(std::string(what) + " (errno " + std::to_string(errno) + ")");
}

inline std::int64_t now_ns() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

class Poller {
 public:
  class Handler {
   public:
    virtual void on_ready(std::uint32_t events) = 0;

   protected:
    ~Handler() = default;
  };

  Poller() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (epoll_ < 0) die("epoll_create1");
  }
  ~Poller() { ::close(epoll_); }
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  /// Level-triggered; closing `fd` ends it. `handler` may be destroyed only between two turns.
  void add(int fd, std::uint32_t events, Handler& handler) {
    epoll_event event = {};
    event.events = events;
    event.data.ptr = &handler;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) die("epoll_ctl");
  }
  void change(int fd, std::uint32_t events, Handler& handler) {
    epoll_event event = {};
    event.events = events;
    event.data.ptr = &handler;
    if (::epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &event) != 0) die("epoll_ctl");
  }

  /// Serves what is ready; waits up to `wait_ms` (-1: without end) for something to be.
  void turn(int wait_ms) {
    const int ready =
        ::epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), wait_ms);
    if (ready < 0) die("interrupted");  // by a signal: nothing else can go wrong here
    for (int i = 0; i < ready; ++i) {
      const epoll_event& event = events_[static_cast<std::size_t>(i)];
      static_cast<Handler*>(event.data.ptr)->on_ready(event.events);
    }
  }

 private:
  int epoll_;
  std::array<epoll_event, 512> events_ = {};
};

}  // namespace berth::bench
