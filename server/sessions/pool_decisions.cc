#include <berth/server/sessions/pool_decisions.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

namespace berth::server {

namespace {

constexpr std::size_t kLiveMaxLeast = 256;
constexpr std::uint64_t kKibPerAgent = 32 * 1024;

/// One process, or one that is being started.
struct Place {
  std::vector<std::size_t> agents;
  bool evictable = true;
  bool ending = true;
  TimePoint last_used{};
  std::uint64_t memory_bytes = 0;
  std::string_view project;
  std::string_view shared_by;
  std::size_t seats_max = 0;
  std::size_t seats = 0;  // also of those that leave
  int process = 0;

  /// Whoever shares by that name may start in it.
  bool takes(std::string_view sharing) const {
    return !sharing.empty() && shared_by == sharing && (seats_max == 0 || seats < seats_max);
  }
};

class Planner {
 public:
  Planner(const std::vector<PooledAgent>& agents, TimePoint now, const PoolLimits& limits)
      : agents_(agents), now_(now), limits_(limits) {
    for (std::size_t i = 0; i < agents.size(); ++i) {
      if (agents[i].phase == AgentPhase::starting) ++starting_;
    }
    // Who waits for a seat finds it only when all processes are known, those to come included.
    for (const Share share : {Share::process, Share::place, Share::seat}) {
      for (std::size_t i = 0; i < agents.size(); ++i) {
        if (share_of(agents[i]) == share) take_place(i, share);
      }
    }
  }

  PoolPlan plan() {
    end_what_idled_too_long();
    while (memory_is_over() && evict_lru({}, "agents_memory_max")) {
    }
    for (std::size_t i = 0; i < agents_.size(); ++i) {
      if (agents_[i].phase == AgentPhase::waiting) serve(i);
    }
    return std::move(plan_);
  }

 private:
  enum class Share : std::uint8_t {
    process,  ///< It is in one.
    place,    ///< It is to have one of its own.
    seat,     ///< It is to join one; if that is gone meanwhile, it starts none.
    none,     ///< It waits.
  };

  static Share share_of(const PooledAgent& agent) {
    if (agent.phase == AgentPhase::waiting) return Share::none;
    if (agent.process != 0) return Share::process;
    return agent.may_start ? Share::place : Share::seat;
  }

  void take_place(std::size_t index, Share share) {
    const PooledAgent& agent = agents_[index];
    Place* const found = place_of(agent, share);
    if (found == nullptr) return;
    Place& place = *found;
    place.agents.push_back(index);
    ++place.seats;
    place.project = agent.project;
    place.process = std::max(place.process, agent.process);
    place.memory_bytes = std::max(place.memory_bytes, agent.memory_bytes);
    place.ending = place.ending && agent.phase == AgentPhase::ending;
    place.evictable = place.evictable && (agent.phase == AgentPhase::ending ||
                                          (agent.phase == AgentPhase::idle && !agent.pinned));
    place.last_used = std::max(place.last_used, agent.since);
  }

  Place* place_of(const PooledAgent& agent, Share share) {
    for (Place& place : places_) {
      if (share == Share::process && place.process == agent.process) return &place;
      if (share == Share::seat && !place.ending && place.takes(agent.shared_by)) return &place;
    }
    if (share == Share::seat) return nullptr;
    Place& place = places_.emplace_back();
    place.shared_by = agent.shared_by;
    place.seats_max = agent.seats_max;
    return &place;
  }

  void look_again(TimePoint when) {
    if (!plan_.again || when < *plan_.again) plan_.again = when;
  }

  void end_what_idled_too_long() {
    for (std::size_t i = 0; i < agents_.size(); ++i) {
      const PooledAgent& agent = agents_[i];
      if (agent.phase != AgentPhase::idle) continue;
      const TimePoint over = agent.since + limits_.agents_idle_ttl;
      if (agent.wedged) {
        evict(i, "wedged");
      } else if (!agent.pinned && over <= now_) {
        evict(i, "agents_idle_ttl");
      } else if (!agent.pinned) {
        look_again(over);
      }
    }
  }

  void evict(std::size_t index, const char* limit) {
    plan_.actions.push_back({PoolStep::evict, index, limit});
    for (Place& place : places_) {
      std::erase(place.agents, index);
      if (!place.agents.empty() || place.ending) continue;
      place.ending = true;
    }
  }

  bool evict_lru(std::string_view project, const char* limit) {
    Place* oldest = nullptr;
    for (Place& place : places_) {
      if (!place.evictable || place.ending) continue;
      if (!project.empty() && place.project != project) continue;
      if (oldest == nullptr || place.last_used < oldest->last_used) oldest = &place;
    }
    if (oldest == nullptr) return false;
    for (const std::size_t index : std::vector<std::size_t>(oldest->agents)) evict(index, limit);
    return true;
  }

  bool memory_is_over(bool with_ending = false) const {
    std::uint64_t sum = 0;
    for (const Place& place : places_) {
      if (with_ending || !place.ending) sum += place.memory_bytes;
    }
    return limits_.agents_memory_max > 0 && sum >= limits_.agents_memory_max;
  }

  std::size_t count(std::string_view project, bool ending) const {
    return static_cast<std::size_t>(
        std::count_if(places_.begin(), places_.end(), [&](const Place& place) {
          return (project.empty() || place.project == project) && (!ending || place.ending);
        }));
  }

  enum class Room : std::uint8_t { free, soon, none };

  /// Is there room below `max`, or will there be, with somebody's eviction if need be?
  Room room_below(std::size_t max, const PooledAgent& agent, std::string_view project,
                  const char* limit) {
    if (max == 0 || count(project, false) < max) return Room::free;
    // What ends already is perhaps promised to those who wait before this one.
    std::size_t& promised = promised_[project];
    if (count(project, true) <= promised && (agent.warming_up || !evict_lru(project, limit))) {
      return Room::none;
    }
    ++promised;
    return Room::soon;
  }

  Room room_for(const PooledAgent& agent, const char** limit) {
    *limit = "agents_per_project_max";
    Room room = room_below(limits_.agents_per_project_max, agent, agent.project, *limit);
    if (room != Room::free) return room;
    *limit = "agents_live_max";
    room = room_below(limits_.agents_live_max, agent, {}, *limit);
    if (room != Room::free) return room;
    // plan() has evicted for the sake of memory whom it could.
    *limit = "agents_memory_max";
    if (memory_is_over()) return Room::none;
    return memory_is_over(true) ? Room::soon : Room::free;
  }

  bool joins_others(const PooledAgent& agent) const {
    return std::any_of(places_.begin(), places_.end(), [&](const Place& place) {
      return place.takes(agent.shared_by) && !place.ending;
    });
  }

  void serve(std::size_t index) {
    const PooledAgent& agent = agents_[index];
    if (agent.not_before > now_) return look_again(agent.not_before);
    const char* limit = nullptr;
    const bool joins = joins_others(agent);
    const Room room = joins ? Room::free : room_for(agent, &limit);
    if (room == Room::none) return block(index, limit);
    if (room == Room::soon || starting_ >= limits_.agents_starting_max) return;
    ++starting_;
    take_place(index, joins ? Share::seat : Share::place);
    plan_.actions.push_back({PoolStep::start, index, nullptr, joins});
  }

  void block(std::size_t index, const char* limit) {
    const PooledAgent& agent = agents_[index];
    const TimePoint over = agent.since + limits_.start_wait_max;
    plan_.blocked.emplace_back(index, limit);
    if (agent.warming_up || over <= now_) {
      plan_.actions.push_back({PoolStep::refuse, index, limit});
    } else {
      look_again(over);
    }
  }

  const std::vector<PooledAgent>& agents_;
  const TimePoint now_;
  const PoolLimits& limits_;
  std::vector<Place> places_;
  std::size_t starting_ = 0;
  /// Places that become free, of each project and (under no name) of all, to those who wait.
  std::map<std::string_view, std::size_t> promised_;
  PoolPlan plan_;
};

}  // namespace

PoolPlan plan_pool(const std::vector<PooledAgent>& agents, TimePoint now,
                   const PoolLimits& limits) {
  return Planner(agents, now, limits).plan();
}

const char* limit_in_the_way(std::vector<PooledAgent> agents, const PooledAgent& candidate,
                             TimePoint now, const PoolLimits& limits) {
  const auto waiting = std::count_if(agents.begin(), agents.end(), [](const PooledAgent& agent) {
    return agent.phase == AgentPhase::waiting;
  });
  if (static_cast<std::size_t>(waiting) >= limits.starts_waiting_max) return "starts_waiting_max";
  agents.push_back(candidate);
  const PoolPlan plan = plan_pool(agents, now, limits);
  for (const auto& [agent, limit] : plan.blocked) {
    if (agent == agents.size() - 1) return limit;
  }
  return nullptr;
}

Duration crash_wait(int crashes, const PoolLimits& limits) {
  if (crashes < 2) return {};
  Duration wait = limits.crash_wait_first;
  for (int i = 2; i < crashes && wait < limits.crash_wait_max; ++i) wait *= 2;
  return std::min(wait, limits.crash_wait_max);
}

std::size_t live_max_for(std::string_view meminfo) {
  constexpr std::string_view kTotal = "MemTotal:";
  const std::size_t at = meminfo.find(kTotal);
  if (at == std::string_view::npos) return kLiveMaxLeast;
  meminfo.remove_prefix(at + kTotal.size());
  meminfo.remove_prefix(std::min(meminfo.find_first_not_of(' '), meminfo.size()));
  std::uint64_t kib = 0;
  std::from_chars(meminfo.data(), meminfo.data() + meminfo.size(), kib);
  return std::max(kLiveMaxLeast, static_cast<std::size_t>(kib / kKibPerAgent));
}

}  // namespace berth::server
