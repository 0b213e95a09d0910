// server/agents/built_in.h — the profiles that need no configuration: one table, data only.
#pragma once

#include <berth/server/agents/profile.h>

#include <string>

namespace berth::server {

/// The known agents by name; `scripted` runs `scripted_agent` (a path). A configured table of the
/// same name changes what it names; any other name starts from a profile without peculiarities.
AgentProfiles built_in_agents(const std::string& scripted_agent);

}  // namespace berth::server
