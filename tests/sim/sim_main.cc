// The crash simulation as a program: one seed told in lines, many, or one made as simple as it
// gets.
#include "world.h"

#include <sys/wait.h>
#include <unistd.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

namespace {

using berth::sim_test::World;
using berth::sim_test::WorldLimits;
using berth::sim_test::WorldReport;

int usage() {
  std::fputs(
      "usage: sim --seed N [--trace | --minimise] [--lives N] [--actions N] [--calm]\n"
      "           [--sound-disk] [--true-clock] [--one-session]\n"
      "       sim --runs N [--from N]\n",
      stderr);
  return 2;
}

int run_one(std::uint64_t seed, const WorldLimits& limits, bool trace) {
  berth::sim_test::announce_seed(seed);
  World world(seed, limits);
  const auto print = [](std::string_view line) {
    std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
  };
  world.tell_to(print);
  if (trace) world.trace_to(print);
  const WorldReport report = world.run();
  std::printf("seed %llu: %s\ntrace %016llx\n", static_cast<unsigned long long>(seed),
              report.summary().c_str(), static_cast<unsigned long long>(report.trace_hash));
  if (!report.wrong.empty()) std::printf("WRONG: %s\n", report.wrong.c_str());
  return report.wrong.empty() ? 0 : 1;
}

int run_many(std::uint64_t from, std::uint64_t runs) {
  WorldReport sum;
  std::uint64_t failures = 0;
  for (std::uint64_t seed = from; seed < from + runs; ++seed) {
    berth::sim_test::announce_seed(seed);
    World world(seed);
    const WorldReport report = world.run();
    sum.add(report);
    if (report.wrong.empty()) continue;
    ++failures;
    std::printf("WRONG: %s\n", report.wrong.c_str());
    std::fflush(stdout);
  }
  std::printf("%llu seeds, %llu failed: %s\n", static_cast<unsigned long long>(runs),
              static_cast<unsigned long long>(failures), sum.summary().c_str());
  return failures == 0 ? 0 : 1;
}

// --- minimising ---

/// In a process of its own: what is wrong may be that the run does not even come to its end.
bool goes_wrong(std::uint64_t seed, const WorldLimits& limits) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child < 0) {
    std::perror("sim: fork");
    std::exit(2);
  }
  if (child == 0) {
    std::freopen("/dev/null", "w", stderr);
    World world(seed, limits);
    ::_exit(world.run().wrong.empty() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/// The lowest value that still goes wrong, if fewer go wrong only when more do.
void lower(std::uint64_t seed, WorldLimits& limits, std::uint64_t WorldLimits::* limit) {
  std::uint64_t good = 0;
  std::uint64_t bad = limits.*limit;
  while (good < bad) {
    WorldLimits tried = limits;
    tried.*limit = good + (bad - good) / 2;
    if (goes_wrong(seed, tried)) {
      bad = tried.*limit;
    } else {
      good = tried.*limit + 1;
    }
  }
  limits.*limit = bad;
}

int minimise(std::uint64_t seed, WorldLimits limits) {
  if (!goes_wrong(seed, limits)) {
    std::printf("seed %llu does not go wrong\n", static_cast<unsigned long long>(seed));
    return 0;
  }
  lower(seed, limits, &WorldLimits::lives_max);
  lower(seed, limits, &WorldLimits::actions_max);
  std::string command = "sim --seed " + std::to_string(seed) + " --lives " +
                        std::to_string(limits.lives_max) + " --actions " +
                        std::to_string(limits.actions_max);
  const std::pair<const char*, bool WorldLimits::*> switches[] = {
      {"--calm", &WorldLimits::calm},
      {"--sound-disk", &WorldLimits::sound_disk},
      {"--true-clock", &WorldLimits::true_clock},
      {"--one-session", &WorldLimits::one_session}};
  for (const auto& [name, without] : switches) {
    WorldLimits tried = limits;
    tried.*without = true;
    if (!goes_wrong(seed, tried)) continue;
    limits = tried;
    command += std::string(" ") + name;
  }
  std::printf("%s\n", command.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seed = 0;
  std::uint64_t runs = 0;
  std::uint64_t from = 1;
  WorldLimits limits;
  bool trace = false;
  bool simplest = false;
  const std::pair<const char*, std::uint64_t*> numbers[] = {{"--seed", &seed},
                                                            {"--runs", &runs},
                                                            {"--from", &from},
                                                            {"--lives", &limits.lives_max},
                                                            {"--actions", &limits.actions_max}};
  const std::pair<const char*, bool*> flags[] = {{"--trace", &trace},
                                                 {"--minimise", &simplest},
                                                 {"--calm", &limits.calm},
                                                 {"--sound-disk", &limits.sound_disk},
                                                 {"--true-clock", &limits.true_clock},
                                                 {"--one-session", &limits.one_session}};
  for (int i = 1; i < argc; ++i) {
    bool known = false;
    for (const auto& [name, number] : numbers) {
      if (known || std::strcmp(argv[i], name) != 0 || i + 1 == argc) continue;
      *number = std::strtoull(argv[++i], nullptr, 10);
      known = true;
    }
    for (const auto& [name, flag] : flags) {
      if (known || std::strcmp(argv[i], name) != 0) continue;
      *flag = true;
      known = true;
    }
    if (!known) return usage();
  }
  if (runs > 0) return run_many(from, runs);
  if (seed == 0) return usage();
  return simplest ? minimise(seed, limits) : run_one(seed, limits, trace);
}
