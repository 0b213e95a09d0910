// server/agents/trace_meta.h — the trace that a prompt belongs to, for agents that are told it
// otherwise than in a `_meta`.
#pragma once

#include <string>
#include <string_view>

namespace berth::server {

/// W3C Trace Context as its two headers say it; empty without.
struct TraceMeta {
  std::string parent;
  std::string state;
};

/// Out of the `meta` of AgentPort::prompt.
TraceMeta trace_in(std::string_view meta);

}  // namespace berth::server
