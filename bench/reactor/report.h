// bench/reactor/report.h — what the rounds of a run come to: medians, ratios within the round,
// tables, JSON.
#pragma once

#include "facts.h"
#include "lane.h"

#include <string>
#include <vector>

namespace berth::bench {

struct LaneResult {
  const Contestant* contestant = nullptr;
  std::vector<Sample> rounds;
};

struct ScenarioResult {
  const Scenario* scenario = nullptr;
  std::vector<LaneResult> lanes;  ///< All with the same rounds; the first is the reference.

  const LaneResult* find(std::string_view contestant) const;
};

/// Of each round: CPU (or p50) of `lane` over that of `against` in the same round.
Spread ratio_of(const LaneResult& lane, const LaneResult& against, bool latency);

/// A wanted figure next to the one that was measured.
struct Verdict {
  const Target* target = nullptr;
  Spread ratio;
};
std::vector<Verdict> judge(const std::vector<ScenarioResult>& results);

/// Names of lanes that called operator new although they must not.
std::vector<std::string> allocating_lanes(const std::vector<ScenarioResult>& results);

void print_scenario(const ScenarioResult& result);
void print_verdicts(const std::vector<Verdict>& verdicts);
std::string to_json(const std::vector<ScenarioResult>& results, const std::string& load_before);

}  // namespace berth::bench
