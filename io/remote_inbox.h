// io/remote_inbox.h — what other threads have for a reactor, and how they wake it.
#pragma once

#include <berth/core/executor.h>
#include <berth/core/result.h>
#include <berth/io/fd.h>

#include <atomic>
#include <memory>
#include <mutex>

namespace berth::inline v0::io {

/// Shared by a reactor and those that post to it from their rings: a late wake-up of one that is
/// gone touches nothing. Thread-safe but where it says otherwise.
class RemoteInbox {
 public:
  /// Error `overloaded` when no descriptor is left.
  static Result<std::shared_ptr<RemoteInbox>> create();

  /// Who must wake the reactor for what was pushed.
  enum class Wake { nobody, caller };
  /// `nobody` when it will come by anyway.
  Wake push(Runnable& runnable);
  /// push(), and wake() if need be; whether it was.
  bool push_and_wake(Runnable& runnable);
  void wake();

  /// The reactor's thread: moves everything behind `into`.
  void take(IntrusiveList<Runnable>& into);

  bool empty();

  /// An event of it is one wake(). Readable from the first on: nobody reads it, because a poller
  /// tells of edges; its counter reaches its end after 2^64 of them.
  int wake_fd() const { return wake_fd_.get(); }
  /// The descriptor of somebody else's loop, which wake() writes to as well from now on. On the
  /// reactor's thread, once.
  void tell_also(Fd guest_fd);

  /// The ring that messages may be sent to; -1 before open() and after close().
  int ring_fd() const { return ring_fd_.load(std::memory_order_acquire); }
  void open(int ring_fd) { ring_fd_.store(ring_fd, std::memory_order_release); }
  void close() { open(-1); }

 private:
  explicit RemoteInbox(Fd wake_fd) : wake_fd_(std::move(wake_fd)) {}

  const Fd wake_fd_;
  std::mutex mutex_;
  // Guarded by mutex_.
  IntrusiveList<Runnable> posted_;
  bool woken_ = false;  // wake_fd_ was written and what is posted not yet taken

  std::atomic<int> ring_fd_ = -1;  // asked for with each message: no lock
  Fd guest_fd_;                    // ours, so that a late wake() meets no other descriptor
  std::atomic<int> told_fd_ = -1;  // guest_fd_ once it stands
};

}  // namespace berth::inline v0::io
