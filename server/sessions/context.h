// server/sessions/context.h — what the sessions of a shard share, and the limits that bound them.
#pragma once

#include <berth/core/log.h>
#include <berth/core/task.h>
#include <berth/io/platform.h>
#include <berth/server/agents/drivers.h>
#include <berth/server/ops/metrics.h>
#include <berth/server/ops/store_check.h>
#include <berth/server/ops/tracer.h>
#include <berth/server/sessions/feed.h>
#include <berth/server/sessions/journal.h>
#include <berth/server/sessions/ladder.h>
#include <berth/server/sessions/log_retention.h>
#include <berth/server/sessions/mcp_servers.h>
#include <berth/server/sessions/pool.h>
#include <berth/server/sessions/workspaces.h>
#include <berth/server/store/store.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace berth::server {

struct SessionLimits {
  std::size_t queue_max = 64;  ///< Turns waiting in one session; above it `overloaded`.
  Duration queue_time_max{};   ///< A turn that waits longer ends `expired`, unsent; 0 = no end.
  std::size_t prompt_bytes_max = 16u << 20;  ///< Content blocks of one prompt.
  Duration snapshot_wait_max =
      std::chrono::seconds(15);  ///< What a next turn waits for the snapshot.
  Duration heartbeat = std::chrono::seconds(15);
  Duration reader_stall_max = std::chrono::seconds(30);  ///< A stream without progress is closed.
  std::size_t reader_burst_bytes = 128u << 10;           ///< One write of a stream, about.
  std::size_t page_bytes = 64u << 10;                    ///< Read from the store at once.
  std::size_t stream_sessions_max = 128;  ///< Sessions that one multiplexed stream follows.
  /// A watch stream tells at most so often what changed, and then only what is so in the end.
  Duration watch_interval = std::chrono::milliseconds(200);
  std::size_t client_state_bytes_max = 16u << 10;  ///< Of a session's JSON for its clients.
  std::size_t continuation_bytes_max = 64u << 10;
  /// A question that nobody answered by then is expired, which is never a permission.
  Duration question_expiry = std::chrono::hours(24 * 7);
  Duration rest_after = std::chrono::minutes(5);  ///< Unused, an open session leaves the memory.
  /// Without a sign of life for so long an agent counts as stalled.
  Duration stall_after = std::chrono::minutes(5);
  /// An idle agent that can answer pings gets one so often, and has so long for it; 0 = none.
  Duration ping_every = std::chrono::minutes(1);
  Duration ping_max = std::chrono::seconds(30);
  RetryLimits retries;  ///< Of starts that failed in a way that may pass.
  LogLimits log;
};

/// Why nothing new begins, and what waits ends.
inline Error draining() {
  return make_error(ErrorKind::unavailable, "draining", "the server is shutting down");
}

/// References to one shard's parts; outlives its sessions.
struct SessionContext {
  io::Platform& platform;
  Store& store;
  Journal& journal;
  Workspaces& workspaces;
  AgentFactory& agents;
  Pool& pool;
  LogSink& log;
  SessionLimits limits;
  std::string state_directory;  ///< Absolute.
  SecretNames secrets = {};     ///< That sessions may refer to.
  /// The server is about to end: what runs may come to its end, nothing new begins.
  bool draining = false;
  Feed feed = {};  ///< Which sessions changed, in the order in which they did.
  /// How agents are started; null where nobody wants to know (tests).
  const LaunchPolicy* launches = nullptr;
  /// Since the start, by ending: completed, refused, ... as in TurnState.
  std::array<std::uint64_t, 6> turns_ended = {};
  Metrics metrics = {};
  Tracer* tracer = nullptr;  ///< Null: nobody collects spans.
  LogCutStats log_cuts = {};
  StoreHealth store_health = {};

  io::Reactor& reactor() const { return platform.reactor(); }
  /// Why sessions, prompts and tokens are not taken in now, if they are not.
  Result<void> takes_work() const {
    if (store_health.refuses()) {
      return fail(ErrorKind::unavailable, "store_corrupt",
                  "the store is damaged: nothing is taken in until it was restored");
    }
    if (journal.failing()) return fail(journal.refusal());
    return {};
  }
  void count_ending(TurnState state) {
    ++turns_ended.at(static_cast<std::size_t>(state) -
                     static_cast<std::size_t>(TurnState::completed));
  }
  std::int64_t now_ms() const { return platform.reactor().clock().wall().count(); }

  /// The profile of that name, if sessions of `project` may use it; else null.
  const AgentProfile* find_profile(std::string_view name, std::string_view project) const {
    const AgentProfile* profile = agents.find(name);
    const bool own = profile == nullptr || profile->project.empty() || profile->project == project;
    return own ? profile : nullptr;
  }

  /// `co_await context.read([](Store& store) { return store.find_turn(...); })`: a query on the
  /// store's lane.
  template <typename Fn>
  auto read(Fn query) const {
    return platform.offload().run(
        io::Lane::store, platform.reactor(),
        [&store_ref = store, query]() mutable { return query(store_ref); });
  }
};

}  // namespace berth::server
