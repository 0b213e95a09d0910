#include <berth/server/sessions/tool_calls.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

/// Agents give the command as a string or as an argument vector.
std::string command_of(const JsonView& input) {
  for (const char* name : {"command", "cmd"}) {
    const JsonView value = input.find(name);
    if (const auto text = value.as_string()) return std::string(*text);
    std::string joined;
    for (const JsonView& word : value.elements()) {
      if (!joined.empty()) joined += ' ';
      joined += word.as_string().value_or("");
    }
    if (!joined.empty()) return joined;
  }
  return {};
}

void keep(std::string& known, std::string&& said) {
  if (!said.empty()) known = std::move(said);
}

}  // namespace

ToolCall read_tool_call(const JsonView& update) {
  ToolCall call;
  call.id = update.get_string("toolCallId").value_or("");
  call.title = update.get_string("title").value_or("");
  call.kind = update.get_string("kind").value_or("");
  call.status = update.get_string("status").value_or("");
  for (const JsonView& location : update.elements("locations")) {
    const std::string_view path = location.get_string("path").value_or("");
    if (!path.empty()) call.paths.emplace_back(path);
  }
  call.command = command_of(update.find("rawInput"));
  call.has_result = call.status == "completed" || call.status == "failed";
  return call;
}

const ToolCall* ToolCalls::note(const JsonView& update, TimePoint now) {
  ToolCall said = read_tool_call(update);
  if (said.id.empty()) return nullptr;
  const auto known = std::find_if(calls_.begin(), calls_.end(),
                                  [&](const ToolCall& call) { return call.id == said.id; });
  if (known == calls_.end()) {
    said.began = now;
    calls_.push_back(std::move(said));
    return calls_.back().has_result ? &calls_.back() : nullptr;
  }
  keep(known->title, std::move(said.title));
  keep(known->kind, std::move(said.kind));
  keep(known->command, std::move(said.command));
  if (!said.paths.empty()) known->paths = std::move(said.paths);
  if (said.status.empty()) return nullptr;
  known->status = std::move(said.status);
  // A result stays one, whatever a confused agent says of it later.
  const bool had_result = std::exchange(known->has_result, known->has_result || said.has_result);
  return known->has_result && !had_result ? &*known : nullptr;
}

const ToolCall* ToolCalls::find(std::string_view id) const {
  for (const ToolCall& call : calls_) {
    if (call.id == id) return &call;
  }
  return nullptr;
}

std::vector<ToolCall> ToolCalls::open() const {
  std::vector<ToolCall> open;
  for (const ToolCall& call : calls_) {
    if (!call.has_result) open.push_back(call);
  }
  return open;
}

std::vector<std::string> ToolCalls::open_ids() const {
  std::vector<std::string> ids;
  for (const ToolCall& call : calls_) {
    if (!call.has_result) ids.push_back(call.id);
  }
  return ids;
}

}  // namespace berth::server
