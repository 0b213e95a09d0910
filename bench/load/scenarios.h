// bench/load/scenarios.h — what is measured, as a table, and what is wanted of it.
#pragma once

#include "load_run.h"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::bench {

/// Named figures of one run, in the order of the report.
using Figures = std::vector<std::pair<std::string, double>>;

struct Scenario {
  std::string_view name;
  std::string_view what;
  Figures (*run)(const Scenario&, const Host&, const Programs&);
  std::string_view hosts = "berth";  ///< Names of those that can take part.
  std::size_t sessions = 0;
  std::size_t updates = 0;  ///< Of each session.
  /// What hosts beside berth and the bare loop get in place of `updates`, so that the slowest does
  /// not take the time of all; 0: the same.
  std::size_t peer_updates = 0;
  int rate = 0;  ///< Updates a second of each session; 0: as fast as its pipe takes them.
  std::size_t readers = 0;  ///< Of one session, where that is not one.
  bool on_demand = false;   ///< Runs only when it is asked for by name.

  bool takes(std::string_view host) const;
  std::size_t updates_of(const Host& host) const;
};

/// In the order in which they run.
const std::vector<Scenario>& scenarios();

/// A wanted figure of berth.
struct Target {
  std::string_view what;
  std::string_view scenario;
  std::string_view figure;
  std::string_view against;  ///< The host whose same figure it is divided by; empty: as it is.
  double must = 0;
  double goal = 0;
  bool more_is_better = false;
};
const std::vector<Target>& targets();

// The kinds of scenarios, by what their numbers mean.

/// Each session with one reader, all prompted at once (streams.cc).
Figures run_streams(const Scenario&, const Host&, const Programs&);
/// One session to all readers (streams.cc).
Figures run_fanout(const Scenario&, const Host&, const Programs&);
/// The first session is much longer than the others; then again with a second reader of it that
/// never reads (streams.cc).
Figures run_stalled(const Scenario&, const Host&, const Programs&);
/// One line of `updates` bytes (streams.cc).
Figures run_long_line(const Scenario&, const Host&, const Programs&);
/// Rate and cost of opening sessions, 4 at a time (sessions.cc).
Figures run_create(const Scenario&, const Host&, const Programs&);
/// Memory of idle sessions (sessions.cc).
Figures run_idle(const Scenario&, const Host&, const Programs&);
/// What is left of `updates` in each of a few sessions (sessions.cc).
Figures run_long_lived(const Scenario&, const Host&, const Programs&);
/// All sessions live with one reader each, in few descriptors (sessions.cc).
Figures run_live(const Scenario&, const Host&, const Programs&);
/// Agents are killed in the middle of their turns (sessions.cc).
Figures run_death(const Scenario&, const Host&, const Programs&);
/// `updates` prompts, one behind the other: from the POST to the agent's stdin (sessions.cc).
Figures run_prompts(const Scenario&, const Host&, const Programs&);
/// A start on a store with so many sessions (stored.cc).
Figures run_stored(const Scenario&, const Host&, const Programs&);
/// One session's log of `updates` read from its begin by `readers` at once (stored.cc).
Figures run_replay(const Scenario&, const Host&, const Programs&);
/// kill -9 with `sessions` in the store and `readers` in the middle of a turn (stored.cc).
Figures run_crash(const Scenario&, const Host&, const Programs&);
/// `updates` prompts that each touch 20 files of a repository of `sessions` files (worktrees.cc).
Figures run_diff(const Scenario&, const Host&, const Programs&);
/// `updates` seconds of everything at once (mixed.cc).
Figures run_mixed(const Scenario&, const Host&, const Programs&);

}  // namespace berth::bench
