// server/agents/acp_messages.h — what berth says to agents in ACP v1, and what they say they can.
//
// Shapes: Agent Client Protocol v1, schema of @agentclientprotocol/sdk 2.4.0.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/server/agents/agent_port.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server::acp {

inline constexpr int kProtocolVersion = 1;

/// initialize: neither fs nor terminal is offered, agents use tools of their own. Terminal logins
/// are asked for so that a person can be told of them; berth runs none.
std::string initialize_params();
/// What berth offers of itself, as an object.
std::string_view client_capabilities();

/// What an agent said that it can do; absent is no.
struct Capabilities {
  bool load = false;
  bool resume = false;
  bool close = false;
  bool additional_directories = false;
  bool mcp_http = false;
  bool mcp_sse = false;
  bool image = false;
  bool audio = false;
  bool embedded_context = false;
  bool steering = false;  ///< `_session/steering`, as claude-agent-acp and codex-acp have it.
};
/// From the result of initialize (an object).
Capabilities read_capabilities(const JsonView& initialized);

/// What a session is opened with. `native_session_id` is empty for session/new.
struct OpenParams {
  std::string native_session_id;
  std::string directory;
  std::string mcp_servers;  ///< Raw JSON array, empty = none.
  std::vector<std::string> additional_directories;
};
/// session/new, session/resume and session/load.
std::string open_params(const OpenParams& open);

/// Takes out what this agent cannot be given; says of each what and why in `left_out`.
void keep_to_capabilities(OpenParams& open, const Capabilities& capabilities,
                          std::vector<std::string>& left_out);
/// Takes out what is optional, the last first; false when nothing is left to take out. Says in
/// `left_out` what it was and that the agent refused it (`why`).
bool drop_optional(OpenParams& open, std::string_view why, std::vector<std::string>& left_out);

/// `blocks` in kinds of content that the agent takes: others are told as text.
std::string blocks_for(std::string_view blocks, const Capabilities& capabilities);

/// session/prompt; `blocks` is a JSON array of content blocks.
/// `meta` as in AgentPort::prompt().
std::string prompt_params(std::string_view native_session_id, std::string_view blocks,
                          std::string_view meta);
/// session/cancel and session/close.
std::string session_params(std::string_view native_session_id);
std::string set_mode_params(std::string_view native_session_id, std::string_view mode);
/// session/set_config_option; `json_value` is a string or a boolean.
std::string set_config_params(std::string_view native_session_id, std::string_view id,
                              std::string_view json_value);
/// `_session/steering`: into the running turn, or the answer says that there is none.
std::string steering_params(std::string_view native_session_id, std::string_view blocks);
/// The result of session/request_permission: the option, or `cancelled`.
std::string permission_result(const AgentAnswer& answer);
/// The result of elicitation/create.
std::string elicitation_result(const AgentAnswer& answer);
/// One text block in an array.
std::string text_blocks(std::string_view text);

}  // namespace berth::server::acp
