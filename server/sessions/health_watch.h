// server/sessions/health_watch.h — looks at the processes of agents now and then, and tells them.
#pragma once

#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/server/sessions/context.h>

namespace berth::server {

/// Until `stop`. Looks at those only of whom there is a doubt, or whose memory has a bound; off the
/// loop.
Task<void> watch_health(SessionContext* context, StopToken stop);

}  // namespace berth::server
