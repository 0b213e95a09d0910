#include <berth/server/agents/acp2_translator.h>

#include <berth/core/json_writer.h>
#include <berth/server/agents/acp2_messages.h>

#include <utility>

namespace berth::server::acp2 {

namespace {

/// What is kept of calls and messages so that later words about them are understood. Above it the
/// whole of it is forgotten at the next prompt, and no more of a message is kept before that.
constexpr std::size_t kCallsMax = 1024;
constexpr std::size_t kSaidBytesMax = std::size_t{4} << 20;
/// Of the content of one tool call that comes in chunks; what is more is passed on as it came.
constexpr std::size_t kCallContentMax = std::size_t{1} << 20;

std::string chunk_json(std::string_view kind, std::string_view message_id,
                       std::string_view content) {
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("sessionUpdate", kind)
      .member_raw("content", content)
      .member("messageId", message_id)
      .end_object();
  return out;
}

std::string text_content(std::string_view text) {
  std::string out;
  JsonWriter(out).begin_object().member("type", "text").member("text", text).end_object();
  return out;
}

/// `update` with one member renamed or replaced.
std::string rewritten(const JsonView& update, std::string_view kind, std::string_view without,
                      std::string_view name, std::string_view value) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member("sessionUpdate", kind);
  for (const auto& [key, member] : update.members()) {
    if (key != "sessionUpdate" && key != without) writer.member_raw(key, member.raw());
  }
  writer.member_raw(name, value).end_object();
  return out;
}

}  // namespace

// --- turns ---

void Translator::prompted() {
  sent_ = true;
  taken_ = false;
  prompt_id_.clear();
  early_end_.reset();
  end_.reset();
  if (calls_.size() > kCallsMax) calls_.clear();
  if (said_bytes_ < kSaidBytesMax) return;
  said_.clear();
  said_bytes_ = 0;
}

std::optional<PromptEnd> Translator::taken(std::string_view message_id) {
  const bool echoed = prompt_id_ == message_id;
  taken_ = true;
  prompt_id_ = message_id;
  if (!echoed || !early_end_) return std::nullopt;
  sent_ = false;
  return std::exchange(early_end_, std::nullopt);
}

void Translator::take_state(const JsonView& update) {
  const bool idle = update.get_string("state").value_or("") == "idle";
  const bool was_working = std::exchange(working_, !idle);
  if (idle && was_working && sent_) finish_turn(update);
}

void Translator::finish_turn(const JsonView& idle) {
  PromptEnd end;
  end.stop_reason = idle.get_string("stopReason").value_or("end_turn");
  if (idle.find("usage").is_object()) end.usage = idle.raw("usage");
  if (end.stop_reason == "error") {
    end.stop_reason.clear();
    end.agent_error = idle.find("error").is_object() ? idle.raw("error") : std::string();
    end.error =
        make_error(ErrorKind::invalid, "agent_error",
                   "the agent failed: " +
                       std::string(idle.get_string("error.message").value_or("(no words)")));
  }
  if (taken_) {
    sent_ = false;
    end_ = std::move(end);
  } else if (!prompt_id_.empty()) {
    early_end_ = std::move(end);  // if the message that was echoed is the prompt
  }
}

/// The agent repeats what berth told it, which the log has; the first may be the prompt.
void Translator::take_echo(const JsonView& update) {
  if (sent_ && !taken_ && prompt_id_.empty()) {
    prompt_id_ = update.get_string("messageId").value_or("");
  }
}

// --- updates ---

std::vector<Translator::Update> Translator::take(std::string_view kind, std::string_view raw) {
  std::vector<Update> out;
  const Result<JsonDoc> doc = JsonDoc::parse(raw);
  if (!doc.has_value()) return out;
  const JsonView update = doc->root();
  const auto as_it_came = [&] { out.push_back({std::string(raw), std::string(kind), {}}); };
  if (kind == "state_update") {
    take_state(update);
    // What goes on behind the turns, and that it does no more, is told by nothing else.
    const bool before = std::exchange(works_behind_, !update.elements("background").empty());
    if (before || works_behind_) as_it_came();
  } else if (kind.starts_with("user_message")) {
    take_echo(update);
  } else if (kind == "agent_message" || kind == "agent_thought") {
    take_message(kind, update, out);
  } else if (kind == "agent_message_chunk" || kind == "agent_thought_chunk") {
    note_said(std::string(update.get_string("messageId").value_or("")),
              update.get_string("content.text").value_or(""));
    as_it_came();
  } else if (kind == "tool_call_update") {
    take_call(update, out);
  } else if (kind == "tool_call_content_chunk") {
    take_call_chunk(update, out);
  } else if (kind == "plan_update" && update.get_string("plan.type").value_or("") == "items") {
    out.push_back(
        {rewritten(update, "plan", "plan", "entries", update.raw("plan.entries")), "plan", {}});
  } else if (kind == "config_option_update") {
    const std::string options = config_options(update.find("configOptions"));
    out.push_back({rewritten(update, kind, "configOptions", "configOptions", options),
                   std::string(kind),
                   {}});
  } else {
    as_it_came();
  }
  return out;
}

void Translator::note_said(const std::string& id, std::string_view text) {
  if (said_bytes_ >= kSaidBytesMax) return;
  said_bytes_ += id.size() + text.size();
  said_[id] += text;
}

/// A whole message: what of it was not streamed before. A message that was changed stays in the log
/// as it was said; the new one is beside it.
void Translator::take_message(std::string_view kind, const JsonView& update,
                              std::vector<Update>& out) {
  const std::string id(update.get_string("messageId").value_or(""));
  const std::string chunk = std::string(kind) + "_chunk";
  const auto known = said_.find(id);
  const bool fresh = known == said_.end();
  std::string text;
  for (const JsonView& block : update.elements("content")) {
    if (block.get_string("type").value_or("") == "text") {
      text += block.get_string("text").value_or("");
    } else if (fresh) {
      out.push_back({chunk_json(chunk, id, block.raw()), chunk, {}});
    }
  }
  const std::string said = fresh ? std::string() : known->second;
  if (!text.starts_with(said)) {
    out.push_back({update.raw(), std::string(kind), {}});
  } else if (text.size() > said.size()) {
    const std::string rest = text.substr(said.size());
    note_said(id, rest);
    out.push_back({chunk_json(chunk, id, text_content(rest)), chunk, {}});
  }
}

void Translator::take_call(const JsonView& update, std::vector<Update>& out) {
  const std::string id(update.get_string("toolCallId").value_or(""));
  const bool fresh = !calls_.contains(id);
  Call& call = calls_[id];
  if (update.find("content").present()) {
    call = {};
    for (const JsonView& part : update.elements("content")) {
      call.content.push_back(tool_content(part));
      call.bytes += call.content.back().size();
    }
  }
  const std::string kind = fresh ? "tool_call" : "tool_call_update";
  std::string json;
  JsonWriter writer(json);
  writer.begin_object().member("sessionUpdate", kind);
  if (fresh && !update.get_string("title")) {
    writer.member("title", update.get_string("name").value_or("tool"));
  }
  write_tool_call(writer, update);
  writer.end_object();
  out.push_back({std::move(json), kind, id});
}

/// In v1 the content of a call is told whole.
void Translator::take_call_chunk(const JsonView& update, std::vector<Update>& out) {
  const std::string id(update.get_string("toolCallId").value_or(""));
  Call& call = calls_[id];
  std::string part = tool_content(update.find("content"));
  if (call.bytes + part.size() > kCallContentMax) {
    out.push_back({update.raw(), "tool_call_content_chunk", id});
    return;
  }
  call.bytes += part.size();
  call.content.push_back(std::move(part));
  std::string json;
  JsonWriter writer(json);
  writer.begin_object()
      .member("sessionUpdate", "tool_call_update")
      .member("toolCallId", id)
      .key("content")
      .begin_array();
  for (const std::string& piece : call.content) writer.raw(piece);
  writer.end_array().end_object();
  out.push_back({std::move(json), "tool_call_update", id});
}

}  // namespace berth::server::acp2
