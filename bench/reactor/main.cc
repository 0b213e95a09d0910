// bench/reactor/main.cc — `berth-reactor-bench`: the same jobs on berth's engines, on bare system
// calls and on Asio.
//
//   berth-reactor-bench [--quick] [--rounds N] [--json FILE] [--only WORD]...
//
// Each contestant is a process of its own; within a round they take turns, so that other load on
// the machine meets all of them alike. A figure is the median of the rounds, a ratio is formed
// within the round. Exits with 1 when a contestant loses a message or a lane of berth allocates in
// a steady state; never because of time. --only takes scenarios and contestants whose names hold
// the word; --quick does two rounds of what is quick to set up.
#include "lane_process.h"
#include "report.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace berth::bench {
namespace {

/// Until buffers, heaps and caches have the size that they keep.
constexpr std::size_t kWarmUpRounds = 2;
constexpr std::size_t kQuickRounds = 2;

struct Options {
  std::size_t rounds = 0;  // 0: what the scenario says
  bool quick = false;
  std::string json;
  std::vector<std::string> only;
};

[[noreturn]] void usage() {
  std::fprintf(stderr,
               "usage: berth-reactor-bench [--quick] [--rounds N] [--json FILE] [--only WORD]...\n"
               "scenarios:\n");
  for (const Scenario& scenario : scenarios()) {
    std::fprintf(stderr, "  %-18s %s\n", std::string(scenario.name).c_str(),
                 std::string(scenario.what).c_str());
  }
  std::fprintf(stderr, "contestants:\n");
  for (const Contestant& contestant : contestants()) {
    std::fprintf(stderr, "  %-18s %s\n", std::string(contestant.name).c_str(),
                 std::string(contestant.what).c_str());
  }
  std::exit(2);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&]() -> std::string { return ++i < argc ? argv[i] : (usage(), ""); };
    if (name == "--quick") {
      options.quick = true;
      options.rounds = kQuickRounds;
    } else if (name == "--rounds") {
      options.rounds = std::max<std::size_t>(std::strtoul(value().c_str(), nullptr, 10), 1);
    } else if (name == "--json") {
      options.json = value();
    } else if (name == "--only") {
      options.only.push_back(value());
    } else {
      usage();
    }
  }
  return options;
}

/// Words that fit no name of its kind leave that kind alone.
template <typename T>
bool wanted(const T& one, std::span<const T> all, const std::vector<std::string>& words) {
  bool about_this_kind = false;
  for (const std::string& word : words) {
    if (one.name.find(word) != std::string_view::npos) return true;
    about_this_kind |= std::any_of(all.begin(), all.end(), [&](const T& other) {
      return other.name.find(word) != std::string_view::npos;
    });
  }
  return !about_this_kind;
}

ScenarioResult measure(const Scenario& scenario, const std::string& folder,
                       const Options& options) {
  ScenarioResult result;
  result.scenario = &scenario;
  std::vector<std::unique_ptr<LaneProcess>> processes;
  const std::span<const Contestant> all = contestants();
  for (const Contestant& contestant : all) {
    // The reference is always there: without it there is no ratio.
    if (&contestant != &all.front() && !wanted(contestant, all, options.only)) continue;
    if (!takes_part(contestant, scenario)) continue;
    processes.push_back(std::make_unique<LaneProcess>(folder, scenario, contestant));
    result.lanes.push_back(LaneResult{&contestant, {}});
  }
  const std::size_t rounds = options.rounds > 0 ? options.rounds : scenario.rounds;
  for (std::size_t round = 0; round < kWarmUpRounds + rounds; ++round) {
    for (std::size_t turn = 0; turn < processes.size(); ++turn) {
      const std::size_t lane = (round + turn) % processes.size();
      const Sample sample = processes[lane]->round();
      if (round >= kWarmUpRounds) result.lanes[lane].rounds.push_back(sample);
    }
  }
  return result;
}

int run(const Options& options) {
  const std::string folder = std::filesystem::canonical("/proc/self/exe").parent_path();
  const std::string load_before = load_average();
  std::vector<ScenarioResult> results;
  for (const Scenario& scenario : scenarios()) {
    if (!wanted(scenario, scenarios(), options.only)) continue;
    if (options.quick && scenario.slow_to_set_up()) continue;
    results.push_back(measure(scenario, folder, options));
    print_scenario(results.back());
  }
  print_verdicts(judge(results));
  std::printf("load average before %s, after %s\n", load_before.c_str(), load_average().c_str());
  if (!options.json.empty()) std::ofstream(options.json) << to_json(results, load_before) << "\n";
  const std::vector<std::string> allocating = allocating_lanes(results);
  for (const std::string& name : allocating) {
    std::fprintf(stderr, "%s allocates in a steady state\n", name.c_str());
  }
  return allocating.empty() ? 0 : 1;
}

}  // namespace
}  // namespace berth::bench

int main(int argc, char** argv) {
  if (argc == 4 && std::string_view(argv[1]) == "--lane") {
    return berth::bench::serve_lane(argv[2], argv[3]);
  }
  return berth::bench::run(berth::bench::parse(argc, argv));
}
