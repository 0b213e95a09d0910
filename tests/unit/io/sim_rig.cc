#include "sim_rig.h"

#include <berth/io/awaitables.h>
#include <berth/io/sim_process.h>

namespace berth::inline v0::io {

namespace {

/// Does nothing until somebody ends it.
Task<int> patient_program(SimProcess& process) {
  co_await Sleep(process.reactor(), TimePoint::max(), process.stop_token());
  co_return 1;
}

}  // namespace

SimRig::SimRig(std::uint64_t seed, FaultPlan faults, FaultCounts* tally)
    : machine_(seed, faults), tally_(tally) {
  machine_.add_program("patient", patient_program);
  BERTH_ASSERT(machine_.disk().make_directories("/folder", 0700).has_value());
  other_.share_process_of(reactor_);
}

SimRig::~SimRig() {
  if (tally_ != nullptr) tally_->add(machine_.fired());
}

PipeEnds SimRig::make_pipe() {
  const std::pair<Handle, Handle> ends = machine_.make_pipe();
  return PipeEnds{reactor_.adopt(ends.first).value(), reactor_.adopt(ends.second).value()};
}

void SimRig::elsewhere(std::vector<std::function<void()>> steps) {
  SimReactor& thread = threads_.emplace_back(machine_, "elsewhere");
  for (std::function<void()>& step : steps) thread.inject(std::move(step));
}

bool SimRig::wait_outside(Reactor& which) {
  const std::optional<TimePoint> deadline = which.next_deadline();
  // Nothing of its own is to come: whatever else there is in this world happens now.
  if (!deadline.has_value()) return machine_.step();
  if (*deadline > machine_.now()) machine_.sleep_until(*deadline);
  return true;
}

int SimRig::start_child() {
  const Result<int> pid = machine_.start_child(reactor_, "patient", {});
  return pid.has_value() ? *pid : -1;
}

void SimRig::end_child(int pid) {
  machine_.find_process(pid)->exit(0);
}

int SimRig::reap_child(int pid) {
  Result<ExitStatus> status = machine_.reap(reactor_, pid);
  while (!status.has_value() && status.error().kind == ErrorKind::busy) {
    machine_.step();
    status = machine_.reap(reactor_, pid);
  }
  if (!status.has_value() || status->kind != ExitStatus::Kind::exited) return -1;
  return status->value;
}

}  // namespace berth::inline v0::io
