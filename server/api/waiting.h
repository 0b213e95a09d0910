// server/api/waiting.h — answers that wait until the log says what the client wants to know.
#pragma once

#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/http_server.h>
#include <berth/io/reactor.h>
#include <berth/server/sessions/session.h>

#include <functional>

namespace berth::server {

/// `Prefer: wait=N` (RFC 7240) in seconds, at most 600; 0 without.
Duration wait_of(const io::HttpRequest& request);

/// Ends when `holds` says so of the session, as its log shows it, when `time` is over, or when the
/// client has `gone`. `session` is kept in memory by the caller.
Task<void> wait_until(io::Reactor& reactor, Session* session,
                      std::function<bool(const Session&)> holds, Duration time, StopToken gone);

}  // namespace berth::server
