// bench/load/report.h — what the runs come to: tables for people, JSON for docs/performance.md.
#pragma once

#include "facts.h"
#include "scenarios.h"

#include <string>
#include <vector>

namespace berth::bench {

struct HostResult {
  const Host* host = nullptr;
  std::vector<Figures> rounds;

  /// Of all rounds that have this figure; nothing measured: all zero.
  Spread spread(std::string_view figure) const;
  bool has(std::string_view figure) const;
};

struct ScenarioResult {
  const Scenario* scenario = nullptr;
  std::vector<HostResult> hosts;
  double seconds = 0;  ///< What all its rounds took.

  const HostResult* find(std::string_view host) const;
};

/// A host that was asked for.
struct HostFacts {
  const Host* host = nullptr;
  std::string version;
  std::string missing;  ///< Why it took no part; empty: it did.
};

struct Report {
  std::string load_before;
  std::string engine;
  std::vector<HostFacts> hosts;
  std::vector<ScenarioResult> scenarios;
};

/// The medians of a scenario, a column for each host, to stdout.
void print_scenario(const ScenarioResult& result);
/// Wanted figures beside those of berth, to stdout.
void print_targets(const std::vector<ScenarioResult>& results);
std::string to_json(const Report& report);

}  // namespace berth::bench
