// server/cli/serve_config.h — the configuration of `berth serve`, and where each value comes from.
#pragma once

#include <berth/io/platform.h>
#include <berth/server/cli/serve_command.h>
#include <berth/server/config.h>

#include <vector>

namespace berth::server {

/// Defaults, the file (`--config`, else $BERTH_CONFIG), the environment, flags: the later wins.
/// `values` may be null. The state folder need not be there.
Result<Config> read_serve_config(io::Files& files, const io::Environment& environment,
                                 const ServeOptions& options, std::vector<ConfigValue>* values);

/// Makes the state folder and its path canonical; what the scripted agent keeps goes there.
Result<void> settle_state(io::Files& files, Config& config);

}  // namespace berth::server
