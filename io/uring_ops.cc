// The operations of the uring engine: what an event means for each, and when it is over.
#include <berth/io/fd_io.h>
#include <berth/io/uring_reactor.h>
#include <berth/io/uring_tags.h>

#include <poll.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

namespace berth::io {

namespace {

constexpr unsigned kReadEvents = POLLIN | POLLRDHUP;
constexpr unsigned kHangUpEvents = POLLHUP | POLLRDHUP | POLLERR;
constexpr Duration kAcceptRetryDelay = std::chrono::milliseconds(100);
constexpr Duration kWatchdogPeriod = std::chrono::seconds(1);
/// Bytes read in one turn after which the other reads wait for the next: timers, writes and turn
/// hooks of a busy loop come about every millisecond.
constexpr std::size_t kTurnBytesMax = 1024 * 1024;
/// Handles that the watchdog looks at in one go, with one poll(2).
constexpr std::size_t kWatchdogBatch = 512;

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

void UringReactor::begin(Op& op) {
  BERTH_ASSERT(!op.started());
  OpAccess::started(op) = true;
  OpAccess::cancelled(op) = false;
  OpAccess::paused(op) = false;
  OpAccess::armed(op) = false;
  OpAccess::word(op) = 0;
  ++started_;
}

// After this, and before the last callback, the engine knows nothing of `op`: the callback may
// start or destroy it.
void UringReactor::ended(Op& op) {
  OpAccess::started(op) = false;
  --started_;
  ran_ = true;
}

// --- reading ---

void UringReactor::start(ReadOp& op) {
  begin(op);
  BERTH_ASSERT(op.turn_budget > 0);
  ReadState state;
  state.index = static_cast<std::uint32_t>(reads_.size());
  set_state(op, state);
  reads_.push_back(&op);
  poll_read(op);
  if (!watchdog_.started()) arm(watchdog_, clock_.now() + kWatchdogPeriod);
}

// Armed only when the handle is believed empty. No edge is lost between reading and arming: the
// kernel looks at the handle when a poll is armed and reports what is there already.
void UringReactor::poll_read(ReadOp& op) {
  OpAccess::armed(op) = true;
  ring_.poll_multishot(op.handle, kReadEvents, user_data(Tag::read, &op));
}

void UringReactor::read_event(ReadOp& op, const UringCompletion& completion) {
  // The kernel ends a multishot poll when the completion ring is full, and at once on what has no
  // readiness (a file). It is armed again when a read finds nothing more.
  if (!completion.more) OpAccess::armed(op) = false;
  ReadState state = state_of(op);
  if (state.ending) {
    if (!completion.more) ended_reads_.push_back(op);
    return;
  }
  if (completion.result < 0) return end_read(op, -completion.result);
  if ((static_cast<unsigned>(completion.result) & kHangUpEvents) != 0) {
    state.hung_up = 1;
    set_state(op, state);
  }
  mark_ready(op);
}

void UringReactor::mark_ready(ReadOp& op) {
  ReadState state = state_of(op);
  state.ready = 1;
  set_state(op, state);
  if (!OpAccess::paused(op) && !op.linked()) ready_.push_back(op);
}

// What this turn does not get to is first in the next one.
void UringReactor::run_ready_reads() {
  reading_.splice_back(ready_);
  std::size_t bytes = 0;
  while (bytes < kTurnBytesMax) {
    ReadOp* op = reading_.pop_front();
    if (op == nullptr) return;
    bytes += read_turn(*op);
  }
}

// One operation's share of this turn: reads until the handle is empty or the budget is used up.
// Returns how many bytes that was.
std::size_t UringReactor::read_turn(ReadOp& op) {
  const std::size_t budget = op.turn_budget;
  std::size_t used = 0;
  for (;;) {
    const std::size_t wanted = std::min(budget - used, hot_.size() - kReadPadding);
    const IoStep step = read_some(op.handle, std::span(hot_.data(), wanted));
    ++stats_.reads;
    if (step.error == EAGAIN) {
      wait_for_more(op);
      return used;
    }
    if (step.error != 0 || step.bytes == 0) {
      end_read(op, step.error);
      return used;
    }
    used += step.bytes;

    // Before the callback, which may ask for resume(): a short read has emptied the handle, and
    // what is written from now on is a new event. Only the end of the stream may be behind it
    // without one.
    const bool drained = step.bytes < wanted && !state_of(op).hung_up;
    if (drained) wait_for_more(op);
    ran_ = true;
    op.on_read(std::span(hot_.data(), step.bytes));
    if (drained || state_of(op).ending || OpAccess::paused(op)) return used;
    if (used == budget) {
      if (!op.linked()) ready_.push_back(op);
      return used;
    }
  }
}

void UringReactor::wait_for_more(ReadOp& op) {
  ReadState state = state_of(op);
  state.ready = 0;
  set_state(op, state);
  if (OpAccess::armed(op)) return;
  ++stats_.polls_rearmed;
  poll_read(op);
}

void UringReactor::end_read(ReadOp& op, int error) {
  ReadState state = state_of(op);
  state.ready = 0;
  state.ending = 1;
  state.error = static_cast<std::uint16_t>(error);
  set_state(op, state);
  op.unlink();
  if (OpAccess::armed(op)) {
    ring_.cancel(user_data(Tag::read, &op));
  } else {
    ended_reads_.push_back(op);
  }
}

void UringReactor::forget_read(ReadOp& op) {
  const std::uint32_t index = state_of(op).index;
  BERTH_ASSERT(reads_[index] == &op);
  ReadOp& last = *reads_.back();
  reads_[index] = &last;
  reads_.pop_back();
  ReadState moved = state_of(last);
  moved.index = index;
  set_state(last, moved);
}

void UringReactor::pause(ReadOp& op) {
  BERTH_ASSERT(op.started());
  OpAccess::paused(op) = true;
  if (!state_of(op).ending) op.unlink();
}

void UringReactor::resume(ReadOp& op) {
  BERTH_ASSERT(op.started());
  OpAccess::paused(op) = false;
  if (state_of(op).ready && !op.linked()) ready_.push_back(op);
}

void UringReactor::cancel(ReadOp& op) {
  if (!op.started() || state_of(op).ending) return;
  end_read(op, ECANCELED);
}

// Insurance, not part of the design: once a second some quiet handles are asked whether they are
// readable. Counted only when no event for them is on its way.
void UringReactor::look_for_lost_events() {
  if (reads_.empty()) return;
  if (next_checked_ >= reads_.size()) next_checked_ = 0;
  const std::span<ReadOp*> batch =
      std::span(reads_)
          .subspan(next_checked_)
          .first(std::min(kWatchdogBatch, reads_.size() - next_checked_));
  next_checked_ += batch.size();
  const auto quiet = [](ReadOp& op) {
    const ReadState state = state_of(op);
    return OpAccess::armed(op) && !OpAccess::paused(op) && !state.ready && !state.ending;
  };
  std::array<pollfd, kWatchdogBatch> handles;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    handles[i] = pollfd{quiet(*batch[i]) ? batch[i]->handle : -1, POLLIN, 0};
  }
  if (::poll(handles.data(), batch.size(), 0) > 0) {
    ring_.enter(Duration::zero());
    collect_completions();
    const bool all_seen = !ring_.kernel_has_work();
    for (std::size_t i = 0; all_seen && i < batch.size(); ++i) {
      if (handles[i].fd < 0 || handles[i].revents == 0 || !quiet(*batch[i])) continue;
      ++stats_.watchdog_finds;
      mark_ready(*batch[i]);
    }
  }
  arm(watchdog_, clock_.now() + kWatchdogPeriod);
}

// --- writing ---

void UringReactor::start(WriteOp& op) {
  begin(op);
  op.written = 0;
  write_more(op);
}

void UringReactor::write_more(WriteOp& op) {
  for (;;) {
    cut_front(op.parts, 0);
    if (op.parts.empty()) return finish_write(op, 0);
    const IoStep step = write_some(op.handle, op.parts);
    if (step.error == EAGAIN) {
      OpAccess::armed(op) = true;
      ring_.poll_once(op.handle, POLLOUT, user_data(Tag::write, &op));
      return;
    }
    if (step.error != 0) return finish_write(op, step.error);
    op.written += step.bytes;
    cut_front(op.parts, step.bytes);
  }
}

void UringReactor::write_event(WriteOp& op, const UringCompletion& completion) {
  OpAccess::armed(op) = false;
  if (OpAccess::cancelled(op)) return finish_write(op, ECANCELED);
  if (completion.result < 0) return finish_write(op, -completion.result);
  write_more(op);
}

void UringReactor::finish_write(WriteOp& op, int error) {
  OpAccess::word(op) = static_cast<std::uint64_t>(error);
  ended_writes_.push_back(op);
}

void UringReactor::cancel(WriteOp& op) {
  // One that is not armed has its result already and only waits for its callback.
  if (!op.started() || OpAccess::cancelled(op) || !OpAccess::armed(op)) return;
  OpAccess::cancelled(op) = true;
  ring_.cancel(user_data(Tag::write, &op));
}

// --- accepting ---

void UringReactor::start(AcceptOp& op) {
  begin(op);
  poll_accept(op);
}

void UringReactor::poll_accept(AcceptOp& op) {
  OpAccess::armed(op) = true;
  ring_.accept_multishot(op.listener, user_data(Tag::accept, &op));
}

void UringReactor::accept_event(AcceptOp& op, const UringCompletion& completion) {
  if (completion.result >= 0) accepted_.push_back(Connection{&op, completion.result});
  if (completion.more) return;
  OpAccess::armed(op) = false;
  const int error = completion.result < 0 ? -completion.result : 0;
  if (OpAccess::cancelled(op)) {
    OpAccess::word(op) = ECANCELED;
    ended_accepts_.push_back(op);
  } else if (error == 0 || error == ECONNABORTED) {
    poll_accept(op);
  } else if (ends_accepting(error)) {
    OpAccess::word(op) = static_cast<std::uint64_t>(error);
    ended_accepts_.push_back(op);
  } else {
    starved_accepts_.push_back(op);
    if (!accept_retry_.started()) arm(accept_retry_, clock_.now() + kAcceptRetryDelay);
  }
}

void UringReactor::retry_accepts() {
  while (AcceptOp* op = starved_accepts_.pop_front()) poll_accept(*op);
}

void UringReactor::run_connections() {
  // By index: a callback may come back into the loop's lists, though never into this vector.
  for (std::size_t i = 0; i < accepted_.size(); ++i) {
    ran_ = true;
    accepted_[i].op->on_accept(accepted_[i].handle);
  }
  accepted_.clear();
}

void UringReactor::cancel(AcceptOp& op) {
  if (!op.started() || OpAccess::cancelled(op)) return;
  if (OpAccess::armed(op)) {
    OpAccess::cancelled(op) = true;
    ring_.cancel(user_data(Tag::accept, &op));
  } else if (OpAccess::word(op) == 0) {  // it waits for a descriptor; else its end is on its way
    OpAccess::cancelled(op) = true;
    OpAccess::word(op) = ECANCELED;
    op.unlink();
    ended_accepts_.push_back(op);
  }
}

// --- polling ---

void UringReactor::start(PollOp& op) {
  begin(op);
  OpAccess::armed(op) = true;
  ring_.poll_once(op.handle, POLLIN, user_data(Tag::poll, &op));
}

void UringReactor::poll_event(PollOp& op, const UringCompletion& completion) {
  OpAccess::armed(op) = false;
  OpAccess::word(op) = static_cast<std::uint64_t>(completion.result < 0 ? -completion.result : 0);
  ended_polls_.push_back(op);
}

void UringReactor::cancel(PollOp& op) {
  if (!op.started() || OpAccess::cancelled(op) || !OpAccess::armed(op)) return;
  OpAccess::cancelled(op) = true;
  ring_.cancel(user_data(Tag::poll, &op));
}

// --- ends ---

// Last callbacks. Only of what had ended when this was called: a callback that writes again, to
// somebody who takes everything at once, must not keep the turn from ending.
bool UringReactor::run_ends() {
  if (ended_reads_.empty() && ended_writes_.empty() && ended_accepts_.empty() &&
      ended_polls_.empty()) {
    return false;
  }
  IntrusiveList<ReadOp> reads;
  IntrusiveList<WriteOp> writes;
  IntrusiveList<AcceptOp> accepts;
  IntrusiveList<PollOp> polls;
  reads.splice_back(ended_reads_);
  writes.splice_back(ended_writes_);
  accepts.splice_back(ended_accepts_);
  polls.splice_back(ended_polls_);
  while (WriteOp* op = writes.pop_front()) {
    const int error = static_cast<int>(OpAccess::word(*op));
    ended(*op);
    op->on_written(error);
  }
  while (ReadOp* op = reads.pop_front()) {
    forget_read(*op);
    const int error = state_of(*op).error;
    ended(*op);
    op->on_read_end(error);
  }
  while (PollOp* op = polls.pop_front()) {
    const int error = static_cast<int>(OpAccess::word(*op));
    ended(*op);
    op->on_ready(error);
  }
  while (AcceptOp* op = accepts.pop_front()) {
    const int error = static_cast<int>(OpAccess::word(*op));
    ended(*op);
    op->on_accept_end(error);
  }
  return true;
}

}  // namespace berth::io
