// bench/load/berth_load.cc — `berth-load`: what berth costs under load, seen from outside.
//
//   berth-load [--berth PATH] [--agent PATH] [--bare PATH | --no-bare] [--runs N] [SCENARIO...]
//
// Programs are looked for beside this one in the build folder. Each run of each scenario starts
// fresh servers and prints its figures as a line of JSON on stdout; at the end a table of medians
// goes to stderr. See README.md.
#include "scenarios.h"

#include <sys/resource.h>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace berth::bench {
namespace {

struct Options {
  Programs programs;
  std::size_t runs = 1;
  std::vector<std::string> names;
};

[[noreturn]] void usage() {
  std::fprintf(stderr,
               "usage: berth-load [--berth PATH] [--agent PATH] [--bare PATH | --no-bare] "
               "[--runs N] [SCENARIO...]\nscenarios:");
  for (const Scenario& scenario : scenarios()) std::fprintf(stderr, " %s", scenario.name.c_str());
  std::fprintf(stderr, "\n");
  std::exit(2);
}

Options parse(int argc, char** argv) {
  const auto build = std::filesystem::canonical("/proc/self/exe").parent_path() / "../..";
  Options options;
  options.programs.berth = build / "server/berth";
  options.programs.agent = build / "bench/agents/berth-flood-agent";
  options.programs.bare = build / "bench/load/berth-bare-loop";
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&]() -> std::string { return ++i < argc ? argv[i] : (usage(), ""); };
    if (name == "--berth") {
      options.programs.berth = value();
    } else if (name == "--agent") {
      options.programs.agent = value();
    } else if (name == "--bare") {
      options.programs.bare = value();
    } else if (name == "--no-bare") {
      options.programs.bare.clear();
    } else if (name == "--runs") {
      options.runs = std::max<std::size_t>(std::strtoul(value().c_str(), nullptr, 10), 1);
    } else if (name.starts_with("-")) {
      usage();
    } else {
      options.names.push_back(name);
    }
  }
  for (std::string* path : {&options.programs.berth, &options.programs.agent}) {
    *path = std::filesystem::canonical(*path);
  }
  return options;
}

void print_json(const std::string& scenario, std::size_t run, const Figures& figures) {
  std::printf(R"({"scenario":"%s","run":%zu)", scenario.c_str(), run);
  for (const auto& [name, value] : figures) std::printf(R"(,"%s":%.6g)", name.c_str(), value);
  std::printf("}\n");
  std::fflush(stdout);
}

/// Medians of figures that the runs name alike, in the order of the first.
Figures medians(const std::vector<Figures>& runs) {
  Figures result = runs.front();
  for (std::size_t i = 0; i < result.size(); ++i) {
    std::vector<double> values;
    for (const Figures& run : runs) values.push_back(run[i].second);
    std::sort(values.begin(), values.end());
    result[i].second = values[values.size() / 2];
  }
  return result;
}

/// Two thousand descriptors are soon used up.
void raise_descriptor_limit() {
  rlimit limit = {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

int run(const Options& options) {
  raise_descriptor_limit();
  std::vector<std::pair<std::string, Figures>> table;
  for (const Scenario& scenario : scenarios()) {
    const auto& names = options.names;
    if (!names.empty() && std::find(names.begin(), names.end(), scenario.name) == names.end()) {
      continue;
    }
    std::vector<Figures> runs;
    for (std::size_t i = 0; i < options.runs; ++i) {
      runs.push_back(scenario.run(options.programs));
      print_json(scenario.name, i + 1, runs.back());
    }
    table.emplace_back(scenario.name, medians(runs));
  }
  if (table.empty()) usage();
  std::fprintf(stderr, "\nmedians of %zu\n", options.runs);
  for (const auto& [name, figures] : table) {
    std::fprintf(stderr, "%s\n", name.c_str());
    for (const auto& [what, value] : figures) {
      std::fprintf(stderr, "  %-30s %12.6g\n", what.c_str(), value);
    }
  }
  return 0;
}

}  // namespace
}  // namespace berth::bench

int main(int argc, char** argv) {
  return berth::bench::run(berth::bench::parse(argc, argv));
}
