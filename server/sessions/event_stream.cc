#include <berth/server/sessions/event_stream.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {
constexpr std::string_view kHello = "retry: 1000\n\n";
constexpr std::string_view kHeartbeat = ": hb\n\n";
constexpr std::string_view kTurnEnd = "\nevent: turn.ended\n";
constexpr std::size_t kPartsMax = 64;  // spans of one write
}  // namespace

EventStream::EventStream(SessionContext& context, Session& session, io::Outlet& outlet,
                         std::uint64_t after, bool until_turn_end, StreamStats& stats)
    : context_(context),
      session_(session),
      outlet_(outlet),
      cursor_(after),
      until_turn_end_(until_turn_end),
      stats_(stats),
      done_(context.reactor()),
      scope_(context.reactor()) {}

Task<void> EventStream::run(StopToken gone) {
  ++stats_.open;
  last_progress_ = context_.reactor().clock().now();
  session_.add_reader(*this);
  add_part(kHello);
  start_write();
  context_.reactor().arm(tick_, last_progress_ + context_.limits.heartbeat);
  gone.listen(*this);
  co_await done_.wait();
  co_await scope_.join();
  --stats_.open;
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
      context_.log.write(LogLevel::warning, "stream",
                         "closed a reader of session " + session_.row().id + " behind event " +
                             std::to_string(cursor_) +
                             ": no progress for the time reader_stall_max");
      break;
    case End::none:
      break;
  }
}

void EventStream::finish(End end) {
  if (end_ == End::none) end_ = end;
  LogReader::unlink();
  StopListener::unlink();
  context_.reactor().disarm(tick_);
  if (WriteOp::started()) {
    outlet_.cancel(*this);  // on_written comes back here
  } else {
    done_.set();
  }
}

void EventStream::on_tick() {
  const TimePoint now = context_.reactor().clock().now();
  if (WriteOp::started()) {
    if (written != written_before_) {
      written_before_ = written;
      last_progress_ = now;
    }
    if (now - last_progress_ >= context_.limits.reader_stall_max) {
      finish(End::stalled);
      return;
    }
  } else if (!loading_ && now - last_progress_ >= context_.limits.heartbeat) {
    add_part(kHeartbeat);
    start_write();
  }
  context_.reactor().arm(tick_, now + context_.limits.heartbeat);
}

// --- what to write next ---

void EventStream::add_part(std::string_view bytes) {
  iovecs_.push_back({const_cast<char*>(bytes.data()), bytes.size()});
}

/// The frame of a turn's ending is the last to be sent, if so asked. Frames hold no LF but their
/// own, so data cannot pretend to be one.
std::string_view EventStream::cut_at_turn_end(std::string_view part) {
  const std::size_t at = until_turn_end_ ? part.find(kTurnEnd) : std::string_view::npos;
  if (at == std::string_view::npos) return part;
  last_write_ = true;
  return part.substr(0, part.find("\n\n", at) + 2);
}

/// Collects what follows the cursor from the runs in memory; false when the oldest of them is too
/// new for it.
bool EventStream::gather_from_tail() {
  const auto tail = session_.tail();
  if (tail.empty() || tail.front()->first_seq > cursor_ + 1) return false;
  auto run = std::lower_bound(
      tail.begin(), tail.end(), cursor_ + 1,
      [](const auto& entry, std::uint64_t seq) { return entry->last_seq() < seq; });
  std::size_t bytes = 0;
  for (; run != tail.end() && iovecs_.size() < kPartsMax &&
         bytes < context_.limits.reader_burst_bytes && !last_write_;
       ++run) {
    std::string_view part = frames_after((*run)->frames, (*run)->first_seq, cursor_);
    cursor_ = (*run)->last_seq();
    part = cut_at_turn_end(part);
    bytes += part.size();
    add_part(part);
    held_.push_back(*run);
  }
  return true;
}

bool EventStream::has_all() const {
  return !WriteOp::started() && !loading_ && cursor_ >= session_.visible_seq();
}

void EventStream::pump() {
  if (WriteOp::started() || loading_ || end_ != End::none || cursor_ >= session_.visible_seq())
    return;
  if (gather_from_tail()) {
    start_write();
  } else {
    loading_ = true;
    scope_.spawn(load_page());
  }
}

Task<void> EventStream::load_page() {
  const SessionNo no = session_.session_no();
  const std::uint64_t after = cursor_;
  const std::size_t bytes_max = context_.limits.page_bytes;
  Result<EventPage> page = co_await context_.read(
      [no, after, bytes_max](Store& store) { return store.read_events(no, after, bytes_max); });
  loading_ = false;
  if (end_ != End::none) co_return;
  if (!page.has_value() || page->first_seq == 0) {
    const std::string why = page.has_value() ? "the log ends early" : page.error().message;
    context_.log.write(LogLevel::error, "stream", "session " + session_.row().id + ": " + why);
    finish(End::failed);
    co_return;
  }
  page_ = std::move(page->frames);
  std::string_view part = frames_after(page_, page->first_seq, after);
  cursor_ = page->last_seq;
  add_part(cut_at_turn_end(part));
  start_write();
}

void EventStream::start_write() {
  parts = iovecs_;
  written = written_before_ = 0;
  last_progress_ = context_.reactor().clock().now();
  outlet_.start(*this);
}

void EventStream::on_written(int error) {
  iovecs_.clear();
  held_.clear();
  if (!page_.empty()) page_ = {};
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
