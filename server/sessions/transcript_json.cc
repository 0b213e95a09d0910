#include <berth/server/sessions/transcript_json.h>

#include <berth/core/json_writer.h>
#include <berth/server/sessions/transcript.h>

#include <utility>

namespace berth::server {

namespace {

/// The kind of an entry that holds the event's data as it is; empty for events that are none.
std::string_view kind_of(std::string_view type, std::string_view update) {
  if (type == "turn.queued" || type == "turn.edited") return "request";
  if (type == "turn.started" || type == "turn.ended" || type == "turn.steered") return "turn";
  if (type == "interaction.opened" || type == "interaction.closed") return "interaction";
  if (update == "tool_call" || update == "tool_call_update") return "tool_call";
  if (update == "plan") return "plan";
  return {};
}

}  // namespace

TranscriptJson::TranscriptJson(std::string_view session, std::uint64_t first_seq) {
  out_ = "{\"session\":";
  append_json_string(out_, session);
  out_ += ",\"first_seq\":" + std::to_string(first_seq) + ",\"entries\":[";
}

void TranscriptJson::begin_entry(std::string_view kind, const Frame& frame, const JsonView& root) {
  end_text();
  if (!std::exchange(first_, false)) out_ += ",";
  out_ += "\n{\"kind\":\"";
  out_ += kind;
  out_ += "\",\"seq\":" + std::to_string(frame.seq);
  out_ += ",\"event\":\"";
  out_ += frame.type;
  out_ += "\",\"time\":" + root.raw("time");
  out_ += ",\"turn\":" + root.raw("turn");
  out_ += ",\"agent\":" + root.raw("agent");
}

void TranscriptJson::end_text() {
  if (std::exchange(speaking_, false)) out_ += "\"}";
}

void TranscriptJson::speak(std::string_view kind, const Frame& frame, const JsonView& root) {
  const std::string_view turn = root.get_string("turn").value_or("");
  if (!speaking_ || kind_ != kind || turn_ != turn) {
    begin_entry(kind, frame, root);
    out_ += ",\"text\":\"";
    speaking_ = true;
    kind_ = kind;
    turn_ = turn;
  }
  std::string text;
  append_json_string(text, text_of_block(root.find("data").find("content")));
  out_.append(text, 1, text.size() - 2);  // without its quotes
}

void TranscriptJson::take(const Frame& frame) {
  const bool update = frame.type == "update";
  if (!update && kind_of(frame.type, {}).empty()) return;
  const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
  if (!doc.has_value()) return;
  const JsonView root = doc->root();
  const std::string_view what =
      update ? root.get_string("data.sessionUpdate").value_or("") : std::string_view();
  if (what == "agent_message_chunk") return speak("message", frame, root);
  if (what == "agent_thought_chunk") return speak("thought", frame, root);
  const std::string_view kind = kind_of(frame.type, what);
  if (kind.empty()) return;
  begin_entry(kind, frame, root);
  out_ += ",\"data\":" + root.raw("data") + "}";
}

void TranscriptJson::end() {
  end_text();
  out_ += "\n]}\n";
}

std::string TranscriptJson::drain() {
  return std::exchange(out_, {});
}

}  // namespace berth::server
