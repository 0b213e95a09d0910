// Connecting: connect(2), then readiness for writing, then SO_ERROR; the same with and without a
// ring (docs/decisions/004-uring.md: IORING_OP_CONNECT would have to keep the address and wins
// nothing).
#include <berth/io/fd_reactor.h>
#include <berth/io/net.h>
#include <berth/io/op_tags.h>

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>

namespace berth::inline v0::io {

namespace {

/// A UNIX listener's queue is full and cannot be waited for: tried again after this.
constexpr Duration kConnectRetryDelay = std::chrono::milliseconds(5);

// Why the connection on `socket` failed, 0 if it stands.
int connection_error(int socket) {
  int error = 0;
  socklen_t size = sizeof error;
  return ::getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

}  // namespace

void FdReactor::start(ConnectOp& op) {
  begin(op);
  set_handle_state(op, HandleState{});
  try_connect(op);
}

void FdReactor::try_connect(ConnectOp& op) {
  HandleState state = handle_state_of(op);
  state.retrying = 0;
  const Result<net::SocketAddress> target = net::parse(op.address.text);
  if (!target.has_value()) return finish_connect(op, EINVAL);
  if (state.handle < 0) state.handle = net::open_socket(target->family());
  if (state.handle < 0) return finish_connect(op, errno);
  set_handle_state(op, state);
  const int error = net::begin_connect(state.handle, *target);
  switch (error) {
    case EINPROGRESS:
    case EINTR:  // goes on in the kernel all the same
      OpAccess::armed(op) = true;
      poller_->poll_once(state.handle, POLLOUT, user_data(Tag::connect, &op));
      return;
    case EAGAIN:
      if (target->family() != AF_UNIX) return finish_connect(op, error);  // no local port is free
      state.retrying = 1;
      set_handle_state(op, state);
      starved_connects_.push_back(op);
      if (!connect_retry_.started()) arm(connect_retry_, clock_.now() + kConnectRetryDelay);
      return;
    default:
      finish_connect(op, error);
  }
}

void FdReactor::retry_connects() {
  IntrusiveList<ConnectOp> waiting;  // one may come to wait again
  waiting.splice_back(starved_connects_);
  while (ConnectOp* op = waiting.pop_front()) try_connect(*op);
}

// A connection that stands although cancel() was called won the race.
void FdReactor::connect_event(ConnectOp& op, const Completion& completion) {
  OpAccess::armed(op) = false;
  if (completion.result < 0) return finish_connect(op, -completion.result);
  finish_connect(op, connection_error(handle_state_of(op).handle));
}

void FdReactor::finish_connect(ConnectOp& op, int error) {
  HandleState state = handle_state_of(op);
  state.error = static_cast<std::uint16_t>(error);
  if (error != 0 && state.handle >= 0) {
    close(state.handle);
    state.handle = kNoHandle;
  }
  set_handle_state(op, state);
  ended_.connects.push_back(op);
}

void FdReactor::cancel(ConnectOp& op) {
  if (!op.started() || OpAccess::cancelled(op)) return;
  HandleState state = handle_state_of(op);
  if (OpAccess::armed(op)) {
    OpAccess::cancelled(op) = true;
    poller_->cancel(user_data(Tag::connect, &op));
  } else if (state.retrying) {
    OpAccess::cancelled(op) = true;
    state.retrying = 0;
    set_handle_state(op, state);
    op.unlink();
    finish_connect(op, ECANCELED);
  }
  touch();
}

}  // namespace berth::inline v0::io
