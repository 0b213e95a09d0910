#include <berth/server/agents/opencode/translate.h>

#include <berth/core/json_writer.h>
#include <berth/server/agents/reports.h>

#include <charconv>
#include <vector>

namespace berth::server::opencode {

namespace {

/// Paths that a tool's input names: opencode's own tools call it filePath or path.
void write_locations(JsonWriter& writer, JsonView input) {
  writer.key("locations").begin_array();
  for (const char* name : {"filePath", "filepath", "path"}) {
    const auto path = input.get_string(name);
    if (!path || path->empty()) continue;
    writer.begin_object().member("path", *path).end_object();
    break;
  }
  writer.end_array();
}

void write_text_content(JsonWriter& writer, std::string_view text) {
  writer.begin_object()
      .member("type", "content")
      .key("content")
      .begin_object()
      .member("type", "text")
      .member("text", text)
      .end_object()
      .end_object();
}

std::string raw_or_empty_object(JsonView value) {
  return value.is_object() ? value.raw() : "{}";
}

std::string_view status_of(std::string_view state) {
  if (state == "running") return "in_progress";
  if (state == "completed") return "completed";
  if (state == "error") return "failed";
  return "pending";
}

std::string property_name(std::size_t index) {
  return "q" + std::to_string(index);
}

void write_choices(JsonWriter& writer, const char* key, const std::vector<JsonView>& options) {
  writer.key(key).begin_array();
  for (const JsonView& option : options) {
    const std::string_view label = option.get_string("label").value_or("");
    writer.begin_object().member("const", label).member("title", label);
    if (const auto text = option.get_string("description")) writer.member("description", *text);
    writer.end_object();
  }
  writer.end_array();
}

}  // namespace

std::string text_chunk(bool thought, std::string_view message_id, std::string_view text,
                       bool replaces) {
  return text_update(thought ? "agent_thought_chunk" : "agent_message_chunk", text, message_id,
                     replaces ? R"({"berth/replace":true})" : "");
}

std::string_view tool_kind(std::string_view tool) {
  struct Known {
    std::string_view tool;
    std::string_view kind;
  };
  static constexpr Known kKnown[] = {
      {"bash", "execute"},   {"shell", "execute"},   {"edit", "edit"},
      {"write", "edit"},     {"patch", "edit"},      {"apply_patch", "edit"},
      {"multiedit", "edit"}, {"read", "read"},       {"list", "read"},
      {"glob", "search"},    {"grep", "search"},     {"codesearch", "search"},
      {"webfetch", "fetch"}, {"websearch", "fetch"}, {"todowrite", "think"},
      {"todoread", "think"}, {"task", "think"},
  };
  for (const Known& known : kKnown) {
    if (known.tool == tool) return known.kind;
  }
  return "other";
}

std::string tool_call(JsonView part) {
  const std::string_view tool = part.get_string("tool").value_or("");
  const JsonView input = part.find("state.input");
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member("sessionUpdate", "tool_call")
      .member("toolCallId", part.get_string("callID").value_or(""))
      .member("title", tool)
      .member("kind", tool_kind(tool))
      .member("status", "pending");
  write_locations(writer, input);
  writer.member_raw("rawInput", raw_or_empty_object(input)).end_object();
  return out;
}

std::string tool_call_update(JsonView part) {
  const std::string_view tool = part.get_string("tool").value_or("");
  const JsonView state = part.find("state");
  const std::string_view status = state.get_string("status").value_or("");
  const JsonView input = state.find("input");
  std::string_view title = state.get_string("title").value_or("");
  if (title.empty()) title = tool;
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member("sessionUpdate", "tool_call_update")
      .member("toolCallId", part.get_string("callID").value_or(""))
      .member("status", status_of(status))
      .member("kind", tool_kind(tool))
      .member("title", title);
  write_locations(writer, input);
  writer.member_raw("rawInput", raw_or_empty_object(input));
  std::string_view output;
  if (status == "completed") {
    output = state.get_string("output").value_or("");
  } else if (status == "error") {
    output = state.get_string("error").value_or("");
  } else {
    output = state.get_string("metadata.output").value_or("");
  }
  if (!output.empty()) {
    writer.key("content").begin_array();
    write_text_content(writer, output);
    writer.end_array();
  }
  if (status == "completed" || status == "error") {
    writer.key("rawOutput")
        .begin_object()
        .member(status == "error" ? "error" : "output", output)
        .member_raw("metadata", raw_or_empty_object(state.find("metadata")))
        .end_object();
  }
  writer.end_object();
  return out;
}

std::string plan(JsonView todos) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member("sessionUpdate", "plan").key("entries").begin_array();
  for (const JsonView& todo : todos.elements()) {
    const std::string_view status = todo.get_string("status").value_or("pending");
    const std::string_view priority = todo.get_string("priority").value_or("medium");
    const bool known_priority = priority == "high" || priority == "low";
    // ACP's plan has no word for an entry that was given up.
    const bool over = status == "completed" || status == "cancelled";
    writer.begin_object()
        .member("content", todo.get_string("content").value_or(""))
        .member("priority", known_priority ? priority : "medium")
        .member("status", over                      ? "completed"
                          : status == "in_progress" ? status
                                                    : "pending")
        .end_object();
  }
  writer.end_array().end_object();
  return out;
}

std::string session_title(std::string_view title) {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("sessionUpdate", "session_info_update")
      .member("title", title)
      .end_object();
  return out;
}

// --- questions ---

namespace {

void write_option(JsonWriter& writer, const char* id, const char* kind, const char* name) {
  writer.begin_object()
      .member("optionId", id)
      .member("kind", kind)
      .member("name", name)
      .end_object();
}

/// What a person reads as the title of a permission: the file, the command, else the patterns.
std::string permission_title(JsonView asked) {
  for (const char* place : {"metadata.filepath", "metadata.command", "metadata.url"}) {
    if (const auto text = asked.get_string(place)) return std::string(*text);
  }
  std::string title(asked.get_string("permission").value_or("permission"));
  for (const JsonView& pattern : asked.elements("patterns")) {
    title += ' ';
    title += pattern.as_string().value_or("");
  }
  return title;
}

}  // namespace

std::string permission_params(std::string_view session_id, JsonView asked) {
  const JsonView metadata = asked.find("metadata");
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member("sessionId", session_id)
      .key("toolCall")
      .begin_object()
      .member("toolCallId", asked.get_string("tool.callID").value_or(""))
      .member("title", permission_title(asked))
      .member("kind", tool_kind(asked.get_string("permission").value_or("")))
      .member("status", "pending");
  write_locations(writer, metadata);
  writer.member_raw("rawInput", raw_or_empty_object(metadata));
  if (const auto diff = metadata.get_string("diff")) {
    writer.key("content").begin_array();
    write_text_content(writer, *diff);
    writer.end_array();
  }
  writer.end_object().key("options").begin_array();
  write_option(writer, "once", "allow_once", "Allow once");
  write_option(writer, "always", "allow_always", "Always allow");
  write_option(writer, "reject", "reject_once", "Reject");
  writer.end_array().end_object();
  return out;
}

std::string question_params(std::string_view session_id, JsonView asked) {
  const std::vector<JsonView> questions = asked.elements("questions");
  std::string message;
  for (const JsonView& question : questions) {
    if (!message.empty()) message += '\n';
    message += question.get_string("question").value_or("");
  }
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member("sessionId", session_id);
  if (const auto call = asked.get_string("tool.callID")) writer.member("toolCallId", *call);
  writer.member("mode", "form")
      .member("message", message)
      .key("requestedSchema")
      .begin_object()
      .member("type", "object")
      .key("properties")
      .begin_object();
  for (std::size_t i = 0; i < questions.size(); ++i) {
    const JsonView& question = questions[i];
    const std::vector<JsonView> options = question.elements("options");
    writer.key(property_name(i))
        .begin_object()
        .member("title", question.get_string("header").value_or("Question"))
        .member("description", question.get_string("question").value_or(""));
    if (question.get_bool("multiple").value_or(false)) {
      writer.member("type", "array").key("items").begin_object();
      write_choices(writer, "anyOf", options);
      writer.end_object();
    } else {
      writer.member("type", "string");
      // An answer of one's own is any string: a closed list would refuse it.
      if (!question.get_bool("custom").value_or(true)) write_choices(writer, "oneOf", options);
    }
    writer.end_object();
  }
  writer.end_object().key("required").begin_array();
  for (std::size_t i = 0; i < questions.size(); ++i) writer.string(property_name(i));
  writer.end_array().end_object();
  writer.key("_meta").begin_object().member_raw("opencode/questions", asked.raw("questions"));
  writer.end_object().end_object();
  return out;
}

std::string question_answers(JsonView asked, JsonView content) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_array();
  const std::size_t count = asked.elements("questions").size();
  for (std::size_t i = 0; i < count; ++i) {
    const JsonView given = content.find(property_name(i));
    writer.begin_array();
    if (const auto text = given.as_string()) writer.string(*text);
    for (const JsonView& choice : given.elements()) {
      if (const auto text = choice.as_string()) writer.string(*text);
    }
    writer.end_array();
  }
  writer.end_array();
  return out;
}

// --- usage ---

double number_of(JsonView value) {
  const std::string text = value.raw();
  double number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc() ? number : 0;
}

void Usage::add(const Usage& other) {
  input += other.input;
  output += other.output;
  thought += other.thought;
  cache_read += other.cache_read;
  cache_write += other.cache_write;
  cost += other.cost;
}

Usage step_usage(JsonView part) {
  Usage usage;
  usage.input = part.get_int64("tokens.input").value_or(0);
  usage.output = part.get_int64("tokens.output").value_or(0);
  usage.thought = part.get_int64("tokens.reasoning").value_or(0);
  usage.cache_read = part.get_int64("tokens.cache.read").value_or(0);
  usage.cache_write = part.get_int64("tokens.cache.write").value_or(0);
  usage.cost = number_of(part.find("cost"));
  return usage;
}

namespace {

void write_cost(JsonWriter& writer, double amount) {
  writer.key("cost")
      .begin_object()
      .key("amount")
      .number(amount)
      .member("currency", "USD")
      .end_object();
}

}  // namespace

std::string turn_usage(const Usage& usage) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member_int64("inputTokens", usage.input)
      .member_int64("outputTokens", usage.output)
      .member_int64("totalTokens", usage.total());
  if (usage.thought != 0) writer.member_int64("thoughtTokens", usage.thought);
  if (usage.cache_read != 0) writer.member_int64("cachedReadTokens", usage.cache_read);
  if (usage.cache_write != 0) writer.member_int64("cachedWriteTokens", usage.cache_write);
  write_cost(writer, usage.cost);
  writer.end_object();
  return out;
}

std::string usage_update(std::int64_t used, std::int64_t size, double cost) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member("sessionUpdate", "usage_update")
      .member_int64("used", used)
      .member_int64("size", size);
  write_cost(writer, cost);
  writer.end_object();
  return out;
}

std::string_view stop_reason(std::string_view finish) {
  if (finish == "length") return "max_tokens";
  if (finish == "content-filter") return "refusal";
  return "end_turn";
}

}  // namespace berth::server::opencode
