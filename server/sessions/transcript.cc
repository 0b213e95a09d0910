#include <berth/server/sessions/transcript.h>

#include <berth/core/json_doc.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kResultMax = 8 * 1024;  // of one tool call's output

/// A fence that the text cannot close.
std::string fenced(std::string_view text) {
  std::string fence = "```";
  while (text.find(fence) != std::string_view::npos) fence += '`';
  std::string out = fence + "\n" + std::string(text.substr(0, kResultMax));
  if (!out.ends_with('\n')) out += '\n';
  if (text.size() > kResultMax) out += "(cut)\n";
  return out + fence + "\n";
}

std::string name_of(const JsonView& block) {
  const std::string_view type = block.get_string("type").value_or("block");
  std::string_view uri = block.get_string("uri").value_or("");
  if (uri.empty()) uri = block.get_string("resource.uri").value_or("");
  return "[" + std::string(type) + (uri.empty() ? "" : " ") + std::string(uri) + "]";
}

}  // namespace

std::string text_of_block(const JsonView& block) {
  if (const auto text = block.get_string("text")) return std::string(*text);
  return name_of(block);
}

namespace {

std::string tool_text(const JsonView& data) {
  std::string out = "- Tool call " + std::string(data.get_string("toolCallId").value_or("?"));
  for (const char* part : {"title", "kind", "status"}) {
    if (const auto text = data.get_string(part)) out += " · " + std::string(*text);
  }
  out += '\n';
  for (const JsonView& content : data.elements("content")) {
    const std::string_view type = content.get_string("type").value_or("");
    if (type == "content") {
      out += fenced(text_of_block(content.find("content")));
    } else if (type == "diff") {
      out += "  diff of " + std::string(content.get_string("path").value_or("?")) + "\n" +
             fenced(content.get_string("newText").value_or(""));
    }
  }
  return out;
}

}  // namespace

void Transcript::heading(std::string_view turn, std::string_view what) {
  if (turn_ == turn && what.empty()) return;
  turn_ = turn;
  speaker_.clear();
  if (drained_ || !body_.empty()) body_ += "\n\n";
  body_ += "## " + std::string(what.empty() ? std::string_view("Turn, continued") : what);
  body_ += "\n";
}

void Transcript::speak(std::string_view speaker, std::string_view text) {
  if (speaker_ != speaker) {
    speaker_ = speaker;
    body_ += "\n\n**" + std::string(speaker) + "**\n\n";
  }
  body_ += text;
}

void Transcript::line(std::string_view text) {
  speaker_.clear();
  if (!(drained_ && body_.empty() ? ends_line_ : body_.ends_with('\n'))) body_ += '\n';
  body_ += text;
}

void Transcript::make_room() {
  if (body_.size() <= bytes_max_) return;
  dropped_ = true;
  const std::size_t next = body_.find("\n## ", body_.size() - bytes_max_ / 2);
  // One turn may be larger than all the room: then its beginning goes.
  body_.erase(0, next == std::string::npos ? body_.size() - bytes_max_ / 2 : next + 1);
}

void Transcript::take(const Frame& frame) {
  const bool told = frame.type == "update" || frame.type == "turn.queued" ||
                    frame.type == "turn.edited" || frame.type == "turn.started" ||
                    frame.type == "turn.ended" || frame.type == "turn.steered" ||
                    frame.type == "interaction.closed";
  if (!told) return;
  const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
  if (!doc.has_value()) return;
  const JsonView root = doc->root();
  const JsonView data = root.find("data");
  const std::string_view turn = root.get_string("turn").value_or("");
  if (frame.type == "turn.queued") {
    heading({}, "Request " + std::to_string(data.get_int64("number").value_or(0)));
    for (const JsonView& block : data.elements("prompt"))
      speak("User", text_of_block(block) + "\n");
  } else if (frame.type == "turn.edited" && data.find("prompt").is_array()) {
    heading({}, "Request " + std::to_string(data.get_int64("number").value_or(0)) + ", changed");
    for (const JsonView& block : data.elements("prompt"))
      speak("User", text_of_block(block) + "\n");
  } else if (frame.type == "turn.started") {
    heading(turn, "Turn " + std::to_string(data.get_int64("number").value_or(0)) + " (" +
                      std::string(root.get_string("agent").value_or("")) + ")");
  } else if (frame.type == "turn.ended") {
    line("- Turn " + std::to_string(data.get_int64("number").value_or(0)) +
         " ended: " + std::string(data.get_string("state").value_or("")) + "\n");
  } else if (frame.type == "interaction.closed") {
    line("- Question " + std::string(data.get_string("state").value_or("")) + " by " +
         std::string(data.get_string("by").value_or("")) + ": " + data.raw("answer") + "\n");
  } else if (frame.type == "update") {
    const std::string_view kind = data.get_string("sessionUpdate").value_or("");
    if (kind == "agent_message_chunk") {
      heading(turn, {});
      speak("Assistant", text_of_block(data.find("content")));
    } else if (kind == "agent_thought_chunk") {
      heading(turn, {});
      speak("Assistant (thinking)", text_of_block(data.find("content")));
    } else if (kind == "tool_call" || kind == "tool_call_update") {
      heading(turn, {});
      line(tool_text(data));
    }
  }
  make_room();
}

std::string Transcript::drain() {
  drained_ = drained_ || !body_.empty();
  if (!body_.empty()) ends_line_ = body_.ends_with('\n');
  return std::exchange(body_, {});
}

std::string Transcript::head(std::uint64_t first_seq) {
  std::string out = "# Transcript\n\n";
  if (first_seq > 1) {
    out += "(Events before " + std::to_string(first_seq) + " are not kept any more.)\n\n";
  }
  return out;
}

std::string Transcript::text() const {
  std::string out = head(first_seq_);
  if (dropped_) out += "(The oldest part was left out for its size.)\n\n";
  return out + body_ + "\n";
}

}  // namespace berth::server
