#include "scenarios.h"

#include <algorithm>
#include <iterator>

namespace berth::bench {

namespace {

constexpr std::string_view kAll = "berth bare node node-jsonl sandbox-agent";
constexpr std::string_view kServers = "berth node node-jsonl sandbox-agent";

constexpr Scenario kStreams[] = {
    {.name = "full-1",
     .what = "1 session at full speed",
     .run = run_streams,
     .hosts = kAll,
     .sessions = 1,
     .updates = 20'000,
     .peer_updates = 10'000},
    {.name = "full-10",
     .what = "10 sessions at full speed",
     .run = run_streams,
     .hosts = kAll,
     .sessions = 10,
     .updates = 10'000,
     .peer_updates = 2'000},
    {.name = "full-100",
     .what = "100 sessions at full speed",
     .run = run_streams,
     .hosts = kAll,
     .sessions = 100,
     .updates = 2'000,
     .peer_updates = 400},
    {.name = "full-500",
     .what = "500 sessions at full speed",
     .run = run_streams,
     .hosts = kAll,
     .sessions = 500,
     .updates = 1'000,
     .peer_updates = 100},
    {.name = "full-2000",
     .what = "2000 sessions at full speed",
     .run = run_streams,
     .hosts = "berth bare",
     .sessions = 2'000,
     .updates = 300},
    {.name = "paced-100",
     .what = "100 sessions, 50 updates/s each",
     .run = run_streams,
     .hosts = kAll,
     .sessions = 100,
     .updates = 300,
     .rate = 50},
    {.name = "paced-500",
     .what = "500 sessions, 20 updates/s each: 10k/s",
     .run = run_streams,
     .hosts = kAll,
     .sessions = 500,
     .updates = 120,
     .rate = 20},
    {.name = "paced-50k",
     .what = "500 sessions, 100 updates/s each: 50k/s",
     .run = run_streams,
     .hosts = kAll,
     .sessions = 500,
     .updates = 400,
     .peer_updates = 100,
     .rate = 100},
    {.name = "fanout-16",
     .what = "a session at full speed to 16 readers",
     .run = run_fanout,
     .hosts = kAll,
     .updates = 20'000,
     .peer_updates = 4'000,
     .readers = 16},
    {.name = "fanout-1000",
     .what = "a session at full speed to 1000 readers",
     .run = run_fanout,
     .hosts = "berth bare node",
     .updates = 500,
     .peer_updates = 100,
     .readers = 1'000},
    {.name = "fanout-5000",
     .what = "a session at full speed to 5000 readers",
     .run = run_fanout,
     .hosts = "berth bare",
     .updates = 200,
     .readers = 5'000},
    {.name = "stalled",
     .what = "200 sessions at full speed, then with a reader that never reads",
     .run = run_stalled,
     .hosts = kServers,
     .sessions = 200,
     .updates = 500,
     .peer_updates = 100},
    {.name = "long-line",
     .what = "a line of 10 MiB",
     .run = run_long_line,
     .hosts = kServers,
     .sessions = 1,
     .updates = 10 * 1024 * 1024},
    {.name = "smoke",
     .what = "a little of everything that streams, for the tests",
     .run = run_streams,
     .hosts = kAll,
     .sessions = 3,
     .updates = 50,
     .on_demand = true},
};

constexpr Scenario kSessions[] = {
    {.name = "create",
     .what = "sessions opened with their agents, 4 at a time",
     .run = run_create,
     .hosts = kServers,
     .sessions = 500},
    {.name = "idle",
     .what = "memory of idle sessions with agent and reader",
     .run = run_idle,
     .hosts = "berth node sandbox-agent",
     .sessions = 500,
     .updates = 1'000,
     .peer_updates = 200},
    {.name = "long-lived",
     .what = "memory after 100,000 updates in each of 10 sessions",
     .run = run_long_lived,
     .sessions = 10,
     .updates = 100'000},
    {.name = "live-5000",
     .what = "5000 sessions with agent and reader, under 20,000 descriptors",
     .run = run_live,
     .sessions = 5'000,
     .updates = 20},
    {.name = "death",
     .what = "an agent is killed in its turn: until its reader sees the end",
     .run = run_death,
     .hosts = kServers,
     .sessions = 20},
    {.name = "prompts",
     .what = "a prompt's way from the POST to the agent's stdin",
     .run = run_prompts,
     .hosts = kAll,
     .sessions = 1,
     .updates = 300},
};

constexpr Target kTargets[] = {
    {"CPU per update, 100 sessions, µs", "full-100", "cpu_us", "", 3, 1.5},
    {"CPU per update, 500 sessions, µs", "full-500", "cpu_us", "", 3, 1.5},
    {"CPU per update over the bare loop's, 100 sessions", "full-100", "cpu_us", "bare", 3, 1.8},
    {"CPU per update over the bare loop's, 500 sessions", "full-500", "cpu_us", "bare", 3, 1.8},
    {"updates/s, 500 sessions", "full-500", "updates_per_s", "", 200e3, 400e3, true},
    {"CPU per update, 100 sessions at 50/s, µs", "paced-100", "cpu_us", "", 12, 6},
    {"p50, 500 sessions at 20/s, µs", "paced-500", "p50_us", "", 150, 80},
    {"p99, 500 sessions at 20/s, µs", "paced-500", "p99_us", "", 2'000, 1'000},
    {"slowest session's delay over the median's", "full-500", "unfairness", "", 3, 1.5},
    {"CPU per delivery to 16 readers, µs", "fanout-16", "cpu_us", "", 1, 0.4},
    {"stalled reader: growth of RSS, MiB", "stalled", "rss_growth_mib", "", 1, 1},
    {"stalled reader: rate of the others", "stalled", "rate_ratio", "", 0.95, 0.95, true},
    {"10 MiB line: peak RSS over its size", "long-line", "rss_peak_over_line", "", 3, 2},
    {"CPU per creation, µs", "create", "cpu_us", "", 500, 250},
    {"creations per second", "create", "sessions_per_s", "", 1'200, 2'000, true},
    {"creations over bare spawns", "create", "over_bare_spawns", "", 0.5, 0.8, true},
    {"server alone, MiB", "idle", "server_alone_mib", "", 16, 8},
    {"idle session, KiB", "idle", "idle_kib_per_session", "", 24, 12},
    {"session after 100,000 updates, KiB more", "long-lived", "growth_kib_per_session", "", 8, 8},
    {"5000 live agents, server's MiB", "live-5000", "server_mib", "", 200, 200},
    {"death of an agent until it is seen, ms", "death", "p50_ms", "", 100, 10},
    {"prompt at stdin after its answer (commit), µs", "prompts", "stdin_after_answer_p50_us", "",
     200, 80},
};

}  // namespace

bool Scenario::takes(std::string_view host) const {
  for (std::size_t at = 0; at < hosts.size();) {
    const std::size_t end = std::min(hosts.find(' ', at), hosts.size());
    if (hosts.substr(at, end - at) == host) return true;
    at = end + 1;
  }
  return false;
}

std::size_t Scenario::updates_of(const Host& host) const {
  return host.must_be_exact() || peer_updates == 0 ? updates : peer_updates;
}

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = [] {
    std::vector<Scenario> made(std::begin(kStreams), std::end(kStreams));
    made.insert(made.end(), std::begin(kSessions), std::end(kSessions));
    return made;
  }();
  return all;
}

const std::vector<Target>& targets() {
  static const std::vector<Target> all(std::begin(kTargets), std::end(kTargets));
  return all;
}

}  // namespace berth::bench
