#include <berth/io/sim_process.h>

#include <cerrno>
#include <csignal>

namespace berth::inline v0::io {

namespace detail {

void SimWatch::on_read(std::span<char> bytes) {
  if (listener != nullptr) listener->on_stderr({bytes.data(), bytes.size()});
}

void SimWatch::on_read_end(int) {
  const std::shared_ptr<SimWatch> last = std::move(self);
  reactor->close(std::exchange(handle, kNoHandle));
  tell_if_over();
}

void SimWatch::tell_start() {
  if (std::exchange(told_start, true)) return;
  self = shared_from_this();
  reactor->start(*this);
  listener->on_started();
}

void SimWatch::tell_failure(const Error& error) {
  reactor->close(std::exchange(handle, kNoHandle));
  std::exchange(listener, nullptr)->on_start_failed(error);
}

void SimWatch::tell_exit(ExitStatus exit) {
  tell_start();  // that notice may be late
  status = exit;
  tell_if_over();
}

void SimWatch::tell_loss() {
  if (!told_start) return tell_failure(errno_error(ECANCELED, "spawn"));
  tell_exit(ExitStatus{});
}

void SimWatch::drop() {
  listener = nullptr;
  if (started()) {
    reactor->cancel(*this);
  } else if (handle != kNoHandle) {
    reactor->close(std::exchange(handle, kNoHandle));
  }
}

void SimWatch::tell_if_over() {
  if (!status.has_value() || started() || listener == nullptr) return;
  std::exchange(listener, nullptr)->on_exit(*status);
}

}  // namespace detail

using detail::SimWatch;

namespace {

constexpr Duration kStartMost = std::chrono::milliseconds(200);
constexpr Duration kLingerMost = std::chrono::seconds(2);

void kill_processes_of_tree(SimMachine& machine, int tree) {
  machine.for_each_process([tree](SimProcess& process) {
    if (process.tree() == tree) process.kill(SIGKILL);
  });
}

using Tell = std::function<void(SimWatch&)>;

/// In a turn of the listener's own loop, if it still listens.
void inject(const std::shared_ptr<SimWatch>& watch, const Tell& tell) {
  if (watch->listener == nullptr) return;
  watch->reactor->inject([watch, tell] {
    if (watch->listener != nullptr) tell(*watch);
  });
}

void tell_later(SimMachine& machine, const std::shared_ptr<SimWatch>& watch, const Tell& tell) {
  machine.at(machine.now() + machine.pick_delay(kSimDelayMost),
             [watch, tell] { inject(watch, tell); });
}

/// The same, and reaps it before.
void tell_end_later(SimMachine& machine, const std::shared_ptr<SimWatch>& watch, const Tell& tell) {
  machine.at(machine.now() + machine.pick_delay(kSimDelayMost), [&machine, watch, tell] {
    machine.forget_child(watch->id.pid);
    inject(watch, tell);
  });
}

/// What the server holds of a process.
class SimChild final : public Process {
 public:
  SimChild(SimMachine& machine, std::shared_ptr<SimWatch> watch)
      : machine_(machine), watch_(std::move(watch)) {}
  ~SimChild() override {
    watch_->drop();
    kill_tree();
  }

  ProcessId id() const override { return watch_->told_start ? watch_->id : ProcessId(); }

  void kill_tree() override {
    const int pid = watch_->id.pid;
    if (watch_->host_frozen || pid == 0) return;
    SimMachine& machine = machine_;
    // The signal is on its way: the process may do some more before it arrives.
    machine_.at(machine_.now() + machine_.pick_delay(kSimDelayMost),
                [&machine, pid] { kill_processes_of_tree(machine, pid); });
  }

  void signal(int number) override {
    if (watch_->host_frozen) return;
    if (number == SIGKILL) return kill_tree();
    SimProcess* process = machine_.find_process(watch_->id.pid);
    if (process != nullptr && number == SIGTERM) process->terminate();
  }

 private:
  SimMachine& machine_;
  std::shared_ptr<SimWatch> watch_;
};

}  // namespace

SimProcess::SimProcess(SimMachine& machine, std::uint64_t host, const LaunchSpec& spec, int tree)
    : machine_(machine),
      host_(host),
      id_{machine.next_pid(), static_cast<std::uint64_t>(machine.now().time_since_epoch().count())},
      tree_(tree == 0 ? id_.pid : tree),
      spec_(spec),
      random_(machine.random().next()),
      reactor_(machine, "process " + std::to_string(id_.pid)),
      files_(machine.disk()) {}

std::optional<std::string> SimProcess::environment(const std::string& name) const {
  for (const auto& [key, value] : spec_.environment) {
    if (key == name) return value;
  }
  return std::nullopt;
}

StopToken SimProcess::handle_terminate() {
  handles_terminate_ = true;
  return terminate_.token();
}

void SimProcess::launch(const SimProgram& program, std::function<void(ExitStatus)> on_end) {
  on_end_ = std::move(on_end);
  machine_.note("launch", {id_.pid});
  if (machine_.roll(Fault::agent_kill)) {
    static constexpr std::uint64_t kOperationsMost = 100;
    reactor_.interrupt_after(1 + machine_.random().below(kOperationsMost),
                             [this] { kill(SIGKILL); });
  }
  const int pid = id_.pid;
  SimMachine& machine = machine_;
  machine_.at(machine_.now() + machine_.pick_delay(kStartMost), [&machine, pid, program] {
    SimProcess* process = machine.find_process(pid);
    if (process == nullptr || process->dead_) return;
    process->reactor_.inject([process, program] {
      if (!process->dead_) process->scope_.spawn(run_program(*process, program));
    });
  });
}

Task<void> SimProcess::run_program(SimProcess& process, SimProgram program) {
  int code = 134;
  try {
    code = co_await program(process);
  } catch (...) {
    // As an uncaught exception ends a real program: by abort().
    process.kill(SIGABRT);
  }
  process.end(ExitStatus{ExitStatus::Kind::exited, code});
  process.reactor_.close_all();
}

void SimProcess::cut_off(ExitStatus status) {
  if (dead_) return;
  reactor_.freeze();
  files_.freeze();
  reactor_.post(stopper_);
  end(status);
}

void SimProcess::kill(int signal_number) {
  cut_off(ExitStatus{ExitStatus::Kind::killed, signal_number});
}

void SimProcess::exit(int code) {
  cut_off(ExitStatus{ExitStatus::Kind::exited, code});
}

void SimProcess::spawn_child(const std::string& command, std::vector<std::string> arguments) {
  const SimProgram* program = machine_.find_program(command);
  if (program == nullptr || dead_) return;
  LaunchSpec spec = spec_;
  spec.command = command;
  spec.arguments = std::move(arguments);
  auto child = std::make_unique<SimProcess>(machine_, host_, spec, tree_);
  child->launch(*program, nullptr);
  machine_.add_process(std::move(child));
}

void SimProcess::terminate() {
  if (dead_) return;
  if (!handles_terminate_) return kill(SIGTERM);
  const int pid = id_.pid;
  SimMachine& machine = machine_;
  reactor_.inject([&machine, pid] {
    SimProcess* process = machine.find_process(pid);
    if (process != nullptr && !process->dead_) process->terminate_.request_stop();
  });
}

void SimProcess::end(ExitStatus status) {
  if (dead_) return;
  dead_ = true;
  machine_.note("exit", {id_.pid, static_cast<std::int64_t>(status.kind), status.value});
  if (on_end_) std::exchange(on_end_, nullptr)(status);
}

/// The child's ends.
struct SimProcessHost::Pipes {
  SimEndpoint in;
  SimEndpoint out;
  SimEndpoint errors;
};

Result<std::unique_ptr<Process>> SimProcessHost::spawn(Reactor& reactor, const LaunchSpec& spec,
                                                       ProcessListener& listener) {
  if (frozen_) return fail(errno_error(ECANCELED, "spawn " + spec.command));
  SimReactor& ours = static_cast<SimReactor&>(reactor);
  auto watch = std::make_shared<SimWatch>(ours, listener);
  auto child = std::make_unique<SimChild>(machine_, watch);
  SimEndpointPair in = make_sim_pipe(machine_);
  SimEndpointPair out = make_sim_pipe(machine_);
  SimEndpointPair errors = make_sim_pipe(machine_);
  child->stdin_handle = ours.own(std::move(in.second));
  child->stdout_handle = ours.own(std::move(out.first));
  watch->handle = ours.own(std::move(errors.first));
  Pipes theirs = {std::move(in.first), std::move(out.second), std::move(errors.second)};

  const SimProgram* program = machine_.find_program(spec.command);
  std::optional<Error> why_not;
  if (program == nullptr) {
    why_not = errno_error(ENOENT, "exec " + spec.command);
  } else if (!machine_.disk().is_folder(spec.working_directory)) {
    why_not = errno_error(ENOENT, "chdir " + spec.working_directory);
  } else if (machine_.roll(Fault::spawn_failure)) {
    why_not = errno_error(EAGAIN, "fork");
  }
  if (why_not.has_value()) {
    for (SimEndpoint* end : {&theirs.in, &theirs.out, &theirs.errors}) {
      close_endpoint(machine_, *end);
    }
    tell_later(machine_, watch, [error = *why_not](SimWatch& told) { told.tell_failure(error); });
    return child;
  }
  run(*program, spec, theirs, watch);
  tell_later(machine_, watch, [](SimWatch& told) { told.tell_start(); });
  return child;
}

void SimProcessHost::run(const SimProgram& program, const LaunchSpec& spec, Pipes& pipes,
                         const std::shared_ptr<SimWatch>& watch) {
  auto process = std::make_unique<SimProcess>(machine_, id_, spec);
  process->stdin_handle = process->reactor().own(std::move(pipes.in));
  process->stdout_handle = process->reactor().own(std::move(pipes.out));
  process->stderr_handle = process->reactor().own(std::move(pipes.errors));
  watch->id = process->id();
  std::erase_if(watches_, [](const auto& entry) { return entry.second.expired(); });
  watches_[process->id().pid] = watch;
  SimMachine& machine = machine_;
  const int tree = process->tree();
  const int pid = process->id().pid;
  machine_.add_child(pid, watch->reactor->process_id());
  process->launch(program, [&machine, watch, tree, pid](ExitStatus status) {
    machine.child_ended(pid, status);
    // What the process started goes with it, unless the one who would see to that is dead.
    if (!watch->host_frozen) kill_processes_of_tree(machine, tree);
    tell_end_later(machine, watch, [status](SimWatch& told) { told.tell_exit(status); });
  });
  machine_.add_process(std::move(process));
}

Result<int> SimProcessHost::reap_orphans(const std::string& tag_prefix) {
  if (frozen_) return fail(errno_error(ECANCELED, "reap_orphans"));
  int killed = 0;
  machine_.for_each_process([&](SimProcess& process) {
    const std::string& tag = process.spec().tag;
    if (process.host() == id_ || tag.compare(0, tag_prefix.size(), tag_prefix) != 0) return;
    process.kill(SIGKILL);
    ++killed;
  });
  return killed;
}

void SimProcessHost::freeze() {
  frozen_ = true;
  for (auto& [pid, weak] : watches_) {
    const std::shared_ptr<SimWatch> watch = weak.lock();
    if (watch == nullptr) continue;
    watch->host_frozen = true;
    tell_end_later(machine_, watch, [](SimWatch& told) { told.tell_loss(); });
  }
  SimMachine& machine = machine_;
  machine_.for_each_process([&](SimProcess& process) {
    if (process.host() != id_ || machine.roll(Fault::orphan)) return;
    const int pid = process.id().pid;
    machine.at(machine.now() + machine.pick_span(kLingerMost), [&machine, pid] {
      SimProcess* victim = machine.find_process(pid);
      if (victim != nullptr) victim->kill(SIGKILL);
    });
  });
}

}  // namespace berth::inline v0::io
