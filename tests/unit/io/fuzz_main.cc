// The differential fuzzer as a program: one seed told in lines, or many.
#include "fuzz_compare.h"

#include "seed_notice.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

using namespace berth::io::fuzz;

int usage() {
  std::fputs(
      "usage: reactor_fuzz --seed N [--runs N] [--engines uring,tiny,plain,asio,sim] [--tell]\n"
      "  --seed N     the first seed; each run takes the next\n"
      "  --engines    compared with each other; with sim, also with what it explores\n"
      "  --tell       prints the program of each seed\n",
      stderr);
  return 2;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> words;
  std::size_t at = 0;
  while (at <= text.size()) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    words.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return words;
}

bool known(const std::vector<std::string>& engines) {
  for (const std::string& engine : engines) {
    bool found = engine == "sim";
    for (const std::string& real : real_engines()) found |= engine == real;
    if (!found) return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seed = 0;
  std::uint64_t runs = 1;
  bool tell = false;
  std::vector<std::string> engines = real_engines();
  engines.emplace_back("sim");
  for (int i = 1; i < argc; ++i) {
    const bool value = i + 1 < argc;
    if (std::strcmp(argv[i], "--seed") == 0 && value) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (std::strcmp(argv[i], "--runs") == 0 && value) {
      runs = std::strtoull(argv[++i], nullptr, 10);
    } else if (std::strcmp(argv[i], "--engines") == 0 && value) {
      engines = split(argv[++i]);
    } else if (std::strcmp(argv[i], "--tell") == 0) {
      tell = true;
    } else {
      return usage();
    }
  }
  if (seed == 0 || !known(engines)) return usage();
  Totals totals;
  int failures = 0;
  for (std::uint64_t i = 0; i < runs; ++i) {
    berth::io::announce_seed(seed + i);
    if (tell) std::fputs(describe(make_program(seed + i)).c_str(), stdout);
    const Verdict verdict = compare(seed + i, engines, totals);
    if (verdict.wrong.empty()) continue;
    ++failures;
    std::printf("WRONG: %s\n", verdict.wrong.c_str());
    std::fflush(stdout);
  }
  std::printf("%llu programs, %d wrong: %llu operations, %llu schedules, %llu objects raced\n%s\n",
              static_cast<unsigned long long>(totals.programs), failures,
              static_cast<unsigned long long>(totals.operations),
              static_cast<unsigned long long>(totals.simulations),
              static_cast<unsigned long long>(totals.races), totals.faults.summary().c_str());
  return failures == 0 ? 0 : 1;
}
