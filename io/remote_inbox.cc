#include <berth/io/remote_inbox.h>

#include <sys/eventfd.h>
#include <unistd.h>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace berth::inline v0::io {

Result<std::shared_ptr<RemoteInbox>> RemoteInbox::create() {
  Fd wake_fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake_fd.valid()) return fail(errno_error(errno, "eventfd"));
  return std::shared_ptr<RemoteInbox>(new RemoteInbox(std::move(wake_fd)));
}

RemoteInbox::Wake RemoteInbox::push(Runnable& runnable) {
  const std::lock_guard lock(mutex_);
  posted_.push_back(runnable);
  return woken_ ? Wake::nobody : Wake::caller;
}

bool RemoteInbox::push_and_wake(Runnable& runnable) {
  {
    const std::lock_guard lock(mutex_);
    posted_.push_back(runnable);
    if (woken_) return false;
    woken_ = true;
  }
  wake();
  return true;
}

void RemoteInbox::wake() {
  // Fails only when the counter is at its end, and then it is readable anyway.
  const std::uint64_t one = 1;
  [[maybe_unused]] ssize_t written = ::write(wake_fd_.get(), &one, sizeof one);
  const int also = told_fd_.load(std::memory_order_acquire);
  if (also >= 0) written = ::write(also, &one, sizeof one);
}

void RemoteInbox::tell_also(Fd guest_fd) {
  guest_fd_ = std::move(guest_fd);
  told_fd_.store(guest_fd_.get(), std::memory_order_release);
}

void RemoteInbox::take(IntrusiveList<Runnable>& into) {
  const std::lock_guard lock(mutex_);
  woken_ = false;
  into.splice_back(posted_);
}

bool RemoteInbox::empty() {
  const std::lock_guard lock(mutex_);
  return posted_.empty();
}

}  // namespace berth::inline v0::io
