#include <berth/server/agents/opencode/event_frame.h>

#include <berth/core/json_scan.h>
#include <berth/core/ndjson.h>

#include <string>
#include <utility>

namespace berth::server::opencode {

EventFrame::EventFrame(JsonDoc doc, bool repaired) : doc_(std::move(doc)), repaired_(repaired) {
  const JsonView payload = doc_.root().find("payload");
  type_ = payload.get_string("type").value_or("");
  const JsonView own = properties();
  for (const char* place : {"sessionID", "info.sessionID", "part.sessionID"}) {
    session_id_ = own.get_string(place).value_or("");
    if (!session_id_.empty()) return;
  }
  if (type_.starts_with("session.")) session_id_ = own.get_string("info.id").value_or("");
}

std::optional<EventFrame> EventFrame::parse(std::string_view data) {
  Result<JsonDoc> doc = JsonDoc::parse(data);
  bool repaired = false;
  if (!doc.has_value()) {
    const LineBuffer whole = replace_lone_surrogates(data);
    if (whole.empty()) return std::nullopt;
    doc = JsonDoc::parse(whole.text());
    if (!doc.has_value()) return std::nullopt;
    repaired = true;
  }
  EventFrame frame(std::move(*doc), repaired);
  if (frame.type_.empty()) return std::nullopt;
  return frame;
}

}  // namespace berth::server::opencode
