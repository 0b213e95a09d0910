// A session's story for people and programs that want all of it: Markdown or JSON, of any size.
#include <berth/server/api/api.h>

#include <berth/server/api/problem.h>
#include <berth/server/sessions/transcript.h>
#include <berth/server/sessions/transcript_json.h>

#include <stdexcept>
#include <utility>

namespace berth::server {

namespace {

enum class Form : std::uint8_t { markdown, json };

Result<Form> form_of(const ApiCall& call) {
  const std::string_view format = call.query("format");
  if (format == "markdown") return Form::markdown;
  if (format == "json") return Form::json;
  if (!format.empty()) {
    return fail(ErrorKind::invalid, "bad_field", "format: must be markdown or json");
  }
  const std::string_view accept = call.request->header("accept");
  const bool json = accept.find("application/json") != std::string_view::npos &&
                    accept.find("text/markdown") == std::string_view::npos;
  return json ? Form::json : Form::markdown;
}

}  // namespace

Task<void> Api::get_transcript(ApiCall* call) {
  Result<SessionUse> session = co_await find_log(call);
  const Result<Form> form = form_of(*call);
  if (!session.has_value() || !form.has_value()) {
    Result<void> sent = co_await call->exchange->respond(
        problem(session.has_value() ? form.error() : session.error()));
    static_cast<void>(sent);
    co_return;
  }
  const SessionNo no = (*session)->session_no();
  const std::size_t page_bytes = context_.limits.page_bytes;
  const std::uint64_t end = (*session)->visible_seq();
  const bool json = *form == Form::json;
  Transcript markdown;
  const std::uint64_t first = (*session)->first_seq();
  TranscriptJson entries((*session)->row().id, first);
  io::HttpResponse head;
  head.content_type = json ? "application/json" : "text/markdown; charset=utf-8";
  head.headers.emplace_back("X-Content-Type-Options", "nosniff");
  Result<void> sent = co_await call->exchange->begin_body(std::move(head));
  if (!json && sent.has_value()) {
    sent = co_await call->exchange->write_body(Transcript::head(first));
  }
  for (std::uint64_t after = 0; sent.has_value() && after < end;) {
    const Result<EventPage> page = co_await context_.read(
        [no, after, page_bytes](Store& store) { return store.read_events(no, after, page_bytes); });
    // Its head is out, so the client can only be told by a body that is cut off.
    if (!page.has_value() || page->first_seq == 0) throw std::runtime_error("the log ends early");
    if (after > 0 && page->first_seq > after + 1) throw std::runtime_error("the log was cut");
    std::string_view frames = frames_after(page->frames, page->first_seq, after);
    for (Frame frame; next_frame(frames, frame) && frame.seq <= end;) {
      if (json) {
        entries.take(frame);
      } else {
        markdown.take(frame);
      }
    }
    after = page->last_seq;
    const std::string piece = json ? entries.drain() : markdown.drain();
    if (!piece.empty()) sent = co_await call->exchange->write_body(piece);
  }
  if (!sent.has_value()) co_return;
  if (json) entries.end();
  const std::string rest = json ? entries.drain() : std::string("\n");
  sent = co_await call->exchange->write_body(rest);
  static_cast<void>(sent);
}

}  // namespace berth::server
