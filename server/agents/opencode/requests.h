// server/agents/opencode/requests.h — bodies of requests to opencode.
#pragma once

#include <berth/core/json_doc.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::server::opencode {

/// What a prompt runs with; empty parts are left to opencode.
struct PromptChoice {
  std::string agent;     ///< Mode.
  std::string provider;  ///< With `model`.
  std::string model;
  std::string variant;  ///< Effort.
};

/// Body of prompt_async: `blocks` is a JSON array of ACP content blocks.
std::string prompt_body(std::string_view message_id, const PromptChoice& choice, JsonView blocks);

/// Body of POST /session: `directories` outside of its own that it may use without asking.
std::string session_body(const std::vector<std::string>& directories);

/// Body of a permission's reply: an option id of ours ("once", "always", "reject"); everything else
/// is a refusal.
std::string permission_reply(std::string_view option_id);

/// Body of POST /mcp for one of ACP's MCP servers.
std::string mcp_body(JsonView server);

}  // namespace berth::server::opencode
