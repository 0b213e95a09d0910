// server/agents/launch.h — how the program of a profile is started, whatever speaks with it.
#pragma once

#include <berth/io/platform.h>
#include <berth/server/agents/profile.h>

#include <string>

namespace berth::server {

/// Command, arguments, environment (the allow-listed part of berth's `own`, then the profile's) and
/// working directory; `directory` is for profiles that name none.
io::LaunchSpec launch_of(const AgentProfile& profile, const io::Environment& own,
                         std::string directory, std::string tag);

}  // namespace berth::server
