#include <berth/server/sessions/sse_writer.h>

#include <berth/core/json_writer.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {
constexpr std::string_view kHello = "retry: 1000\n\n";
constexpr std::string_view kHeartbeat = ": hb\n\n";
constexpr std::string_view kHeartbeatEvent = "event: heartbeat\ndata: {}\n\n";
}  // namespace

bool StreamOptions::wants(std::string_view type) const {
  return types.empty() || std::find(types.begin(), types.end(), type) != types.end();
}

void append_reset(std::string& out, std::string_view id, const StreamReset& reset) {
  out += "id: " + std::string(id) + "\nevent: reset\ndata: ";
  JsonWriter(out)
      .begin_object()
      .member("session", reset.session)
      .member("reason", reset.reason)
      .member_uint64("after", reset.after)
      .end_object();
  out += "\n\n";
}

SseWriter::SseWriter(SessionContext& context, io::Outlet& outlet, bool heartbeat_events,
                     StreamStats& stats)
    : context_(context),
      outlet_(outlet),
      heartbeat_(heartbeat_events ? kHeartbeatEvent : kHeartbeat),
      stats_(stats),
      done_(context.reactor()),
      scope_(context.reactor()) {}

Task<void> SseWriter::run(StopToken gone) {
  ++stats_.open;
  last_progress_ = context_.reactor().clock().now();
  begin();
  add_part(kHello);
  send();
  context_.reactor().arm(tick_, last_progress_ + context_.limits.heartbeat);
  gone.listen(*this);
  co_await done_.wait();
  co_await scope_.join();
  --stats_.open;
  count_end();
}

void SseWriter::count_end() {
  switch (end_) {
    case End::client_gone:
      ++stats_.client_gone;
      break;
    case End::finished:
      ++stats_.finished;
      break;
    case End::failed:
      ++stats_.failed;
      break;
    case End::stalled:
      ++stats_.stalled;
      context_.log.write(
          LogLevel::warning, "stream",
          "closed a reader of " + place() + ": no progress for the time reader_stall_max");
      break;
    case End::none:
      break;
  }
}

void SseWriter::finish(End end) {
  if (end_ == End::none) end_ = end;
  leave();
  StopListener::unlink();
  context_.reactor().disarm(tick_);
  if (writing()) {
    outlet_.cancel(*this);  // on_written comes back here
  } else {
    done_.set();
  }
}

void SseWriter::on_tick() {
  const TimePoint now = context_.reactor().clock().now();
  if (writing()) {
    if (written != written_before_) {
      written_before_ = written;
      last_progress_ = now;
    }
    if (now - last_progress_ >= context_.limits.reader_stall_max) {
      finish(End::stalled);
      return;
    }
  } else if (!loading_ && now - last_progress_ >= context_.limits.heartbeat) {
    add_part(heartbeat_);
    send();
  }
  context_.reactor().arm(tick_, now + context_.limits.heartbeat);
}

void SseWriter::add_part(std::string_view bytes) {
  iovecs_.push_back({const_cast<char*>(bytes.data()), bytes.size()});
}

void SseWriter::load(Task<void> task) {
  loading_ = true;
  scope_.spawn(std::move(task));
}

void SseWriter::send(bool last) {
  last_write_ = last;
  parts = iovecs_;
  written = written_before_ = 0;
  last_progress_ = context_.reactor().clock().now();
  outlet_.start(*this);
}

void SseWriter::on_written(int error) {
  iovecs_.clear();
  release();
  last_progress_ = context_.reactor().clock().now();
  if (end_ != End::none || error != 0) {
    finish(End::client_gone);
  } else if (last_write_) {
    finish(End::finished);
  } else {
    pump();
  }
}

}  // namespace berth::server
