// server/sessions/spans.h — turns, tool calls and starts of agents in traces.
#pragma once

#include <berth/core/trace.h>
#include <berth/server/sessions/context.h>
#include <berth/server/sessions/tool_calls.h>

#include <string>
#include <string_view>

namespace berth::server {

/// A trace that begins here: sampled as the tracer says. Without a tracer it says "sampled", which
/// is no claim of ours: agents that collect by the flag of their parent shall go on to do so.
TraceContext begin_trace_here(const SessionContext& context, Random& random);

/// Makes the turn a child of `asker`, or the root of a trace when that is empty.
void put_trace(SessionContext& context, const TraceContext& asker, TurnRow& turn);

/// The turn has ended: counts how long it took, tells the tracer, and the log if it went wrong.
void on_turn_over(SessionContext& context, const SessionRow& session, const TurnRow& turn);

/// A tool call of `turn` has its result, or the turn ends without one. What it was about stays the
/// session's: the span has its kind and id.
void on_tool_call_over(SessionContext& context, const SessionRow& session, const TurnRow& turn,
                       const ToolCall& call);

/// The start of an agent for `turn` (null: for no turn) is over; `error` empty: it takes prompts.
struct AgentStart {
  std::string_view agent;
  std::string_view rung;
  TimePoint began;
  std::string_view error;
};
void on_start_over(SessionContext& context, const SessionRow& session, const TurnRow* turn,
                   const AgentStart& start);

}  // namespace berth::server
