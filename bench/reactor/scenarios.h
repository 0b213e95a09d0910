// bench/reactor/scenarios.h — the jobs, who does them, and the figures that are wanted.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace berth::bench {

enum class Job {
  pipes,         ///< Lines from many pipes to four fields each.
  raw_pipes,     ///< The same, only the ends of the lines are looked for.
  fan_out,       ///< Events of 500 B to many TCP sockets.
  ping_pong,     ///< 100 B to and fro over a socket pair, both ends on one thread.
  timer_cancel,  ///< Timers armed, moved and disarmed.
  timer_fire,    ///< Timers armed and fired.
  post_batch,    ///< Messages to another thread's loop, many at a time.
  post_ball,     ///< One message to and fro between two threads' loops.
  spawn,         ///< Tiny children started and reaped, one by one, while others live.
};

struct Scenario {
  std::string_view name;
  Job job;
  std::size_t size;    ///< Pipes, sockets, timers; messages of a batch; round trips; others alive.
  std::size_t active;  ///< Pipes that get a line in each pass; events of a burst; else 1.
  std::size_t passes;  ///< Passes of one round.
  std::size_t rounds;  ///< Rounds of a full run.
  std::string_view unit;
  std::string_view what;

  /// Messages of one round.
  std::size_t messages() const;
  /// Whether setting it up takes longer than a smoke test may.
  bool slow_to_set_up() const;
};

/// In the order in which they run.
std::span<const Scenario> scenarios();
const Scenario* find_scenario(std::string_view name);

struct Contestant {
  std::string_view name;
  std::string_view program;  ///< Which executable of this folder does it.
  std::string_view what;
};

/// The first is whom the others are compared with.
std::span<const Contestant> contestants();
bool takes_part(const Contestant& contestant, const Scenario& scenario);
/// Whether operator new must not be called in a steady state.
bool must_not_allocate(const Contestant& contestant, const Scenario& scenario);

/// The most that `uring` may need of what `against` needs in the same round.
struct Target {
  std::string_view scenario;
  std::string_view against;
  double must;
  double goal;
  bool latency;  ///< Compares p50 instead of CPU.
};
std::span<const Target> targets();

}  // namespace berth::bench
