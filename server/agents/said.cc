#include <berth/server/agents/said.h>

#include <berth/core/json_doc.h>
#include <berth/server/agents/agent_port.h>

namespace berth::server {

void append_said(std::string& out, std::string_view text) {
  for (const char c : text) {
    const bool space = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (!space && out.size() < Said::kTextMax) out += c;
  }
}

std::string text_in(std::string_view update) {
  const Result<JsonDoc> doc = JsonDoc::parse(update);
  if (!doc.has_value()) return {};
  const JsonView root = doc->root();
  const auto raw = root.get_string("_meta.berth/raw");
  return std::string(raw.has_value() ? *raw : root.get_string("content.text").value_or(""));
}

void Said::note(const AgentUpdate& update) {
  const bool full = text.size() >= kTextMax;
  if (!full && update.kind == "agent_message_chunk") append_said(text, text_in(update.update));
  if (!update.tool_call_id.empty()) tool_calls.emplace(update.tool_call_id);
}

}  // namespace berth::server
