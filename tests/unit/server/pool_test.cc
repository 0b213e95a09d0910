// The decisions of the pool as tables: who ends, who starts, who waits, and for which limit.
#include <berth/server/sessions/pool_decisions.h>

#include <gtest/gtest.h>
#include <string>
#include <vector>

namespace berth::server {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

TimePoint at(int second) {
  return TimePoint(seconds(second));
}

PooledAgent agent(AgentPhase phase, int since = 0, int process = 0) {
  PooledAgent made;
  made.phase = phase;
  made.since = at(since);
  made.process = process;
  made.project = "default";
  return made;
}

PooledAgent pinned(PooledAgent made) {
  made.pinned = true;
  return made;
}

PooledAgent of(PooledAgent made, std::string_view project) {
  made.project = project;
  return made;
}

PooledAgent sized(PooledAgent made, std::uint64_t bytes) {
  made.memory_bytes = bytes;
  return made;
}

PooledAgent sharing(PooledAgent made, std::size_t seats_max = 0) {
  made.shared_by = "opencode";
  made.seats_max = seats_max;
  return made;
}

PooledAgent joining(PooledAgent made) {
  made.may_start = false;
  return made;
}

PooledAgent later(PooledAgent made, int second) {
  made.not_before = at(second);
  return made;
}

PooledAgent warming(PooledAgent made) {
  made.warming_up = true;
  return made;
}

PooledAgent wedged(PooledAgent made) {
  made.wedged = true;
  return made;
}

PoolLimits limits(std::size_t live_max) {
  PoolLimits made;
  made.agents_live_max = live_max;
  made.start_wait_max = minutes(5);
  return made;
}

PoolLimits with_memory(std::uint64_t bytes) {
  PoolLimits made = limits(0);
  made.agents_memory_max = bytes;
  return made;
}

PoolLimits with_projects(std::size_t each) {
  PoolLimits made = limits(0);
  made.agents_per_project_max = each;
  return made;
}

PoolLimits with_starting(std::size_t at_once) {
  PoolLimits made = limits(0);
  made.agents_starting_max = at_once;
  return made;
}

/// "start 3; evict 0 agents_live_max; blocked 4 agents_live_max; again 30".
std::string text_of(const PoolPlan& plan) {
  std::string text;
  const auto say = [&text](const std::string& words) {
    text += (text.empty() ? "" : "; ") + words;
  };
  for (const PoolAction& action : plan.actions) {
    const char* const verbs[] = {"start ", "evict ", "refuse "};
    say(verbs[static_cast<unsigned char>(action.step)] + std::to_string(action.agent) +
        (action.joins ? " in one" : "") +
        (action.limit == nullptr ? "" : " " + std::string(action.limit)));
  }
  for (const auto& [index, limit] : plan.blocked) {
    say("blocked " + std::to_string(index) + " " + limit);
  }
  if (plan.again) {
    say("again " +
        std::to_string(
            std::chrono::duration_cast<seconds>(plan.again->time_since_epoch()).count()));
  }
  return text;
}

struct Row {
  const char* name;
  std::vector<PooledAgent> agents;
  int now;
  PoolLimits limits;
  const char* plan;
};

constexpr auto kWaiting = AgentPhase::waiting;
constexpr auto kStarting = AgentPhase::starting;
constexpr auto kIdle = AgentPhase::idle;
constexpr auto kBusy = AgentPhase::busy;
constexpr auto kEnding = AgentPhase::ending;

void expect(const std::vector<Row>& rows) {
  for (const Row& row : rows) {
    EXPECT_EQ(text_of(plan_pool(row.agents, at(row.now), row.limits)), row.plan) << row.name;
  }
}

TEST(PoolPlans, IdleOnesEndAfterTheirTimeUnlessTheyArePinned) {
  expect({
      {"not yet", {agent(kIdle, 10)}, 20, limits(2), "again 1810"},
      {"now", {agent(kIdle, 10)}, 1810, limits(2), "evict 0 agents_idle_ttl"},
      {"the earliest counts", {agent(kIdle, 10), agent(kIdle, 5)}, 20, limits(2), "again 1805"},
      {"a busy one has no time", {agent(kBusy, 0)}, 9999, limits(2), ""},
      {"nor has a pinned one", {pinned(agent(kIdle, 0))}, 9999, limits(2), ""},
      {"what shows no life ends", {wedged(agent(kIdle, 10))}, 20, limits(2), "evict 0 wedged"},
      {"but not with a turn", {wedged(agent(kBusy, 10))}, 20, limits(2), ""},
  });
}

TEST(PoolPlans, TheLeastRecentlyUsedIdleOneMakesRoom) {
  expect({
      {"a free place", {agent(kIdle, 1), agent(kWaiting)}, 20, limits(2), "start 1; again 1801"},
      {"the oldest goes, the start follows its end",
       {agent(kIdle, 7), agent(kIdle, 3), agent(kIdle, 5), agent(kWaiting)},
       20,
       limits(3),
       "evict 1 agents_live_max; again 1803"},
      {"one that ends already is enough",
       {agent(kIdle, 7), agent(kEnding, 3), agent(kWaiting)},
       20,
       limits(2),
       "again 1807"},
      {"for the first that waits, not for the second",
       {agent(kIdle, 7), agent(kEnding, 3), agent(kWaiting), agent(kWaiting)},
       20,
       limits(2),
       "evict 0 agents_live_max; again 1807"},
      {"a pinned one stays",
       {pinned(agent(kIdle, 1)), agent(kIdle, 9), agent(kWaiting)},
       20,
       limits(2),
       "evict 1 agents_live_max; again 1809"},
      {"who only warms up takes nobody's place",
       {agent(kIdle, 7), warming(agent(kWaiting, 20))},
       20,
       limits(1),
       "refuse 1 agents_live_max; blocked 1 agents_live_max; again 1807"},
  });
}

TEST(PoolPlans, BusyOnesStayAndTheWaitHasAnEnd) {
  expect({
      {"all busy",
       {agent(kBusy), agent(kBusy), agent(kWaiting, 20)},
       20,
       limits(2),
       "blocked 2 agents_live_max; again 320"},
      {"a start under way is no less busy",
       {agent(kBusy), agent(kStarting), agent(kWaiting, 20)},
       20,
       limits(2),
       "blocked 2 agents_live_max; again 320"},
      {"too long",
       {agent(kBusy), agent(kBusy), agent(kWaiting, 20)},
       320,
       limits(2),
       "refuse 2 agents_live_max; blocked 2 agents_live_max"},
  });
}

TEST(PoolPlans, ProjectsHaveTheirOwnShare) {
  expect({
      {"the other project has room",
       {of(agent(kBusy), "a"), of(agent(kWaiting), "a"), of(agent(kWaiting), "b")},
       20,
       with_projects(1),
       "start 2; blocked 1 agents_per_project_max; again 300"},
      {"an idle one of another project does not help",
       {of(agent(kBusy), "a"), of(agent(kIdle, 1), "b"), of(agent(kWaiting, 20), "a")},
       20,
       with_projects(1),
       "blocked 2 agents_per_project_max; again 320"},
      {"one of the same does",
       {of(agent(kIdle, 1), "a"), of(agent(kIdle, 0), "b"), of(agent(kWaiting, 20), "a")},
       20,
       with_projects(1),
       "evict 0 agents_per_project_max; again 1800"},
  });
}

TEST(PoolPlans, MemoryIsFreedByIdleOnes) {
  const PooledAgent small = sized(agent(kIdle, 9, 1), 100);
  const PooledAgent old = sized(agent(kIdle, 3, 2), 100);
  const PooledAgent busy = sized(agent(kBusy, 0, 3), 300);
  expect({
      {"below it", {small, busy, agent(kWaiting)}, 20, with_memory(500), "start 2; again 1809"},
      {"above it the oldest ends",
       {small, old, busy},
       20,
       with_memory(500),
       "evict 1 agents_memory_max; again 1803"},
      {"and a start waits for its end",
       {small, old, busy, agent(kWaiting)},
       20,
       with_memory(500),
       "evict 1 agents_memory_max; again 1803"},
      {"all busy",
       {busy, agent(kWaiting, 20)},
       20,
       with_memory(300),
       "blocked 1 agents_memory_max; again 320"},
  });
}

TEST(PoolPlans, AgentsOfOneProcessShareAPlace) {
  const PooledAgent one = sharing(agent(kIdle, 1, 7));
  const PooledAgent two = sharing(agent(kIdle, 5, 7));
  const PooledAgent works = sharing(agent(kBusy, 0, 7));
  expect({
      {"who can join needs no place",
       {one, works, sharing(agent(kWaiting))},
       20,
       limits(1),
       "start 2 in one; again 1801"},
      {"they end together",
       {one, two, agent(kWaiting)},
       20,
       limits(1),
       "evict 0 agents_live_max; evict 1 agents_live_max; again 1801"},
      {"or not at all",
       {one, works, agent(kWaiting, 20)},
       20,
       limits(1),
       "blocked 2 agents_live_max; again 320"},
      {"two that start begin one process",
       {sharing(agent(kWaiting)), sharing(agent(kWaiting)), agent(kWaiting)},
       20,
       limits(2),
       "start 0; start 1 in one; start 2"},
      {"a process has so many seats",
       {sharing(agent(kBusy, 0, 7), 2), sharing(agent(kWaiting), 2), sharing(agent(kWaiting), 2)},
       20,
       limits(1),
       "start 1 in one; blocked 2 agents_live_max; again 300"},
      {"an old generation takes nobody, and is one process still",
       {agent(kBusy, 0, 7), agent(kIdle, 1, 7), sharing(agent(kWaiting), 2)},
       20,
       limits(1),
       "blocked 2 agents_live_max; again 300"},
      {"and makes room when all in it idle",
       {agent(kIdle, 0, 7), agent(kIdle, 1, 7), sharing(agent(kWaiting), 2)},
       20,
       limits(1),
       "evict 0 agents_live_max; evict 1 agents_live_max; again 1800"},
      {"who leaves sits there until it is gone",
       {sharing(agent(kBusy, 0, 7), 2), sharing(agent(kEnding, 0, 7), 2),
        sharing(agent(kWaiting), 2)},
       20,
       limits(1),
       "blocked 2 agents_live_max; again 300"},
      {"also when it is told to leave now",
       {sharing(agent(kBusy, 0, 7), 2), sharing(agent(kIdle, 1, 7), 2),
        sharing(agent(kWaiting, 2000), 2)},
       2000,
       limits(1),
       "evict 1 agents_idle_ttl; blocked 2 agents_live_max; again 2300"},
      {"so many that start begin so many processes",
       {sharing(agent(kWaiting), 2), sharing(agent(kWaiting), 2), sharing(agent(kWaiting), 2)},
       20,
       limits(2),
       "start 0; start 1 in one; start 2"},
      {"and no more",
       {sharing(agent(kStarting), 2), joining(sharing(agent(kStarting), 2)),
        sharing(agent(kWaiting), 2)},
       20,
       limits(1),
       "blocked 2 agents_live_max; again 300"},
  });
}

TEST(PoolPlans, AStartThatMayMakeAProcessIsOneUntilItIsKnownWhere) {
  const PooledAgent waits = sharing(agent(kWaiting, 20), 2);
  expect({
      {"it was granted when the process was full, in which a seat is free now",
       {sharing(agent(kBusy, 0, 7), 2), sharing(agent(kStarting), 2), agent(kWaiting, 20)},
       20,
       limits(2),
       "blocked 2 agents_live_max; again 320"},
      {"whichever comes first in the list",
       {sharing(agent(kStarting), 2), sharing(agent(kBusy, 0, 7), 2), agent(kWaiting, 20)},
       20,
       limits(2),
       "blocked 2 agents_live_max; again 320"},
      {"then it sits in that one",
       {sharing(agent(kBusy, 0, 7), 2), sharing(agent(kStarting, 0, 7), 2), agent(kWaiting, 20)},
       20,
       limits(2),
       "start 2"},
      {"two that may, though one process could hold both",
       {sharing(agent(kStarting), 2), sharing(agent(kStarting), 2), agent(kWaiting, 20)},
       20,
       limits(2),
       "blocked 2 agents_live_max; again 320"},
      {"who is to join takes a seat, not a place",
       {sharing(agent(kBusy, 0, 7), 2), joining(sharing(agent(kStarting), 2)), agent(kWaiting, 20)},
       20,
       limits(2),
       "start 2"},
      {"so that the seat is not given twice",
       {sharing(agent(kBusy, 0, 7), 2), joining(sharing(agent(kStarting), 2)), waits},
       20,
       limits(1),
       "blocked 2 agents_live_max; again 320"},
      {"and nothing when that process takes nobody any more: it will start none",
       {agent(kBusy, 0, 7), joining(agent(kStarting)), waits},
       20,
       limits(2),
       "start 2"},
  });
}

TEST(PoolPlans, StartsComeSoManyAtOnceAndNotTooSoonAfterCrashes) {
  expect({
      {"the third waits for one of them",
       {agent(kStarting), agent(kWaiting), agent(kWaiting)},
       20,
       with_starting(2),
       "start 1"},
      {"an end that is too young", {later(agent(kWaiting), 25)}, 20, limits(2), "again 25"},
      {"holds up nobody else",
       {later(agent(kWaiting), 25), agent(kWaiting)},
       20,
       limits(2),
       "start 1; again 25"},
      {"and then it starts", {later(agent(kWaiting), 25)}, 25, limits(2), "start 0"},
  });
}

TEST(PoolPlans, SayWhichLimitStandsInTheWayOfOneMore) {
  const PooledAgent candidate = agent(kWaiting, 20);
  const auto in_the_way = [&](std::vector<PooledAgent> agents, const PoolLimits& bounds) {
    const char* limit = limit_in_the_way(std::move(agents), candidate, at(20), bounds);
    return std::string(limit == nullptr ? "none" : limit);
  };
  EXPECT_EQ(in_the_way({agent(kBusy), agent(kBusy)}, limits(2)), "agents_live_max");
  EXPECT_EQ(in_the_way({agent(kBusy), agent(kIdle)}, limits(2)), "none");
  EXPECT_EQ(in_the_way({agent(kBusy), agent(kIdle), agent(kWaiting)}, limits(2)), "agents_live_max")
      << "the idle one is for who came before";
  EXPECT_EQ(in_the_way({sized(agent(kBusy), 10)}, with_memory(10)), "agents_memory_max");
  PoolLimits short_queue = limits(2);
  short_queue.starts_waiting_max = 1;
  EXPECT_EQ(in_the_way({agent(kWaiting)}, short_queue), "starts_waiting_max");
}

TEST(PoolPlans, CrashesInARowSlowTheNextStartDown) {
  PoolLimits bounds;
  bounds.crash_wait_first = seconds(1);
  bounds.crash_wait_max = seconds(5);
  const int expected[] = {0, 0, 1, 2, 4, 5, 5};
  for (int crashes = 0; crashes < 7; ++crashes) {
    EXPECT_EQ(crash_wait(crashes, bounds), seconds(expected[crashes])) << crashes;
  }
}

TEST(PoolPlans, TheMachinesMemoryBoundsTheNumberOfAgents) {
  EXPECT_EQ(live_max_for("MemTotal:       33554432 kB\nMemFree: 1 kB\n"), 1024U);
  EXPECT_EQ(live_max_for("MemTotal:        1048576 kB\n"), 256U);
  EXPECT_EQ(live_max_for(""), 256U);
}

}  // namespace
}  // namespace berth::server
