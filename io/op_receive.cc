// Reading of sockets in the way `buffers`: the ring receives into its buffers, nobody asks again.
// Where none is free, or there is no ring, reading is as in op_read.cc.
#include <berth/io/fd_io.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/op_tags.h>
#include <berth/io/uring_buffers.h>
#include <berth/io/uring_ring.h>

#include <poll.h>
#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

namespace berth::inline v0::io {

// False: this handle or this engine has no such way.
bool FdReactor::start_receive(ReadOp& op) {
  UringRing* ring = poller_->ring();
  if (op.way != ReadOp::Way::buffers || ring == nullptr || ring->buffers() == nullptr) return false;
  ReadState state;
  state.buffers = 1;
  state.index = static_cast<std::uint32_t>(receiving_.size());
  set_state(op, state);
  receiving_.push_back(Receiving{&op, {}});
  receive_more(op);
  return true;
}

Received& FdReactor::received_of(ReadOp& op) {
  return receiving_[state_of(op).index].received;
}

// Asks the kernel, which believes that there is nothing, for what comes.
void FdReactor::receive_more(ReadOp& op) {
  ReadState state = state_of(op);
  OpAccess::armed(op) = true;
  state.quenched = 0;
  state.polling = poller_->ring()->buffers()->free_count() == 0;
  set_state(op, state);
  if (state.polling) {
    poller_->poll_once(op.handle, POLLIN | POLLRDHUP, user_data(Tag::read, &op));
  } else {
    poller_->ring()->receive_multishot(op.handle, user_data(Tag::read, &op));
  }
}

void FdReactor::receive_event(ReadOp& op, const Completion& completion) {
  if (!completion.more) OpAccess::armed(op) = false;
  ReadState state = state_of(op);
  const bool polled = state.polling != 0;
  state.polling = 0;
  const std::optional<std::uint16_t> buffer = UringBuffers::buffer_of(completion);
  if (buffer.has_value()) {
    poller_->ring()->buffers()->append(received_of(op), *buffer,
                                       static_cast<std::size_t>(std::max(completion.result, 0)));
  }
  if (completion.result == 0 && !polled) {
    state.last = 1;
  } else if (completion.result > 0 && polled) {
    state.readable = 1;
  } else if (completion.result < 0 && !state.last) {
    switch (-completion.result) {
      case ECANCELED:  // by pause(), or as there is much already
      case ENOBUFS:
      case EINTR:
        break;
      case ENOTSOCK:
      case EOPNOTSUPP:
      case EINVAL:
        return read_instead(op);
      default:
        state.last = 1;
        state.error = static_cast<std::uint16_t>(-completion.result);
    }
  }
  set_state(op, state);
  mark_ready(op);
}

void FdReactor::forget_receive(ReadOp& op) {
  const std::uint32_t index = state_of(op).index;
  BERTH_ASSERT(receiving_[index].op == &op && receiving_[index].received.empty());
  if (index + 1 < receiving_.size()) {
    receiving_[index] = std::move(receiving_.back());
    ReadState moved = state_of(*receiving_[index].op);
    moved.index = index;
    set_state(*receiving_[index].op, moved);
  }
  receiving_.pop_back();
}

// No socket: from now on this is a read like any other.
void FdReactor::read_instead(ReadOp& op) {
  forget_receive(op);
  op.unlink();
  begin_read(op);
}

// One operation's share of this turn, as read_turn().
std::size_t FdReactor::receive_turn(ReadOp& op) {
  UringBuffers& buffers = *poller_->ring()->buffers();
  const std::size_t budget = op.turn_budget;  // the callee may change it, for the next turn
  std::size_t used = 0;
  while (used < budget && !received_of(op).empty()) {
    const std::span<char> bytes = buffers.front(received_of(op), budget - used);
    used += bytes.size();
    ran_ = true;
    op.on_read(bytes);
    buffers.consume(received_of(op), bytes.size());
    if (OpAccess::paused(op)) return used;
  }
  ReadState state = state_of(op);
  if (!received_of(op).empty()) {
    quench(op);
    if (!op.linked()) ready_.push_back(op);
    return used;
  }
  if (state.readable && !state.last) return used + receive_by_read(op, budget - used);
  settle_receive(op);
  return used;
}

// More has come than may be delivered in a turn, or than is wanted: the rest shall stay with the
// kernel, whose window the writer feels.
void FdReactor::quench(ReadOp& op) {
  ReadState state = state_of(op);
  if (!OpAccess::armed(op) || state.quenched) return;
  state.quenched = 1;
  set_state(op, state);
  poller_->cancel(user_data(Tag::read, &op));
}

// No buffer was free, but the handle is readable.
std::size_t FdReactor::receive_by_read(ReadOp& op, std::size_t budget) {
  const std::size_t wanted = std::min(budget, hot_.size() - kReadPadding);
  if (wanted == 0) {
    if (!op.linked()) ready_.push_back(op);
    return 0;
  }
  const IoStep step = read_some(op.handle, std::span(hot_.data(), wanted));
  ++stats_.reads;
  ReadState state = state_of(op);
  state.readable = 0;
  if (step.bytes == 0 && step.error != EAGAIN) {
    state.last = 1;
    state.error = static_cast<std::uint16_t>(step.error);
  }
  set_state(op, state);
  if (step.bytes > 0) {
    ran_ = true;
    op.on_read(std::span(hot_.data(), step.bytes));
  }
  if (!OpAccess::paused(op)) settle_receive(op);
  return step.bytes;
}

// All that came was delivered: the end, or more of it.
void FdReactor::settle_receive(ReadOp& op) {
  ReadState state = state_of(op);
  state.ready = 0;
  set_state(op, state);
  if (OpAccess::armed(op)) return;
  if (!state.last) return receive_more(op);
  state.ending = 1;
  set_state(op, state);
  op.unlink();
  ended_.reads.push_back(op);
}

// What the kernel has taken meanwhile is held, and copied out when buffers become scarce.
void FdReactor::pause_receive(ReadOp& op) {
  if (state_of(op).last && OpAccess::cancelled(op)) return;  // delivered to its end all the same
  OpAccess::paused(op) = true;
  op.unlink();
  quench(op);
  held_.push_back(op);
}

void FdReactor::resume_receive(ReadOp& op) {
  op.unlink();
  mark_ready(op);
}

void FdReactor::cancel_receive(ReadOp& op) {
  ReadState state = state_of(op);
  if (OpAccess::cancelled(op)) return;
  OpAccess::cancelled(op) = true;
  OpAccess::paused(op) = false;
  state.last = 1;
  state.error = ECANCELED;
  set_state(op, state);
  op.unlink();
  quench(op);
  mark_ready(op);
}

// At the start of a turn: paused reads must not keep the buffers from the others.
void FdReactor::free_buffers() {
  UringBuffers& buffers = *poller_->ring()->buffers();
  if (buffers.free_count() >= kReceiveBuffersLow) return;
  bool room = true;
  held_.for_each([&](ReadOp& op) { room = room && buffers.copy_out(received_of(op)); });
}

}  // namespace berth::inline v0::io
