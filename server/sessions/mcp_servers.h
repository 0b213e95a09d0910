// server/sessions/mcp_servers.h — the MCP servers of a session, with secrets by their names: pure.
//
// Where ACP wants the value of an environment variable or of a header, a client may give
// {"secret":"NAME"} in place of the text. Only names that the configuration lists can be referred
// to; the value goes to the agent at each attach and into no file.
#pragma once

#include <berth/core/result.h>
#include <berth/io/platform.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// Names for clients, and the variable of berth's own environment that holds each.
using SecretNames = std::map<std::string, std::string, std::less<>>;

/// Errors: `invalid` ("bad_field") naming the place.
Result<void> check_mcp_servers(std::string_view json, const SecretNames& secrets);

struct McpServers {
  std::string json;                   ///< As ACP's session/new takes them; empty = none.
  std::vector<std::string> left_out;  ///< Servers whose secret is not to be had, and why.
};
McpServers resolve_mcp_servers(std::string_view json, const SecretNames& secrets,
                               const io::Environment& environment);

}  // namespace berth::server
