// io/sim_process.h — a process of a simulated machine as its program sees it, and the host that
// starts them.
#pragma once

#include <berth/core/scope.h>
#include <berth/core/stop.h>
#include <berth/core/sync.h>
#include <berth/io/platform.h>
#include <berth/io/process_host.h>
#include <berth/io/sim_files.h>
#include <berth/io/sim_machine.h>
#include <berth/io/sim_reactor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace berth::inline v0::io {

/// Owned by the machine, from its launch until its program's frame is gone. Dead before that, when
/// it was killed: then its pipes are closed, its disk refuses, its operations answer ECANCELED and
/// stop_token() is stopped.
class SimProcess {
 public:
  /// For SimProcessHost; `host` is the id of the host that starts it, `tree` the pid of the tree's
  /// root (0: its own).
  SimProcess(SimMachine& machine, std::uint64_t host, const LaunchSpec& spec, int tree = 0);

  SimReactor& reactor() { return reactor_; }
  SimMachine& machine() { return machine_; }
  Clock& clock() { return machine_.clock(); }
  Random& random() { return random_; }
  Files& files() { return files_; }
  ProcessId id() const { return id_; }
  const LaunchSpec& spec() const { return spec_; }
  const std::vector<std::string>& arguments() const { return spec_.arguments; }
  std::optional<std::string> environment(const std::string& name) const;

  /// Its own ends, on reactor(). The program may close them; what it leaves open is closed when it
  /// ends.
  Handle stdin_handle = kNoHandle;   ///< It reads.
  Handle stdout_handle = kNoHandle;  ///< It writes.
  Handle stderr_handle = kNoHandle;  ///< It writes.

  /// What others see of it; its program says.
  VitalSigns signs{false, 1000, 16 << 20, false};

  /// Stops when the process was killed.
  StopToken stop_token() { return stop_.token(); }
  /// Installs a handler of SIGTERM (which otherwise kills): the token stops when the signal comes.
  StopToken handle_terminate();

  /// Ends it at once, as _exit(2) does; like a kill for the program's frame, which ends by itself.
  void exit(int code);
  /// Starts another of the machine's programs in its tree, without pipes (all three handles are
  /// kNoHandle).
  void spawn_child(const std::string& command, std::vector<std::string> arguments);

  // --- for the host and the machine ---

  /// Starts `program` in a turn to come. `on_end` is called once, when it is dead.
  void launch(const SimProgram& program, std::function<void(ExitStatus)> on_end);
  /// As by a signal that cannot be caught: from now on it does nothing that others can see.
  void kill(int signal_number);
  void terminate();
  std::uint64_t host() const { return host_; }
  int tree() const { return tree_; }
  bool dead() const { return dead_; }
  /// Dead, and nothing of its program is left.
  bool buried() const { return dead_ && scope_.size() == 0; }

 private:
  /// Ends a program that was killed from within its own loop, never from inside the killer.
  struct Stopper final : Runnable {
    explicit Stopper(SimProcess& owner) : process(owner) {}
    void run() override { process.stop_.request_stop(); }
    SimProcess& process;
  };

  static Task<void> run_program(SimProcess& process, SimProgram program);
  void cut_off(ExitStatus status);
  void end(ExitStatus status);

  SimMachine& machine_;
  std::uint64_t host_;
  ProcessId id_;
  int tree_;
  LaunchSpec spec_;
  Prng random_;
  SimReactor reactor_;
  SimFiles files_;
  StopSource stop_;
  StopSource terminate_;
  bool handles_terminate_ = false;
  bool dead_ = false;
  Stopper stopper_{*this};
  Scope scope_{reactor_};
  std::function<void(ExitStatus)> on_end_;
};

namespace detail {

/// Shared by a host, its Process, the notices on their way and the read of its stderr: whether
/// anybody still wants to know.
struct SimWatch final : ReadOp, std::enable_shared_from_this<SimWatch> {
  SimWatch(SimReactor& on, ProcessListener& told) : reactor(&on), listener(&told) {}
  void on_read(std::span<char> bytes) override;
  void on_read_end(int error) override;
  // While there is a listener:
  void tell_start();
  void tell_failure(const Error& error);
  void tell_exit(ExitStatus status);
  /// Whoever started it is gone.
  void tell_loss();
  /// Tells the end behind the last bytes of stderr.
  void tell_if_over();
  /// Nobody wants to know any more.
  void drop();

  SimReactor* reactor;
  ProcessListener* listener;  ///< Null after its last word, or when the Process was dropped.
  ProcessId id;               ///< Zeros where there is no process.
  bool told_start = false;
  bool host_frozen = false;
  std::optional<ExitStatus> status;  ///< Once the notice has come.
  std::shared_ptr<SimWatch> self;    ///< While stderr is read.
};

}  // namespace detail

/// Starts the machine's programs as processes.
class SimProcessHost final : public ProcessHost {
 public:
  /// `host_id` differs for each host on the machine.
  SimProcessHost(SimMachine& machine, std::uint64_t host_id) : machine_(machine), id_(host_id) {}

  /// The process that this host lives in crashed: children die soon or linger as orphans, by the
  /// seed; each listener that is still there hears the end, so that a stopped supervisor can end.
  /// Nobody can be killed from here again.
  void freeze();

  /// The outcome comes a little later, and so do bytes of a child that has started: before it or
  /// after it.
  Result<std::unique_ptr<Process>> spawn(Reactor& reactor, const LaunchSpec& spec,
                                         ProcessListener& listener) override;
  Result<int> reap_orphans(const std::string& tag_prefix) override;
  std::string describe() const override { return "simulated processes"; }
  LandlockSupport landlock() const override { return {0, "simulated processes"}; }

 private:
  struct Pipes;
  void run(const SimProgram& program, const LaunchSpec& spec, Pipes& pipes,
           const std::shared_ptr<detail::SimWatch>& watch);

  SimMachine& machine_;
  std::uint64_t id_;
  bool frozen_ = false;
  std::map<int, std::weak_ptr<detail::SimWatch>> watches_;
};

}  // namespace berth::inline v0::io
