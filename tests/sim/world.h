// tests/sim/world.h — a whole berth, its agents and its clients in one simulated machine, through
// several crashes, out of one seed.
#pragma once

#include "committed_log.h"
#include "log_check.h"
#include "sim_client.h"

#include <berth/core/scope.h>
#include <berth/io/sim_platform.h>
#include <berth/server/config.h>
#include <berth/server/store/sim_vfs.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace berth::sim_test {

/// What happened in one run; `wrong` is empty if all that must hold did hold.
struct WorldReport {
  std::string wrong;
  std::uint64_t trace_hash = 0;
  std::uint64_t crashes = 0;
  std::uint64_t crashes_in_write = 0;  ///< In the middle of a write of the database.
  std::uint64_t crashes_in_start = 0;  ///< Before the server listened.
  std::uint64_t power_cuts = 0;
  std::uint64_t polite_ends = 0;
  std::uint64_t disk_errors = 0;
  std::uint64_t clock_jumps = 0;
  std::uint64_t full_disks = 0;   ///< Times that the store refused for a while.
  std::uint64_t connections = 0;  ///< Of followers.
  std::uint64_t prompts = 0;
  std::uint64_t events = 0;
  std::uint64_t interrupted = 0;  ///< Turns that a crash ended.
  std::uint64_t switches = 0;     ///< Sessions that more than one agent worked in.
  std::uint64_t decisions = 0;    ///< What a person chose for an agent that could not be restored.
  std::uint64_t expired = 0;      ///< Questions that nobody answered in time.
  std::uint64_t filled_in = 0;    ///< Forms that somebody filled in.
  std::uint64_t edits = 0;        ///< Changes of what waits in the queue.
  std::uint64_t sent_now = 0;
  std::uint64_t revived = 0;    ///< Sessions that were closed in between.
  std::uint64_t timed_out = 0;  ///< Turns that were given a time, which ended.
  std::uint64_t cut = 0;        ///< Sessions whose log does not begin at 1 any more.
  std::uint64_t resets = 0;     ///< Told to followers.
  std::uint64_t shared = 0;     ///< Agents that came up in a process that served another session.
  std::uint64_t shared_deaths = 0;  ///< Processes that died with turns of several sessions.
  std::uint64_t generations = 0;    ///< Processes beside an older one that took nobody more.
  std::uint64_t capped = 0;  ///< Processes that began as the last for whom there was a place.
  std::uint64_t evictions = 0;
  std::uint64_t stalls = 0;
  std::uint64_t agents_killed = 0;  ///< By somebody else.
  std::uint64_t store_checks = 0;   ///< That came to their end.

  void add(const WorldReport& other);
  std::string summary() const;
};

/// A simpler run of the same seed: what is taken away changes nothing else of the plan.
struct WorldLimits {
  std::uint64_t lives_max = 100;     ///< Before the last one, in which nothing goes wrong.
  std::uint64_t actions_max = 1000;  ///< Of each driver, before it settles.
  bool calm = false;                 ///< No faults of network, files and processes.
  bool sound_disk = false;           ///< None of the store's disk, which is never full either.
  bool true_clock = false;           ///< The time of day never jumps.
  bool one_session = false;
};

/// Several lives of the real server (HTTP, sessions, journal, SQLite on a simulated disk) with the
/// scripted agent, until a last life in which nothing goes wrong. Then what each client was told is
/// compared with the log. What cannot even be torn down ends the program with its seed.
class World {
 public:
  explicit World(std::uint64_t seed, const WorldLimits& limits = {});

  /// Once.
  WorldReport run();
  /// Lines that tell the run, for a person.
  void tell_to(std::function<void(std::string_view)> sink);
  /// Every step of the machine, too.
  void trace_to(std::function<void(std::string_view)> sink) { machine_.trace_to(std::move(sink)); }

 private:
  struct Life;
  struct Group {
    SessionStory story;
    std::unique_ptr<Driver> driver;
    std::vector<std::unique_ptr<Follower>> followers;
  };

  void make_machine();
  void make_groups();
  server::Config make_config();
  void share_processes(server::Config& config);
  void limit_pool(server::Config& config);
  Task<int> run_agent(io::SimProcess& process);
  void live(bool last);
  void let_crash(Life& life);
  std::size_t busiest();
  void kill_an_agent();
  void jump_clock();
  void let_settle(Life& life);
  void end_life(Life& life);
  std::string describe_stuck(Life& life, bool crashed);
  void check_given_back(Life& life);
  void check_store_health(Life& life);
  void check_log();
  void check_group(Group& group, server::SessionNo no, server::Store& store);
  void check_processes();
  void check_agents_memory();
  void wrong(const std::string& what);
  [[noreturn]] void die(const std::string& what);

  std::uint64_t seed_;
  WorldLimits limits_;
  Prng plan_;
  io::SimMachine machine_;
  std::shared_ptr<server::DiskImage> disk_;
  io::SimReactor clients_;
  Door door_;
  NullLog log_;
  StopSource clients_stop_;
  Scope clients_scope_;
  std::vector<Group> groups_;
  server::Config config_;
  CommittedLog committed_;
  server::DiskFaults disk_faults_;
  bool power_safe_ = false;
  bool clock_went_back_ = false;
  int life_ = 0;
  std::string started_prompts_;          // of all logs, one after the other
  std::vector<Seat> seats_;              // of all logs
  std::map<int, std::size_t> turns_of_;  // that run in an agent's process, by its pid
  WorldReport report_;
  std::function<void(std::string_view)> tell_;
};

/// Makes a program that dies of an assertion say which seed it was at.
void announce_seed(std::uint64_t seed);

}  // namespace berth::sim_test
