// server/agents/acp_errors.h — how the errors of ACP agents are read: what each calls for.
#pragma once

#include <berth/core/error.h>
#include <berth/server/agents/profile.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::server::acp {

/// What a failed session/new, session/resume or session/load calls for.
enum class Failure : std::uint8_t {
  unknown_session,  ///< The agent does not know it: the next rung.
  method_missing,   ///< Advertised, yet -32601: the next rung.
  needs_login,      ///< -32000: nothing but a login helps.
  transient,        ///< It may pass: the same again, after a while.
  bad_params,       ///< -32602: the same again without what is optional.
  other,            ///< A person must look.
};

/// `error` is the raw JSON-RPC error object; the shapes of `profile` count first.
Failure classify(std::string_view error, const AgentProfile& profile);

/// True for -32000, which any call may be answered.
bool is_login_error(std::string_view error);

/// What a person must do so that the agent of `profile` works: `auth_methods` is the array of its
/// initialize result (raw JSON or empty). Ways that are commands are spelled out; berth runs none.
std::string login_instructions(const AgentProfile& profile, std::string_view auth_methods);

}  // namespace berth::server::acp
