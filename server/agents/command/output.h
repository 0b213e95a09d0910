// server/agents/command/output.h — what command-line agents print, in the words of ACP: a pure
// function of the lines.
//
// The dialect: one JSON object a line, told apart by `type`:
//   text | thought {"text"}               what the agent says, thinks
//   tool_call {"id","name","input"?}      a tool begins
//   tool_result {"id","output"?,"is_error"?}
//   usage {"input_tokens","output_tokens","cost"?}   added up over the turn
//   custom {"custom_type","data"}         agent_start, agent_complete, agent_error: the turn's ends
// and ACP's own updates as they are ({"sessionUpdate": ...}). Everything else is kept as a foreign
// message. Source of the `custom` lines: agentd's documentation of its agents' output.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace berth::server {

/// How a turn ended by the agent's own words.
struct CommandTurnEnd {
  std::string stop_reason;  ///< In ACP's words; empty on an error.
  std::string error;        ///< The agent's `data` of agent_error, raw JSON.
  std::string usage;        ///< As PromptEnd::usage, or empty.
};

/// What one line says: at most one of the three.
struct CommandLine {
  std::string update;  ///< An ACP update, JSON; empty when the line is none.
  std::string kind;    ///< Its `sessionUpdate`.
  std::string tool_call_id;
  std::optional<CommandTurnEnd> ended;
  std::string foreign_type;  ///< A JSON object that is none of ours: its `type`, or "line".
};

/// Reads the lines of one agent in order. Warm and one-shot agents share it, so that the same
/// output gives the same events.
class CommandOutput {
 public:
  /// Nothing when `line` is not a JSON object.
  std::optional<CommandLine> read(std::string_view line);
  /// A new prompt was sent: sums begin anew.
  void begin_turn();
  /// The sums of the turn as PromptEnd::usage; empty when the agent told none.
  std::string usage() const;

 private:
  bool said_something_ = false;
  bool counted_ = false;
  std::int64_t input_tokens_ = 0;
  std::int64_t output_tokens_ = 0;
  double cost_ = 0;
};

/// The words of a prompt's content blocks, for agents that take plain text: text as it is, links
/// and embedded texts by name. Nothing when a block has no words (an image).
std::optional<std::string> prompt_text(std::string_view blocks);

}  // namespace berth::server
