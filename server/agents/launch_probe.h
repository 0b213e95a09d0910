// server/agents/launch_probe.h — tries what agents can be kept from on this machine.
#pragma once

#include <berth/core/task.h>
#include <berth/io/platform.h>
#include <berth/server/agents/launch.h>

namespace berth::server {

/// Asks the kernel for Landlock, and runs a program in a sandbox as agents are run: without that
/// nobody knows whether user namespaces, mounts and the helper programs work together here. Both
/// outlive it; leaves nothing behind.
Task<LaunchSupport> probe_launches(io::Platform* platform, const LaunchPolicy* policy);

}  // namespace berth::server
