#include <berth/io/file_worker.h>

#include <berth/core/assert.h>
#include <berth/io/signals_blocked.h>

#include <pthread.h>
#include <system_error>

namespace berth::inline v0::io {

FileWorker::~FileWorker() {
  {
    const std::lock_guard lock(mutex_);
    BERTH_ASSERT(queue_.empty() && done_.empty());
    stopping_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

int FileWorker::submit(FileOp& op) {
  if (!thread_.joinable()) {
    const SignalsBlocked blocked;  // the new thread inherits the mask
    try {
      thread_ = std::thread([this] { serve(); });
    } catch (const std::system_error& error) {
      return error.code().value();
    }
    pthread_setname_np(thread_.native_handle(), "berth-reactor-f");
  }
  {
    const std::lock_guard lock(mutex_);
    OpAccess::armed(op) = true;
    queue_.push_back(op);
  }
  wake_.notify_one();
  return 0;
}

bool FileWorker::withdraw(FileOp& op) {
  const std::lock_guard lock(mutex_);
  if (!OpAccess::armed(op)) return false;
  OpAccess::armed(op) = false;
  op.unlink();
  return true;
}

void FileWorker::take(IntrusiveList<FileOp>& into) {
  const std::lock_guard lock(mutex_);
  into.splice_back(done_);
}

void FileWorker::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    FileOp* op = queue_.pop_front();
    if (op == nullptr) return;
    OpAccess::armed(*op) = false;
    lock.unlock();
    const std::int64_t result = perform_(*op);
    lock.lock();
    OpAccess::word(*op) = static_cast<std::uint64_t>(result);
    const bool first = done_.empty();
    done_.push_back(*op);
    if (!first) continue;  // the reactor knows
    lock.unlock();
    home_.post_remote(ready_);
    lock.lock();
  }
}

}  // namespace berth::inline v0::io
