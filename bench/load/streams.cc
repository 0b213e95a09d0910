#include "scenarios.h"

#include <poll.h>
#include <sys/socket.h>
#include <algorithm>

namespace berth::bench {

namespace {

constexpr double kMiB = 1024.0 * 1024.0;

void add_flood(Figures& figures, const FloodResult& result) {
  const Figures made = {{"updates_per_s", result.rate()},
                        {"cpu_us", result.cpu_per_update()},
                        {"agents_cpu_us", result.agents_us / result.delivered},
                        {"client_cpu_us", result.client_us / result.delivered},
                        {"bytes", result.bytes / result.delivered},
                        {"p50_us", result.p50_us},
                        {"p99_us", result.p99_us},
                        {"unfairness", result.unfairness},
                        {"lost", result.lost},
                        {"disordered", result.disordered}};
  figures.insert(figures.end(), made.begin(), made.end());
}

/// A client that asks for a stream and never reads it.
class StuckReader {
 public:
  StuckReader(LoadRun& run, std::size_t session) : fd_(connect_to(run.server().port(), 4096)) {
    const std::string request = "GET " + run.host().events_path(LoadRun::session_name(session)) +
                                " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " +
                                run.server().token() + "\r\nAccept: text/event-stream\r\n\r\n";
    if (::send(fd_, request.data(), request.size(), MSG_NOSIGNAL) < 0) die("send");
  }
  ~StuckReader() { ::close(fd_); }
  StuckReader(const StuckReader&) = delete;
  StuckReader& operator=(const StuckReader&) = delete;

  /// Reads at last what the kernel holds; true when the server's end is behind it.
  bool read_to_end() {
    std::vector<char> bytes(1 << 20);
    for (pollfd ready{fd_, POLLIN, 0}; ::poll(&ready, 1, 5000) == 1;) {
      const ssize_t got = ::read(fd_, bytes.data(), bytes.size());
      if (got == 0 || (got < 0 && errno == ECONNRESET)) return true;
    }
    return false;
  }

 private:
  int fd_;
};

}  // namespace

Figures run_streams(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  run.open_sessions(scenario.sessions, 4);
  run.add_readers();
  Figures figures;
  add_flood(figures,
            run.flood([&](std::size_t) { return scenario.updates_of(host); }, scenario.rate));
  figures.emplace_back("rss_mib", static_cast<double>(run.server().rss_bytes()) / kMiB);
  return figures;
}

Figures run_fanout(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  run.open_sessions(1, 1);
  for (std::size_t i = 0; i < scenario.readers; ++i) run.add_reader(0);
  Figures figures;
  add_flood(figures,
            run.flood([&](std::size_t) { return scenario.updates_of(host); }, scenario.rate));
  figures.emplace_back("rss_mib", static_cast<double>(run.server().rss_bytes()) / kMiB);
  return figures;
}

Figures run_stalled(const Scenario& scenario, const Host& host, const Programs& programs) {
  const std::size_t updates = scenario.updates_of(host);
  const auto count_of = [updates](std::size_t session) {
    return session == 0 ? updates * 40 : updates;
  };
  LoadRun run(host, programs, "heartbeat = 1\nreader_stall_max = 5\n");
  run.open_sessions(scenario.sessions, 4);
  run.add_readers();
  for (int i = 0; i < 4; ++i) run.flood(count_of, 0);  // the server takes what memory it needs
  const FloodResult without = run.flood(count_of, 0, true);
  StuckReader stuck(run, 0);
  run.pause(100);
  const FloodResult with = run.flood(count_of, 0, true);
  Figures figures = {{"updates_per_s_without", without.rate()},
                     {"updates_per_s_with", with.rate()},
                     {"rate_ratio", with.rate() / without.rate()},
                     {"cpu_ratio", with.cpu_per_update() / without.cpu_per_update()},
                     {"rss_growth_mib", with.rss_peak_mib - without.rss_peak_mib},
                     {"lost", with.lost}};
  if (!host.says_turns()) return figures;
  const bool counted = run.run_until(
      [&run] {
        run.pause(50);
        return run.get("/v1/info").find("\"stalled\":1") != std::string::npos;
      },
      15'000);
  const bool logged = run.server().log_contains("no progress");
  figures.emplace_back("stuck_closed", stuck.read_to_end() ? 1 : 0);
  figures.emplace_back("reason_counted_and_logged", counted && logged ? 1 : 0);
  return figures;
}

Figures run_long_line(const Scenario& scenario, const Host& host, const Programs& programs) {
  LoadRun run(host, programs);
  run.open_sessions(1, 1);
  run.add_readers();
  run.flood([](std::size_t) { return std::size_t{100}; }, 0);
  const double before = static_cast<double>(run.server().rss_peak_bytes());
  const std::uint64_t bytes_before = run.totals().bytes;
  const std::int64_t begin = now_ns();
  run.prompt(0, "line " + std::to_string(scenario.updates));
  const bool came = run.run_until([&run] { return run.totals().unnumbered > 0; }, 60'000);
  const double seconds = static_cast<double>(now_ns() - begin) / 1e9;
  const double size = static_cast<double>(scenario.updates);
  const bool whole = came && run.totals().bytes - bytes_before >= scenario.updates;
  const double peak = static_cast<double>(run.server().rss_peak_bytes());
  return {{"delivered", whole ? 1 : 0},
          {"seconds", seconds},
          {"rss_peak_over_line", peak / size},
          {"rss_growth_over_line", (peak - before) / size}};
}

}  // namespace berth::bench
