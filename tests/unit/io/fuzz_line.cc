#include "fuzz_line.h"

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io::fuzz {

namespace {

std::string end_name(int error) {
  switch (error) {
    case 0:
      return "0";
    case ECANCELED:
      return "cancelled";
    default:
      return "errno " + std::to_string(error);
  }
}

/// How a connection that broke under a hostile plan may end an operation.
bool is_breakage(int error) {
  return error == ECONNRESET || error == EPIPE || error == 0;
}

}  // namespace

void Line::open(Reactor& reactor, Handle reader, Handle writer) {
  home_ = origin_ = &reactor;
  reader_ = reading_.handle = polling_.handle = reader;
  writer_ = writing_.handle = writer;
  reading_.way = plan_.way;
  reading_.turn_budget = plan_.turn_budget;
  if (!queue_.empty()) write_next();
}

// --- reading ---

void Line::read() {
  if (!alive() || reading_.started() || reader_ended_ || close_reader_) return;
  paused_ = cancel_asked_ = false;
  ++state_.operations;
  state_.call([&] { home_->start(reading_); });
}

void Line::pause() {
  if (!reading_.started()) return;
  paused_ = true;
  state_.call([&] { home_->pause(reading_); });
}

void Line::resume() {
  if (!reading_.started()) return;
  paused_ = false;
  state_.call([&] { home_->resume(reading_); });
}

void Line::cancel_read() {
  if (!reading_.started()) return;
  cancel_asked_ = true;
  state_.call([&] { home_->cancel(reading_); });
}

void Line::got(std::span<char> bytes) {
  state_.in_callback(name_ + " read");
  if (bytes.empty()) complain("a read of nothing");
  if (!reading_.started()) complain("bytes after the end");
  // What the kernel handed over before a cancel is delivered, paused or not.
  if (paused_ && !cancel_asked_) complain("bytes although paused");
  if (turn_of_reads_ != state_.turn) bytes_in_turn_ = 0;
  turn_of_reads_ = state_.turn;
  bytes_in_turn_ += bytes.size();
  if (bytes_in_turn_ > plan_.turn_budget) complain("more bytes in a turn than the budget");
  const std::string_view wanted =
      std::string_view(offered_).substr(std::min(received_, offered_.size()), bytes.size());
  if (wanted != std::string_view(bytes.data(), bytes.size())) {
    complain("other bytes than were written, at " + std::to_string(received_));
  }
  received_ += bytes.size();
  // Ours to overwrite; behind a part of a kernel's buffer comes its next part.
  const bool padded = reading_.way == ReadOp::Way::readiness;
  std::fill_n(bytes.data(), bytes.size() + (padded ? kReadPadding : 0), '!');
  if (react) react(reads_++);
}

void Line::read_ended(int error) {
  state_.in_callback(name_ + " end of read");
  if (reading_.started()) complain("started in its last callback");
  read_ends.push_back(end_name(error));
  if (error == ECANCELED) {
    if (!cancel_asked_) complain("cancelled by nobody");
  } else {
    reader_ended_ = true;
    if (!(state_.hostile && plan_.socket && is_breakage(error))) {
      if (error != 0) complain("read ended by " + end_name(error));
      if (!writer_gone_) complain("end of a stream that has not ended");
      if (received_ != offered_.size()) {
        complain("ended after " + std::to_string(received_) + " of " +
                 std::to_string(offered_.size()) + " bytes");
      }
    }
  }
  close_if_wanted();
}

void Line::close_reader() {
  if (!alive() || plan_.socket || close_reader_) return;
  close_reader_ = true;
  cancel_read();
  cancel_poll();
  close_if_wanted();
}

void Line::close_if_wanted() {
  if (!close_reader_ || reader_ == kNoHandle || reading_.started() || polling_.started()) return;
  reader_ended_ = true;
  state_.call([&] { home_->close(std::exchange(reader_, kNoHandle)); });
}

void Line::hand_over(Reactor& to) {
  if (!alive() || plan_.socket || reader_ == kNoHandle || &to == home_) return;
  if (reading_.started() || polling_.started()) return;
  state_.call([&] { reader_ = home_->hand_over(reader_, to); });
  reading_.handle = polling_.handle = reader_;
  home_ = &to;
}

// --- writing ---

void Line::write(std::size_t bytes, std::uint64_t seed) {
  if (end_when_written_ || write_failed_) return;
  queue_.push_back(pattern(bytes, seed));
  if (alive() && !writing_.started()) write_next();
}

void Line::write_next() {
  current_ = std::move(queue_.front());
  queue_.pop_front();
  offered_ += current_;
  // In parts of any size, empty ones among them.
  parts_.clear();
  std::size_t at = 0;
  for (std::size_t share = 1 + current_.size() % 7; at < current_.size(); share = share * 3 + 1) {
    const std::size_t size = std::min(share, current_.size() - at);
    parts_.push_back(iovec{current_.data() + at, size});
    if (size % 5 == 0) parts_.push_back(iovec{nullptr, 0});
    at += size;
  }
  writing_.parts = parts_;
  write_cancel_asked_ = false;
  ++state_.operations;
  state_.call([&] { origin_->start(writing_); });
}

void Line::cancel_write() {
  if (!writing_.started()) return;
  write_cancel_asked_ = true;
  state_.call([&] { origin_->cancel(writing_); });
}

void Line::written(int error) {
  state_.in_callback(name_ + " written");
  if (writing_.started()) complain("write started in its last callback");
  const std::size_t before = offered_.size() - current_.size();
  taken_ = before + writing_.written;
  if (writing_.written > current_.size()) complain("more written than there was");
  if (error == 0 && writing_.written != current_.size()) complain("written, but not all");
  if (received_ > taken_) complain("more came out than was taken");
  offered_.resize(taken_);
  switch (error) {
    case 0:
      break;
    case ECANCELED:
      if (!write_cancel_asked_) complain("write cancelled by nobody");
      writes_were_cut_ = true;
      break;
    default:
      write_failed_ = true;
      queue_.clear();
      if (state_.hostile && plan_.socket && is_breakage(error)) break;
      if (error != EPIPE || !close_reader_) complain("write ended by " + end_name(error));
      break;
  }
  if (!queue_.empty()) {
    write_next();
  } else if (end_when_written_) {
    end_writing();
  }
}

void Line::end_writing() {
  end_when_written_ = true;
  if (!alive() || writing_.started() || !queue_.empty() || writer_gone_) return;
  writer_gone_ = true;
  if (plan_.socket) {
    state_.call([&] { origin_->shutdown_write(writer_); });
  } else {
    state_.call([&] { origin_->close(std::exchange(writer_, kNoHandle)); });
  }
}

// --- polling ---

void Line::poll() {
  if (!alive() || polling_.started() || reader_ == kNoHandle || close_reader_) return;
  poll_cancel_asked_ = false;
  ++state_.operations;
  state_.call([&] { home_->start(polling_); });
}

void Line::cancel_poll() {
  if (!polling_.started()) return;
  poll_cancel_asked_ = true;
  state_.call([&] { home_->cancel(polling_); });
}

void Line::polled(int error) {
  state_.in_callback(name_ + " poll");
  if (polling_.started()) complain("poll started in its last callback");
  poll_ends.push_back(end_name(error));
  if (error == ECANCELED && !poll_cancel_asked_) complain("poll cancelled by nobody");
  if (error != 0 && error != ECANCELED) complain("poll ended by " + end_name(error));
  // It may have been readable when the poll saw it, and have been read since: then bytes came.
  if (error == 0 && offered_.empty() && !writer_gone_ && !state_.hostile) {
    complain("readable, although nobody ever wrote");
  }
  close_if_wanted();
}

// --- the end ---

bool Line::flowed() const {
  if (!alive()) return true;
  if (writing_.started() || !queue_.empty()) return false;
  return reader_ended_ || close_reader_ || received_ == offered_.size();
}

void Line::let_flow() {
  if (!alive() || close_reader_) return;
  read();
  if (paused_) resume();
}

bool Line::wind_up() {
  if (!alive()) return true;
  end_writing();
  let_flow();
  if (!reader_ended_) return false;
  // Nobody reads any more (a connection broke): whoever still writes will never be done.
  if (writing_.started() && state_.hostile) cancel_write();
  cancel_poll();
  return !reading_.started() && !writing_.started() && !polling_.started();
}

void Line::finish() {
  if (!alive()) return;
  const bool cut = close_reader_ || state_.hostile;
  if (!cut && received_ != taken_) {
    complain("at the end " + std::to_string(received_) + " of " + std::to_string(taken_) +
             " bytes");
  }
  if (plan_.socket) return;  // its owner closes both handles
  if (reader_ != kNoHandle) home_->close(std::exchange(reader_, kNoHandle));
  if (writer_ != kNoHandle) origin_->close(std::exchange(writer_, kNoHandle));
}

std::string Line::outcome() const {
  if (!alive()) return "dead";
  if (close_reader_ || plan_.cancels_writes) return "cut";
  const std::size_t digest = std::hash<std::string>()(offered_);
  return std::to_string(received_) + " bytes, digest " + std::to_string(digest);
}

}  // namespace berth::inline v0::io::fuzz
