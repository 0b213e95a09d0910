#include <berth/core/scope.h>
#include <berth/io/net.h>
#include <berth/io/sim_machine.h>
#include <berth/io/sim_process.h>
#include <berth/io/sim_reactor.h>

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

SimMachine::SimMachine(std::uint64_t seed, FaultPlan faults)
    : seed_(seed), random_(seed), faults_(faults) {}

SimMachine::~SimMachine() {
  for (auto& [pid, process] : processes_) process->kill(9);
  static constexpr int kMostSteps = 100'000;
  for (int i = 0; !processes_.empty(); ++i) {
    BERTH_ASSERT(i < kMostSteps);  // a program does not end although it was killed
    step();
  }
}

void SimMachine::add_program(std::string name, SimProgram program) {
  programs_[std::move(name)] = std::move(program);
}

void SimMachine::add_host(std::string name, std::vector<Address> addresses) {
  hosts_[std::move(name)] = std::move(addresses);
}

const SimProgram* SimMachine::find_program(const std::string& command) const {
  auto found = programs_.find(command);
  if (found == programs_.end() && command.rfind('/') != std::string::npos) {
    found = programs_.find(command.substr(command.rfind('/') + 1));
  }
  return found == programs_.end() ? nullptr : &found->second;
}

const std::vector<Address>* SimMachine::find_host(const std::string& name) const {
  const auto found = hosts_.find(name);
  return found == hosts_.end() ? nullptr : &found->second;
}

bool SimMachine::roll(Fault fault) {
  const unsigned per_mille = faults_.per_mille(fault);
  if (per_mille == 0 || random_.below(1000) >= per_mille) return false;
  fired_.count(fault);
  return true;
}

Duration SimMachine::pick_span(Duration most) {
  const auto bound = static_cast<std::uint64_t>(most.count()) >> random_.below(16);
  return Duration(static_cast<Duration::rep>(random_.below(bound + 1)));
}

Duration SimMachine::pick_delay(Duration most) {
  return roll(Fault::delay) ? pick_span(most) : Duration::zero();
}

void SimMachine::at(TimePoint when, std::function<void()> event) {
  events_.emplace(std::make_pair(when, next_event_++), std::move(event));
}

void SimMachine::note(std::string_view what, std::initializer_list<std::int64_t> values) {
  const auto mix = [this](std::uint64_t value) {
    trace_hash_ = (trace_hash_ ^ value) * 0x9e3779b97f4a7c15ULL;
    trace_hash_ ^= trace_hash_ >> 29;
  };
  for (char letter : what) mix(static_cast<unsigned char>(letter));
  mix(static_cast<std::uint64_t>(now().time_since_epoch().count()));
  for (std::int64_t value : values) mix(static_cast<std::uint64_t>(value));
  if (!trace_) return;
  std::string line =
      std::to_string(steps_) + " @" + std::to_string(now().time_since_epoch().count());
  line.append(" ").append(what);
  for (std::int64_t value : values) line.append(" ").append(std::to_string(value));
  trace_(line);
}

TimePoint SimMachine::next_time() {
  TimePoint next = events_.empty() ? kSimNever : events_.begin()->first.first;
  for (const auto& [id, reactor] : reactors_) next = std::min(next, reactor->ready_at());
  return next;
}

void SimMachine::move_clock(TimePoint to) {
  clock_.now_ = to;
  steps_at_this_time_ = 0;
}

std::size_t SimMachine::due_events() const {
  const auto end = events_.upper_bound(std::make_pair(now(), UINT64_MAX));
  return static_cast<std::size_t>(std::distance(events_.begin(), end));
}

void SimMachine::run_event(std::size_t index) {
  const auto event = std::next(events_.begin(), static_cast<std::ptrdiff_t>(index));
  const std::function<void()> fn = std::move(event->second);
  events_.erase(event);
  fn();
}

void SimMachine::begin_step() {
  static constexpr std::uint64_t kBusyMost = 1000;
  BERTH_ASSERT(!stepping_);  // a callback ran the machine
  stepping_ = true;
  ++steps_;
  if (++steps_at_this_time_ >= kBusyMost) move_clock(now() + std::chrono::milliseconds(1));
}

void SimMachine::end_step() {
  stepping_ = false;
  // Processes whose programs have ended go now, when nobody is inside of them.
  std::erase_if(processes_, [](const auto& entry) { return entry.second->buried(); });
}

bool SimMachine::run_something() {
  std::vector<SimReactor*> ready;
  for (const auto& [id, reactor] : reactors_) {
    if (reactor->ready_at() <= now()) ready.push_back(reactor);
  }
  const std::size_t due = due_events();
  if (ready.empty() && due == 0) return false;
  begin_step();
  const std::size_t choice = random_.below(ready.size() + due);
  if (choice < ready.size()) {
    ready[choice]->turn();
  } else {
    run_event(choice - ready.size());
  }
  end_step();
  return true;
}

bool SimMachine::poll(SimReactor& reactor) {
  static constexpr std::uint64_t kMostNanoseconds = 20'000;
  move_clock(now() + Duration(1 + static_cast<Duration::rep>(random_.below(kMostNanoseconds))));
  begin_step();
  bool happened = false;
  for (std::size_t due = due_events(); due > 0; due = due_events()) {
    run_event(random_.below(due));
    happened = true;
  }
  happened |= reactor.turn();
  end_step();
  return happened;
}

bool SimMachine::step_now() {
  return run_something();
}

bool SimMachine::step() {
  if (run_something()) return true;
  const TimePoint next = next_time();
  if (next == kSimNever) return false;
  BERTH_ASSERT(next > now());
  move_clock(next);
  return run_something();
}

SimMachine::Outcome SimMachine::run_until(const std::function<bool()>& done, Duration limit,
                                          std::uint64_t steps_max) {
  const TimePoint end = now() + limit;
  for (std::uint64_t i = 0; !done(); ++i) {
    if (i == steps_max) return Outcome::too_many_steps;
    if (run_something()) continue;
    const TimePoint next = next_time();
    if (next == kSimNever) return Outcome::stuck;
    if (next > end) {
      move_clock(end);
      return Outcome::timed_out;
    }
    move_clock(next);
  }
  return Outcome::reached;
}

void SimMachine::run_for(Duration span) {
  const TimePoint end = now() + span;
  const Outcome outcome = run_until([] { return false; }, span, UINT64_MAX);
  if (outcome == Outcome::stuck) move_clock(end);
}

void SimMachine::sleep_until(TimePoint when) {
  BERTH_ASSERT(!stepping_ && when >= now());
  move_clock(when);
}

void SimMachine::run_task(SimReactor& reactor, Task<void> task) {
  Scope scope(reactor);
  scope.spawn(std::move(task));
  const Outcome outcome = run_until([&scope] { return scope.size() == 0; });
  BERTH_ASSERT(outcome == Outcome::reached);
}

std::pair<Handle, Handle> SimMachine::make_pipe() {
  SimEndpointPair ends = make_sim_pipe(*this);
  const std::pair<Handle, Handle> handles(next_handle(), next_handle());
  unowned_.emplace(handles.first, std::move(ends.first));
  unowned_.emplace(handles.second, std::move(ends.second));
  return handles;
}

std::pair<Handle, Handle> SimMachine::make_connection() {
  SimEndpointPair ends = make_sim_connection(*this);
  const std::pair<Handle, Handle> handles(next_handle(), next_handle());
  unowned_.emplace(handles.first, std::move(ends.first));
  unowned_.emplace(handles.second, std::move(ends.second));
  return handles;
}

bool SimMachine::take_unowned(Handle handle, SimEndpoint& endpoint) {
  const auto found = unowned_.find(handle);
  if (found == unowned_.end()) return false;
  endpoint = std::move(found->second);
  unowned_.erase(found);
  return true;
}

std::uint64_t SimMachine::add_reactor(SimReactor& reactor) {
  reactors_.emplace(next_reactor_, &reactor);
  return next_reactor_++;
}

void SimMachine::remove_reactor(std::uint64_t id) {
  reactors_.erase(id);
}

Result<std::string> SimMachine::bind(const std::string& address, SimReactor& reactor,
                                     Handle handle) {
  Result<net::SocketAddress> parsed = net::parse(address);
  if (!parsed.has_value()) return fail(std::move(parsed.error()));
  std::string name = net::to_text(*parsed);
  if (parsed->family() != AF_UNIX && name.ends_with(":0")) {
    name.replace(name.size() - 1, 1, std::to_string(next_port_++));
  }
  const bool added = listeners_.emplace(name, Listening{&reactor, handle}).second;
  if (!added) return fail(ErrorKind::conflict, "address_in_use", name + " is in use");
  note("listen", {handle});
  return name;
}

void SimMachine::unbind(const std::string& address) {
  listeners_.erase(address);
}

Result<SimEndpoint> SimMachine::connect(const std::string& address) {
  Result<net::SocketAddress> parsed = net::parse(address);
  if (!parsed.has_value()) return fail(std::move(parsed.error()));
  const std::string name = net::to_text(*parsed);
  const auto found = listeners_.find(name);
  if (found == listeners_.end()) return fail(errno_error(ECONNREFUSED, "connecting to " + name));
  SimEndpointPair ends = make_sim_connection(*this);
  ends.first.address = name;
  ends.second.address = "127.0.0.1:" + std::to_string(next_port_++);
  SimEndpoint* listener = found->second.reactor->find(found->second.handle);
  listener->backlog.push_back({std::move(ends.second), now() + pick_delay(kSimDelayMost)});
  note("connect", {found->second.handle});
  return std::move(ends.first);
}

void SimMachine::move_listener(const std::string& address, SimReactor& to) {
  listeners_.at(address).reactor = &to;
}

Result<int> SimMachine::start_child(SimReactor& parent, const std::string& command,
                                    std::vector<std::string> arguments) {
  const SimProgram* program = find_program(command);
  if (program == nullptr) return fail(errno_error(ENOENT, "exec " + command));
  if (roll(Fault::spawn_failure)) return fail(errno_error(EAGAIN, "fork"));
  LaunchSpec spec;
  spec.command = command;
  spec.arguments = std::move(arguments);
  spec.working_directory = "/";
  auto process = std::make_unique<SimProcess>(*this, next_host(), spec);
  const int pid = process->id().pid;
  add_child(pid, parent.process_id());
  process->launch(*program, [this, pid](ExitStatus status) { child_ended(pid, status); });
  add_process(std::move(process));
  return pid;
}

Result<ExitStatus> SimMachine::reap(SimReactor& parent, int pid) {
  const auto found = children_.find(pid);
  if (found == children_.end() || found->second.parent != parent.process_id()) {
    return fail(ErrorKind::not_found, "no_such_child", "process " + std::to_string(pid));
  }
  if (!found->second.ended) {
    return fail(ErrorKind::busy, "child_runs", "process " + std::to_string(pid) + " runs");
  }
  const ExitStatus status = found->second.status;
  children_.erase(found);
  return status;
}

void SimMachine::child_ended(int pid, ExitStatus status) {
  const auto found = children_.find(pid);
  if (found == children_.end()) return;
  found->second.ended = true;
  found->second.known_at = now() + pick_delay(kSimDelayMost);
  found->second.status = status;
}

const SimMachine::Child* SimMachine::find_child(int pid) const {
  const auto found = children_.find(pid);
  return found == children_.end() ? nullptr : &found->second;
}

void SimMachine::add_process(std::unique_ptr<SimProcess> process) {
  const int pid = process->id().pid;
  processes_.emplace(pid, std::move(process));
}

SimProcess* SimMachine::find_process(int pid) {
  const auto found = processes_.find(pid);
  return found == processes_.end() ? nullptr : found->second.get();
}

std::size_t SimMachine::live_processes() const {
  return processes_.size();
}

void SimMachine::for_each_process(const std::function<void(SimProcess&)>& fn) {
  for (auto& [pid, process] : processes_) {
    if (!process->dead()) fn(*process);
  }
}

}  // namespace berth::inline v0::io
