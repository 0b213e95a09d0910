#include <berth/io/sse_stream.h>

#include <algorithm>
#include <utility>

namespace berth::inline v0::io {

Task<Result<void>> SseStream::start() {
  HttpResponse head;
  head.content_type = "text/event-stream";
  head.headers.emplace_back("Cache-Control", "no-store");
  head.headers.emplace_back("X-Accel-Buffering", "no");  // nginx holds events back without it
  Result<void> sent = co_await exchange_.start_stream(std::move(head));
  if (!sent.has_value()) {
    gone_ = true;
    co_return sent;
  }
  started_ = true;
  exchange_.gone().listen(*this);
  last_progress_ = reactor_.clock().now();
  if (!gone_) {
    reactor_.arm(static_cast<TimerOp&>(*this),
                 last_progress_ + std::min(options_.heartbeat, options_.stall_max) / 2);
  }
  if (options_.retry.has_value()) append_sse_retry(out_, *options_.retry);
  // Something at once, so that the client (and what is between) knows that the stream stands.
  append_sse_comment(out_, "hello");
  co_return co_await write_out();
}

Task<Result<void>> SseStream::send(SseMessage message) {
  while (WriteOp::started()) {  // a sign of life
    written_.reset();
    co_await written_.wait();
  }
  if (gone_ || error_ != 0) co_return outcome();
  Result<void> made = append_sse_message(out_, message);
  if (!made.has_value()) co_return made;
  co_return co_await write_out();
}

Task<Result<void>> SseStream::comment(std::string_view text) {
  while (WriteOp::started()) {
    written_.reset();
    co_await written_.wait();
  }
  if (gone_ || error_ != 0) co_return outcome();
  append_sse_comment(out_, text);
  co_return co_await write_out();
}

Task<Result<void>> SseStream::write_out() {
  BERTH_ASSERT(started_);
  if (!gone_ && error_ == 0) {
    begin();
    while (WriteOp::started()) {
      written_.reset();
      co_await written_.wait();
    }
  }
  co_return outcome();
}

void SseStream::begin() {
  part_ = {out_.data(), out_.size()};
  parts = {&part_, 1};
  written = written_before_ = 0;
  last_progress_ = reactor_.clock().now();
  exchange_.outlet().start(*this);
}

Result<void> SseStream::outcome() const {
  if (stalled_) {
    return fail(ErrorKind::timed_out, "write_stalled", "the client does not read its events");
  }
  if (gone_ || error_ != 0) {
    return fail(ErrorKind::unavailable, "client_gone", "the client of the event stream is gone");
  }
  return {};
}

void SseStream::on_written(int error) {
  out_.clear();
  last_progress_ = reactor_.clock().now();
  if (error != 0) error_ = error;
  written_.set();
}

void SseStream::on_timer() {
  const TimePoint now = reactor_.clock().now();
  if (!WriteOp::started()) {
    if (now - last_progress_ >= options_.heartbeat && error_ == 0) {
      append_sse_comment(out_, "hb");
      begin();
    }
  } else if (written != written_before_) {
    written_before_ = written;
    last_progress_ = now;
  } else if (now - last_progress_ >= options_.stall_max) {
    stalled_ = true;
    exchange_.outlet().cancel(*this);
    return;
  }
  reactor_.arm(static_cast<TimerOp&>(*this),
               now + std::min(options_.heartbeat, options_.stall_max) / 2);
}

void SseStream::on_stop() {
  gone_ = true;
  reactor_.disarm(static_cast<TimerOp&>(*this));
  if (WriteOp::started()) exchange_.outlet().cancel(*this);
}

Task<void> SseStream::close() {
  StopListener::unlink();
  gone_ = true;
  reactor_.disarm(static_cast<TimerOp&>(*this));
  if (WriteOp::started()) exchange_.outlet().cancel(*this);
  while (WriteOp::started()) {
    written_.reset();
    co_await written_.wait();
  }
}

}  // namespace berth::inline v0::io
