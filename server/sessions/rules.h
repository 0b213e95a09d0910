// server/sessions/rules.h — what a session's policy says of a permission request: pure decisions
// over the tool call and the rules.
#pragma once

#include <berth/core/result.h>
#include <berth/server/sessions/tool_calls.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

enum class PolicyAction : std::uint8_t { ask, allow, reject };
std::string_view to_string(PolicyAction action);

/// One rule of a session; an empty condition is always true.
struct PermissionRule {
  std::string kind;  ///< ACP's ToolKind: read, edit, delete, move, search, execute, fetch, ...
  std::string path;  ///< Glob: `*` within a folder, `**` across, `?`; relative = of the workspace.
  std::string command;  ///< Wildcards over the command line of a shell tool.
  PolicyAction action = PolicyAction::ask;
};

/// Reads a JSON array of {"kind","path","command","action"}. Empty text is no rules. Error
/// `invalid` ("bad_field") naming the rule.
Result<std::vector<PermissionRule>> parse_rules(std::string_view json);

struct Verdict {
  PolicyAction action = PolicyAction::ask;
  int rule = 0;  ///< Which rule decided, counted from 1; 0 = the session's policy.
};

/// The last rule that matches decides, else `policy` ("ask", "allow", "reject"; anything else
/// asks).
///
/// When in doubt it does not allow: an allowing rule needs the kind, every path and the command to
/// be known and to match, and its wildcards never match what chains shell commands. A rule that
/// asks or rejects and cannot be checked (the agent tells no path or command) turns an allowance
/// into asking.
Verdict judge(std::string_view policy, const std::vector<PermissionRule>& rules,
              const ToolCall& call, std::string_view workspace);

/// For tests and the rules above. `text` longer than 4096 bytes never matches.
bool path_matches(std::string_view pattern, std::string_view path, std::string_view workspace);
bool command_matches(std::string_view pattern, std::string_view command, bool cautious);

}  // namespace berth::server
