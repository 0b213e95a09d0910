#include "report.h"

#include <berth/core/json_writer.h>

#include <algorithm>
#include <cstdio>

namespace berth::bench {

namespace {

double cpu_per_message(const Sample& sample) {
  return sample.cpu_ns / static_cast<double>(sample.messages);
}

template <typename Figure>
Spread spread_over(const LaneResult& lane, Figure figure) {
  std::vector<double> values;
  for (const Sample& sample : lane.rounds) values.push_back(figure(sample));
  return spread_of(std::move(values));
}

Spread cpu_of(const LaneResult& lane) {
  return spread_over(lane, cpu_per_message);
}

Spread per_second_of(const LaneResult& lane) {
  return spread_over(lane, [](const Sample& sample) {
    return static_cast<double>(sample.messages) * 1e9 / sample.wall_ns;
  });
}

Spread p50_of(const LaneResult& lane) {
  return spread_over(lane, [](const Sample& sample) { return sample.p50_ns; });
}

Spread p99_of(const LaneResult& lane) {
  return spread_over(lane, [](const Sample& sample) { return sample.p99_ns; });
}

double allocations_of(const LaneResult& lane) {
  return spread_over(lane,
                     [](const Sample& sample) {
                       return static_cast<double>(sample.allocations) /
                              static_cast<double>(sample.messages);
                     })
      .median;
}

void write_lane(JsonWriter& json, const LaneResult& lane, const LaneResult& reference) {
  json.begin_object();
  json.member("name", lane.contestant->name);
  write_spread(json, "cpu_ns", cpu_of(lane), 1);
  write_spread(json, "ratio", ratio_of(lane, reference, false), 3);
  write_spread(json, "per_second", per_second_of(lane), 0);
  json.key("allocations").number(rounded(allocations_of(lane), 4));
  if (p50_of(lane).median > 0) {
    write_spread(json, "p50_ns", p50_of(lane), 0);
    write_spread(json, "p50_ratio", ratio_of(lane, reference, true), 3);
    write_spread(json, "p99_ns", p99_of(lane), 0);
  }
  json.end_object();
}

}  // namespace

const LaneResult* ScenarioResult::find(std::string_view contestant) const {
  for (const LaneResult& lane : lanes) {
    if (lane.contestant->name == contestant) return &lane;
  }
  return nullptr;
}

Spread ratio_of(const LaneResult& lane, const LaneResult& against, bool latency) {
  const auto figure = [&](const Sample& sample) {
    return latency ? sample.p50_ns : cpu_per_message(sample);
  };
  std::vector<double> ratios;
  for (std::size_t i = 0; i < lane.rounds.size(); ++i) {
    ratios.push_back(figure(lane.rounds[i]) / figure(against.rounds[i]));
  }
  return spread_of(std::move(ratios));
}

std::vector<Verdict> judge(const std::vector<ScenarioResult>& results) {
  std::vector<Verdict> verdicts;
  for (const Target& target : targets()) {
    for (const ScenarioResult& result : results) {
      if (result.scenario->name != target.scenario) continue;
      const LaneResult* ours = result.find("uring");
      const LaneResult* theirs = result.find(target.against);
      if (ours == nullptr || theirs == nullptr) continue;
      verdicts.push_back(Verdict{&target, ratio_of(*ours, *theirs, target.latency)});
    }
  }
  return verdicts;
}

std::vector<std::string> allocating_lanes(const std::vector<ScenarioResult>& results) {
  std::vector<std::string> names;
  for (const ScenarioResult& result : results) {
    for (const LaneResult& lane : result.lanes) {
      const bool allocated =
          std::any_of(lane.rounds.begin(), lane.rounds.end(),
                      [](const Sample& sample) { return sample.allocations > 0; });
      if (!allocated || !must_not_allocate(*lane.contestant, *result.scenario)) continue;
      names.push_back(std::string(result.scenario->name) + " " +
                      std::string(lane.contestant->name));
    }
  }
  return names;
}

void print_scenario(const ScenarioResult& result) {
  const Scenario& scenario = *result.scenario;
  std::printf("\n%s: %s (%zu rounds of %zu)\n", std::string(scenario.name).c_str(),
              std::string(scenario.what).c_str(), result.lanes.front().rounds.size(),
              scenario.messages());
  std::printf("  %-14s %21s %22s %10s %8s", "", ("CPU ns a " + std::string(scenario.unit)).c_str(),
              "ratio", "k/s", "allocs");
  const bool trips = p50_of(result.lanes.front()).median > 0;
  std::printf(trips ? " %8s %8s\n" : "\n", "p50 us", "p99 us");
  for (const LaneResult& lane : result.lanes) {
    const Spread cpu = cpu_of(lane);
    const Spread ratio = ratio_of(lane, result.lanes.front(), false);
    std::printf("  %-14s %7.0f (%5.0f-%5.0f) %7.3f (%.3f-%.3f) %10.0f %8.2f",
                std::string(lane.contestant->name).c_str(), cpu.median, cpu.low, cpu.high,
                ratio.median, ratio.low, ratio.high, per_second_of(lane).median / 1e3,
                allocations_of(lane));
    if (trips) std::printf(" %8.2f %8.2f", p50_of(lane).median / 1e3, p99_of(lane).median / 1e3);
    std::printf("\n");
  }
  std::fflush(stdout);
}

void print_verdicts(const std::vector<Verdict>& verdicts) {
  std::printf("\n%-16s %-12s %22s %6s %6s\n", "uring in", "against", "ratio", "must", "goal");
  for (const Verdict& verdict : verdicts) {
    const Target& target = *verdict.target;
    const char* word = "MISSED";
    if (verdict.ratio.median <= target.must) word = "must";
    if (verdict.ratio.median <= target.goal) word = "goal";
    std::printf("%-16s %-12s %7.3f (%.3f-%.3f) %6.2f %6.2f  %s%s\n",
                std::string(target.scenario).c_str(), std::string(target.against).c_str(),
                verdict.ratio.median, verdict.ratio.low, verdict.ratio.high, target.must,
                target.goal, word, target.latency ? " (p50)" : "");
  }
}

std::string to_json(const std::vector<ScenarioResult>& results, const std::string& load_before) {
  std::string text;
  JsonWriter json(text);
  json.begin_object();
  write_machine(json, load_before);
  json.key("scenarios").begin_array();
  for (const ScenarioResult& result : results) {
    json.begin_object();
    json.member("name", result.scenario->name).member("what", result.scenario->what);
    json.member("unit", result.scenario->unit);
    json.member_uint64("messages", result.scenario->messages());
    json.member_uint64("rounds", result.lanes.front().rounds.size());
    json.key("contestants").begin_array();
    for (const LaneResult& lane : result.lanes) write_lane(json, lane, result.lanes.front());
    json.end_array().end_object();
  }
  json.end_array().key("targets").begin_array();
  for (const Verdict& verdict : judge(results)) {
    json.begin_object();
    json.member("scenario", verdict.target->scenario).member("against", verdict.target->against);
    json.member("of", verdict.target->latency ? "p50" : "cpu");
    write_spread(json, "ratio", verdict.ratio, 3);
    json.key("must").number(verdict.target->must).key("goal").number(verdict.target->goal);
    json.end_object();
  }
  json.end_array().end_object();
  return text;
}

}  // namespace berth::bench
