// io/file_worker.h — the thread that takes the steps with files of a reactor that has no ring.
#pragma once

#include <berth/core/executor.h>
#include <berth/io/reactor.h>

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace berth::inline v0::io {

/// One thread, started by the first submit(), joined by the destructor; steps are taken in order.
/// What waits is the callers' own operations, so there is nothing to bound here. All but the thread
/// itself is called on the thread of `home`.
class FileWorker {
 public:
  /// Takes one step, on the thread: what it gives, or minus an errno.
  using Perform = std::int64_t (*)(FileOp& op);

  /// `ready` is posted to `home` whenever results wait for take(). Both outlive this.
  FileWorker(Reactor& home, Runnable& ready, Perform perform)
      : home_(home), ready_(ready), perform_(perform) {}
  /// Nothing may be submitted and not taken.
  ~FileWorker();

  /// 0, or the errno for which no thread can be started. The result will be in the engine word.
  int submit(FileOp& op);
  /// True when the step had not begun; it is the caller's again.
  bool withdraw(FileOp& op);
  /// Moves the steps that are done behind `into`.
  void take(IntrusiveList<FileOp>& into);

 private:
  void serve();

  Reactor& home_;
  Runnable& ready_;
  const Perform perform_;
  std::mutex mutex_;
  std::condition_variable wake_;
  // Guarded by mutex_, and so is whether an operation is `armed`: in the queue.
  IntrusiveList<FileOp> queue_;
  IntrusiveList<FileOp> done_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace berth::inline v0::io
