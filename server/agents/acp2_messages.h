// server/agents/acp2_messages.h — what berth says to agents in the draft ACP v2, and their answers
// in the words of v1.
//
// Shapes: Agent Client Protocol v2 (draft), schema of @agentclientprotocol/sdk 2.4.0. What is the
// same in both versions (prompt, cancel, close, answers) is in acp_messages.h.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/agents/acp_messages.h>

#include <string>
#include <string_view>

namespace berth::server::acp2 {

inline constexpr int kProtocolVersion = 2;

/// initialize in the shapes of both versions: an agent that knows only v1 reads its own and answers
/// with 1.
std::string initialize_params();

/// From the result of initialize. Whoever speaks of sessions can resume and close them.
acp::Capabilities read_capabilities(const JsonView& initialized);
/// The login methods in v1's shape, a raw array; empty if there are none.
std::string auth_methods(const JsonView& initialized);

/// session/new and session/resume.
std::string open_params(const acp::OpenParams& open);
/// `json_value` is a string (the id of a value) or a boolean.
std::string set_config_params(std::string_view native_session_id, std::string_view id,
                              std::string_view json_value);

/// `configOptions` in v1's shape, a raw array.
std::string config_options(const JsonView& options);

/// The params of session/request_permission in v1's shape: `toolCall` and `options`.
std::string permission_params(const JsonView& params);

/// A tool call's members in v1's words, into an open object: statuses, diffs, and where it works.
/// A title that is not there is left out, as an unset one.
void write_tool_call(JsonWriter& writer, const JsonView& call);
/// One element of a tool call's content in v1's words, raw.
std::string tool_content(const JsonView& content);

}  // namespace berth::server::acp2
