// bench/process/spawn_bench.cc — starting and reaping processes: the direct host and the keeper
// against posix_spawn and waitpid.
//
//   ninja -C build bench/process/spawn_bench io/berth-keeper
//   build/bench/process/spawn_bench [--rounds N] [--held N]... [--json FILE]
//
// The ways take turns within each round, so that other load on the machine meets all of them alike;
// a figure is the median of the rounds. "held" is how many other children of this program (by a
// keeper) live meanwhile. Started, held and reaped is one tiny static program.
// "one by one" waits for the end of each before the next start, as the loop that it is compared
// with does; "4 at once" lets up to four live.
#include "children.h"

#include <berth/core/assert.h>
#include <berth/core/json_writer.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/landlock.h>
#include <berth/io/proc_fs.h>
#include <berth/io/process_direct.h>
#include <berth/io/process_keeper.h>
#include <berth/io/uring_ring.h>

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace berth;
using bench::BareChild;
using bench::close_pipes;
using bench::Ended;
using bench::Held;
using bench::tiny_child;
using SteadyClock = std::chrono::steady_clock;

constexpr const char* kBubblewrap = "/usr/bin/bwrap";
constexpr int kStartsPerRound = 100;
constexpr int kStartsPerSlowRound = 10;  // of a way that reads all of /proc for each
constexpr std::size_t kAtOnce = 4;

double seconds_since(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double own_cpu_us() {
  rusage used;
  ::getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

struct Figures {
  std::vector<double> per_second;  // one a round
  std::vector<double> cpu_us;      // of this program per start; one a round
  std::vector<double> call_us;     // one a start: how long the caller was held up
};

struct Way {
  std::string name;
  int starts = kStartsPerRound;
  std::function<void(Figures&, int starts)> run;
  Figures figures;
};

void by_posix_spawn(Figures& figures, int starts, std::size_t at_once) {
  std::vector<std::unique_ptr<BareChild>> alive;
  for (int i = 0; i < starts; ++i) {
    if (alive.size() == at_once) alive.erase(alive.begin());  // waits for the oldest
    const auto begin = SteadyClock::now();
    alive.push_back(std::make_unique<BareChild>(false));
    figures.call_us.push_back(seconds_since(begin) * 1e6);
    if (at_once == 1) alive.clear();
  }
}

/// As the server confines its agents (server/agents/launch.cc), with folders of this machine.
io::Confinement confinement(io::Confinement::Kind kind) {
  io::Confinement confinement;
  confinement.kind = kind;
  confinement.hidden = {"/dev", "/root", "/home", "/tmp"};
  if (kind == io::Confinement::Kind::landlock) {
    confinement.readable = {"/", BERTH_SPAWN_CHILD};
    confinement.writable = {"/dev/null", "/dev/zero", "/dev/tty"};
  } else if (kind == io::Confinement::Kind::namespaces) {
    confinement.readable = {"/usr", "/bin", "/lib", "/lib64", "/etc", BERTH_SPAWN_CHILD};
    confinement.bubblewrap = kBubblewrap;
    confinement.helper = BERTH_LAUNCH;
  }
  return confinement;
}

void by_host(io::Reactor& reactor, io::ProcessHost& host, io::Confinement::Kind kind,
             Figures& figures, int starts, int at_once) {
  Ended ended(reactor);
  io::LaunchSpec spec = tiny_child(false);
  if (kind != io::Confinement::Kind::none) spec.confinement = confinement(kind);
  std::vector<std::unique_ptr<io::Process>> processes;
  for (int i = 0; i < starts; ++i) {
    while (i - ended.count >= at_once) reactor.run();
    const auto begin = SteadyClock::now();
    auto process = host.spawn(reactor, spec, ended);
    BERTH_ASSERT(process.has_value());
    figures.call_us.push_back(seconds_since(begin) * 1e6);
    processes.push_back(std::move(*process));
  }
  while (ended.count < starts) reactor.run();
  for (const auto& process : processes) close_pipes(reactor, *process);
}

struct Options {
  int rounds = 3;
  std::vector<int> held;
  std::string json;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i];
    if (name == "--rounds") options.rounds = std::max(1, std::atoi(argv[i + 1]));
    if (name == "--held") options.held.push_back(std::atoi(argv[i + 1]));
    if (name == "--json") options.json = argv[i + 1];
  }
  if (options.held.empty()) options.held = {0, 1000, 5000};
  return options;
}

using Host = std::unique_ptr<io::ProcessHost>;

std::vector<Way> make_ways(io::Reactor& reactor, NullLog& log, std::vector<Host>& hosts) {
  std::vector<Way> ways;
  for (const std::size_t at_once : {std::size_t{1}, kAtOnce}) {
    ways.push_back({at_once == 1 ? "posix_spawn + waitpid, one by one" : "the same, 4 at once",
                    kStartsPerRound,
                    [at_once](Figures& f, int starts) { by_posix_spawn(f, starts, at_once); },
                    {}});
  }
  using Kind = io::Confinement::Kind;
  const auto add = [&](const std::string& name, Result<Host> made, int starts,
                       Kind kind = Kind::none) {
    if (!made.has_value()) {
      fmt::print(stderr, "left out: {}: {}\n", name, made.error().message);
      return;
    }
    hosts.push_back(std::move(*made));
    io::ProcessHost* const host = hosts.back().get();
    for (const int at_once : {1, static_cast<int>(kAtOnce)}) {
      ways.push_back({name + (at_once == 1 ? ", one by one" : ", 4 at once"),
                      starts,
                      [&reactor, host, kind, at_once](Figures& f, int count) {
                        by_host(reactor, *host, kind, f, count, at_once);
                      },
                      {}});
    }
  };
  io::DirectOptions options;
  options.tree_kill = io::TreeKill::cgroup;
  add("keeper, cgroup", io::make_keeper_process_host(log, {options, BERTH_KEEPER}),
      kStartsPerRound);
  if (io::probe_landlock().usable()) {
    add("keeper, cgroup, Landlock", io::make_keeper_process_host(log, {options, BERTH_KEEPER}),
        kStartsPerRound, Kind::landlock);
  }
  if (::access(kBubblewrap, X_OK) == 0) {
    add("keeper, cgroup, bubblewrap", io::make_keeper_process_host(log, {options, BERTH_KEEPER}),
        kStartsPerSlowRound, Kind::namespaces);
  }
  add("direct, cgroup", io::make_direct_process_host(log, options), kStartsPerRound);
  options.tree_kill = io::TreeKill::proc_walk;
  add("keeper, /proc walk", io::make_keeper_process_host(log, {options, BERTH_KEEPER}),
      kStartsPerSlowRound);
  add("direct, /proc walk", io::make_direct_process_host(log, options), kStartsPerSlowRound);
  return ways;
}

void measure(std::vector<Way>& ways, int rounds) {
  for (Way& way : ways) way.figures = {};
  for (int round = 0; round < rounds; ++round) {
    for (Way& way : ways) {
      const auto begin = SteadyClock::now();
      const double cpu_before = own_cpu_us();
      way.run(way.figures, way.starts);
      way.figures.cpu_us.push_back((own_cpu_us() - cpu_before) / way.starts);
      way.figures.per_second.push_back(way.starts / seconds_since(begin));
    }
  }
}

void report(std::vector<Way>& ways, int held, JsonWriter& json) {
  const double base = median(ways.front().figures.per_second);
  for (Way& way : ways) {
    Figures& figures = way.figures;
    std::sort(figures.call_us.begin(), figures.call_us.end());
    const double rate = median(figures.per_second);
    const double p50 = figures.call_us[figures.call_us.size() / 2];
    const double p99 = figures.call_us[figures.call_us.size() * 99 / 100];
    fmt::print(
        "{:>5}  {:<36} {:>6.0f}/s  x{:<5.2f} call p50 {:>5.0f} us, p99 {:>6.0f} us; own CPU "
        "{:>5.0f} us\n",
        held, way.name, rate, rate / base, p50, p99, median(figures.cpu_us));
    json.begin_object()
        .member_int64("held", held)
        .member("way", way.name)
        .key("per_second")
        .number(rate)
        .key("to_posix_spawn")
        .number(rate / base)
        .key("call_p50_us")
        .number(p50)
        .key("call_p99_us")
        .number(p99)
        .key("own_cpu_us")
        .number(median(figures.cpu_us))
        .end_object();
  }
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  rlimit limit;
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  auto reactor = io::make_uring_reactor();
  if (!reactor.has_value()) {
    fmt::print(stderr, "{}\n", reactor.error().message);
    return 1;
  }
  NullLog log;
  std::vector<Host> hosts;
  std::vector<Way> ways = make_ways(**reactor, log, hosts);
  auto holder = io::make_keeper_process_host(log, {{}, BERTH_KEEPER});
  if (!holder.has_value()) {
    fmt::print(stderr, "{}\n", holder.error().message);
    return 1;
  }
  std::string text;
  JsonWriter json(text);
  json.begin_array();
  fmt::print(" held  way                                  started and reaped  (to posix_spawn)\n");
  for (const int held : options.held) {
    const Held others(**reactor, **holder, static_cast<std::size_t>(held));
    measure(ways, options.rounds);
    report(ways, held, json);
  }
  json.end_array();
  if (options.json.empty()) return 0;
  std::FILE* const file = std::fopen(options.json.c_str(), "we");
  if (file == nullptr) return 1;
  std::fwrite(text.data(), 1, text.size(), file);
  std::fputc('\n', file);
  return std::fclose(file) == 0 ? 0 : 1;
}
