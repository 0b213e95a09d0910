#include "scenarios.h"

#include <poll.h>
#include <sys/socket.h>
#include <algorithm>

namespace berth::bench {

namespace {

constexpr double kMiB = 1024.0 * 1024.0;
constexpr int kPacedSeconds = 10;

Figures figures_of(const FloodResult& result) {
  return {{"updates_per_s", result.rate()},
          {"cpu_us_per_update", result.cpu_per_update()},
          {"p50_us", result.p50_us},
          {"p99_us", result.p99_us},
          {"unfairness", result.unfairness}};
}

/// `sessions` agents with one reader each, as fast as they can or `rate` a second; then the same
/// with the bare loop.
Figures flood_both(const Programs& programs, std::size_t sessions, std::size_t updates, int rate) {
  const auto count_of = [updates](std::size_t) { return updates; };
  Figures figures;
  double cpu = 0;
  {
    const auto run = LoadRun::with_berth(programs);
    run->open_sessions(sessions, 4);
    run->add_readers();
    const FloodResult result = run->flood(count_of, rate);
    figures = figures_of(result);
    figures.emplace_back("rss_mib", static_cast<double>(run->server().rss_bytes()) / kMiB);
    cpu = result.cpu_per_update();
  }
  if (programs.bare.empty()) return figures;
  const auto run = LoadRun::with_bare_loop(programs);
  run->open_sessions(sessions, 4);
  run->add_readers();
  const FloodResult bare = run->flood(count_of, rate);
  figures.emplace_back("bare_updates_per_s", bare.rate());
  figures.emplace_back("bare_p50_us", bare.p50_us);
  figures.emplace_back("bare_p99_us", bare.p99_us);
  figures.emplace_back("bare_cpu_us_per_update", bare.cpu_per_update());
  figures.emplace_back("cpu_over_bare", cpu / bare.cpu_per_update());
  return figures;
}

Figures full_1(const Programs& programs) {
  return flood_both(programs, 1, 20'000, 0);
}
Figures full_10(const Programs& programs) {
  return flood_both(programs, 10, 10'000, 0);
}
Figures full_100(const Programs& programs) {
  return flood_both(programs, 100, 2'000, 0);
}
Figures full_500(const Programs& programs) {
  return flood_both(programs, 500, 1'000, 0);
}
Figures paced_100(const Programs& programs) {
  return flood_both(programs, 100, 50 * kPacedSeconds, 50);
}
Figures paced_500(const Programs& programs) {
  return flood_both(programs, 500, 20 * kPacedSeconds, 20);
}

Figures create(const Programs& programs) {
  constexpr std::size_t kSessions = 500;
  const auto run = LoadRun::with_berth(programs);
  run->open_sessions(4, 4);
  const double cpu_begin = static_cast<double>(run->server().cpu_ns());
  const double seconds = run->open_sessions(kSessions + 4, 4);
  const double cpu = static_cast<double>(run->server().cpu_ns()) - cpu_begin;
  return {{"sessions_per_s", kSessions / seconds}, {"cpu_us_per_session", cpu / 1e3 / kSessions}};
}

/// Memory per session as a slope between 100 and 500, so that what a server needs anyway is not
/// counted.
Figures idle(const Programs& programs) {
  constexpr std::size_t kFew = 100;
  constexpr std::size_t kMany = 500;
  constexpr double kMore = kMany - kFew;
  const auto run = LoadRun::with_berth(programs);
  const auto rss_kib = [&run] {
    run->pause(1000);
    return static_cast<double>(run->server().rss_bytes()) / 1024;
  };
  const double alone = rss_kib();
  run->open_sessions(kFew, 4);
  run->add_readers();
  const double few = rss_kib();
  run->open_sessions(kMany, 4);
  run->add_readers();
  const double many = rss_kib();
  run->flood([](std::size_t) { return std::size_t{200}; }, 0);
  const double after = rss_kib();
  run->flood([](std::size_t) { return std::size_t{1'000}; }, 0);
  const double after_more = rss_kib();
  return {{"server_alone_mib", alone / 1024},
          {"idle_kib_per_session", (many - few) / kMore},
          {"total_mib_500_idle", many / 1024},
          {"total_mib_after_100k_updates", after / 1024},
          {"total_mib_after_600k_updates", after_more / 1024}};
}

/// A client that asks for a stream and never reads it.
class StuckReader {
 public:
  StuckReader(const LoadRun& run, std::size_t session)
      : fd_(connect_to(run.server().port(), 4096)) {
    const std::string request = "GET /v1/sessions/" + LoadRun::session_name(session) +
                                "/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " +
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

/// 200 sessions at full speed; the first is much longer, and in the last flood it has a second
/// reader that never reads.
Figures stalled(const Programs& programs) {
  constexpr std::size_t kSessions = 200;
  const auto count_of = [](std::size_t session) {
    return session == 0 ? std::size_t{40'000} : std::size_t{1'000};
  };
  const auto run = LoadRun::with_berth(programs, "heartbeat = 1\nreader_stall_max = 5\n");
  run->open_sessions(kSessions, 4);
  run->add_readers();
  run->flood(count_of, 0);  // the server takes what memory it needs
  const FloodResult without = run->flood(count_of, 0, true);
  StuckReader stuck(*run, 0);
  run->pause(100);
  const FloodResult with = run->flood(count_of, 0, true);
  bool counted = false;
  for (const std::int64_t begin = now_ns();
       !counted && now_ns() - begin < std::int64_t{15} * 1'000'000'000; run->pause(50)) {
    counted = run->get("/v1/info").find("\"stalled\":1") != std::string::npos;
  }
  const bool logged = run->server().log_contains("no progress");
  const bool ended = stuck.read_to_end();
  return {{"updates_per_s_without", without.rate()},
          {"updates_per_s_with", with.rate()},
          {"rate_ratio", with.rate() / without.rate()},
          {"cpu_ratio", with.cpu_per_update() / without.cpu_per_update()},
          {"rss_growth_mib", with.rss_peak_mib - without.rss_peak_mib},
          {"stuck_closed", ended ? 1 : 0},
          {"reason_counted_and_logged", counted && logged ? 1 : 0}};
}

Figures fanout(const Programs& programs) {
  constexpr std::size_t kReaders = 16;
  const auto run = LoadRun::with_berth(programs);
  run->open_sessions(1, 1);
  for (std::size_t i = 0; i < kReaders; ++i) run->add_reader(0);
  const FloodResult result = run->flood([](std::size_t) { return std::size_t{20'000}; }, 0);
  return {{"delivered_per_s", result.rate()},
          {"cpu_us_per_delivered", result.cpu_per_update()},
          {"p50_us", result.p50_us},
          {"p99_us", result.p99_us}};
}

}  // namespace

const std::vector<Scenario>& scenarios() {
  static const std::vector<Scenario> all = {
      {"full-1", full_1},       {"full-10", full_10},     {"full-100", full_100},
      {"full-500", full_500},   {"paced-100", paced_100}, {"paced-500", paced_500},
      {"fanout-16", fanout},    {"create-500", create},   {"idle-500", idle},
      {"stalled-200", stalled},
  };
  return all;
}

}  // namespace berth::bench
