#include "report.h"

#include <cstdio>

namespace berth::bench {

namespace {

constexpr int kDigits = 4;

const double* value_of(const Figures& figures, std::string_view name) {
  for (const auto& [known, value] : figures) {
    if (known == name) return &value;
  }
  return nullptr;
}

/// A target next to what was measured.
struct Verdict {
  const Target* target;
  Spread figure;

  const char* word() const {
    const double value = target->more_is_better ? -figure.median : figure.median;
    const double sign = target->more_is_better ? -1 : 1;
    if (value <= sign * target->goal) return "goal";
    return value <= sign * target->must ? "must" : "missed";
  }
};

/// A figure in each round, divided by that of the other host in the same round if there is one.
Spread measured(const HostResult& ours, const HostResult* theirs, std::string_view figure) {
  if (theirs == nullptr) return ours.spread(figure);
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours.rounds.size() && i < theirs->rounds.size(); ++i) {
    const double* a = value_of(ours.rounds[i], figure);
    const double* b = value_of(theirs->rounds[i], figure);
    if (a != nullptr && b != nullptr && *b > 0) ratios.push_back(*a / *b);
  }
  return spread_of(std::move(ratios));
}

std::vector<Verdict> judge(const std::vector<ScenarioResult>& results) {
  std::vector<Verdict> verdicts;
  for (const Target& target : targets()) {
    for (const ScenarioResult& result : results) {
      if (result.scenario->name != target.scenario) continue;
      const HostResult* ours = result.find("berth");
      const HostResult* theirs = target.against.empty() ? nullptr : result.find(target.against);
      if (ours == nullptr || !ours->has(target.figure)) continue;
      if (theirs == nullptr && !target.against.empty()) continue;
      verdicts.push_back(Verdict{&target, measured(*ours, theirs, target.figure)});
    }
  }
  return verdicts;
}

void write_host(JsonWriter& json, const HostResult& result) {
  json.begin_object();
  json.member("host", result.host->name());
  json.member_uint64("rounds", result.rounds.size());
  json.key("figures").begin_object();
  for (const auto& [name, value] : result.rounds.front()) {
    write_spread(json, name, result.spread(name), kDigits);
  }
  json.end_object().end_object();
}

void write_hosts(JsonWriter& json, const std::vector<HostFacts>& hosts) {
  json.key("hosts").begin_array();
  for (const HostFacts& facts : hosts) {
    json.begin_object();
    json.member("name", facts.host->name());
    if (facts.missing.empty()) {
      json.member("version", facts.version);
    } else {
      json.member("missing", facts.missing);
    }
    json.end_object();
  }
  json.end_array();
}

}  // namespace

Spread HostResult::spread(std::string_view figure) const {
  std::vector<double> values;
  for (const Figures& round : rounds) {
    if (const double* value = value_of(round, figure); value != nullptr) values.push_back(*value);
  }
  return spread_of(std::move(values));
}

bool HostResult::has(std::string_view figure) const {
  return !rounds.empty() && value_of(rounds.front(), figure) != nullptr;
}

const HostResult* ScenarioResult::find(std::string_view host) const {
  for (const HostResult& result : hosts) {
    if (result.host->name() == host) return &result;
  }
  return nullptr;
}

void print_scenario(const ScenarioResult& result) {
  const HostResult& first = result.hosts.front();
  std::printf("\n%s: %s (medians of %zu, %.0f s)\n", std::string(result.scenario->name).c_str(),
              std::string(result.scenario->what).c_str(), first.rounds.size(), result.seconds);
  std::printf("  %-28s", "");
  for (const HostResult& host : result.hosts) {
    std::printf(" %24s", std::string(host.host->name()).c_str());
  }
  std::printf("\n");
  for (const auto& [name, unused] : first.rounds.front()) {
    std::printf("  %-28s", name.c_str());
    const double ours = first.spread(name).median;
    for (const HostResult& host : result.hosts) {
      char cell[64] = "";
      const double value = host.spread(name).median;
      if (!host.has(name)) {
        std::snprintf(cell, sizeof cell, "-");
      } else if (&host == &first || ours == 0) {
        std::snprintf(cell, sizeof cell, "%.5g", value);
      } else {
        std::snprintf(cell, sizeof cell, "%.5g (x%.2f)", value, value / ours);
      }
      std::printf(" %24s", cell);
    }
    std::printf("\n");
  }
  std::fflush(stdout);
}

void print_targets(const std::vector<ScenarioResult>& results) {
  const std::vector<Verdict> verdicts = judge(results);
  if (verdicts.empty()) return;
  std::printf("\n%-52s %10s %21s %10s %10s\n", "wanted of berth", "here", "", "must", "goal");
  for (const Verdict& verdict : verdicts) {
    const Target& target = *verdict.target;
    const int width = 52 + (target.what.find("µ") == std::string_view::npos ? 0 : 1);
    std::printf("%-*s %10.4g (%8.4g - %8.4g) %10.4g %10.4g  %s\n", width,
                std::string(target.what).c_str(), verdict.figure.median, verdict.figure.low,
                verdict.figure.high, target.must, target.goal, verdict.word());
  }
}

std::string to_json(const Report& report) {
  std::string text;
  JsonWriter json(text);
  json.begin_object();
  write_machine(json, report.load_before);
  json.member("engine", report.engine);
  write_hosts(json, report.hosts);
  json.key("scenarios").begin_array();
  for (const ScenarioResult& result : report.scenarios) {
    json.begin_object();
    json.member("name", result.scenario->name).member("what", result.scenario->what);
    json.key("seconds").number(rounded(result.seconds, 1));
    json.key("hosts").begin_array();
    for (const HostResult& host : result.hosts) write_host(json, host);
    json.end_array().end_object();
  }
  json.end_array().key("targets").begin_array();
  for (const Verdict& verdict : judge(report.scenarios)) {
    const Target& target = *verdict.target;
    json.begin_object();
    json.member("what", target.what).member("scenario", target.scenario);
    json.member("figure", target.figure).member("against", target.against);
    write_spread(json, "here", verdict.figure, kDigits);
    json.key("must").number(target.must).key("goal").number(target.goal);
    json.member("verdict", verdict.word());
    json.end_object();
  }
  json.end_array().end_object();
  return text;
}

}  // namespace berth::bench
