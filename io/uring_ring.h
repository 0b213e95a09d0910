// io/uring_ring.h — the kernel's ring: what the engine submits and what it gets back. The only user
// of liburing.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/result.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/poller.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

struct io_uring;
struct io_uring_sqe;

namespace berth::inline v0::io {

class UringBuffers;

struct UringSizes {
  unsigned submissions = 1024;
  unsigned completions =
      8192;  ///< Above this many at once the kernel keeps them aside: slower, nothing is lost.
};

/// Owned by one reactor. Created disabled, so any thread may construct it; the thread of the first
/// enter() is then the only one that may use it (SINGLE_ISSUER, DEFER_TASKRUN: completions come
/// only inside our own calls).
class UringRing final : public Poller {
 public:
  /// Error `unsupported`, with the reason in words (uring_probe.h), or `overloaded`.
  static Result<std::unique_ptr<UringRing>> create(const UringSizes& sizes);
  ~UringRing() override;

  UringRing* ring() override { return this; }

  // Each of these queues one request; it reaches the kernel with the next enter(), or now if the
  // queue is full.
  void poll_multishot(int fd, unsigned mask, std::uint64_t user_data) override;
  void poll_once(int fd, unsigned mask, std::uint64_t user_data) override;
  /// Connections come as results: non-blocking, close-on-exec descriptors.
  void accept_multishot(int listener, std::uint64_t user_data);
  /// The buffers of receive_multishot(); made by the first call. Null when the kernel has none.
  UringBuffers* buffers();
  /// What comes, a buffer for each completion; 0 is the end.
  void receive_multishot(int socket, std::uint64_t user_data);
  /// Whether the kernel knows waitid() as a request (Linux 6.7).
  bool has_waitid() const { return has_waitid_; }
  /// Tells once, 0, that the child ended; `options` as of waitid(2).
  void waitid(int pid, int options, std::uint64_t user_data);
  /// Whether messages between rings can be relied on.
  bool has_messages() const { return has_messages_; }
  /// A completion with user_data `message` for the ring `ring_fd` of whatever thread; one for us,
  /// `failed`, only if it could not be delivered.
  void message(int ring_fd, std::uint64_t message, std::uint64_t failed);
  /// How often what was queued has been handed over: while it stays, nothing queued has left.
  std::uint64_t submissions() const { return submissions_; }
  /// Steps with files, as the system calls of that name; paths stay until the completion. The
  /// kernel takes those that block on a few threads of its own (kFileThreadsMax).
  enum class Sync : bool { all, data };
  void open(const char* path, int flags, unsigned mode, std::uint64_t user_data);
  void read(int fd, std::span<char> into, std::uint64_t offset, std::uint64_t user_data);
  void write(int fd, std::span<const char> from, std::uint64_t offset, std::uint64_t user_data);
  void fsync(int fd, Sync what, std::uint64_t user_data);
  void rename(const char* path, const char* new_path, std::uint64_t user_data);
  void unlink(const char* path, std::uint64_t user_data);
  void close(int fd, std::uint64_t user_data);
  /// The answer to the cancel itself is silent, or has user_data 0 when nothing was found.
  void cancel(std::uint64_t user_data) override;

  /// One system call; none when it could do nothing.
  void enter(std::optional<Duration> timeout) override;
  bool has_work() const override;
  bool kernel_has_work() const override;
  std::size_t reap(std::span<Completion> out) override;
  /// An eventfd that the kernel signals for new work. Not the ring itself: with DEFER_TASKRUN its
  /// descriptor is readable while work waits, but nobody who sleeps on it is woken (6.18).
  int wait_fd() override;
  /// Where other rings send messages to.
  int ring_fd() const;

  std::uint64_t enter_count() const { return enters_; }
  /// How often the completion ring was full.
  std::uint64_t overflow_count() const;

 private:
  struct Close {
    void operator()(io_uring* ring) const;
  };
  explicit UringRing(std::unique_ptr<io_uring, Close> ring);
  io_uring_sqe* next_entry();
  void enable();

  std::unique_ptr<UringBuffers> buffers_;
  bool buffers_tried_ = false;
  std::unique_ptr<io_uring, Close> ring_;
  bool enabled_ = false;
  bool has_waitid_ = false;
  bool has_messages_ = false;
  std::uint64_t submissions_ = 0;
  int event_fd_ = -1;  // made by wait_fd()
  std::uint64_t enters_ = 0;
};

/// The `uring` engine: a reactor on such a ring. Errors as UringRing::create().
Result<std::unique_ptr<FdReactor>> make_uring_reactor(const UringSizes& sizes = {});

}  // namespace berth::inline v0::io
