// Reading: readiness from the poller, bytes by read(2) into the hot segment.
#include <berth/io/fd_io.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/op_tags.h>

#include <poll.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <utility>

namespace berth::inline v0::io {

namespace {

constexpr unsigned kReadEvents = POLLIN | POLLRDHUP;
constexpr unsigned kHangUpEvents = POLLHUP | POLLRDHUP | POLLERR;
constexpr Duration kWatchdogPeriod = std::chrono::seconds(1);
/// Bytes read in one turn after which the other reads wait for the next: timers, writes and turn
/// hooks of a busy loop come about every millisecond.
constexpr std::size_t kTurnBytesMax = 1024 * 1024;
/// Handles that the watchdog looks at in one go, with one poll(2).
constexpr std::size_t kWatchdogBatch = 512;

}  // namespace

void FdReactor::start(ReadOp& op) {
  begin(op);
  BERTH_ASSERT(op.turn_budget > 0);
  if (!start_receive(op)) begin_read(op);
}

void FdReactor::begin_read(ReadOp& op) {
  ReadState state;
  state.index = static_cast<std::uint32_t>(reads_.size());
  set_state(op, state);
  reads_.push_back(&op);
  poll_read(op);
  if (!watchdog_.started()) arm(watchdog_, clock_.now() + kWatchdogPeriod);
}

// Armed only when the handle is believed empty. No edge is lost between reading and arming: the
// kernel looks at the handle when a poll is armed and reports what is there already.
void FdReactor::poll_read(ReadOp& op) {
  OpAccess::armed(op) = true;
  poller_->poll_multishot(op.handle, kReadEvents, user_data(Tag::read, &op));
}

void FdReactor::read_event(ReadOp& op, const Completion& completion) {
  if (state_of(op).buffers) return receive_event(op, completion);
  // The kernel ends a multishot poll when the completion ring is full, and at once on what has no
  // readiness (a file). It is armed again when a read finds nothing more.
  if (!completion.more) OpAccess::armed(op) = false;
  ReadState state = state_of(op);
  if (state.ending) {
    if (!completion.more) ended_.reads.push_back(op);
    return;
  }
  if (completion.result < 0) return end_read(op, -completion.result);
  if ((static_cast<unsigned>(completion.result) & kHangUpEvents) != 0) {
    state.hung_up = 1;
    set_state(op, state);
  }
  mark_ready(op);
}

void FdReactor::mark_ready(ReadOp& op) {
  ReadState state = state_of(op);
  state.ready = 1;
  set_state(op, state);
  if (!OpAccess::paused(op) && !op.linked()) ready_.push_back(op);
}

// What this turn does not get to is first in the next one.
void FdReactor::run_ready_reads() {
  reading_.splice_back(ready_);
  std::size_t bytes = 0;
  while (bytes < kTurnBytesMax) {
    ReadOp* op = reading_.pop_front();
    if (op == nullptr) return;
    bytes += state_of(*op).buffers ? receive_turn(*op) : read_turn(*op);
  }
}

// One operation's share of this turn: reads until the handle is empty or the budget is used up.
// Returns how many bytes that was.
std::size_t FdReactor::read_turn(ReadOp& op) {
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

void FdReactor::wait_for_more(ReadOp& op) {
  ReadState state = state_of(op);
  state.ready = 0;
  set_state(op, state);
  if (OpAccess::armed(op)) return;
  ++stats_.polls_rearmed;
  poll_read(op);
}

void FdReactor::end_read(ReadOp& op, int error) {
  ReadState state = state_of(op);
  state.ready = 0;
  state.ending = 1;
  state.error = static_cast<std::uint16_t>(error);
  set_state(op, state);
  op.unlink();
  if (OpAccess::armed(op)) {
    poller_->cancel(user_data(Tag::read, &op));
  } else {
    ended_.reads.push_back(op);
  }
}

void FdReactor::forget_read(ReadOp& op) {
  if (state_of(op).buffers) return forget_receive(op);
  const std::uint32_t index = state_of(op).index;
  BERTH_ASSERT(reads_[index] == &op);
  ReadOp& last = *reads_.back();
  reads_[index] = &last;
  reads_.pop_back();
  ReadState moved = state_of(last);
  moved.index = index;
  set_state(last, moved);
  if (reads_.empty()) disarm(watchdog_);  // it must not keep a foreign loop awake
}

void FdReactor::pause(ReadOp& op) {
  BERTH_ASSERT(op.started());
  const ReadState state = state_of(op);
  if (state.buffers && !state.ending) {
    pause_receive(op);
    touch();
    return;
  }
  OpAccess::paused(op) = true;
  if (!state.ending) op.unlink();
}

void FdReactor::resume(ReadOp& op) {
  BERTH_ASSERT(op.started());
  const bool was_paused = std::exchange(OpAccess::paused(op), false);
  const ReadState state = state_of(op);
  if (state.buffers && was_paused && !state.ending) {
    resume_receive(op);
  } else if (state.ready && !op.linked()) {
    ready_.push_back(op);
  }
  touch();
}

void FdReactor::cancel(ReadOp& op) {
  if (!op.started() || state_of(op).ending) return;
  if (state_of(op).buffers) {
    cancel_receive(op);
  } else {
    end_read(op, ECANCELED);
  }
  touch();
}

// Insurance, not part of the design: once a second some quiet handles are asked whether they are
// readable. Counted only when no event for them is on its way.
void FdReactor::look_for_lost_events() {
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
    poller_->enter(Duration::zero());
    collect_completions();
    const bool all_seen = !poller_->kernel_has_work();
    for (std::size_t i = 0; all_seen && i < batch.size(); ++i) {
      if (handles[i].fd < 0 || handles[i].revents == 0 || !quiet(*batch[i])) continue;
      ++stats_.watchdog_finds;
      mark_ready(*batch[i]);
    }
  }
  arm(watchdog_, clock_.now() + kWatchdogPeriod);
}

}  // namespace berth::inline v0::io
