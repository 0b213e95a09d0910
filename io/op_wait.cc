// Waiting for the end of a child, without reaping it: WAITID of the ring, which costs no
// descriptor; where that is missing, a pidfd that becomes readable.
#include <berth/io/fd_reactor.h>
#include <berth/io/op_tags.h>
#include <berth/io/uring_ring.h>

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

/// The end only, also of a child without SIGCHLD; the status stays.
constexpr int kWaitOptions = WEXITED | WNOWAIT | __WALL;

// 0 when the child has ended, EAGAIN while it lives, ECHILD when it is not ours.
int ended_child(int pid) {
  siginfo_t info = {};
  int status = 0;
  do {
    status = ::waitid(P_PID, static_cast<id_t>(pid), &info, kWaitOptions | WNOHANG);
  } while (status != 0 && errno == EINTR);
  if (status != 0) return errno;
  return info.si_pid == pid ? 0 : EAGAIN;
}

}  // namespace

void FdReactor::start(WaitOp& op) {
  begin(op);
  set_handle_state(op, HandleState{});
  if (op.pid <= 0) return finish_wait(op, ECHILD);  // 0 would be any child of the process group
  wait_for_end(op);
}

void FdReactor::wait_for_end(WaitOp& op) {
  UringRing* ring = poller_->ring();
  if (ring != nullptr && ring->has_waitid()) {
    OpAccess::armed(op) = true;
    ring->waitid(op.pid, kWaitOptions, user_data(Tag::wait, &op));
    return;
  }
  if (const int error = ended_child(op.pid); error != EAGAIN) return finish_wait(op, error);
  HandleState state;
  state.handle = static_cast<Handle>(::syscall(SYS_pidfd_open, op.pid, 0));
  // ESRCH: ended and reaped by somebody else since we asked.
  if (state.handle < 0) return finish_wait(op, errno == ESRCH ? ECHILD : errno);
  set_handle_state(op, state);
  OpAccess::armed(op) = true;
  poller_->poll_once(state.handle, POLLIN, user_data(Tag::wait, &op));
}

void FdReactor::wait_event(WaitOp& op, const Completion& completion) {
  OpAccess::armed(op) = false;
  HandleState state = handle_state_of(op);
  int error = completion.result < 0 ? -completion.result : 0;
  if (state.handle >= 0) {
    close(state.handle);
    state.handle = kNoHandle;
    set_handle_state(op, state);
    if (error == 0) error = ended_child(op.pid);
  }
  // A pidfd is readable only when all threads are gone; a signal can interrupt WAITID.
  if (error == EINTR || error == EAGAIN) {
    if (!OpAccess::cancelled(op)) return wait_for_end(op);
    error = ECANCELED;
  }
  finish_wait(op, error);
}

void FdReactor::finish_wait(WaitOp& op, int error) {
  HandleState state = handle_state_of(op);
  state.error = static_cast<std::uint16_t>(error);
  set_handle_state(op, state);
  ended_.waits.push_back(op);
}

void FdReactor::cancel(WaitOp& op) {
  if (!op.started() || OpAccess::cancelled(op) || !OpAccess::armed(op)) return;
  OpAccess::cancelled(op) = true;
  poller_->cancel(user_data(Tag::wait, &op));
  touch();
}

}  // namespace berth::inline v0::io
