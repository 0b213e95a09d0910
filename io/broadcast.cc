#include <berth/io/broadcast.h>

#include <limits.h>
#include <utility>

namespace berth::inline v0::io {

Broadcast::Broadcast(Reactor& reactor, BroadcastLimits limits, std::uint64_t first_seq)
    : reactor_(reactor), limits_(limits), ring_(limits.entries_max), next_(first_seq) {
  BERTH_ASSERT(limits.entries_max > 0 && limits.parts_max > 0 && limits.parts_max <= IOV_MAX);
  reactor.add_turn_hook(*this);
}

Broadcast::~Broadcast() {
  BERTH_ASSERT(cursors_ == 0);
  reactor_.disarm(*this);
  TurnHook::unlink();
  Runnable::unlink();
}

std::uint64_t Broadcast::append(Slice entry) {
  BERTH_ASSERT(!entry.empty());
  while (count_ > 0 && (count_ == ring_.size() || bytes_ + entry.size() > limits_.bytes_max)) {
    Slice& oldest = ring_[first_seq() % ring_.size()];
    bytes_ -= oldest.size();
    oldest = Slice();
    --count_;
  }
  bytes_ += entry.size();
  ring_[next_ % ring_.size()] = std::move(entry);
  ++count_;
  dirty_ = true;
  if (!Runnable::linked() && !idle_.empty()) reactor_.post(*this);
  return next_++;
}

void Broadcast::on_turn_end() {
  if (!std::exchange(dirty_, false)) return;
  IntrusiveList<Node> behind;
  behind.splice_back(idle_);
  while (Node* node = behind.pop_front()) node->cursor.pump();
}

void Broadcast::watch_stalls() {
  if (TimerOp::started() || limits_.stall_max == Duration::zero()) return;
  reactor_.arm(*this, reactor_.clock().now() + limits_.stall_max / 2);
}

// Two looks without progress between them are half to all of stall_max.
void Broadcast::on_timer() {
  bool any = false;
  writing_.for_each([this, &any](Node& node) {
    BroadcastCursor& cursor = node.cursor;
    any = true;
    const bool moved = std::exchange(cursor.moved_, false);
    if (moved || cursor.written != std::exchange(cursor.written_before_, cursor.written)) {
      cursor.quiet_looks_ = 0;
    } else if (++cursor.quiet_looks_ == 2 && cursor.state_ == BroadcastCursor::State::writing) {
      ++stats_.stalls;
      cursor.why_ = ETIMEDOUT;
      cursor.state_ = BroadcastCursor::State::ending;
      cursor.outlet_.cancel(cursor);
    }
  });
  if (any) watch_stalls();
}

// --- one reader ---

bool BroadcastCursor::join(std::uint64_t seq) {
  BERTH_ASSERT((state_ == State::out || state_ == State::lagging) && seq <= log_.next_seq());
  if (seq < log_.first_seq()) return false;
  if (state_ == State::out) ++log_.cursors_;
  position_ = seq;
  why_ = 0;
  state_ = State::idle;
  log_.idle_.push_back(node_);
  if (seq < log_.next_seq()) {
    // As if it had just been appended: written at the end of the turn.
    log_.dirty_ = true;
    if (!log_.Runnable::linked()) log_.reactor_.post(log_);
  }
  return true;
}

void BroadcastCursor::leave() {
  BERTH_ASSERT(state_ != State::out);
  if (state_ == State::ending) return;
  why_ = ECANCELED;
  const bool writes = std::exchange(state_, State::ending) == State::writing;
  if (writes) {
    outlet_.cancel(*this);
  } else {
    node_.unlink();
    log_.reactor_.post(ending_);
  }
}

// What it has not seen, in one write.
void BroadcastCursor::pump() {
  if (position_ == log_.next_seq()) {
    state_ = State::idle;
    log_.idle_.push_back(node_);
    return;
  }
  if (position_ < log_.first_seq()) {
    state_ = State::lagging;
    ++log_.stats_.lags;
    on_lag();
    return;
  }
  while (position_ < log_.next_seq() && chain_.slices() < log_.limits_.parts_max &&
         chain_.bytes() < log_.limits_.burst_bytes) {
    chain_.append(log_.entry(position_++));
  }
  log_.stats_.deliveries += chain_.slices();
  ++log_.stats_.writes;
  iovecs_.resize(chain_.slices());
  chain_.gather(std::span(iovecs_));
  parts = iovecs_;
  written = written_before_ = 0;
  quiet_looks_ = 0;
  moved_ = true;
  state_ = State::writing;
  log_.writing_.push_back(node_);
  log_.watch_stalls();
  outlet_.start(*this);
}

void BroadcastCursor::on_written(int error) {
  node_.unlink();
  chain_.clear();
  if (state_ == State::ending || error != 0) {
    end(state_ == State::ending ? why_ : error);
  } else {
    pump();
  }
}

void BroadcastCursor::end(int error) {
  state_ = State::out;
  --log_.cursors_;
  on_end(error);
}

}  // namespace berth::inline v0::io
