// tests/unit/io/sim_rig.h — the simulated engine for the conformance suite.
#pragma once

#include "reactor_conformance.h"

#include <berth/io/sim_machine.h>
#include <berth/io/sim_reactor.h>

#include <deque>
#include <string>
#include <vector>

namespace berth::inline v0::io {

class SimRig final : public ReactorRig {
 public:
  /// Adds what went wrong to `tally` when it ends, if there is one.
  SimRig(std::uint64_t seed, FaultPlan faults, FaultCounts* tally = nullptr);
  SimRig(const SimRig&) = delete;
  SimRig& operator=(const SimRig&) = delete;
  ~SimRig() override;

  SimMachine& machine() { return machine_; }
  Reactor& reactor() override { return reactor_; }
  PipeEnds make_pipe() override;
  std::size_t open_handles() override { return reactor_.open_handles() + other_.open_handles(); }
  Reactor& other() override { return other_; }
  void elsewhere(std::vector<std::function<void()>> steps) override;
  bool wait_outside(Reactor& which) override;
  std::string folder() override { return "/folder"; }
  int start_child() override;
  void end_child(int pid) override;
  int reap_child(int pid) override;

 private:
  SimMachine machine_;
  SimReactor reactor_{machine_, "suite"};
  SimReactor other_{machine_, "other"};
  std::deque<SimReactor> threads_;
  FaultCounts* tally_;
};

}  // namespace berth::inline v0::io
