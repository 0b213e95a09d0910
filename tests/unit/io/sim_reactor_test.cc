#include "reactor_conformance.h"

#include <berth/io/sim_machine.h>
#include <berth/io/sim_reactor.h>

namespace berth::io {
namespace {

class SimRig final : public ReactorRig {
 public:
  SimRig(std::uint64_t seed, FaultPlan faults) : machine_(seed, faults) {}
  Reactor& reactor() override { return reactor_; }
  PipeEnds make_pipe() override {
    const std::pair<Handle, Handle> ends = machine_.make_pipe();
    return PipeEnds{reactor_.adopt(ends.first).value(), reactor_.adopt(ends.second).value()};
  }
  std::size_t open_handles() override { return reactor_.open_handles(); }

 private:
  SimMachine machine_;
  SimReactor reactor_{machine_, "suite"};
};

std::vector<EngineUnderTest> engines(const char* name, FaultPlan faults, std::uint64_t count) {
  std::vector<EngineUnderTest> all;
  for (std::uint64_t seed = 1; seed <= count; ++seed) {
    all.push_back(EngineUnderTest{name + std::to_string(seed), [seed, faults] {
                                    return std::make_unique<SimRig>(seed, faults);
                                  }});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(SimCalm, ReactorConformance,
                         testing::ValuesIn(engines("calm", FaultPlan::none(), 5)),
                         [](const auto& info) { return info.param.name; });

// Everything that a correct program hides, but pipes hold what Linux's hold: the suite counts on
// that.
INSTANTIATE_TEST_SUITE_P(
    SimGentle, ReactorConformance,
    testing::ValuesIn(engines("seed", FaultPlan::gentle().set(Fault::small_pipe, 0), 12)),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace berth::io
