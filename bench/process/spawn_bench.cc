// bench/process/spawn_bench.cc — starting and reaping processes: the direct host against
// posix_spawn and waitpid.
//
//   ninja -C build bench/process/spawn_bench && build/bench/process/spawn_bench [ROUNDS]
//
// The ways take turns within each round, so that other load on the machine meets all of them alike;
// a figure is the median of the rounds. "held" is how many other children (cat, three pipes each)
// live meanwhile.
#include <berth/core/assert.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/process_direct.h>
#include <berth/io/uring_ring.h>

#include <fcntl.h>
#include <fmt/core.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

using namespace berth;
using SteadyClock = std::chrono::steady_clock;

constexpr int kStartsPerRound = 100;

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

/// What everybody does: three pipes, posix_spawn in a session of its own, waitpid.
void start_by_posix_spawn(Figures& figures) {
  const auto begin = SteadyClock::now();
  std::array<std::array<int, 2>, 3> pipes;
  for (auto& ends : pipes) BERTH_ASSERT(::pipe2(ends.data(), O_CLOEXEC) == 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipes[0][0], 0);
  posix_spawn_file_actions_adddup2(&actions, pipes[1][1], 1);
  posix_spawn_file_actions_adddup2(&actions, pipes[2][1], 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  char name[] = "/bin/true";
  std::array<char*, 2> arguments = {name, nullptr};
  pid_t pid = 0;
  BERTH_ASSERT(::posix_spawn(&pid, name, &actions, &attributes, arguments.data(), environ) == 0);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  figures.call_us.push_back(seconds_since(begin) * 1e6);
  int status = 0;
  BERTH_ASSERT(::waitpid(pid, &status, 0) == pid && status == 0);
  for (const auto& ends : pipes) {
    ::close(ends[0]);
    ::close(ends[1]);
  }
}

class Ended final : public io::ExitListener {
 public:
  explicit Ended(io::Reactor& reactor) : reactor_(reactor) {}
  void on_exit(io::ExitStatus exit_status) override {
    status = exit_status;
    reactor_.stop();
  }
  std::optional<io::ExitStatus> status;

 private:
  io::Reactor& reactor_;
};

io::LaunchSpec program(const std::string& path) {
  io::LaunchSpec spec;
  spec.command = path;
  spec.environment = {{"PATH", "/usr/bin:/bin"}};
  spec.working_directory = "/";
  spec.tag = "bench-" + std::to_string(::getpid());
  return spec;
}

void close_pipes(io::Reactor& reactor, const io::Process& process) {
  reactor.close(process.stdin_handle);
  reactor.close(process.stdout_handle);
  reactor.close(process.stderr_handle);
}

void start_by_host(io::Reactor& reactor, io::ProcessHost& host, Figures& figures) {
  Ended ended(reactor);
  const auto begin = SteadyClock::now();
  auto process = host.spawn(reactor, program("/bin/true"), ended);
  BERTH_ASSERT(process.has_value());
  figures.call_us.push_back(seconds_since(begin) * 1e6);
  reactor.run();
  BERTH_ASSERT(ended.status.has_value() && describe(*ended.status) == "exit code 0");
  close_pipes(reactor, **process);
}

/// Children that live while others are measured.
class Held {
 public:
  Held(io::Reactor& reactor, io::ProcessHost& host, int count)
      : reactor_(reactor), nobody_(reactor) {
    for (int i = 0; i < count; ++i) {
      auto process = host.spawn(reactor, program("/bin/cat"), nobody_);
      BERTH_ASSERT(process.has_value());
      processes_.push_back(std::move(*process));
    }
  }
  ~Held() {
    for (const auto& process : processes_) close_pipes(reactor_, *process);
  }

 private:
  io::Reactor& reactor_;
  Ended nobody_;
  std::vector<std::unique_ptr<io::Process>> processes_;
};

using Hosts = std::map<std::string, std::unique_ptr<io::ProcessHost>>;

void run_rounds(io::Reactor& reactor, Hosts& hosts, int held, int rounds) {
  std::map<std::string, Figures> all;
  const auto timed = [](Figures& figures, auto start) {
    const auto begin = SteadyClock::now();
    const double cpu_before = own_cpu_us();
    for (int i = 0; i < kStartsPerRound; ++i) start(figures);
    figures.cpu_us.push_back((own_cpu_us() - cpu_before) / kStartsPerRound);
    figures.per_second.push_back(kStartsPerRound / seconds_since(begin));
  };
  {
    const Held others(reactor, *hosts.begin()->second, held);
    for (int round = 0; round < rounds; ++round) {
      timed(all["posix_spawn + waitpid"], start_by_posix_spawn);
      for (auto& [name, host] : hosts) {
        timed(all[name], [&reactor, &host](Figures& f) { start_by_host(reactor, *host, f); });
      }
    }
  }
  const double base = median(all["posix_spawn + waitpid"].per_second);
  for (auto& [name, figures] : all) {
    std::sort(figures.call_us.begin(), figures.call_us.end());
    const double rate = median(figures.per_second);
    fmt::print(
        "{:>5}  {:<24} {:>6.0f}/s  x{:<5.2f} call p50 {:>5.0f} us, p99 {:>5.0f} us; own CPU "
        "{:>4.0f} us\n",
        held, name, rate, rate / base, figures.call_us[figures.call_us.size() / 2],
        figures.call_us[figures.call_us.size() * 99 / 100], median(figures.cpu_us));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 3;
  auto reactor = io::make_uring_reactor();
  if (!reactor.has_value()) {
    fmt::print(stderr, "{}\n", reactor.error().message);
    return 1;
  }
  NullLog log;
  Hosts hosts;
  const auto add = [&](const std::string& name, io::TreeKill tree_kill, bool clone3) {
    io::DirectOptions options;
    options.tree_kill = tree_kill;
    options.clone3 = clone3;
    auto host = make_direct_process_host(log, options);
    if (host.has_value()) hosts[name] = std::move(*host);
  };
  add("host, cgroup", io::TreeKill::cgroup, true);
  add("host, cgroup, no clone3", io::TreeKill::cgroup, false);
  add("host, /proc walk", io::TreeKill::proc_walk, true);
  fmt::print(" held  way              started and reaped  (to posix_spawn)\n");
  for (const int held : {0, 500}) run_rounds(**reactor, hosts, held, rounds);
  return 0;
}
