// The log: as a stream, in pages, and whole.
#include <berth/server/api/api.h>

#include <berth/core/json_writer.h>
#include <berth/server/api/body.h>
#include <berth/server/api/log_pages.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/event_stream.h>
#include <berth/server/sessions/frames.h>

#include <stdexcept>
#include <utility>

namespace berth::server {

namespace {

enum class Wanted : std::uint8_t { stream, page, lines };

Wanted wanted_of(const ApiCall& call) {
  const std::string_view accept = call.request->header("accept");
  if (call.query("stream") == "1" || accept.find("text/event-stream") != std::string_view::npos) {
    return Wanted::stream;
  }
  return accept.find("application/x-ndjson") != std::string_view::npos ? Wanted::lines
                                                                       : Wanted::page;
}

/// The cursor: `Last-Event-ID` is what a reconnecting client knows best, else `after`.
Result<std::uint64_t> cursor_of(const ApiCall& call) {
  constexpr std::uint64_t kMax = 1ULL << 62;
  const std::string_view last = call.request->header("last-event-id");
  if (!last.empty()) return number_of("Last-Event-ID", last, 0, kMax);
  return number_of("after", call.query("after"), 0, kMax);
}

/// It comes back for a turn's ending, and has it: nothing runs or waits, and nothing is new.
bool has_seen_the_end(const ApiCall& call, const Session& session, std::uint64_t after) {
  return call.request->has_header("last-event-id") && after > 0 && after >= session.visible_seq() &&
         session.current_turn() == nullptr && session.queue().empty();
}

}  // namespace

Task<void> Api::events(ApiCall* call) {
  io::HttpResponse refusal;
  Result<SessionUse> session = co_await find_log(call);
  Result<std::uint64_t> after = cursor_of(*call);
  Result<StreamOptions> options = read_stream_options(*call);
  if (!session.has_value()) {
    refusal = problem(session.error());
  } else if (!after.has_value()) {
    refusal = problem(after.error());
  } else if (!options.has_value()) {
    refusal = problem(options.error());
  } else if (wanted_of(*call) == Wanted::page) {
    refusal = co_await events_page(call, *session, *after);
  } else if (wanted_of(*call) == Wanted::lines) {
    co_await events_ndjson(call, *session, *after);
    co_return;
  } else if (options->until_turn_end && has_seen_the_end(*call, **session, *after)) {
    refusal.status = 204;  // an EventSource that comes back by itself stops at that
  } else {
    Result<void> started = co_await call->exchange->start_stream(event_stream_head());
    if (!started.has_value()) co_return;
    EventStream stream(context_, **session, call->exchange->outlet(), *after, std::move(*options),
                       streams_);
    co_await stream.run(call->exchange->gone());
    co_return;
  }
  Result<void> sent = co_await call->exchange->respond(std::move(refusal));
  static_cast<void>(sent);
}

Api::Answer Api::events_page(ApiCall* call, Session* session, std::uint64_t after) {
  Result<std::uint64_t> limit = number_of("limit", call->query("limit"), 1000, 10'000);
  if (!limit.has_value()) co_return problem(limit.error());
  Result<std::uint64_t> bytes = number_of("bytes", call->query("bytes"), 1 << 20, 16 << 20);
  if (!bytes.has_value()) co_return problem(bytes.error());
  std::string body;
  JsonWriter writer(body);
  writer.begin_object().key("events").begin_array();
  std::uint64_t last = after;
  std::uint64_t count = 0;
  bool full = false;
  while (!full && last < session->visible_seq()) {
    const SessionNo no = session->session_no();
    const std::size_t page_bytes = context_.limits.page_bytes;
    Result<EventPage> page = co_await context_.read(
        [no, last, page_bytes](Store& store) { return store.read_events(no, last, page_bytes); });
    if (!page.has_value()) co_return problem(page.error());
    if (page->first_seq == 0) break;
    // The log was cut since this answer began: what lies behind the hole is the next page's.
    if (count > 0 && page->first_seq > last + 1) break;
    std::string_view frames = frames_after(page->frames, page->first_seq, last);
    for (Frame frame; !full && next_frame(frames, frame);) {
      // The first event goes out whatever its size: a reader must get on.
      full = count == *limit || (count > 0 && body.size() + frame.data.size() > *bytes);
      if (full) break;
      writer.raw(frame.data);
      last = frame.seq;
      ++count;
    }
  }
  writer.end_array()
      .member_uint64("first_seq", session->first_seq())
      .member_uint64("last_seq", session->visible_seq())
      .member_bool("more", last < session->visible_seq())
      .end_object();
  co_return json_response(200, std::move(body));
}

Task<void> Api::events_ndjson(ApiCall* call, Session* session, std::uint64_t after) {
  LogPages log(context_, session->session_no(), after, session->visible_seq());
  Result<std::string_view> frames = co_await log.next();
  if (!frames.has_value()) {
    Result<void> told = co_await call->exchange->respond(problem(frames.error()));
    static_cast<void>(told);
    co_return;
  }
  io::HttpResponse head;
  head.content_type = "application/x-ndjson";
  head.headers.emplace_back("Log-First-Seq", std::to_string(session->first_seq()));
  Result<void> sent = co_await call->exchange->begin_body(std::move(head));
  while (sent.has_value() && !frames->empty()) {
    std::string lines;
    for (Frame frame; next_frame(*frames, frame) && frame.seq <= log.end();) {
      lines += frame.data;
      lines += '\n';
    }
    sent = co_await call->exchange->write_body(lines);
    if (sent.has_value()) frames = co_await log.next();
    if (!frames.has_value()) throw std::runtime_error(frames.error().message);  // cuts the body off
  }
}

}  // namespace berth::server
