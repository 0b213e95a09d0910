// bench/common/facts.h — what every report of a bench says: spreads of figures, and the machine.
#pragma once

#include <berth/core/json_writer.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::bench {

/// Of a figure over the rounds: a quarter of them lies below `low`, a quarter above `high`.
struct Spread {
  double median = 0;
  double low = 0;
  double high = 0;
};
Spread spread_of(std::vector<double> values);

/// Writes [low, median, high].
void write_spread(JsonWriter& json, std::string_view name, const Spread& spread, int digits);
double rounded(double value, int digits);

/// The first number of /proc/loadavg.
std::string load_average();
/// Writes the member "machine": kernel, CPU, cores, compiler, load before and now.
void write_machine(JsonWriter& json, const std::string& load_before);

}  // namespace berth::bench
