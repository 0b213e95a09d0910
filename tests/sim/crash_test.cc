#include "world.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <iostream>

namespace berth::sim_test {
namespace {

using Wall = std::chrono::steady_clock;

bool full_run() {
  const char* full = std::getenv("BERTH_FULL");
  return full != nullptr && *full == '1';
}

WorldReport run_seed(std::uint64_t seed) {
  announce_seed(seed);
  World world(seed);
  return world.run();
}

TEST(Crash, ClientsKeepATrueCopyOfTheLogOverTheCrashesOfTheServer) {
  // Under sanitizers and beside other work a seed may take ten times as long as otherwise.
  const std::uint64_t seeds_max = full_run() ? 10'000 : 1'000;
  const auto late = Wall::now() + std::chrono::minutes(full_run() ? 30 : 10);
  const auto started = Wall::now();
  WorldReport sum;
  int failures = 0;
  std::uint64_t seeds = 0;
  while (seeds < seeds_max && failures < 3 && Wall::now() < late) {
    const std::uint64_t seed = ++seeds;
    const WorldReport report = run_seed(seed);
    sum.add(report);
    if (report.wrong.empty()) continue;
    ++failures;
    ADD_FAILURE() << report.wrong << "\nreplay: build/tests/sim/sim --seed " << seed;
  }
  const std::chrono::duration<double> took = Wall::now() - started;
  std::cout << "figure: " << seeds << " seeds in " << took.count() << " s: " << sum.summary()
            << "\n";
  // A run that never meets what it is about proves nothing.
  EXPECT_GT(sum.crashes, seeds / 2);
  EXPECT_GT(sum.crashes_in_write, seeds / 20);
  EXPECT_GT(sum.crashes_in_start, seeds / 100);
  EXPECT_GT(sum.power_cuts, seeds / 20);
  EXPECT_GT(sum.disk_errors, seeds / 100);
  EXPECT_GT(sum.full_disks, seeds / 4);
  EXPECT_GT(sum.clock_jumps, seeds / 4);
  EXPECT_GT(sum.interrupted, seeds / 4);
  EXPECT_GT(sum.switches, seeds / 4);
  EXPECT_GT(sum.decisions, seeds / 100);
  EXPECT_GT(sum.expired, seeds / 200);
  EXPECT_GT(sum.filled_in, seeds / 100);
  EXPECT_GT(sum.edits, seeds / 20);
  EXPECT_GT(sum.sent_now, seeds / 50);
  EXPECT_GT(sum.revived, seeds / 50);
  EXPECT_GT(sum.timed_out, seeds / 50);
  EXPECT_GT(sum.cut, seeds / 50);
  EXPECT_GT(sum.resets, seeds / 100);
  EXPECT_GT(sum.shared, seeds / 10);
  EXPECT_GT(sum.shared_deaths, seeds / 200);
  EXPECT_GT(sum.generations, seeds / 50);
  EXPECT_GT(sum.capped, seeds / 4);
  EXPECT_GT(sum.evictions, seeds / 4);
  EXPECT_GT(sum.stalls, seeds / 50);
  EXPECT_GT(sum.agents_killed, seeds / 4);
  EXPECT_GT(sum.store_checks, seeds / 4);
}

TEST(Crash, TheSameSeedGivesTheSameRun) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    const WorldReport once = run_seed(seed);
    const WorldReport again = run_seed(seed);
    EXPECT_EQ(once.trace_hash, again.trace_hash) << "seed " << seed;
    EXPECT_EQ(once.summary(), again.summary()) << "seed " << seed;
  }
}

}  // namespace
}  // namespace berth::sim_test
