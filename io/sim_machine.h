// io/sim_machine.h — a whole machine in one thread and one seed: clock, schedule, network,
// processes, disk, faults.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/prng.h>
#include <berth/core/task.h>
#include <berth/io/platform.h>
#include <berth/io/sim_faults.h>
#include <berth/io/sim_files.h>
#include <berth/io/sim_wire.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

class SimProcess;
class SimReactor;

/// The main of a simulated program: a coroutine on the process's own reactor. Its value is the exit
/// code. It must end soon after process.stop_token() stops (then it was killed: every operation
/// answers ECANCELED).
using SimProgram = std::function<Task<int>(SimProcess& process)>;

/// Time that moves only when nothing can run (and after a thousand steps, so that who never rests
/// does not stop it).
class SimClock final : public Clock {
 public:
  TimePoint now() const override { return now_; }
  WallTime wall() const override {
    return std::chrono::duration_cast<WallTime>(now_.time_since_epoch()) + wall_offset_;
  }
  /// Moves the time of day only, as an operator or NTP does.
  void jump_wall(WallTime by) { wall_offset_ += by; }

 private:
  friend class SimMachine;
  TimePoint now_{std::chrono::seconds(1000)};
  WallTime wall_offset_{1'795'000'000'000};
};

/// Owns the simulated world; outlives every SimReactor and SimPlatform on it. All of it runs on the
/// thread that calls step() (or a reactor's run()), in an order that is a function of the seed and
/// of what the code does.
class SimMachine {
 public:
  explicit SimMachine(std::uint64_t seed, FaultPlan faults = FaultPlan::gentle());
  SimMachine(const SimMachine&) = delete;
  SimMachine& operator=(const SimMachine&) = delete;
  /// Kills what still runs and waits for it.
  ~SimMachine();

  std::uint64_t seed() const { return seed_; }
  SimClock& clock() { return clock_; }
  TimePoint now() const { return clock_.now(); }
  Random& random() { return random_; }
  FaultPlan& faults() { return faults_; }
  const FaultCounts& fired() const { return fired_; }
  std::uint64_t fired(Fault fault) const { return fired_[fault]; }
  /// Survives crashes; tests put files and folders there.
  SimDisk& disk() { return disk_; }

  /// Makes `name` a command that processes can be launched with (also as the last part of an
  /// absolute path).
  void add_program(std::string name, SimProgram program);
  /// Lets resolvers answer `name` (host:port) with `addresses`.
  void add_host(std::string name, std::vector<Address> addresses);

  /// Does one thing: one turn of one reactor, or one event of the world; moves the clock to the
  /// next thing if nothing can run now. False when nothing will ever happen again.
  bool step();
  /// step() that never moves the clock; false when nothing can run now.
  bool step_now();
  /// One turn of `reactor`, after what is due in the world; moves the clock a few microseconds
  /// first, as a loop that polls takes time. Says whether anything happened.
  bool poll(SimReactor& reactor);

  enum class Outcome : std::uint8_t { reached, timed_out, stuck, too_many_steps };
  /// Steps until `done()`; `limit` is virtual time from now.
  Outcome run_until(const std::function<bool()>& done, Duration limit = std::chrono::hours(1),
                    std::uint64_t steps_max = 1'000'000);
  /// Steps until that much virtual time has passed (the clock is moved there if nothing happens).
  void run_for(Duration span);
  /// Moves the clock only: a host program's loop slept until then.
  void sleep_until(TimePoint when);
  /// Runs `task` on `reactor` to its end, in a scope of its own; asserts that it ends.
  void run_task(SimReactor& reactor, Task<void> task);

  std::uint64_t steps() const { return steps_; }
  /// A hash of everything that happened so far: equal runs have equal hashes.
  std::uint64_t trace_hash() const { return trace_hash_; }
  /// Tells `sink` one line for each thing that happens, to look at a failed seed.
  void trace_to(std::function<void(std::string_view)> sink) { trace_ = std::move(sink); }

  /// Unowned ends for Reactor::adopt(): {reader, writer}, or the two ends of a connection.
  std::pair<Handle, Handle> make_pipe();
  std::pair<Handle, Handle> make_connection();

  /// Starts `command` without pipes as a child of `parent`'s process, which reaps it with reap().
  /// Error `not_found`; the fault `spawn_failure`.
  Result<int> start_child(SimReactor& parent, const std::string& command,
                          std::vector<std::string> arguments);
  /// Like waitpid(2) with WNOHANG: how a child of `parent`'s process ended. Errors: `not_found`
  /// (ECHILD), `busy` while it runs.
  Result<ExitStatus> reap(SimReactor& parent, int pid);

  /// Processes that have not ended, killed ones whose frames still unwind included.
  std::size_t live_processes() const;
  /// Calls `fn` for each that runs, in order of pid.
  void for_each_process(const std::function<void(SimProcess&)>& fn);

  // --- for the parts of the simulator ---

  /// True if the fault strikes now; counted.
  bool roll(Fault fault);
  /// For what needs no plan to happen.
  void count(Fault fault) { fired_.count(fault); }
  /// A virtual time in [0, most], mostly short.
  Duration pick_span(Duration most);
  /// pick_span(most) if the fault `delay` strikes, else zero.
  Duration pick_delay(Duration most);
  void at(TimePoint when, std::function<void()> event);
  void note(std::string_view what, std::initializer_list<std::int64_t> values);
  Handle next_handle() { return next_handle_++; }
  /// Gives away an end made by make_pipe() or make_connection(); false if there is none of that
  /// number.
  bool take_unowned(Handle handle, SimEndpoint& endpoint);

  std::uint64_t add_reactor(SimReactor& reactor);
  void remove_reactor(std::uint64_t id);

  /// Error `conflict` when taken; port 0 is replaced by a free one.
  Result<std::string> bind(const std::string& address, SimReactor& reactor, Handle handle);
  void unbind(const std::string& address);
  /// The client's end; errors `invalid` (the address) and `unavailable` (nobody listens).
  Result<SimEndpoint> connect(const std::string& address);

  const SimProgram* find_program(const std::string& command) const;
  const std::vector<Address>* find_host(const std::string& name) const;
  int next_pid() { return next_pid_++; }
  /// Tells one SimPlatform's children from another's.
  std::uint64_t next_host() { return next_host_++; }
  void add_process(std::unique_ptr<SimProcess> process);
  SimProcess* find_process(int pid);
  /// A process that its parent has not reaped yet.
  struct Child {
    std::uint64_t parent = 0;  ///< SimReactor::process_id().
    bool ended = false;
    TimePoint known_at{};  ///< When the parent can learn of its end.
    ExitStatus status;
  };
  void add_child(int pid, std::uint64_t parent) { children_[pid] = Child{parent, false, {}, {}}; }
  void child_ended(int pid, ExitStatus status);
  /// Null when it was reaped, or never was.
  const Child* find_child(int pid) const;
  void forget_child(int pid) { children_.erase(pid); }
  /// A listener belongs to another reactor now.
  void move_listener(const std::string& address, SimReactor& to);

 private:
  struct Listening {
    SimReactor* reactor;
    Handle handle;
  };

  bool run_something();
  void move_clock(TimePoint to);
  std::size_t due_events() const;
  void run_event(std::size_t index);
  void begin_step();
  void end_step();
  TimePoint next_time();

  std::uint64_t seed_;
  Prng random_;
  FaultPlan faults_;
  FaultCounts fired_;
  SimClock clock_;
  SimDisk disk_;
  std::uint64_t steps_ = 0;
  std::uint64_t steps_at_this_time_ = 0;
  std::uint64_t trace_hash_ = 0;
  std::function<void(std::string_view)> trace_;
  bool stepping_ = false;

  std::uint64_t next_reactor_ = 1;
  std::map<std::uint64_t, SimReactor*> reactors_;
  std::uint64_t next_event_ = 1;
  std::map<std::pair<TimePoint, std::uint64_t>, std::function<void()>> events_;

  Handle next_handle_ = 100;
  std::map<Handle, SimEndpoint> unowned_;
  int next_port_ = 40'000;
  std::map<std::string, Listening> listeners_;
  std::map<std::string, std::vector<Address>> hosts_;

  std::map<std::string, SimProgram> programs_;
  int next_pid_ = 1000;
  std::uint64_t next_host_ = 1;
  std::map<int, std::unique_ptr<SimProcess>> processes_;
  std::map<int, Child> children_;
};

}  // namespace berth::inline v0::io
