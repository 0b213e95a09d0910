#include <berth/io/cgroup.h>
#include <berth/io/child_start.h>
#include <berth/io/child_stdio.h>
#include <berth/io/direct_child.h>

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

using std::chrono::milliseconds;
constexpr Duration kFirstRetry = milliseconds(1);
constexpr Duration kLastRetry = milliseconds(50);
constexpr Duration kLateRetry = std::chrono::seconds(1);  // when on_exit was told without proof
constexpr std::size_t kWordsAtOnce = std::size_t{16} * 1024;

}  // namespace

DirectProcess::~DirectProcess() {
  if (child != nullptr) child->abandon();
}

void DirectProcess::kill_tree() {
  if (child != nullptr) child->kill_tree();
}

void DirectProcess::signal(int number) {
  if (child != nullptr) child->signal(number);
}

DirectChild::DirectChild(DirectParent& parent, Reactor& reactor, std::uint64_t number,
                         std::string marker)
    : parent_(parent),
      reactor_(reactor),
      number_(number),
      marker_(std::move(marker)),
      start_notice_(*this),
      exit_poll_(*this),
      errors_(*this),
      retry_(*this),
      next_retry_(kFirstRetry) {}

DirectChild::~DirectChild() {
  reactor_.disarm(retry_);
}

Result<void> DirectChild::adopt(StartedChild& started, Fd errors, ProcessListener& listener,
                                DirectProcess& process) {
  Launched& launched = started.launched;
  id_.pid = launched.pid;
  // It is not reaped, so this is its line even if it has ended by now.
  if (const std::optional<ProcStat> stat = read_proc_stat(id_.pid)) id_ = stat->id;
  Result<Handle> errors_handle = reactor_.adopt(errors.get());
  if (!errors_handle.has_value()) return fail(std::move(errors_handle.error()));
  Result<Handle> handle = reactor_.adopt(launched.pidfd.get());
  if (!handle.has_value()) {
    reactor_.close(*errors_handle);
    errors.release();
    return fail(std::move(handle.error()));
  }
  launched.pidfd.release();
  errors.release();
  pidfd_ = *handle;
  errors_.handle = *errors_handle;
  groups_ = started.groups.take();
  listener_ = &listener;
  process_ = &process;
  process.child = this;
  exit_poll_.handle = pidfd_;
  reactor_.start(exit_poll_);
  reactor_.start(errors_);
  reactor_.post(start_notice_);
  return {};
}

void DirectChild::tell_start() {
  if (std::exchange(told_start_, true)) return;
  if (process_ != nullptr) process_->process_id = id_;
  if (listener_ != nullptr) listener_->on_started();
}

TreeSeed DirectChild::seed() const {
  return TreeSeed{id_, {}, marker_};
}

void DirectChild::kill_tree() {
  if (exited_) return;  // the rest of the tree is being ended already
  if (groups_.kill.empty()) {
    parent_.sweep_later(*this);
    return;
  }
  if (kill_cgroup(groups_.kill)) return;
  parent_.log().write(
      LogLevel::warning, "process",
      "cannot write to " + groups_.kill + "/cgroup.kill: killing the process alone");
  ::syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0);
}

void DirectChild::signal(int number) {
  // It leads a group of its own number, which nobody else gets before it is reaped.
  if (!reaped_) ::kill(-id_.pid, number);
}

void DirectChild::abandon() {
  listener_ = nullptr;
  if (process_ != nullptr) process_->child = nullptr;
  process_ = nullptr;
  kill_tree();
}

void DirectChild::give_up() {
  given_up_ = true;
  if (exited_) {
    reactor_.arm(retry_, reactor_.clock().now());
  } else {
    reactor_.cancel(exit_poll_);
  }
}

void DirectChild::on_exited(int error) {
  if (error != 0) {
    // Cancelled by give_up(), or it cannot be watched: then it must not live on unseen.
    ::syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0);
  }
  exited_ = true;
  patience_end_ = reactor_.clock().now() + parent_.options().tree_end_max;
  end_tree();
}

void DirectChild::end_tree() {
  if (leaving_) return;
  if (groups_.kill.empty()) {
    parent_.sweep_later(*this);
    return;
  }
  if (remove_cgroup(groups_.kill)) return tree_is_gone();
  kill_cgroup(groups_.kill);
  tree_still_lives();
}

void DirectChild::swept(const TreeSweep& answer) {
  if (!exited_ || leaving_) return;
  if (answer.gone()) return tree_is_gone();
  tree_still_lives();
}

void DirectChild::tree_is_gone() {
  // The root itself may be the last that lives: it is ours to reap, and on its way when it cannot
  // be reaped yet.
  if (!reap()) return tree_still_lives();
  groups_.remove_limits();
  tell();
  leave();
}

void DirectChild::tree_still_lives() {
  const TimePoint now = reactor_.clock().now();
  if (now >= patience_end_ && !told_) {
    parent_.log().write(LogLevel::warning, "process",
                        "what pid " + std::to_string(id_.pid) + " (" + marker_ +
                            ") has started does not end after SIGKILL");
    reap();
    tell();
  }
  if (given_up_) {
    reap();
    return leave();
  }
  reactor_.arm(retry_, now + (told_ ? kLateRetry : next_retry_));
  next_retry_ = std::min(next_retry_ * 2, kLastRetry);
}

bool DirectChild::reap() {
  if (reaped_) return true;
  const Reaped answer = reap_child(pidfd_, status_);
  reaped_ = answer != Reaped::not_yet;  // a status that was lost reads "killed"
  return reaped_;
}

void DirectChild::say(std::string_view bytes) {
  tell_start();
  if (listener_ != nullptr) listener_->on_stderr(bytes);
}

/// What the dead have left in the pipe; no more, as somebody out of reach may go on writing.
void DirectChild::say_last_words() {
  if (errors_.handle == kNoHandle) return;
  std::array<char, kWordsAtOnce> words;
  for (std::size_t left = bytes_in_pipe(errors_.handle); left > 0;) {
    const ssize_t got = ::read(errors_.handle, words.data(), std::min(left, words.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    left -= static_cast<std::size_t>(got);
    say({words.data(), static_cast<std::size_t>(got)});
  }
}

void DirectChild::on_errors_end() {
  reactor_.close(std::exchange(errors_.handle, kNoHandle));
  if (told_) tell_end();
  if (leaving_) parent_.forget(*this);  // destroys this
}

void DirectChild::leave() {
  reactor_.close(pidfd_);
  leaving_ = true;
  if (errors_.started()) return reactor_.cancel(errors_);
  parent_.forget(*this);  // destroys this
}

/// Later, when the read of its stderr is over: nothing is held for it any more then.
void DirectChild::tell() {
  if (std::exchange(told_, true)) return;
  tell_start();
  say_last_words();
  if (errors_.started()) return reactor_.cancel(errors_);
  tell_end();
}

void DirectChild::tell_end() {
  if (process_ != nullptr) process_->child = nullptr;
  process_ = nullptr;
  if (listener_ != nullptr) std::exchange(listener_, nullptr)->on_exit(status_);
}

}  // namespace berth::inline v0::io
