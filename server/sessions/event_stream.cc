#include <berth/server/sessions/event_stream.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {
constexpr std::string_view kTurnEnd = "\nevent: turn.ended\n";
constexpr std::size_t kPartsMax = 64;  // spans of one write
}  // namespace

EventStream::EventStream(SessionContext& context, Session& session, io::Outlet& outlet,
                         std::uint64_t after, StreamOptions options, StreamStats& stats)
    : SseWriter(context, outlet, options.heartbeat_events, stats),
      session_(session),
      cursor_(after),
      options_(std::move(options)) {}

std::string EventStream::place() const {
  return "session " + session_.row().id + " behind event " + std::to_string(cursor_);
}

/// Makes spans of frames that follow one another. The frame of a turn's ending is the last to be
/// sent, if so asked. Frames hold no LF but their own, so data cannot pretend to be one.
void EventStream::take(std::string_view part) {
  const std::size_t at = options_.until_turn_end ? part.find(kTurnEnd) : std::string_view::npos;
  if (at != std::string_view::npos) {
    last_ = true;
    part = part.substr(0, part.find("\n\n", at) + 2);
  }
  if (options_.types.empty()) {
    bytes_ += part.size();
    add_part(part);
    return;
  }
  for (Frame frame; next_frame(part, frame);) {
    if (options_.wants(frame.type)) chosen_ += frame.bytes;
  }
  bytes_ = chosen_.size();
}

/// Collects what follows the cursor from the runs in memory; false when the oldest of them is too
/// new for it.
bool EventStream::gather_from_tail() {
  const auto tail = session_.tail();
  if (tail.empty() || tail.front()->first_seq > cursor_ + 1) return false;
  auto run = std::lower_bound(
      tail.begin(), tail.end(), cursor_ + 1,
      [](const auto& entry, std::uint64_t seq) { return entry->last_seq() < seq; });
  for (; run != tail.end() && held_.size() < kPartsMax &&
         bytes_ < context_.limits.reader_burst_bytes && !last_;
       ++run) {
    const std::string_view part = frames_after((*run)->frames, (*run)->first_seq, cursor_);
    cursor_ = (*run)->last_seq();
    take(part);
    held_.push_back(*run);
  }
  return true;
}

bool EventStream::has_all() const {
  return !writing() && !loading() && cursor_ >= session_.visible_seq();
}

void EventStream::pump() {
  while (ready()) {
    if (bytes_ > 0 || last_) {
      if (!chosen_.empty()) add_part(chosen_);
      if (part_count() > 0) return send(last_);
      return finish(End::finished);
    }
    release();
    if (cursor_ + 1 < session_.first_seq()) return reset_to(session_.first_seq());
    if (cursor_ >= session_.visible_seq()) return;
    if (!gather_from_tail()) load(load_page());
  }
}

/// What the client wants next is not kept any more: it hears where the log begins.
void EventStream::reset_to(std::uint64_t first_seq) {
  cursor_ = first_seq - 1;
  append_reset(page_, std::to_string(cursor_), {session_.row().id, "retention", cursor_});
  add_part(page_);
  send();
}

Task<void> EventStream::load_page() {
  const SessionNo no = session_.session_no();
  const std::uint64_t after = cursor_;
  const std::size_t bytes_max = context_.limits.page_bytes;
  Result<EventPage> page = co_await context_.read(
      [no, after, bytes_max](Store& store) { return store.read_events(no, after, bytes_max); });
  loaded();
  if (ended()) co_return;
  const bool purged = page.has_value() && session_.row().state == SessionState::deleted;
  if (purged && page->first_seq == 0) co_return finish(End::finished);
  if (!page.has_value() || page->first_seq == 0) {
    const std::string why = page.has_value() ? "the log ends early" : page.error().message;
    context_.log.write(LogLevel::error, "stream", "session " + session_.row().id + ": " + why);
    finish(End::failed);
    co_return;
  }
  if (page->first_seq > after + 1) co_return reset_to(page->first_seq);
  page_ = std::move(page->frames);
  cursor_ = page->last_seq;
  take(frames_after(page_, page->first_seq, after));
  pump();
}

void EventStream::release() {
  held_.clear();
  bytes_ = 0;
  chosen_.clear();
  if (!page_.empty()) page_ = {};
}

}  // namespace berth::server
