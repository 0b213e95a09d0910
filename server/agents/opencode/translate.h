// server/agents/opencode/translate.h — opencode's parts, todos and questions in ACP's shapes.
#pragma once

#include <berth/core/json_doc.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::server::opencode {

// All of these are pure. Shapes as `opencode acp` 1.18.33 itself sends them, so that a session
// looks the same whichever driver runs it.

/// `agent_message_chunk` or (a part of type reasoning) `agent_thought_chunk`. `replaces`: the text
/// stands for all that was sent with this messageId before.
std::string text_chunk(bool thought, std::string_view message_id, std::string_view text,
                       bool replaces = false);

/// `tool_call` of a part of type tool, in status pending.
std::string tool_call(JsonView part);
/// `tool_call_update` with what is known of it now. Content is the whole output so far.
std::string tool_call_update(JsonView part);
/// ACP's kind of an opencode tool: edit, read, search, execute, fetch, think, other.
std::string_view tool_kind(std::string_view tool);

/// `plan` of an array of opencode's todos.
std::string plan(JsonView todos);

/// `session_info_update`.
std::string session_title(std::string_view title);

/// Params of ACP's `session/request_permission` for a `permission.asked`.
std::string permission_params(std::string_view session_id, JsonView asked);
/// Params of ACP's `elicitation/create` for a `question.asked`: one property a question.
std::string question_params(std::string_view session_id, JsonView asked);
/// The `answers` of opencode's question reply (an array of arrays of labels) for the content that
/// came back; `asked` are the properties of the event.
std::string question_answers(JsonView asked, JsonView content);

/// Tokens and cost of one turn or session, summed over steps.
struct Usage {
  std::int64_t input = 0;
  std::int64_t output = 0;
  std::int64_t thought = 0;
  std::int64_t cache_read = 0;
  std::int64_t cache_write = 0;
  double cost = 0;

  void add(const Usage& other);
  std::int64_t total() const { return input + output + thought + cache_read + cache_write; }
  bool operator==(const Usage&) const = default;
};
/// Of a part of type step-finish.
Usage step_usage(JsonView part);
/// ACP's `usage` object of a turn, with its `cost`.
std::string turn_usage(const Usage& usage);
/// `usage_update`: `used` tokens are in a context of `size` (0: not known); `cost` is the session's
/// so far.
std::string usage_update(std::int64_t used, std::int64_t size, double cost);

/// How a turn ended, in ACP's words, from the `finish` of its last message; never empty.
std::string_view stop_reason(std::string_view finish);

/// A number that JsonView has no getter for; 0 when it is none.
double number_of(JsonView value);

}  // namespace berth::server::opencode
