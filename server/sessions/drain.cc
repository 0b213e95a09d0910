#include <berth/server/sessions/drain.h>

#include <berth/io/awaitables.h>
#include <berth/server/sessions/directory.h>

#include <algorithm>

namespace berth::server {

namespace {

constexpr Duration kLook = std::chrono::milliseconds(20);
constexpr Duration kReadersWait = std::chrono::seconds(1);

DrainFacts look_at(const SessionContext& context, Directory& directory) {
  DrainFacts facts;
  directory.for_each_loaded([&](Session& session) {
    facts.turns += session.works() ? 1 : 0;
    // A store that refuses is not waited for: what it does not take is known from its last state.
    const bool in_log = session.visible_seq() == session.last_seq() || context.journal.failing();
    facts.unsettled += in_log && session.changes().settled().is_set() ? 0 : 1;
    facts.behind += session.readers_have_all() ? 0 : 1;
  });
  return facts;
}

}  // namespace

DrainStep next_drain_step(const DrainFacts& facts, TimePoint now, TimePoint asked, TimePoint quiet,
                          Duration deadline) {
  const bool over = facts.forced || now - asked >= deadline;
  if (facts.turns > 0) return over ? DrainStep::park : DrainStep::wait;
  if (facts.forced || now - asked >= deadline + kReadersWait) return DrainStep::done;
  if (facts.unsettled > 0) return DrainStep::wait;
  return facts.behind > 0 && now - quiet < kReadersWait ? DrainStep::wait : DrainStep::done;
}

Task<DrainReport> drain(SessionContext* context, Directory* directory, Duration deadline,
                        StopToken force) {
  context->draining = true;
  io::Reactor& reactor = context->reactor();
  const TimePoint asked = reactor.clock().now();
  TimePoint quiet = asked;
  DrainReport report;
  report.finished = look_at(*context, *directory).turns;
  for (;;) {
    DrainFacts facts = look_at(*context, *directory);
    facts.forced = force.stop_requested();
    const TimePoint now = reactor.clock().now();
    if (facts.turns > 0) quiet = now;
    switch (next_drain_step(facts, now, asked, quiet, deadline)) {
      case DrainStep::done:
        report.finished -= std::min(report.finished, report.parked);
        co_return report;
      case DrainStep::park:
        report.parked += facts.turns;
        directory->for_each_loaded([&](Session& session) {
          session.park(facts.forced ? "the server was told to end at once"
                                    : "the server ended: drain_deadline was over");
        });
        break;
      case DrainStep::wait:
        co_await io::Sleep(reactor, now + kLook, force);
        break;
    }
  }
}

}  // namespace berth::server
