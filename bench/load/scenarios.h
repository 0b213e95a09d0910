// bench/load/scenarios.h — what is measured; each scenario starts servers of its own.
#pragma once

#include "load_run.h"

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace berth::bench {

/// Named figures of one run, in the order of the table.
using Figures = std::vector<std::pair<std::string, double>>;

struct Scenario {
  std::string name;
  Figures (*run)(const Programs& programs);
};

/// In the order in which they run.
const std::vector<Scenario>& scenarios();

}  // namespace berth::bench
