// A session's story for people and programs that want all of it: Markdown or JSON, of any size.
#include <berth/server/api/api.h>

#include <berth/server/api/log_pages.h>
#include <berth/server/api/problem.h>
#include <berth/server/sessions/frames.h>
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
  const std::uint64_t first = (*session)->first_seq();
  LogPages log(context_, (*session)->session_no(), 0, (*session)->visible_seq());
  Result<std::string_view> frames = co_await log.next();
  if (!frames.has_value()) {
    Result<void> sent = co_await call->exchange->respond(problem(frames.error()));
    static_cast<void>(sent);
    co_return;
  }
  const bool json = *form == Form::json;
  Transcript markdown;
  TranscriptJson entries((*session)->row().id, first);
  io::HttpResponse head;
  head.content_type = json ? "application/json" : "text/markdown; charset=utf-8";
  head.headers.emplace_back("X-Content-Type-Options", "nosniff");
  Result<void> sent = co_await call->exchange->begin_body(std::move(head));
  if (!json && sent.has_value()) {
    sent = co_await call->exchange->write_body(Transcript::head(first));
  }
  while (sent.has_value() && !frames->empty()) {
    for (Frame frame; next_frame(*frames, frame) && frame.seq <= log.end();) {
      if (json) {
        entries.take(frame);
      } else {
        markdown.take(frame);
      }
    }
    const std::string piece = json ? entries.drain() : markdown.drain();
    if (!piece.empty()) sent = co_await call->exchange->write_body(piece);
    if (sent.has_value()) frames = co_await log.next();
    if (!frames.has_value()) throw std::runtime_error(frames.error().message);  // cuts the body off
  }
  if (!sent.has_value()) co_return;
  if (json) entries.end();
  const std::string rest = json ? entries.drain() : std::string("\n");
  sent = co_await call->exchange->write_body(rest);
  static_cast<void>(sent);
}

}  // namespace berth::server
