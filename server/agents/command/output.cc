#include <berth/server/agents/command/output.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/agents/reports.h>

#include <cstdlib>

namespace berth::server {

namespace {

constexpr std::size_t kTitleMax = 200;

/// The value as text: strings without quotes, the rest as JSON.
std::string as_text(const JsonView& value) {
  if (const auto text = value.as_string()) return std::string(*text);
  return value.present() ? value.raw() : std::string();
}

void take_update(CommandLine& said, std::string_view kind, std::string update) {
  said.kind = kind;
  said.update = std::move(update);
}

void read_tool_call(CommandLine& said, const JsonView& line) {
  said.tool_call_id = line.get_string("id").value_or("");
  std::string update;
  JsonWriter writer(update);
  writer.begin_object()
      .member("sessionUpdate", "tool_call")
      .member("toolCallId", said.tool_call_id)
      .member("title", line.get_string("name").value_or("tool").substr(0, kTitleMax))
      .member("status", "in_progress");
  if (line.find("input").present()) writer.member_raw("rawInput", line.raw("input"));
  writer.end_object();
  take_update(said, "tool_call", std::move(update));
}

void read_tool_result(CommandLine& said, const JsonView& line) {
  said.tool_call_id = line.get_string("id").value_or("");
  std::string update;
  JsonWriter writer(update);
  writer.begin_object()
      .member("sessionUpdate", "tool_call_update")
      .member("toolCallId", said.tool_call_id)
      .member("status", line.get_bool("is_error").value_or(false) ? "failed" : "completed");
  if (line.find("output").present()) {
    writer.key("content")
        .begin_array()
        .begin_object()
        .member("type", "content")
        .key("content")
        .begin_object()
        .member("type", "text")
        .member("text", as_text(line.find("output")))
        .end_object()
        .end_object()
        .end_array();
  }
  writer.end_object();
  take_update(said, "tool_call_update", std::move(update));
}

/// Their words for why a turn ended, in ours.
std::string stop_reason_of(std::string_view theirs) {
  if (theirs == "cancelled" || theirs == "interrupted") return "cancelled";
  if (theirs == "budget" || theirs == "max_tokens") return "max_tokens";
  if (theirs == "max_iterations" || theirs == "max_turns") return "max_turn_requests";
  if (theirs == "refusal") return "refusal";
  return "end_turn";
}

}  // namespace

void CommandOutput::begin_turn() {
  *this = CommandOutput();
}

std::string CommandOutput::usage() const {
  std::string usage;
  if (!counted_) return usage;
  JsonWriter writer(usage);
  writer.begin_object()
      .member_int64("inputTokens", input_tokens_)
      .member_int64("outputTokens", output_tokens_)
      .member_int64("totalTokens", input_tokens_ + output_tokens_);
  if (cost_ > 0) {
    writer.key("cost").begin_object().key("amount").number(cost_).member("currency", "USD");
    writer.end_object();
  }
  writer.end_object();
  return usage;
}

std::optional<CommandLine> CommandOutput::read(std::string_view line) {
  const Result<JsonDoc> doc = JsonDoc::parse(line);
  if (!doc.has_value() || !doc->root().is_object()) return {};
  const JsonView root = doc->root();
  CommandLine said;
  if (const auto kind = root.get_string("sessionUpdate")) {
    said.tool_call_id = root.get_string("toolCallId").value_or("");
    said_something_ |= *kind == "agent_message_chunk";
    take_update(said, *kind, root.raw());
    return said;
  }
  const std::string_view type = root.get_string("type").value_or("");
  const std::string_view custom = root.get_string("custom_type").value_or("");
  const auto text = root.get_string("text");
  if (type == "text" && text) {
    said_something_ = true;
    take_update(said, "agent_message_chunk", text_update("agent_message_chunk", *text));
  } else if (type == "thought" && text) {
    take_update(said, "agent_thought_chunk", text_update("agent_thought_chunk", *text));
  } else if (type == "tool_call" && root.get_string("id")) {
    read_tool_call(said, root);
  } else if (type == "tool_result" && root.get_string("id")) {
    read_tool_result(said, root);
  } else if (type == "usage") {
    counted_ = true;
    input_tokens_ += root.get_int64("input_tokens").value_or(0);
    output_tokens_ += root.get_int64("output_tokens").value_or(0);
    cost_ += std::strtod(root.raw("cost").c_str(), nullptr);
  } else if (type == "custom" && custom == "agent_complete") {
    // Some only tell the answer at the end.
    const auto response = root.get_string("data.response");
    if (response && !response->empty() && !said_something_) {
      take_update(said, "agent_message_chunk", text_update("agent_message_chunk", *response));
    }
    said.ended = CommandTurnEnd{
        stop_reason_of(root.get_string("data.stop_reason").value_or("")), {}, usage()};
  } else if (type == "custom" && custom == "agent_error") {
    said.ended = CommandTurnEnd{{}, root.find("data").present() ? root.raw("data") : "{}", usage()};
  } else if (type != "custom" || custom != "agent_start") {
    said.foreign_type = type.empty() ? "line" : type;
  }
  return said;
}

std::optional<std::string> prompt_text(std::string_view blocks) {
  const Result<JsonDoc> doc = JsonDoc::parse(blocks);
  if (!doc.has_value()) return {};
  std::string words;
  const auto add = [&words](std::string_view text) {
    if (!words.empty() && words.back() != '\n') words += '\n';
    words += text;
  };
  for (const JsonView& block : doc->root().elements()) {
    if (const auto text = block.get_string("text")) {
      add(*text);
    } else if (const auto embedded = block.get_string("resource.text")) {
      add(*embedded);
    } else if (const auto uri = block.get_string("uri")) {
      add(*uri);
    } else {
      return {};
    }
  }
  return words;
}

}  // namespace berth::server
