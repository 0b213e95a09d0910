// io/remote_inbox.h — what other threads have for a reactor, and how they wake it.
#pragma once

#include <berth/core/executor.h>
#include <berth/core/result.h>
#include <berth/io/fd.h>

#include <memory>
#include <mutex>

namespace berth::io {

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

  /// The reactor's thread: reads what woke it.
  void clear_wake();
  /// The reactor's thread: moves everything behind `into`.
  void take(IntrusiveList<Runnable>& into);

  bool empty();

  /// Readable after wake().
  int wake_fd() const { return wake_fd_.get(); }
  /// The ring that messages may be sent to; -1 before open() and after close().
  int ring_fd();
  void open(int ring_fd);
  void close();

 private:
  explicit RemoteInbox(Fd wake_fd) : wake_fd_(std::move(wake_fd)) {}

  const Fd wake_fd_;
  std::mutex mutex_;
  // Guarded by mutex_.
  IntrusiveList<Runnable> posted_;
  bool woken_ = false;  // wake_fd_ was written and what is posted not yet taken
  int ring_fd_ = -1;
};

}  // namespace berth::io
