// server/sessions/pool_decisions.h — which live agents end and whose start begins: pure decisions.
#pragma once

#include <berth/core/clock.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// Bounds of the agents of a server; their names are those of the configuration.
struct PoolLimits {
  /// Processes at once; 0: by the machine's memory (live_max_for).
  std::size_t agents_live_max = 0;
  std::size_t agents_per_project_max = 0;  ///< The same of one project; 0 = no such limit.
  /// Resident bytes of all agents with the tools they started; 0 = no such limit. Above it no agent
  /// starts before idle ones have ended.
  std::uint64_t agents_memory_max = 0;
  Duration agents_idle_ttl = std::chrono::minutes(30);  ///< An idle one ends after it.
  std::size_t agents_starting_max = 32;                 ///< Starts under way at once.
  std::size_t starts_waiting_max = 1024;                ///< Starts that wait for any of these.
  Duration start_wait_max = std::chrono::minutes(10);   ///< Then the turn that waits fails.
  /// An agent that ends again and again without a single answer is started ever more slowly: from
  /// the second time on, doubled each time.
  Duration crash_wait_first = std::chrono::milliseconds(500);
  Duration crash_wait_max = std::chrono::seconds(30);
};

enum class AgentPhase : std::uint8_t {
  waiting,  ///< Wants to start.
  starting,
  idle,
  busy,    ///< A turn of it runs, waits for a person or is the next one.
  ending,  ///< Was asked to end; its place is free once it is gone.
};

/// What is known of one agent.
struct PooledAgent {
  AgentPhase phase = AgentPhase::idle;
  std::string_view project;
  int process = 0;             ///< Pid; agents of one process share a place. 0: none yet.
  bool may_start = true;       ///< Starting: its place is for a process of its own; else a seat.
  std::string_view shared_by;  ///< Who may join a process that is there: its profile; else empty.
  std::size_t seats_max = 0;   ///< How many may share one process; 0: any number.
  bool pinned = false;         ///< Never ended for idling or for others.
  bool warming_up = false;     ///< Waiting: no turn needs it; it takes no place from anybody.
  bool wedged = false;         ///< It shows no life: when idle, it ends.
  TimePoint since{};           ///< Waiting or idle since then.
  TimePoint not_before{};      ///< Waiting: not to be started before.
  std::uint64_t memory_bytes = 0;  ///< Of its process and what that started.
};

enum class PoolStep : std::uint8_t { start, evict, refuse };

struct PoolAction {
  PoolStep step = PoolStep::start;
  std::size_t agent = 0;        ///< Index into what was given.
  const char* limit = nullptr;  ///< Why it is evicted or refused: a limit's name, or "wedged".
  bool joins = false;           ///< It is started in a process that is there or begins already.
};

struct PoolPlan {
  std::vector<PoolAction> actions;
  /// Waiting agents for which only others that are busy could make a place, with the limit.
  std::vector<std::pair<std::size_t, const char*>> blocked;
  std::optional<TimePoint> again;  ///< Time alone changes the plan then.
};

/// Places are counted, never guessed: one for each process, and one for each start that may make
/// one. Waiting agents are served in the given order. The least recently used idle ones make place;
/// busy and pinned ones never do. A start for which one was evicted follows when that one is gone.
PoolPlan plan_pool(const std::vector<PooledAgent>& agents, TimePoint now, const PoolLimits& limits);

/// The limit for which one more start would have to wait for somebody who is busy; null: none.
const char* limit_in_the_way(std::vector<PooledAgent> agents, const PooledAgent& candidate,
                             TimePoint now, const PoolLimits& limits);

/// How long the next start waits after so many ends in a row without an answer.
Duration crash_wait(int crashes, const PoolLimits& limits);

/// The default of agents_live_max: one for each 32 MiB of the machine's memory, at least 256
/// (agents of the size of the real ones are bounded by agents_memory_max). `meminfo`:
/// /proc/meminfo, or nothing.
std::size_t live_max_for(std::string_view meminfo);

}  // namespace berth::server
