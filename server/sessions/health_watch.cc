#include <berth/server/sessions/health_watch.h>

#include <berth/io/awaitables.h>

#include <map>
#include <utility>
#include <vector>

namespace berth::server {

namespace {

using Found =
    std::map<int, std::pair<std::uint64_t, io::VitalSigns>>;  // by pid, with its start time

/// Nothing when the lane is full: the next look comes soon enough.
Task<Found> look_at_all(SessionContext* context, std::vector<Look> looks) {
  io::Platform* platform = &context->platform;
  Result<Found> found = co_await platform->offload().run(
      io::Lane::files, platform->reactor(), [platform, looks = std::move(looks)]() {
        Found signs_of;
        for (const Look& look : looks) {
          const Result<io::VitalSigns> signs =
              platform->process_table().look(look.process, look.whole_tree);
          if (signs) signs_of[look.process.pid] = {look.process.start_time, *signs};
        }
        return Result<Found>(std::move(signs_of));
      });
  co_return found.has_value() ? std::move(*found) : Found();
}

}  // namespace

Task<void> watch_health(SessionContext* context, StopToken stop) {
  io::Reactor& reactor = context->reactor();
  const Duration interval = look_interval(context->limits.stall_after);
  while (co_await io::Sleep(reactor, reactor.clock().now() + interval, stop)) {
    std::vector<Look> looks;
    context->pool.for_each_member([&looks](PoolMember& member) {
      if (const std::optional<Look> look = member.wanted_look()) looks.push_back(*look);
    });
    if (looks.empty()) continue;
    const Found found = co_await look_at_all(context, std::move(looks));
    context->pool.for_each_member([&found](PoolMember& member) {
      // It may have another process by now.
      const std::optional<Look> look = member.wanted_look();
      const auto at = look ? found.find(look->process.pid) : found.end();
      if (at != found.end() && at->second.first == look->process.start_time) {
        member.on_look(at->second.second);
      }
    });
    if (context->pool.limits().agents_memory_max > 0) context->pool.reconsider();
  }
}

}  // namespace berth::server
