// Random programs of operations on every engine, compared with each other.
#include "fuzz_compare.h"
#include "seed_notice.h"
#include "sim_rig.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <random>

namespace berth::inline v0::io::fuzz {
namespace {

using Wall = std::chrono::steady_clock;

bool full_run() {
  const char* full = std::getenv("BERTH_FULL");
  return full != nullptr && *full == '1';
}

std::vector<std::string> all_engines() {
  std::vector<std::string> engines = real_engines();
  engines.emplace_back("sim");
  return engines;
}

/// Compares seeds from `first` on until the time is over or one is wrong.
void compare_for(std::chrono::seconds time, std::uint64_t first, std::uint64_t programs_min,
                 Totals& totals) {
  const Wall::time_point end = Wall::now() + time;
  for (std::uint64_t seed = first; Wall::now() < end || totals.programs < programs_min; ++seed) {
    announce_seed(seed);
    const Verdict verdict = compare(seed, all_engines(), totals);
    ASSERT_EQ(verdict.wrong, "") << "replay: reactor_fuzz --tell --seed " << seed << "\n"
                                 << describe(make_program(seed));
  }
}

TEST(ReactorFuzz, EnginesAgreeOnRandomProgramsAndStayWithinWhatSimulationExplores) {
  Totals totals;
  compare_for(std::chrono::seconds(full_run() ? 120 : 8), 1, 20, totals);
  // Fresh ones where a person reads the answer: a way that an engine went and that the simulator
  // did not find in its schedules is rare, but must not fail a change that has nothing to do with
  // it.
  const std::uint64_t fresh = std::random_device()() | std::uint64_t{1} << 32;
  if (full_run() && !HasFatalFailure()) {
    compare_for(std::chrono::seconds(300), fresh, 0, totals);
  }
  std::cout << "figure: " << totals.programs << " programs (seeds from 1"
            << (full_run() ? " and from " + std::to_string(fresh) : "") << "), "
            << totals.operations << " operations, " << totals.simulations
            << " simulated schedules, " << totals.races << " objects ended in more than one way\n";
  EXPECT_GT(totals.races, totals.programs / 10);
  EXPECT_EQ(totals.faults.never_fired(explored_faults()), "") << totals.faults.summary();
}

TEST(ReactorFuzz, ASimulatedScheduleRepeatsExactly) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const Program program = make_program(seed);
    std::uint64_t hashes[2] = {};
    for (std::uint64_t& hash : hashes) {
      SimRig rig(seed, FaultPlan::hostile());
      const Outcome outcome = run(rig, program, {.hostile = true});
      EXPECT_EQ(outcome.wrong, "");
      hash = rig.machine().trace_hash();
    }
    EXPECT_EQ(hashes[0], hashes[1]) << "seed " << seed;
  }
}

/// What the operations of the programs can meet.
FaultPlan hostile_plan() {
  FaultPlan plan = FaultPlan::hostile();
  for (const Fault fault :
       {Fault::offload_stall, Fault::spawn_failure, Fault::agent_kill, Fault::orphan}) {
    plan.set(fault, 0);
  }
  return plan;
}

TEST(ReactorFuzz, AMillionOperationsMeetEveryFault) {
  constexpr std::uint64_t kOperations = 1'000'000;
  const std::clock_t started = std::clock();  // processor time: others use this machine, too
  std::uint64_t operations = 0;
  std::uint64_t seed = 0;
  FaultCounts faults;
  while (operations < kOperations) {
    announce_seed(++seed);
    const Program program = make_program(seed);
    SimRig rig(seed, hostile_plan(), &faults);
    const Outcome outcome = run(rig, program, {.hostile = true});
    ASSERT_EQ(outcome.wrong, "") << "seed " << seed;
    operations += outcome.operations;
  }
  const double took = static_cast<double>(std::clock() - started) / CLOCKS_PER_SEC;
  std::cout << "figure: " << operations << " simulated operations under faults in " << took
            << " s of processor time (" << seed << " seeds): " << faults.summary() << "\n";
  EXPECT_EQ(faults.never_fired(hostile_plan()), "");
}

}  // namespace
}  // namespace berth::inline v0::io::fuzz
