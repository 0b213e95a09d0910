#include <berth/io/signals.h>

#include <sys/signalfd.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <utility>

namespace berth::inline v0::io {

struct SignalFd::Impl final : PollOp {
  void on_ready(int error) override {
    signalfd_siginfo info{};
    while (error == 0 && ::read(fd, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      if (++seen == 2 && again == Again::insists) sigprocmask(SIG_UNBLOCK, &set, nullptr);
      on_signal();
    }
    if (error != ECANCELED && !ended) reactor->start(static_cast<PollOp&>(*this));
  }

  sigset_t set{};
  int fd = -1;
  int seen = 0;
  Again again = Again::insists;
  bool ended = false;
  Reactor* reactor = nullptr;
  std::function<void()> on_signal;
};

SignalFd SignalFd::block(std::initializer_list<int> signals) {
  auto impl = std::make_unique<Impl>();
  sigemptyset(&impl->set);
  for (const int number : signals) sigaddset(&impl->set, number);
  sigprocmask(SIG_BLOCK, &impl->set, nullptr);
  impl->fd = ::signalfd(-1, &impl->set, SFD_NONBLOCK | SFD_CLOEXEC);
  return SignalFd(std::move(impl));
}

SignalFd::SignalFd(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SignalFd::SignalFd(SignalFd&&) noexcept = default;

SignalFd::~SignalFd() {
  if (impl_ != nullptr && impl_->fd >= 0) ::close(impl_->fd);
}

Result<void> SignalFd::watch(Reactor& reactor, std::function<void()> on_signal, Again again) {
  if (impl_->fd < 0) return fail(errno_error(EMFILE, "signalfd"));
  impl_->reactor = &reactor;
  impl_->on_signal = std::move(on_signal);
  impl_->again = again;
  impl_->handle = impl_->fd;
  reactor.start(static_cast<PollOp&>(*impl_));
  return {};
}

void SignalFd::unwatch() {
  impl_->ended = true;
  if (impl_->started()) impl_->reactor->cancel(static_cast<PollOp&>(*impl_));
}

}  // namespace berth::inline v0::io
