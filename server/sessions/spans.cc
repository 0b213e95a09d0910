#include <berth/server/sessions/spans.h>

#include <berth/server/sessions/rows_json.h>

#include <fmt/format.h>

#include <algorithm>

namespace berth::server {

namespace {
constexpr std::size_t kAgentsWordMax = 128;
}

TraceContext begin_trace_here(const SessionContext& context, Random& random) {
  const bool sampled = context.tracer == nullptr || context.tracer->sample();
  return begin_trace(random, sampled);
}

void put_trace(SessionContext& context, const TraceContext& asker, TurnRow& turn) {
  Random& random = context.platform.random();
  const TraceContext trace =
      asker.empty() ? begin_trace_here(context, random) : next_span(asker, random);
  turn.traceparent = to_traceparent(trace);
  turn.tracestate = trace.state;
  turn.trace_parent = asker.span_id;
}

void on_turn_over(SessionContext& context, const SessionRow& session, const TurnRow& turn) {
  const auto took = std::chrono::milliseconds(turn.ended_ms - turn.created_ms);
  context.metrics.turn.add(std::max(took, std::chrono::milliseconds(0)));
  const bool wrong = turn.state == TurnState::failed || turn.state == TurnState::interrupted;
  if (wrong) {
    // The reason may be the agent's own words, which belong to the session alone.
    context.log.write(LogLevel::warning, "session",
                      fmt::format("turn {} of {} by {} ended {}", turn.id, session.id, turn.agent,
                                  to_string(turn.state)),
                      trace_id_of(turn.traceparent));
  }
  if (context.tracer == nullptr) return;
  const auto trace = parse_trace(turn.traceparent, turn.tracestate);
  if (!trace) return;
  constexpr std::int64_t kNanosPerMilli = 1'000'000;
  Span span;
  span.trace = *trace;
  span.parent = turn.trace_parent;
  span.name = "turn";
  span.began_ns = turn.created_ms * kNanosPerMilli;
  span.ended_ns = turn.ended_ms * kNanosPerMilli;
  span.attributes = {{"berth.session", session.id},
                     {"berth.project", session.project},
                     {"berth.turn", turn.id},
                     {"berth.agent", turn.agent},
                     {"berth.state", std::string(to_string(turn.state))}};
  if (wrong) span.error = to_string(turn.state);
  context.tracer->add(std::move(span));
}

void on_tool_call_over(SessionContext& context, const SessionRow& session, const TurnRow& turn,
                       const ToolCall& call) {
  if (context.tracer == nullptr) return;
  const auto parent = parse_trace(turn.traceparent, turn.tracestate);
  if (!parent || !parent->sampled()) return;
  // Agents choose these words, and a span waits in memory.
  const auto bounded = [](const std::string& text) {
    return text.size() <= kAgentsWordMax ? text : std::string();
  };
  Span span;
  span.trace = next_span(*parent, context.platform.random());
  span.parent = parent->span_id;
  span.name = "tool call";
  span.began_ns = context.tracer->unix_ns(call.began);
  span.ended_ns = context.tracer->unix_ns(context.reactor().clock().now());
  span.attributes = {{"gen_ai.operation.name", "execute_tool"},
                     {"gen_ai.tool.call.id", bounded(call.id)},
                     {"berth.tool_kind", bounded(call.kind)},
                     {"berth.session", session.id},
                     {"berth.project", session.project},
                     {"berth.turn", turn.id},
                     {"berth.agent", turn.agent}};
  if (!call.has_result) span.error = "no result";
  if (call.status == "failed") span.error = call.status;
  context.tracer->add(std::move(span));
}

void on_start_over(SessionContext& context, const SessionRow& session, const TurnRow* turn,
                   const AgentStart& start) {
  const TimePoint now = context.reactor().clock().now();
  if (start.error.empty()) context.metrics.agent_start.add(now - start.began);
  if (context.tracer == nullptr) return;
  const auto parent = turn == nullptr ? std::nullopt : parse_trace(turn->traceparent, {});
  Span span;
  Random& random = context.platform.random();
  span.trace = parent ? next_span(*parent, random) : begin_trace_here(context, random);
  if (parent) span.parent = parent->span_id;
  span.name = "agent start";
  span.began_ns = context.tracer->unix_ns(start.began);
  span.ended_ns = context.tracer->unix_ns(now);
  span.attributes = {{"berth.session", session.id},
                     {"berth.project", session.project},
                     {"berth.agent", std::string(start.agent)},
                     {"berth.rung", std::string(start.rung)}};
  span.error = start.error;
  context.tracer->add(std::move(span));
}

}  // namespace berth::server
