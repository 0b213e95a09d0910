#include "facts.h"

#include <sys/utsname.h>
#include <unistd.h>
#include <algorithm>
#include <cmath>
#include <fstream>

namespace berth::bench {

namespace {

std::string first_line_with(const char* path, std::string_view word) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (line.find(word) != std::string::npos) return line;
  }
  return {};
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const std::size_t last = values.size() - 1;
  return Spread{values[values.size() / 2], values[last / 4], values[last - last / 4]};
}

double rounded(double value, int digits) {
  const double scale = std::pow(10.0, digits);
  return std::round(value * scale) / scale;
}

void write_spread(JsonWriter& json, std::string_view name, const Spread& spread, int digits) {
  json.key(name).begin_array();
  for (const double value : {spread.low, spread.median, spread.high}) {
    json.number(rounded(value, digits));
  }
  json.end_array();
}

std::string load_average() {
  std::string line;
  std::ifstream("/proc/loadavg") >> line;
  return line;
}

void write_machine(JsonWriter& json, const std::string& load_before) {
  utsname system = {};
  ::uname(&system);
  json.key("machine").begin_object();
  const std::string release = system.release;  // behind a dash stands who built it
  json.member("kernel", release.substr(0, release.find('-')));
  std::string cpu = first_line_with("/proc/cpuinfo", "model name");
  cpu.erase(0, std::min(cpu.find(": ") + 2, cpu.size()));
  json.member("cpu", cpu);
  json.member_int64("cores", ::sysconf(_SC_NPROCESSORS_ONLN));
  json.member("compiler", __VERSION__);
  json.member("load_before", load_before);
  json.member("load_after", load_average());
  json.end_object();
}

}  // namespace berth::bench
