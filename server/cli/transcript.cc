#include <berth/core/text.h>
#include <berth/server/cli/transcript.h>

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <vector>

namespace berth::server {

namespace {

/// Titles longer than this are cut; agents put whole commands there.
constexpr std::size_t kTitleMax = 160;
constexpr std::size_t kToolsMax = 1000;

std::string text_of(const JsonView& view, std::string_view path, std::string_view absent = "") {
  return printable(view.get_string(path).value_or(absent));
}

// One line of it, cut at a character's start.
std::string short_text(const JsonView& view, std::string_view path) {
  std::string text = text_of(view, path);
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (text.size() <= kTitleMax) return text;
  return std::string(shorten(text, kTitleMax)) + "…";
}

std::string prompt_text(const JsonView& data) {
  std::string text;
  for (const JsonView& block : data.elements("prompt")) {
    if (!text.empty()) text += ' ';
    const std::string kind = text_of(block, "type");
    text += kind == "text" ? text_of(block, "text") : "[" + kind + "]";
  }
  return text;
}

}  // namespace

void Transcript::show(const JsonView& event) {
  const std::string_view type = event.get_string("type").value_or("");
  const JsonView data = event.find("data");
  if (type == "update") return update(data);
  if (type == "turn.queued") return prompt(data);
  if (type == "turn.edited" && data.find("prompt").is_array()) return prompt(data);
  if (type == "turn.started") return turn_started(event, data);
  if (type == "turn.ended") return turn_ended(data);
  if (type == "agent.attached") return attached(event, data);
  if (type == "agent.exited") return exited(data);
  if (type == "agent.failed") return failed(data);
  if (type == "agent.junk") {
    return line(Style::dim, fmt::format("  ! the agent printed what is no message ({}): {}",
                                        text_of(data, "reason"), short_text(data, "head")));
  }
  if (type == "interaction.opened") return question(data);
  if (type == "interaction.closed") return interaction_closed(data);
  if (type == "change.recorded") return change(data);
  if (type == "queue.held") {
    return line(Style::yellow, "  queue held: " + text_of(data, "reason"));
  }
  if (type == "queue.resumed") return line(Style::dim, "  queue goes on");
  if (type == "session.closed") {
    return line(Style::dim, fmt::format("session closed, workspace {} {}",
                                        text_of(data, "workspace"), text_of(data, "reason")));
  }
}

void Transcript::finish() {
  if (!at_line_start_) terminal_.write("\n");
  at_line_start_ = true;
  flow_ = Flow::none;
}

void Transcript::line(Style style, std::string_view text) {
  finish();
  terminal_.line(style, text);
}

// --- what an agent says ---

void Transcript::update(const JsonView& data) {
  const std::string_view kind = data.get_string("sessionUpdate").value_or("");
  if (kind == "agent_message_chunk") return chunk(Flow::text, data);
  if (kind == "agent_thought_chunk") return chunk(Flow::thought, data);
  if (kind == "tool_call" || kind == "tool_call_update") return tool_call(data);
  if (kind == "plan") return plan(data);
  if (kind == "current_mode_update") {
    return line(Style::dim, "  mode: " + short_text(data, "currentModeId"));
  }
}

void Transcript::chunk(Flow flow, const JsonView& data) {
  std::string text = text_of(data, "content.text");
  if (text.empty() && !data.get_string("content.text")) {
    text = "[" + text_of(data, "content.type", "content") + "]";
  }
  if (text.empty()) return;
  if (flow != flow_) finish();
  flow_ = flow;
  terminal_.write(flow == Flow::thought ? Style::dim : Style::plain, text);
  at_line_start_ = text.back() == '\n';
}

void Transcript::tool_call(const JsonView& data) {
  const std::string id = text_of(data, "toolCallId");
  const std::string status = text_of(data, "status");
  const bool known = tools_.contains(id);
  if (data.get_string("title") && (known || tools_.size() < kToolsMax)) {
    tools_[id] = short_text(data, "title");
  }
  const auto found = tools_.find(id);
  const std::string title = found == tools_.end() ? id : found->second;
  if (status == "completed") {
    line(Style::green, "  ✓ " + title);
  } else if (status == "failed") {
    line(Style::red, "  ✗ " + title);
  } else if (!known) {
    line(Style::cyan, "  ⚙ " + title);
  }
  if ((status == "completed" || status == "failed") && found != tools_.end()) tools_.erase(found);
}

void Transcript::plan(const JsonView& data) {
  line(Style::blue, "  plan");
  for (const JsonView& entry : data.elements("entries")) {
    const std::string status = text_of(entry, "status");
    const char* mark = status == "completed" ? "✓" : status == "in_progress" ? "▸" : "·";
    line(status == "completed" ? Style::dim : Style::plain,
         fmt::format("    {} {}", mark, short_text(entry, "content")));
  }
}

// --- turns ---

void Transcript::prompt(const JsonView& data) {
  if (options_.prompts) line(Style::bold, "> " + prompt_text(data));
}

void Transcript::turn_started(const JsonView& event, const JsonView& data) {
  if (!options_.turn_lines) return;
  line(Style::dim, fmt::format("── turn {} · {} ──", data.get_int64("number").value_or(0),
                               text_of(event, "agent", "agent")));
}

void Transcript::turn_ended(const JsonView& data) {
  const std::string state = text_of(data, "state");
  const std::string reason = short_text(data, "reason");
  const bool good = state == "completed";
  std::string text = fmt::format("{} {}", good ? "✔" : "✘", state);
  if (!reason.empty() && !(good && reason == "end_turn")) text += " (" + reason + ")";
  const std::size_t open = data.elements("open_tool_calls").size();
  if (open > 0)
    text += fmt::format(", {} tool call{} without a result", open, open == 1 ? "" : "s");
  line(good ? Style::green : Style::red, text);
  tools_.clear();
}

void Transcript::change(const JsonView& data) {
  const std::string outcome = text_of(data, "outcome");
  if (outcome != "recorded") {
    if (outcome == "failed")
      line(Style::yellow, "  snapshot failed: " + short_text(data, "reason"));
    return;
  }
  if (data.elements("files").empty()) return;
  finish();
  show_files(terminal_, data);
  terminal_.line(Style::dim, "  " + change_summary(data));
}

// --- agents ---

void Transcript::attached(const JsonView& event, const JsonView& data) {
  std::string text = fmt::format("  agent {} ready ({}, pid {}, {} ms)", text_of(event, "agent"),
                                 text_of(data, "rung"), data.get_int64("pid").value_or(0),
                                 data.get_int64("attach_ms").value_or(0));
  if (data.get_string("reason")) text += ": " + short_text(data, "reason");
  line(Style::dim, text);
}

void Transcript::exited(const JsonView& data) {
  const bool expected = data.get_bool("expected").value_or(false);
  line(expected ? Style::dim : Style::red,
       fmt::format("  agent ended: {}", short_text(data, "status")));
}

void Transcript::failed(const JsonView& data) {
  line(Style::red,
       fmt::format("  agent failed: {} ({})", short_text(data, "message"), text_of(data, "code")));
  const std::string tail = text_of(data, "stderr_tail");
  if (!tail.empty()) line(Style::dim, tail);
}

// --- interactions ---

void Transcript::question(const JsonView& data) {
  const std::string id = text_of(data, "id");
  const std::string kind = text_of(data, "kind", "the agent");
  const bool permission = kind == "permission";
  line(Style::yellow,
       fmt::format("  ? {} asks: {}", kind,
                   short_text(data, permission ? "request.toolCall.title" : "request.message")));
  int number = 0;
  for (const JsonView& option : data.elements("request.options")) {
    const std::string name = short_text(option, "name");
    line(Style::plain, options_.numbers
                           ? fmt::format("      [{}] {}", ++number, name)
                           : fmt::format("      berth permit {} {} {}    # {}", options_.session,
                                         id, short_text(option, "optionId"), name));
  }
  if (permission) return;
  line(Style::plain,
       options_.numbers
           ? "      type a JSON object to fill it in, or :decline"
           : fmt::format("      berth permit {} {} --accept '{{...}}'    # or --decline",
                         options_.session, id));
}

void Transcript::interaction_closed(const JsonView& data) {
  const std::string option = text_of(data, "answer.option_id");
  line(Style::dim, fmt::format("  ? {}{}{} by {}", text_of(data, "state"),
                               option.empty() ? "" : ": ", option, text_of(data, "by", "nobody")));
}

// --- changes ---

std::string change_summary(const JsonView& change) {
  const std::size_t files = change.elements("files").size();
  return fmt::format("{} file{} changed, +{} -{}", files, files == 1 ? "" : "s",
                     change.get_int64("additions").value_or(0),
                     change.get_int64("deletions").value_or(0));
}

void show_files(Terminal& terminal, const JsonView& change) {
  for (const JsonView& file : change.elements("files")) {
    const std::string status = text_of(file, "status");
    std::string path = short_text(file, "path");
    const std::string old_path = short_text(file, "old_path");
    if (!old_path.empty() && old_path != path) path = old_path + " -> " + path;
    const Style style = status == "added"     ? Style::green
                        : status == "deleted" ? Style::red
                                              : Style::yellow;
    terminal.write(style, fmt::format("  {:<9}", status));
    terminal.write(fmt::format(" {}", path));
    if (file.get_bool("binary").value_or(false)) {
      terminal.line(Style::dim, "  binary");
      continue;
    }
    terminal.write(Style::green, fmt::format("  +{}", file.get_int64("additions").value_or(0)));
    terminal.line(Style::red, fmt::format(" -{}", file.get_int64("deletions").value_or(0)));
  }
}

}  // namespace berth::server
