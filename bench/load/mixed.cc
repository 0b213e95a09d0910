#include "scenarios.h"

#include <algorithm>

namespace berth::bench {

namespace {

constexpr double kMiB = 1024.0 * 1024.0;
constexpr std::size_t kUpdates = 40;  // of a turn: 2 seconds at 20 a second

/// What goes on beside the streams: a client that comes back, one that stalls, sessions that come
/// and go.
class Bustle {
 public:
  Bustle(LoadRun& run, std::size_t sessions) : run_(run), sessions_(sessions) {}

  /// `updates`: what each of the streaming sessions has had.
  void step(std::uint64_t updates) {
    ++steps_;
    run_.replace_reader(steps_ % sessions_, updates);  // reads its session from the begin
    const std::string name = "come-" + std::to_string(steps_);
    run_.make_calls({{"POST", "/v1/sessions", R"({"id":")" + name + R"(","agent":"flood"})"}}, 1);
    run_.make_calls({run_.host().prompt_call(name, "flood 20 0")}, 1);
    if (steps_ > 5) {
      const std::string old = "come-" + std::to_string(steps_ - 5);
      run_.make_calls({{"POST", "/v1/sessions/" + old + "/close", "{}"}}, 1);
    }
    run_.get("/v1/sessions?limit=50");
  }
  double steps() const { return static_cast<double>(steps_); }

 private:
  LoadRun& run_;
  std::size_t sessions_;
  std::size_t steps_ = 0;
};

}  // namespace

Figures run_mixed(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  run.open_sessions(scenario.sessions, 4);
  run.add_readers();
  Bustle bustle(run, scenario.sessions);
  const std::int64_t begin = now_ns();
  const auto cpu_begin = static_cast<double>(run.server().cpu_ns());
  double rss_first = 0;
  double rss_last = 0;
  std::vector<double> p50s;
  std::vector<double> p99s;
  double delivered = 0;
  const std::int64_t wanted_ns = static_cast<std::int64_t>(scenario.updates) * 1'000'000'000;
  while (now_ns() - begin < wanted_ns) {
    const FloodResult result = run.flood([](std::size_t) { return kUpdates; }, scenario.rate);
    p50s.push_back(result.p50_us);
    p99s.push_back(result.p99_us);
    delivered += result.delivered;
    for (int i = 0; i < 3; ++i) bustle.step(p50s.size() * kUpdates);
    rss_last = static_cast<double>(run.server().rss_bytes()) / kMiB;
    if (rss_first == 0) rss_first = rss_last;
  }
  std::sort(p50s.begin(), p50s.end());
  std::sort(p99s.begin(), p99s.end());
  const double cpu = (static_cast<double>(run.server().cpu_ns()) - cpu_begin) / 1e3;
  return {{"updates", delivered},
          {"cpu_us", cpu / delivered},
          {"p50_us", p50s[p50s.size() / 2]},
          {"worst_p99_us", p99s.back()},
          {"sessions_come_and_gone", bustle.steps()},
          {"rss_begin_mib", rss_first},
          {"rss_end_mib", rss_last}};
}

}  // namespace berth::bench
