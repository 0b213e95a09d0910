// server/agents/acp_messages.h — the params of ACP v1 calls that berth makes, and how its errors
// are read.
//
// Shapes: Agent Client Protocol v1, schema of @agentclientprotocol/sdk 2.4.0.
#pragma once

#include <berth/server/agents/profile.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::server::acp {

inline constexpr int kProtocolVersion = 1;

/// initialize: neither fs nor terminal is offered, agents use tools of their own.
std::string initialize_params();
/// session/new.
std::string new_session_params(std::string_view directory);
/// session/resume and session/load.
std::string restore_params(std::string_view native_session_id, std::string_view directory);
/// session/prompt; `blocks` is a JSON array of content blocks.
std::string prompt_params(std::string_view native_session_id, std::string_view blocks);
/// session/cancel and session/close.
std::string session_params(std::string_view native_session_id);
std::string set_mode_params(std::string_view native_session_id, std::string_view mode);
/// session/set_config_option; `json_value` is a string or a boolean.
std::string set_config_params(std::string_view native_session_id, std::string_view id,
                              std::string_view json_value);
/// The result of session/request_permission: the option, or `cancelled` when empty.
std::string permission_result(std::string_view option_id);
/// One text block in an array.
std::string text_blocks(std::string_view text);

/// What a failed session/resume or session/load calls for.
enum class RestoreFailure : std::uint8_t {
  unknown_session,  ///< The agent does not know it: the next rung.
  method_missing,   ///< Advertised, yet -32601: the next rung.
  needs_login,      ///< -32000: nothing but a login helps.
  other,            ///< A person must look.
};
/// `error` is the raw JSON-RPC error object.
RestoreFailure classify_restore_error(std::string_view error,
                                      const std::vector<ErrorShape>& shapes);

}  // namespace berth::server::acp
