// io/uring_ring.h — the kernel's ring: what the engine submits and what it gets back. The only user
// of liburing.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/result.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

struct io_uring;
struct io_uring_sqe;

namespace berth::io {

struct UringSizes {
  unsigned submissions = 1024;
  unsigned completions =
      8192;  ///< Above this many at once the kernel keeps them aside: slower, nothing is lost.
};

/// One completion, copied out of the ring.
struct UringCompletion {
  std::uint64_t user_data = 0;
  int result = 0;
  bool more = false;  ///< The multishot request goes on.
};

/// Owned by one reactor. Created disabled, so any thread may construct it; the thread that calls
/// enable() is then the only one that may use it (SINGLE_ISSUER, DEFER_TASKRUN: completions come
/// only inside our own calls).
class UringRing {
 public:
  /// Error `unsupported`, with the reason in words (uring_probe.h), or `overloaded`.
  static Result<UringRing> create(const UringSizes& sizes);
  UringRing(UringRing&&) noexcept = default;
  UringRing& operator=(UringRing&&) noexcept = default;
  ~UringRing();

  bool enabled() const { return enabled_; }
  void enable();

  // Each of these queues one request; it reaches the kernel with the next enter(), or now if the
  // queue is full.
  void poll_multishot(int fd, unsigned mask, std::uint64_t user_data);
  void poll_once(int fd, unsigned mask, std::uint64_t user_data);
  /// Connections come as results: non-blocking, close-on-exec descriptors.
  void accept_multishot(int listener, std::uint64_t user_data);
  /// Ends the request with that user_data; it answers with its last completion. The answer to the
  /// cancel itself is silent, or has user_data 0 when nothing was found.
  void cancel(std::uint64_t user_data);

  /// One system call: submits what is queued, then waits for a completion until `timeout` (nullopt:
  /// for ever, zero: not at all). Skips the call when it could do nothing.
  void enter(std::optional<Duration> timeout);
  /// Whether the kernel holds completions that the next enter() would bring.
  bool kernel_has_work() const;
  /// Copies completions out, oldest first; returns how many.
  std::size_t reap(std::span<UringCompletion> out);

  std::uint64_t enter_count() const { return enters_; }
  /// How often the completion ring was full.
  std::uint64_t overflow_count() const;

 private:
  struct Close {
    void operator()(io_uring* ring) const;
  };
  explicit UringRing(std::unique_ptr<io_uring, Close> ring) : ring_(std::move(ring)) {}
  io_uring_sqe* next_entry();

  std::unique_ptr<io_uring, Close> ring_;
  bool enabled_ = false;
  std::uint64_t enters_ = 0;
};

}  // namespace berth::io
