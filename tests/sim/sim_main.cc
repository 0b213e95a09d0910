// The crash simulation as a program: one seed told in lines, or many.
#include "world.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

using berth::sim_test::World;
using berth::sim_test::WorldReport;

int usage() {
  std::fputs("usage: sim --seed N [--trace] | --runs N [--from N]\n", stderr);
  return 2;
}

int run_one(std::uint64_t seed, bool trace) {
  berth::sim_test::announce_seed(seed);
  World world(seed);
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

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seed = 0;
  std::uint64_t runs = 0;
  std::uint64_t from = 1;
  bool trace = false;
  for (int i = 1; i < argc; ++i) {
    std::uint64_t* number = nullptr;
    if (std::strcmp(argv[i], "--seed") == 0) number = &seed;
    if (std::strcmp(argv[i], "--runs") == 0) number = &runs;
    if (std::strcmp(argv[i], "--from") == 0) number = &from;
    if (number != nullptr && i + 1 < argc) {
      *number = std::strtoull(argv[++i], nullptr, 10);
    } else if (std::strcmp(argv[i], "--trace") == 0) {
      trace = true;
    } else {
      return usage();
    }
  }
  if (runs > 0) return run_many(from, runs);
  return seed > 0 ? run_one(seed, trace) : usage();
}
