#include "scenarios.h"

#include <algorithm>
#include <array>

namespace berth::bench {

namespace {

constexpr auto kScenarios = std::to_array<Scenario>({
    {"pipes-1000", Job::pipes, 1000, 1000, 4, 100, "line", "1000 pipes, all active"},
    {"pipes-1000-100", Job::pipes, 1000, 100, 40, 100, "line", "1000 pipes, 100 active"},
    {"pipes-4000", Job::pipes, 4000, 4000, 1, 100, "line", "4000 pipes, all active"},
    {"pipes-4000-100", Job::pipes, 4000, 100, 40, 100, "line", "4000 pipes, 100 active"},
    {"raw-1000", Job::raw_pipes, 1000, 1000, 4, 100, "line", "1000 pipes, all active, not parsed"},
    {"raw-4000-100", Job::raw_pipes, 4000, 100, 40, 100, "line",
     "4000 pipes, 100 active, not parsed"},
    {"fan-out-1000", Job::fan_out, 1000, 1, 2, 100, "delivery", "an event to 1000 sockets"},
    {"fan-out-5000", Job::fan_out, 5000, 1, 1, 60, "delivery", "an event to 5000 sockets"},
    {"burst-1000", Job::fan_out, 1000, 16, 1, 40, "delivery", "16 events at once to 1000 sockets"},
    {"burst-5000", Job::fan_out, 5000, 16, 1, 15, "delivery", "16 events at once to 5000 sockets"},
    {"ping-pong", Job::ping_pong, 1000, 1, 1, 100, "round trip",
     "100 B over a socket pair and back"},
    {"timers-cancel-10k", Job::timer_cancel, 10'000, 1, 1, 100, "timer", "armed, moved, disarmed"},
    {"timers-cancel-100k", Job::timer_cancel, 100'000, 1, 1, 30, "timer", "armed, moved, disarmed"},
    {"timers-fire-10k", Job::timer_fire, 10'000, 1, 1, 100, "timer", "armed and fired"},
    {"timers-fire-100k", Job::timer_fire, 100'000, 1, 1, 30, "timer", "armed and fired"},
    {"post-batch", Job::post_batch, 1000, 1, 10, 100, "message",
     "to another thread, 1000 at a time"},
    {"post-ball", Job::post_ball, 500, 1, 1, 100, "round trip", "to another thread and back"},
    {"spawn-100", Job::spawn, 100, 1, 50, 20, "child", "started and reaped, 100 others alive"},
    {"spawn-5000", Job::spawn, 5000, 1, 50, 20, "child", "started and reaped, 5000 others alive"},
});

constexpr std::string_view kMain = "berth-reactor-bench";

constexpr auto kContestants = std::to_array<Contestant>({
    {"epoll", kMain,
     "plain epoll, read(2) and write(2); std::multimap; a locked queue + eventfd; posix_spawn"},
    {"reads", kMain, "read(2) alone, on pipes that are known to be ready: the floor"},
    {"writev", kMain, "a bare loop of writev(2), 16 events in each"},
    {"uring", kMain, "berth on io_uring, operations; its keeper"},
    {"uring-streams", kMain, "berth on io_uring, coroutines over ByteStream"},
    {"uring-buffers", kMain, "berth on io_uring, operations that receive into provided buffers"},
    {"uring-remote", kMain, "berth on io_uring, post_remote"},
    {"uring-1-shard", kMain, "berth on io_uring, operations, on a thread beside that of the clock"},
    {"uring-2-shards", kMain, "the same, the pipes shared out between two threads"},
    {"berth-asio", kMain, "berth's engine for where io_uring is forbidden, operations"},
    {"asio-epoll", "berth-reactor-bench-asio-epoll", "Asio, epoll, coroutines"},
    {"asio-uring", "berth-reactor-bench-asio-uring", "Asio, its io_uring backend, coroutines"},
});

constexpr auto kTargets = std::to_array<Target>({
    {"pipes-1000", "epoll", 1.05, 0.85, false},
    {"pipes-1000-100", "epoll", 1.05, 0.85, false},
    {"pipes-4000", "epoll", 1.05, 0.85, false},
    {"pipes-4000-100", "epoll", 1.05, 0.85, false},
    {"pipes-1000", "asio-epoll", 0.9, 0.75, false},
    {"pipes-1000-100", "asio-epoll", 0.9, 0.75, false},
    {"pipes-4000", "asio-epoll", 0.7, 0.5, false},
    {"pipes-4000-100", "asio-epoll", 0.7, 0.5, false},
    {"fan-out-1000", "epoll", 1.05, 0.8, false},
    {"fan-out-5000", "epoll", 1.05, 0.95, false},
    {"burst-1000", "epoll", 0.12, 0.08, false},
    {"burst-5000", "epoll", 0.12, 0.08, false},
    {"ping-pong", "epoll", 1.1, 0.9, true},
    // 1.5 and 2.5 times as many a second
    {"spawn-5000", "epoll", 0.67, 0.4, true},
});

bool is_sharded(const Contestant& contestant) {
  return contestant.name.find("-shard") != std::string_view::npos;
}

bool is_post(Job job) {
  return job == Job::post_batch || job == Job::post_ball;
}

bool is_timer(Job job) {
  return job == Job::timer_cancel || job == Job::timer_fire;
}

}  // namespace

std::size_t Scenario::messages() const {
  switch (job) {
    case Job::pipes:
    case Job::raw_pipes:
      return active * passes;
    case Job::fan_out:
      return size * active * passes;
    case Job::ping_pong:
    case Job::timer_cancel:
    case Job::timer_fire:
    case Job::post_batch:
    case Job::post_ball:
      return size * passes;
    case Job::spawn:
      return passes;
  }
  return 0;
}

bool Scenario::slow_to_set_up() const {
  return size > 1000 &&
         (job == Job::pipes || job == Job::raw_pipes || job == Job::fan_out || job == Job::spawn);
}

std::span<const Scenario> scenarios() {
  return kScenarios;
}

const Scenario* find_scenario(std::string_view name) {
  const auto found = std::find_if(kScenarios.begin(), kScenarios.end(),
                                  [&](const Scenario& scenario) { return scenario.name == name; });
  return found == kScenarios.end() ? nullptr : &*found;
}

std::span<const Contestant> contestants() {
  return kContestants;
}

bool takes_part(const Contestant& contestant, const Scenario& scenario) {
  if (scenario.job == Job::spawn) return contestant.name == "epoll" || contestant.name == "uring";
  if (contestant.name == "reads") {
    return scenario.job == Job::pipes || scenario.job == Job::raw_pipes;
  }
  // A pass of few lines would measure how threads are woken.
  if (is_sharded(contestant)) {
    return scenario.job == Job::pipes && scenario.active == scenario.size;
  }
  if (contestant.name == "writev") return scenario.job == Job::fan_out && scenario.active > 1;
  if (contestant.name == "uring-buffers") return scenario.job == Job::ping_pong;
  if (contestant.name == "uring-remote") return is_post(scenario.job);
  if (contestant.name == "uring-streams") {
    return scenario.job == Job::pipes || scenario.job == Job::ping_pong;
  }
  // Its timers are those of Asio on epoll, its threads are woken by the same eventfd.
  if (contestant.name == "asio-uring") return !is_timer(scenario.job);
  return true;
}

bool must_not_allocate(const Contestant& contestant, const Scenario& scenario) {
  if (scenario.job == Job::spawn) return false;  // a process is an object
  return contestant.name == "uring" || contestant.name == "berth-asio" || is_sharded(contestant);
}

std::span<const Target> targets() {
  return kTargets;
}

}  // namespace berth::bench
