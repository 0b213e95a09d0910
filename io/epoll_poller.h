// io/epoll_poller.h — readiness from an epoll set: what a reactor uses where io_uring is forbidden.
#pragma once

#include <berth/core/result.h>
#include <berth/io/poller.h>
#include <berth/io/user_data_map.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

struct epoll_event;

namespace berth::inline v0::io {

struct EpollStats {
  std::uint64_t waits = 0;       ///< epoll_pwait2(2) calls.
  std::uint64_t controls = 0;    ///< epoll_ctl(2) calls.
  std::uint64_t strays = 0;      ///< Events that nobody waited for (any more).
  std::uint64_t interrupts = 0;  ///< Waits that ended early and told nothing (EINTR).
};

/// A descriptor is registered once, edge-triggered, for all requests that are open on it. Each
/// request costs one epoll_ctl(2), which makes the kernel look at the descriptor anew and so tells
/// what is there already; an event costs none, nor does the end of a request. The registration
/// stays until forget() or until an event comes that nobody waits for, so that a descriptor which
/// is polled again and again is not added and removed each time.
///
/// A wait may end early: epoll_wait(2) is never resumed after a signal, and the end of an io_uring
/// that this thread has used, also one that was closed before, is such a signal (the kernel's
/// worker has to visit the thread). The loop comes back; `interrupts` counts.
///
/// Requests take effect at once, not with the next enter(). User data must be unique among the open
/// requests. Allocates only when there are more requests, or greater descriptors, than ever before.
class EpollPoller final : public Poller {
 public:
  /// Error `overloaded` when no descriptor is left, else the errno's own.
  static Result<std::unique_ptr<EpollPoller>> create();
  ~EpollPoller() override;

  void poll_multishot(int fd, unsigned mask, std::uint64_t user_data) override;
  void poll_once(int fd, unsigned mask, std::uint64_t user_data) override;
  void cancel(std::uint64_t user_data) override;
  void forget(int fd) override;
  void enter(std::optional<Duration> timeout) override;
  bool has_work() const override { return taken_ < told_.size() || more_waiting_; }
  bool kernel_has_work() const override { return more_waiting_; }
  std::size_t reap(std::span<Completion> out) override;
  int wait_fd() override { return epoll_fd_; }

  const EpollStats& stats() const { return stats_; }

 private:
  using Index = std::uint32_t;
  struct Request {
    std::uint64_t user_data = 0;
    int fd = -1;
    unsigned mask = 0;
    bool multishot = false;
    Index next = 0;  // of the same descriptor, or free
  };
  /// What is known of one descriptor.
  struct Slot {
    std::uint32_t generation = 0;  // told apart: events of a descriptor that had this number before
    unsigned registered = 0;       // the mask that the kernel has; 0: not in the set
    Index first = 0;               // its open requests; 0: none
  };

  explicit EpollPoller(int epoll_fd);
  void ask(int fd, unsigned mask, std::uint64_t user_data, bool multishot);
  int control(int fd, Slot& slot, unsigned mask);
  unsigned wanted(const Slot& slot) const;
  void tell(const epoll_event& event);
  void tell(std::uint64_t user_data, int result, bool more);
  Index take_request();
  void unlink(Slot& slot, Index index);
  int wait(std::optional<Duration> timeout);

  const int epoll_fd_;
  std::vector<Slot> slots_;        // by descriptor
  std::vector<Request> requests_;  // 0 is nobody
  Index free_ = 0;
  UserDataMap open_;              // user data to index
  std::vector<Completion> told_;  // not reaped yet, from taken_ on
  std::size_t taken_ = 0;
  std::unique_ptr<epoll_event[]> events_;
  bool more_waiting_ = false;  // the last wait filled events_
  bool has_pwait2_ = true;
  EpollStats stats_;
};

}  // namespace berth::inline v0::io
