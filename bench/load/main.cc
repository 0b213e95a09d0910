// bench/load/main.cc — `berth-bench`, which `berth bench` runs: what berth costs under load, seen
// from outside, next to what somebody would use in its place. See README.md.
#include "report.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace berth::bench {
namespace {

namespace fs = std::filesystem;

struct Options {
  Programs programs;
  std::size_t runs = 1;
  std::string json;
  std::vector<std::string> names;
  std::vector<std::string> against = {"bare", "berth-asio", "node", "node-jsonl", "sandbox-agent"};
};

void list_all() {
  std::printf("scenarios:\n");
  for (const Scenario& scenario : scenarios()) {
    std::printf("  %-14s %s%s [%s]\n", std::string(scenario.name).c_str(),
                std::string(scenario.what).c_str(), scenario.on_demand ? " (when named)" : "",
                std::string(scenario.hosts).c_str());
  }
  std::printf("hosts:\n");
  for (const auto& host : hosts()) std::printf("  %s\n", std::string(host->name()).c_str());
}

[[noreturn]] void usage() {
  std::fprintf(stderr,
               "usage: berth bench [--scenario NAME,...] [--against HOST,...|none] [--runs N] "
               "[--json FILE] [--engine uring|asio] [--list]\n");
  std::exit(2);
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    if (end > at) parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

/// The first of these that exists, seen from this program's folder: installed, or in the build
/// folder. If there is none, the first, for a message.
std::string beside(std::initializer_list<const char*> places) {
  const fs::path folder = fs::canonical("/proc/self/exe").parent_path();
  for (const char* place : places) {
    std::error_code none;
    const fs::path found = fs::canonical(folder / place, none);
    if (!none) return found;
  }
  return folder / *places.begin();
}

Programs find_programs() {
  Programs programs;
  programs.berth = beside({"../../server/berth", "../../bin/berth"});
  programs.agent = beside({"../agents/berth-flood-agent", "berth-flood-agent"});
  programs.bare = beside({"berth-bare-loop"});
  programs.node_host = beside({"../peers/node_host.mjs", "../../share/berth/node_host.mjs"});
  const char* cache = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  programs.peers = (cache != nullptr  ? std::string(cache)
                    : home != nullptr ? std::string(home) + "/.cache"
                                      : "") +
                   "/berth/agents/peers";
  return programs;
}

Options parse(int argc, char** argv) {
  Options options;
  options.programs = find_programs();
  const std::pair<std::string_view, std::string*> texts[] = {
      {"--berth", &options.programs.berth},   {"--agent", &options.programs.agent},
      {"--peers", &options.programs.peers},   {"--json", &options.json},
      {"--engine", &options.programs.engine},
  };
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    const auto value = [&]() -> std::string { return ++i < argc ? argv[i] : (usage(), ""); };
    const auto* text = std::find_if(std::begin(texts), std::end(texts),
                                    [&name](const auto& known) { return known.first == name; });
    if (text != std::end(texts)) {
      *text->second = value();
    } else if (name == "--list") {
      list_all();
      std::exit(0);
    } else if (name == "--runs") {
      options.runs = std::max<std::size_t>(std::strtoul(value().c_str(), nullptr, 10), 1);
    } else if (name == "--against") {
      options.against = split(value());
    } else if (name.starts_with("-") && name != "--scenario") {
      usage();
    } else {
      for (std::string& part : split(name == "--scenario" ? value() : name)) {
        options.names.push_back(std::move(part));
      }
    }
  }
  return options;
}

std::vector<const Scenario*> chosen(const Options& options) {
  std::vector<const Scenario*> found;
  for (const std::string& name : options.names) {
    const auto known = std::find_if(scenarios().begin(), scenarios().end(),
                                    [&](const Scenario& s) { return s.name == name; });
    if (known == scenarios().end()) {
      std::fprintf(stderr, "berth-bench: no scenario %s (--list shows them)\n", name.c_str());
      std::exit(2);
    }
    found.push_back(&*known);
  }
  if (!found.empty()) return found;
  for (const Scenario& scenario : scenarios()) {
    if (!scenario.on_demand) found.push_back(&scenario);
  }
  return found;
}

/// berth and those that it is compared with; says which of them are not here.
std::vector<HostFacts> take_hosts(const Options& options) {
  std::vector<HostFacts> taken;
  std::vector<std::string> names = {"berth"};
  for (const std::string& name : options.against) {
    if (name != "none") names.push_back(name);
  }
  for (const std::string& name : names) {
    const Host* host = find_host(name);
    if (host == nullptr) {
      std::fprintf(stderr, "berth-bench: no host %s (--list shows them)\n", name.c_str());
      std::exit(2);
    }
    HostFacts facts{host, {}, host->missing(options.programs)};
    if (facts.missing.empty()) {
      facts.version = host->version(options.programs);
    } else {
      std::printf("%s takes no part: %s\n", name.c_str(), facts.missing.c_str());
      if (name == "berth") std::exit(1);
    }
    taken.push_back(std::move(facts));
  }
  return taken;
}

/// Thousands of descriptors are soon used up; servers inherit the limit.
void raise_descriptor_limit() {
  rlimit limit = {};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

/// Rounds in which all hosts take part, each time another one first, so that a busy moment of the
/// machine does not always meet the same.
ScenarioResult measure(const Scenario& scenario, const Options& options,
                       const std::vector<HostFacts>& hosts) {
  ScenarioResult result{&scenario, {}, 0};
  for (const HostFacts& facts : hosts) {
    if (!facts.missing.empty() || !scenario.takes(facts.host->name())) continue;
    result.hosts.push_back({facts.host, {}});
  }
  const std::int64_t begin = now_ns();
  for (std::size_t round = 0; round < options.runs; ++round) {
    for (std::size_t i = 0; i < result.hosts.size(); ++i) {
      HostResult& host = result.hosts[(round + i) % result.hosts.size()];
      std::fprintf(stderr, "\r%s, round %zu, %s ... ", std::string(scenario.name).c_str(),
                   round + 1, std::string(host.host->name()).c_str());
      host.rounds.push_back(scenario.run(scenario, *host.host, options.programs));
    }
  }
  std::fprintf(stderr, "\n");
  result.seconds = static_cast<double>(now_ns() - begin) / 1e9;
  return result;
}

int run(const Options& options) {
  raise_descriptor_limit();
  const std::vector<const Scenario*> wanted = chosen(options);
  Report report{load_average(), options.programs.engine, take_hosts(options), {}};
  if (report.engine.empty()) report.engine = "auto";
  for (const Scenario* scenario : wanted) {
    report.scenarios.push_back(measure(*scenario, options, report.hosts));
    print_scenario(report.scenarios.back());
  }
  print_targets(report.scenarios);
  if (options.json.empty()) return 0;
  std::ofstream file(options.json);
  file << to_json(report) << '\n';
  file.close();
  if (file.fail()) die(options.json.c_str());
  return 0;
}

}  // namespace
}  // namespace berth::bench

int main(int argc, char** argv) {
  struct sigaction interrupt = {};
  interrupt.sa_handler = [](int) {};  // makes what waits fail, see Poller::turn
  ::sigaction(SIGINT, &interrupt, nullptr);
  ::sigaction(SIGTERM, &interrupt, nullptr);
  try {
    return berth::bench::run(berth::bench::parse(argc, argv));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "\nberth-bench: %s\n", error.what());
    return 1;
  }
}
