// server/sessions/interactions.h — what to do with a permission request: pure decisions over the
// agent's options.
#pragma once

#include <berth/core/result.h>

#include <optional>
#include <string>
#include <string_view>

namespace berth::server {

/// The option that a policy chooses ("allow": allow_once, else allow_always; "reject": reject_once,
/// else reject_always); empty when the policy asks a person, or the agent offers no such option.
std::string choose_by_policy(std::string_view policy, std::string_view request);

/// The id of the option that a person named by id or kind. Error `invalid` ("unknown_option").
Result<std::string> choose_option(std::string_view request, std::string_view option_id,
                                  std::string_view kind);

}  // namespace berth::server
