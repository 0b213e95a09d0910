#include "agent_pipes.h"
#include "scenarios.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cstring>
#include <filesystem>

namespace berth::bench {

namespace {

constexpr std::size_t kAtOnce = 4;
constexpr double kSpareDescriptors = 20;  // for the requests themselves

/// In a quiet moment: servers give back then what a burst has left.
double rss_kib(LoadRun& run) {
  run.pause(2500);
  return static_cast<double>(run.server().rss_bytes()) / 1024;
}

class BareAgent {
 public:
  explicit BareAgent(const std::string& program) : pipes_(start_agent(program)) {}
  ~BareAgent() {
    ::close(pipes_.to_stdin);  // it ends by that
    ::close(pipes_.from_stdout);
    ::waitpid(pipes_.pid, nullptr, 0);
  }
  BareAgent(const BareAgent&) = delete;
  BareAgent& operator=(const BareAgent&) = delete;

  void wait_for_answers() {
    char bytes[4096];
    for (std::ptrdiff_t lines = 0; lines < 2;) {
      const ssize_t got = ::read(pipes_.from_stdout, bytes, sizeof bytes);
      if (got <= 0) die("an agent ended");
      lines += std::count(bytes, bytes + got, '\n');
    }
  }

 private:
  AgentPipes pipes_;
};

/// Agents that a loop without a server starts in a second, as many at a time.
double bare_spawns_per_second(const std::string& program, std::size_t count) {
  std::vector<std::unique_ptr<BareAgent>> agents;
  const std::int64_t begin = now_ns();
  for (std::size_t i = 0; i < count; i += kAtOnce) {
    for (std::size_t k = 0; k < kAtOnce; ++k) {
      agents.push_back(std::make_unique<BareAgent>(program));
    }
    for (std::size_t k = agents.size() - kAtOnce; k < agents.size(); ++k) {
      agents[k]->wait_for_answers();
    }
  }
  return static_cast<double>(agents.size()) * 1e9 / static_cast<double>(now_ns() - begin);
}

/// Open descriptors of a process.
double descriptors_of(const std::string& pid) {
  return static_cast<double>(
      std::distance(std::filesystem::directory_iterator("/proc/" + pid + "/fd"),
                    std::filesystem::directory_iterator()));
}

/// What this process may have, and with it the server that it starts.
double descriptors_max() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<double>(limit.rlim_cur);
}

double middle(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

}  // namespace

Figures run_create(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  run.open_sessions(kAtOnce, kAtOnce);
  const double spawns = bare_spawns_per_second(programs.agent, scenario.sessions);
  const CpuWindow window(run.server(), programs.agent);
  const double seconds = run.open_sessions(scenario.sessions + kAtOnce, kAtOnce);
  const Spent spent = window.so_far();
  const auto count = static_cast<double>(scenario.sessions);
  return {{"sessions_per_s", count / seconds},
          {"cpu_us", spent.server_us / count},
          {"helpers_cpu_us", spent.helpers_us / count},
          {"agents_cpu_us", spent.agents_us / count},
          {"bare_spawns_per_s", spawns},
          {"over_bare_spawns", count / seconds / spawns}};
}

/// Memory per session as a slope between a fifth and all of them, so that what a server needs
/// anyway is not counted.
Figures run_idle(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  const double alone = rss_kib(run);
  const std::size_t few = scenario.sessions / 5;
  run.open_sessions(few, kAtOnce);
  run.add_readers();
  const double first = rss_kib(run);
  run.open_sessions(scenario.sessions, kAtOnce);
  run.add_readers();
  const double all = rss_kib(run);
  const auto more = static_cast<double>(scenario.sessions - few);
  Figures figures = {{"server_alone_mib", alone / 1024},
                     {"idle_kib_per_session", (all - first) / more},
                     {"idle_mib", all / 1024}};
  run.flood([](std::size_t) { return std::size_t{200}; }, 0);
  figures.emplace_back("after_200_each_mib", rss_kib(run) / 1024);
  run.flood([&](std::size_t) { return scenario.updates_of(host); }, 0);
  figures.emplace_back("after_all_mib", rss_kib(run) / 1024);
  return figures;
}

Figures run_long_lived(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  run.open_sessions(scenario.sessions, kAtOnce);
  run.add_readers();
  run.flood([](std::size_t) { return std::size_t{20'000}; }, 0);
  const double before = rss_kib(run);
  run.flood([&](std::size_t) { return scenario.updates_of(host); }, 0);
  const double after = rss_kib(run);
  return {{"before_mib", before / 1024},
          {"after_mib", after / 1024},
          {"growth_kib_per_session", (after - before) / static_cast<double>(scenario.sessions)}};
}

Figures run_live(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  const double alone = rss_kib(run);
  const std::string pid = std::to_string(run.server().pid());
  const auto with = [&](std::size_t sessions) {
    run.open_sessions(sessions, kAtOnce);
    run.add_readers();
    return descriptors_of(pid);
  };
  const double few = with(100);
  const double more = with(200);
  const double each = (more - few) / 100;
  // No more than there is room for: without a descriptor, connections wait.
  const double room = (descriptors_max() - more - kSpareDescriptors) / each;
  const std::size_t sessions = std::min(scenario.sessions, 200 + static_cast<std::size_t>(room));
  const double seconds = run.open_sessions(sessions, kAtOnce);
  run.add_readers();
  const double all = rss_kib(run);
  const FloodResult result = run.flood([&](std::size_t) { return scenario.updates_of(host); }, 0);
  return {{"seconds_to_open", seconds},
          {"agents", static_cast<double>(run.server().agents(programs.agent).size())},
          {"server_mib", all / 1024},
          {"kib_per_session", (all - alone) / static_cast<double>(sessions)},
          {"descriptors", descriptors_of(pid)},
          {"descriptors_per_session", each},
          {"updates_per_s", result.rate()},
          {"lost", result.lost}};
}

Figures run_death(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  std::vector<double> delays;
  double unseen = 0;
  for (std::size_t session = 0; session < scenario.sessions; ++session) {
    run.open_sessions(session + 1, 1);
    const SseClient& reader = run.add_reader(session);
    const std::vector<pid_t> agents = run.server().agents(programs.agent);
    if (agents.empty()) die("a session without an agent");
    run.prompt(session, "flood 100000 500");
    run.run_until([&reader] { return reader.updates() >= 20; }, 10'000);
    const std::uint64_t ended = run.totals().turns_ended;
    const std::int64_t killed = now_ns();
    ::kill(*std::max_element(agents.begin(), agents.end()), SIGKILL);
    if (run.run_until([&] { return run.totals().turns_ended > ended; }, 30'000)) {
      delays.push_back(static_cast<double>(run.totals().last_end_ns - killed) / 1e6);
    } else {
      ++unseen;
    }
  }
  return {{"p50_ms", middle(delays)},
          {"max_ms", delays.empty() ? 0 : *std::max_element(delays.begin(), delays.end())},
          {"unseen", unseen}};
}

Figures run_prompts(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  run.open_sessions(1, 1);
  SseClient& reader = run.add_reader(0);
  run.pause(200);
  std::vector<double> ways;
  std::vector<double> answers;
  std::vector<double> after_answers;
  const CpuWindow window(run.server(), programs.agent);
  for (std::size_t i = 0; i < scenario.updates; ++i) {
    reader.begin_turn();
    const std::uint64_t ended = run.totals().turns_ended;
    const std::int64_t begin = now_ns();
    run.prompt(0, "flood 1 0");
    const auto answered = static_cast<double>(now_ns() - begin) / 1e3;
    if (!run.run_until([&] { return reader.updates() == 1; }, 10'000)) die("no update");
    const auto way = static_cast<double>(run.totals().last_sent_ns - begin) / 1e3;
    if (host.says_turns()) run.run_until([&] { return run.totals().turns_ended > ended; }, 10'000);
    ways.push_back(way);
    answers.push_back(answered);
    after_answers.push_back(way - answered);
  }
  const auto count = static_cast<double>(scenario.updates);
  Figures figures = {{"to_stdin_p50_us", middle(ways)},
                     {"cpu_us", window.so_far().server_us / count}};
  if (host.holds_prompts()) return figures;
  figures.emplace_back("answered_p50_us", middle(answers));
  figures.emplace_back("stdin_after_answer_p50_us", middle(after_answers));
  return figures;
}

}  // namespace berth::bench
