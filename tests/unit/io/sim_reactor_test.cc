#include "sim_rig.h"

namespace berth::inline v0::io {
namespace {

/// What went wrong in all runs of the suite under the gentle plan.
FaultCounts& gentle_tally() {
  static FaultCounts tally;
  return tally;
}

/// Pipes hold what Linux's hold: the suite counts on that.
FaultPlan gentle_plan() {
  return FaultPlan::gentle().set(Fault::small_pipe, 0);
}

std::vector<EngineUnderTest> engines(const char* name, FaultPlan faults, FaultCounts* tally,
                                     std::uint64_t count) {
  std::vector<EngineUnderTest> all;
  for (std::uint64_t seed = 1; seed <= count; ++seed) {
    all.push_back(EngineUnderTest{name + std::to_string(seed), [seed, faults, tally] {
                                    return std::make_unique<SimRig>(seed, faults, tally);
                                  }});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(SimCalm, ReactorConformance,
                         testing::ValuesIn(engines("calm", FaultPlan::none(), nullptr, 5)),
                         [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(SimGentle, ReactorConformance,
                         testing::ValuesIn(engines("seed", gentle_plan(), &gentle_tally(), 12)),
                         [](const auto& info) { return info.param.name; });

/// A suite in which an enabled fault never fired did not test what it is about.
class EachFaultFired final : public testing::Environment {
 public:
  void TearDown() override {
    if (testing::GTEST_FLAG(filter) != "*") return;
    // The suite starts no blocking jobs; sim_test.cc does.
    EXPECT_EQ(gentle_tally().never_fired(gentle_plan().set(Fault::offload_stall, 0)), "");
  }
};
[[maybe_unused]] const testing::Environment* const kEachFaultFired =
    testing::AddGlobalTestEnvironment(new EachFaultFired);

}  // namespace
}  // namespace berth::inline v0::io
