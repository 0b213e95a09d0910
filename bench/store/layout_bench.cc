// bench/store/layout_bench.cc — compares ways to log events durably before they are shown.
//
// usage: layout_bench [rounds] [scale]     rounds: default 3, scale: of the amounts, default 1.0
// Every round runs every layout once, so that a slow minute of the machine touches all of them; the
// tables show medians. Works in a temporary folder under $TMPDIR and removes it.
#include "database.h"
#include "layouts.h"

#include <fmt/core.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace berth::bench {
namespace {

constexpr std::size_t kEventBytes = 500;

/// Events that end as frames of the log do.
std::string events_text(std::uint32_t count) {
  std::string text;
  for (std::uint32_t i = 0; i < count; ++i) text += std::string(kEventBytes - 2, 'x') + "\n\n";
  return text;
}

double clock_us(clockid_t id) {
  timespec now{};
  clock_gettime(id, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}
double cpu_us() {
  return clock_us(CLOCK_THREAD_CPUTIME_ID);
}
double wall_us() {
  return clock_us(CLOCK_MONOTONIC);
}

/// Bytes that this process handed to write(2) so far; 0 where the kernel doesn't tell.
double written_bytes() {
  std::ifstream io("/proc/self/io");
  std::string name;
  double value = 0;
  while (io >> name >> value) {
    if (name == "wchar:") return value;
  }
  return 0;
}

double folder_bytes(const std::string& folder) {
  double bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    bytes += static_cast<double>(entry.file_size());
  }
  return bytes;
}

struct Workload {
  std::uint64_t sessions;  ///< In each commit.
  std::uint32_t events;    ///< Of each session in it.
  int commits;
  int per_second = 0;  ///< 0: as fast as it goes.
  /// Small commits of each session before the measurement: in a log that has grown, the index
  /// entries of two sessions are not on one page.
  int history = 0;
};

struct Measured {
  double cpu_event = 0, cpu_commit = 0, p50 = 0, p99 = 0, max = 0, written = 0, kept = 0;
};

double percentile(std::vector<double>& values, double part) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
}

/// A folder that lives as long as the object.
class Folder {
 public:
  Folder() {
    const char* base = std::getenv("TMPDIR");
    path_ = fmt::format("{}/layout_bench.XXXXXX", base != nullptr ? base : "/tmp");
    if (mkdtemp(path_.data()) == nullptr) die("mkdtemp", std::strerror(errno));
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void wait_until(double start, double due) {
  const double now = wall_us() - start;
  if (now >= due) return;
  const auto left = static_cast<long>((due - now) * 1e3);
  const timespec pause{left / 1'000'000'000, left % 1'000'000'000};
  nanosleep(&pause, nullptr);
}

void write_history(Layout& layout, const Workload& load) {
  std::vector<SessionRun> runs(static_cast<std::size_t>(load.history));
  for (std::uint64_t session = 1; session <= load.sessions && load.history > 0; ++session) {
    std::uint64_t seq = 0;
    for (SessionRun& run : runs) run = {session, ++seq, 1, "fourteen bytes\n\n"};
    layout.commit(runs);
  }
  layout.finish();
}

Measured measure(const LayoutKind& kind, const Workload& load, const StoreSettings& settings) {
  Folder folder;
  const std::unique_ptr<Layout> layout = kind.make(folder.path(), settings);
  const std::string text = events_text(load.events);
  std::vector<SessionRun> runs(load.sessions);
  std::vector<double> waits;
  write_history(*layout, load);
  const double kept = folder_bytes(folder.path());
  const double wrote = written_bytes();
  const double start = wall_us();
  double cpu = 0;
  for (int commit = 0; commit < load.commits; ++commit) {
    const auto before_it =
        static_cast<std::uint64_t>(load.history + commit * static_cast<int>(load.events));
    for (std::uint64_t i = 0; i < load.sessions; ++i) {
      runs[i] = {i + 1, before_it + 1, load.events, text};
    }
    if (load.per_second > 0) wait_until(start, commit * 1e6 / load.per_second);
    const double cpu_before = cpu_us();
    const double before = wall_us();
    layout->commit(runs);
    waits.push_back(wall_us() - before);
    cpu += cpu_us() - cpu_before;
  }
  const double cpu_before = cpu_us();
  layout->finish();
  cpu += cpu_us() - cpu_before;
  const double commits = load.commits;
  const double events = commits * static_cast<double>(load.sessions) * load.events;
  Measured result;
  result.cpu_event = cpu / events;
  result.cpu_commit = cpu / commits;
  result.written = (written_bytes() - wrote) / events;
  result.kept = (folder_bytes(folder.path()) - kept) / events;
  result.p50 = percentile(waits, 0.5);
  result.p99 = percentile(waits, 0.99);
  result.max = waits.back();  // Sorted by now.
  return result;
}

Measured median(const std::vector<Measured>& rounds) {
  const auto of = [&](double Measured::* member) {
    std::vector<double> values;
    for (const Measured& round : rounds) values.push_back(round.*member);
    return percentile(values, 0.5);
  };
  return {of(&Measured::cpu_event), of(&Measured::cpu_commit), of(&Measured::p50),
          of(&Measured::p99),       of(&Measured::max),        of(&Measured::written),
          of(&Measured::kept)};
}

struct Case {
  std::string label;
  LayoutKind kind;
  StoreSettings settings;
};

void table(const std::string& title, const Workload& load, const std::vector<Case>& cases,
           int rounds) {
  std::vector<std::vector<Measured>> measured(cases.size());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < cases.size(); ++i) {
      measured[i].push_back(measure(cases[i].kind, load, cases[i].settings));
    }
  }
  fmt::print("\n{}: {} commits of {} session(s) x {} event(s)\n", title, load.commits,
             load.sessions, load.events);
  fmt::print("| {:<28} | {:>12} | {:>13} | {:>7} | {:>7} | {:>7} | {:>13} | {:>10} |\n", "layout",
             "CPU us/event", "CPU us/commit", "p50 us", "p99 us", "max us", "written/event",
             "kept/event");
  fmt::print("|{:-<30}|{:->14}|{:->15}|{:->9}|{:->9}|{:->9}|{:->15}|{:->12}|\n", "", ":", ":", ":",
             ":", ":", ":", ":");
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Measured m = median(measured[i]);
    fmt::print("| {:<28} | {:>12.2f} | {:>13.1f} | {:>7.0f} | {:>7.0f} | {:>7.0f} | {:>13.0f} |",
               cases[i].label, m.cpu_event, m.cpu_commit, m.p50, m.p99, m.max, m.written);
    fmt::print(" {:>10.0f} |\n", m.kept);
  }
  std::fflush(stdout);
}

/// One session of `events` events, four to a commit, another one between; read back in pages.
void read_table(const std::vector<LayoutKind>& kinds, int rounds, int events) {
  constexpr std::size_t kPageBytes = std::size_t{256} << 10U;
  fmt::print("\nread back one session of {} events, written 4 a commit, pages of 256 KiB\n",
             events);
  fmt::print("| {:<28} | {:>12} | {:>13} |\n", "layout", "CPU us/event", "page p99 us");
  fmt::print("|{:-<30}|{:->14}|{:->15}|\n", "", ":", ":");
  for (const LayoutKind& kind : kinds) {
    Folder folder;
    const std::unique_ptr<Layout> layout = kind.make(folder.path(), StoreSettings{});
    const std::string text = events_text(4);
    for (int seq = 1; seq <= events; seq += 4) {
      for (std::uint64_t session : {1U, 2U}) {
        const SessionRun run{session, static_cast<std::uint64_t>(seq), 4, text};
        layout->commit({&run, 1});
      }
    }
    layout->finish();
    std::vector<double> costs;
    std::vector<double> pages;
    for (int round = 0; round < rounds; ++round) {
      std::uint64_t after = 0;
      std::string page;
      const double cpu = cpu_us();
      while (true) {
        page.clear();
        const double before = wall_us();
        const std::uint64_t last = layout->read(1, after, kPageBytes, page);
        if (last == after) break;
        pages.push_back(wall_us() - before);
        after = last;
      }
      if (after != static_cast<std::uint64_t>(events)) die(kind.name, "events are missing");
      costs.push_back((cpu_us() - cpu) / events);
    }
    fmt::print("| {:<28} | {:>12.2f} | {:>13.0f} |\n", kind.name, percentile(costs, 0.5),
               percentile(pages, 0.99));
  }
  std::fflush(stdout);
}

void compare_layouts(const std::vector<LayoutKind>& kinds, int rounds, double scale) {
  const auto n = [&](int count) { return std::max(4, static_cast<int>(count * scale)); };
  std::vector<Case> process;
  std::vector<Case> power;
  for (const LayoutKind& kind : kinds) {
    process.push_back({kind.name, kind, StoreSettings{}});
    power.push_back({kind.name, kind, {.synchronous = Synchronous::full}});
  }
  table("process durability (NORMAL), 1 x 1", {1, 1, n(2000)}, process, rounds);
  table("process durability (NORMAL), 1 x 1 at 1000 commits/s", {1, 1, n(300), 1000}, process,
        rounds);
  table("process durability (NORMAL), 1 x 16", {1, 16, n(1200)}, process, rounds);
  table("process durability (NORMAL), 500 x 1", {500, 1, n(24)}, process, rounds);
  table("the same in a log that has grown, 500 x 1", {500, 1, n(24), 0, 300}, process, rounds);

  table("process durability (NORMAL), 500 x 16", {500, 16, n(8)}, process, rounds);
  table("power durability (FULL), 1 x 1", {1, 1, n(300)}, power, rounds);
  table("power durability (FULL), 500 x 16", {500, 16, n(6)}, power, rounds);
}

void compare_settings(const LayoutKind& kind, int rounds, double scale) {
  const auto n = [&](int count) { return std::max(4, static_cast<int>(count * scale)); };
  const std::vector<Case> cases = {
      {"NORMAL, exclusive, 4096, 1000", kind, {}},
      {"OFF", kind, {.synchronous = Synchronous::off}},
      {"FULL", kind, {.synchronous = Synchronous::full}},
      {"locking_mode=NORMAL", kind, {.exclusive = false}},
      {"page_size=2048, 2000 pages", kind, {.page_size = 2048, .autocheckpoint_pages = 2000}},
      {"page_size=8192, 500 pages", kind, {.page_size = 8192, .autocheckpoint_pages = 500}},
      {"page_size=16384, 250 pages", kind, {.page_size = 16384, .autocheckpoint_pages = 250}},
      {"wal_autocheckpoint=4000", kind, {.autocheckpoint_pages = 4000}},
      {"wal_autocheckpoint=16000", kind, {.autocheckpoint_pages = 16000}},
  };
  table(fmt::format("settings of {}, 1 x 1", kind.name), {1, 1, n(2000)}, cases, rounds);
  table(fmt::format("settings of {}, 500 x 1", kind.name), {500, 1, n(24)}, cases, rounds);
  table(fmt::format("settings of {}, 500 x 16", kind.name), {500, 16, n(8)}, cases, rounds);
}

int run(int rounds, double scale) {
  const std::vector<LayoutKind> kinds = layout_kinds();
  fmt::print("SQLite {}, events of {} bytes, medians of {} interleaved rounds\n",
             sqlite3_libversion(), kEventBytes, rounds);
  for (const LayoutKind& kind : kinds) fmt::print("  {:<16} {}\n", kind.name, kind.what);
  compare_layouts(kinds, rounds, scale);
  for (const LayoutKind& kind : kinds) {
    if (std::string_view(kind.name) == "packed/index") compare_settings(kind, rounds, scale);
  }
  read_table(kinds, rounds, std::max(1000, static_cast<int>(25'000 * scale) * 4));
  return 0;
}

}  // namespace
}  // namespace berth::bench

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 3;
  const double scale = argc > 2 ? std::atof(argv[2]) : 1.0;
  if (rounds < 1 || scale <= 0) {
    std::fputs("usage: layout_bench [rounds] [scale]\n", stderr);
    return 2;
  }
  return berth::bench::run(rounds, scale);
}
