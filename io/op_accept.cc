// Accepting: connections from the ring, or by accept4(2) when the listener is readable.
#include <berth/io/fd_reactor.h>
#include <berth/io/op_tags.h>
#include <berth/io/uring_ring.h>

#include <poll.h>
#include <sys/socket.h>
#include <cerrno>
#include <chrono>

namespace berth::inline v0::io {

namespace {

constexpr Duration kAcceptRetryDelay = std::chrono::milliseconds(100);

// accept(2) fails for good only when the listener itself is unusable; what it reports about one
// connection, the network or a lack of descriptors and memory passes.
bool ends_accepting(int error) {
  switch (error) {
    case EBADF:
    case EINVAL:
    case ENOTSOCK:
    case EOPNOTSUPP:
    case EFAULT:
    case EACCES:
      return true;
    default:
      return false;
  }
}

}  // namespace

void FdReactor::start(AcceptOp& op) {
  begin(op);
  poll_accept(op);
}

void FdReactor::poll_accept(AcceptOp& op) {
  OpAccess::armed(op) = true;
  if (UringRing* ring = poller_->ring()) {
    ring->accept_multishot(op.listener, user_data(Tag::accept, &op));
  } else {
    poller_->poll_once(op.listener, POLLIN, user_data(Tag::accept, &op));
  }
}

void FdReactor::accept_event(AcceptOp& op, const Completion& completion) {
  int error = completion.result < 0 ? -completion.result : 0;
  if (poller_->ring() != nullptr) {
    if (error == 0) accepted_.push_back(Connection{&op, completion.result});
    if (completion.more) return;
  } else if (error == 0 && !OpAccess::cancelled(op)) {
    error = accept_waiting(op);
  }
  OpAccess::armed(op) = false;
  if (OpAccess::cancelled(op)) {
    OpAccess::word(op) = ECANCELED;
    ended_.accepts.push_back(op);
  } else if (error == 0 || error == EAGAIN || error == ECONNABORTED) {
    poll_accept(op);
  } else if (ends_accepting(error)) {
    OpAccess::word(op) = static_cast<std::uint64_t>(error);
    ended_.accepts.push_back(op);
  } else {
    starved_accepts_.push_back(op);
    if (!accept_retry_.started()) arm(accept_retry_, clock_.now() + kAcceptRetryDelay);
  }
}

// Takes the connections that wait, without a ring; returns why there is not one more.
int FdReactor::accept_waiting(AcceptOp& op) {
  for (;;) {
    const int connection = ::accept4(op.listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (connection >= 0) {
      accepted_.push_back(Connection{&op, connection});
    } else if (errno != EINTR && errno != ECONNABORTED) {
      return errno;
    }
  }
}

void FdReactor::retry_accepts() {
  while (AcceptOp* op = starved_accepts_.pop_front()) poll_accept(*op);
}

void FdReactor::run_connections() {
  // By index: a callback may come back into the loop's lists, though never into this vector.
  for (std::size_t i = 0; i < accepted_.size(); ++i) {
    ran_ = true;
    accepted_[i].op->on_accept(accepted_[i].handle);
  }
  accepted_.clear();
}

void FdReactor::cancel(AcceptOp& op) {
  if (!op.started() || OpAccess::cancelled(op)) return;
  if (OpAccess::armed(op)) {
    OpAccess::cancelled(op) = true;
    poller_->cancel(user_data(Tag::accept, &op));
  } else if (OpAccess::word(op) == 0) {  // it waits for a descriptor; else its end is on its way
    OpAccess::cancelled(op) = true;
    OpAccess::word(op) = ECANCELED;
    op.unlink();
    ended_.accepts.push_back(op);
  }
  touch();
}

}  // namespace berth::inline v0::io
