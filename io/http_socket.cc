#include <berth/io/http_socket.h>

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

/// An input buffer above this is given back as soon as it is empty.
constexpr std::size_t kKeptBytes = 1024;

}  // namespace

HttpSocket::HttpSocket(Reactor& reactor, std::unique_ptr<Port> port, std::size_t read_ahead_max)
    : reactor_(reactor),
      port_(std::move(port)),
      changed_(reactor),
      reading_(*this),
      read_timer_(*this),
      read_ahead_max_(read_ahead_max),
      writing_(*this),
      write_timer_(*this) {
  BERTH_ASSERT(read_ahead_max > 0);
  reading_.way = ReadOp::Way::buffers;  // docs/decisions/004-uring.md
  reading_.turn_budget = read_ahead_max;
}

HttpSocket::~HttpSocket() {
  BERTH_ASSERT(closed_);
}

void HttpSocket::open(StopSource* on_end) {
  on_end_ = on_end;
  port_->start(reading_);
}

// --- reading ---

void HttpSocket::consume(std::size_t bytes) {
  BERTH_ASSERT(bytes <= input_.size() - consumed_);
  consumed_ += bytes;
  if (consumed_ < input_.size()) return;
  input_.clear();
  consumed_ = 0;
  if (input_.capacity() > kKeptBytes) input_.shrink_to_fit();
}

void HttpSocket::keep(std::span<char> bytes) {
  if (discarding_) return drop(bytes.size());
  if (consumed_ > 0) {
    input_.erase(0, consumed_);
    consumed_ = 0;
  }
  input_.append(bytes.data(), bytes.size());
  pause_if_full();
  grown_ = true;
  wake_reader(Wake::input);
}

void HttpSocket::drop(std::size_t bytes) {
  discard_left_ -= std::min(bytes, discard_left_);
  if (discard_left_ > 0 || paused_ || !reading_.started()) return;
  paused_ = true;
  port_->pause(reading_);
  // Nothing more will be seen of the peer, which is an end for whoever waits for it.
  wake_reader(Wake::ended);
}

void HttpSocket::pause_if_full() {
  if (input_.size() < read_ahead_max_ || paused_) return;
  paused_ = true;
  port_->pause(reading_);
}

void HttpSocket::resume_if_room() {
  if (!paused_ || discarding_ || !reading_.started()) return;
  if (input_.size() - consumed_ >= read_ahead_max_) return;
  paused_ = false;
  port_->resume(reading_);
}

void HttpSocket::read_ended(int error) {
  ended_ = true;
  end_error_ = error;
  changed_.set();
  wake_reader(Wake::ended);
  if (on_end_ != nullptr && !closed_) on_end_->request_stop();
}

void HttpSocket::wake_reader(Wake why) {
  if (!reader_) return;
  why_ = why;
  if (why == Wake::input) grown_ = false;
  reactor_.disarm(read_timer_);
  resume_reader_.arm(reactor_, std::exchange(reader_, nullptr));
}

bool HttpSocket::MoreAwaiter::await_suspend(std::coroutine_handle<> handle) {
  HttpSocket& socket = socket_;
  BERTH_ASSERT(!socket.reader_ && !socket.closed_);
  if (std::exchange(socket.interrupted_, false)) {
    socket.why_ = Wake::interrupted;
    return false;
  }
  if (std::exchange(socket.grown_, false)) {
    socket.why_ = Wake::input;
    return false;
  }
  if (socket.ended_ || (socket.discarding_ && socket.discard_left_ == 0)) {
    socket.why_ = Wake::ended;
    return false;
  }
  socket.resume_if_room();
  socket.reader_ = handle;
  if (deadline_ != TimePoint::max()) socket.reactor_.arm(socket.read_timer_, deadline_);
  return true;
}

void HttpSocket::interrupt() {
  if (reader_) {
    wake_reader(Wake::interrupted);
  } else {
    interrupted_ = true;
  }
}

void HttpSocket::discard_input(std::size_t bytes_max) {
  consume(input().size());
  grown_ = false;
  resume_if_room();
  discarding_ = true;
  discard_left_ = bytes_max;
}

// --- writing ---

Task<Result<void>> HttpSocket::write(std::span<iovec> parts, Duration stall_max) {
  BERTH_ASSERT(!writing_.started() && !closed_);
  writing_.parts = parts;
  stall_max_ = stall_max;
  const int error = co_await WriteAwaiter{*this};
  if (error == 0) co_return Result<void>();
  if (write_stalled_) {
    co_return fail(ErrorKind::timed_out, "write_stalled", "the peer does not read what is sent");
  }
  co_return fail(errno_error(error, "writing to the connection"));
}

void HttpSocket::begin_write(std::coroutine_handle<> handle) {
  writer_ = handle;
  write_stalled_ = false;
  written_before_ = 0;
  port_->start(writing_);
  reactor_.arm(write_timer_, reactor_.clock().now() + stall_max_);
}

void HttpSocket::check_write_progress() {
  if (writing_.written == written_before_) {
    write_stalled_ = true;
    port_->cancel(writing_);
    return;
  }
  written_before_ = writing_.written;
  reactor_.arm(write_timer_, reactor_.clock().now() + stall_max_);
}

void HttpSocket::write_ended(int error) {
  reactor_.disarm(write_timer_);
  write_error_ = error;
  changed_.set();
  // Last: the writer may be the one who destroys this.
  std::exchange(writer_, nullptr).resume();
}

void HttpSocket::cancel_write() {
  if (writing_.started()) port_->cancel(writing_);
}

void HttpSocket::shutdown_write() {
  port_->shutdown_write();
}

// --- the end ---

Task<void> HttpSocket::close() {
  if (closed_) co_return;
  closed_ = true;
  BERTH_ASSERT(!reader_);
  if (reading_.started()) port_->cancel(reading_);
  if (writing_.started()) port_->cancel(writing_);
  while (reading_.started() || writing_.started()) {
    changed_.reset();
    co_await changed_.wait();
  }
  co_await port_->close();
}

}  // namespace berth::inline v0::io
