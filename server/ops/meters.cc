#include <berth/server/ops/meters.h>

#include <berth/io/awaitables.h>

namespace berth::server {

namespace {
constexpr Duration kLookEvery = std::chrono::seconds(1);
}  // namespace

void CommitMeter::on_commit(const CommitTimes& times) {
  context_.metrics.commit.add(times.ended - times.began);
  if (times.events > 0) context_.metrics.shown.add(times.ended - times.first_event);
  Tracer* const tracer = context_.tracer;
  if (tracer == nullptr || !tracer->sample_commit()) return;
  Span span;
  span.trace = begin_trace(tracer->random(), true);  // a batch is of many turns, so of no trace
  span.name = "commit";
  span.began_ns = tracer->unix_ns(times.began);
  span.ended_ns = tracer->unix_ns(times.ended);
  span.attributes = {{"berth.events", std::to_string(times.events)},
                     {"berth.bytes", std::to_string(times.bytes)}};
  tracer->add(std::move(span));
}

Task<void> watch_loop_lag(SessionContext* context, StopToken stop) {
  io::Reactor& reactor = context->reactor();
  TimePoint due = reactor.clock().now() + kLookEvery;
  while (co_await io::Sleep(reactor, due, stop)) {
    const TimePoint now = reactor.clock().now();
    context->metrics.loop_lag.add(now - due);
    due = now + kLookEvery;
  }
}

}  // namespace berth::server
