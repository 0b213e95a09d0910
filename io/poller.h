// io/poller.h — where a reactor on this machine learns what became ready: the kernel's ring, or an
// epoll set.
#pragma once

#include <berth/core/clock.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace berth::inline v0::io {

class UringRing;

/// What the kernel said about one request.
struct Completion {
  std::uint64_t user_data = 0;
  int result = 0;     ///< Poll events (POLLIN, ...), what the request gave, or minus an errno.
  bool more = false;  ///< The multishot request goes on.
  std::uint32_t flags = 0;  ///< The ring's own (which buffer, ...).
};

/// Asked and told about descriptors by user_data. Made on any thread; belongs to the thread of the
/// first enter(). Requests reach the kernel with the next enter() at the latest.
class Poller {
 public:
  virtual ~Poller() = default;

  /// Tells each time that `fd` may have become ready in the sense of `mask` (POLLIN, POLLRDHUP),
  /// until cancelled or told without `more`. Events are edges: what is there when the request is
  /// made is told, then what comes. A descriptor that knows no readiness (a file) is told ready at
  /// once, without `more`.
  virtual void poll_multishot(int fd, unsigned mask, std::uint64_t user_data) = 0;
  /// Tells once, also that it is ready already.
  virtual void poll_once(int fd, unsigned mask, std::uint64_t user_data) = 0;
  /// Ends the request with that user_data: its last completion (-ECANCELED, or what won the race)
  /// comes later.
  virtual void cancel(std::uint64_t user_data) = 0;
  /// `fd` is about to be closed; no request is open on it.
  virtual void forget(int fd) { static_cast<void>(fd); }

  /// Hands over what was asked, then waits for a completion until `timeout` (nullopt: for ever,
  /// zero: not at all).
  virtual void enter(std::optional<Duration> timeout) = 0;
  /// Whether an enter() would find or tell the kernel something without waiting.
  virtual bool has_work() const = 0;
  /// Completions that the kernel holds and the next enter() would bring.
  virtual bool kernel_has_work() const = 0;
  /// Copies completions out, oldest first; returns how many.
  virtual std::size_t reap(std::span<Completion> out) = 0;

  /// Becomes readable when an enter() would find completions that were not there at the last one.
  /// Asked for only when somebody else's loop does the waiting. -1 when descriptors are short.
  virtual int wait_fd() = 0;

  /// The ring, for operations that only a ring can do; null where there is none.
  virtual UringRing* ring() { return nullptr; }
};

}  // namespace berth::inline v0::io
