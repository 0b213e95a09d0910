// server/agents/probe.h — starts an agent only to ask what it can do.
#pragma once

#include <berth/core/result.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/platform.h>
#include <berth/server/agents/launch.h>

#include <string>

namespace berth::server {

struct ProbeResult {
  std::string report;  ///< The JSON object of `POST /v1/agents/{profile}/probe`.
  Error error;         ///< Its message is empty on success.
  std::string stderr_tail;
};

/// Spawns it in `directory`, as for a session of it, runs `initialize`, ends it and waits until it
/// is gone; `gone` ends it at once. Errors: `unsupported` ("probe_unsupported") for what does not
/// speak ACP.
Task<ProbeResult> probe_agent_profile(io::Platform& platform, const LaunchPolicy& launches,
                                      const AgentProfile& profile, std::string directory,
                                      StopToken gone);

}  // namespace berth::server
