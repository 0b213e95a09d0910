// Thousands of children under one shard: everything comes back.
#include "child.h"
#include "sanitized.h"

#include <berth/io/cgroup.h>
#include <berth/io/process_direct.h>
#include <berth/io/process_keeper.h>

#include <dirent.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace berth::inline v0::io {
namespace {

constexpr std::size_t kShare = kSanitized ? 10 : 1;  // of the children, so that it ends in time
constexpr double kGrowthMax = 0.05;
/// Of the keeper after many thousand processes: a part of its heap's pages stays in use here and
/// there, more or less of it by how starts and ends met (190 KiB after 5,000, 750 after 9,000).
constexpr double kFragmentedMax = 0.35;
constexpr std::size_t kLines = 10;
constexpr std::size_t kKeptChildren = 5000 / kShare;
/// As many as 20,000 open files allow with two each, here and in the keeper.
constexpr std::size_t kManyChildren = 9000 / kShare;
constexpr std::size_t kDirectChildren = 1000 / kShare;
constexpr std::size_t kWarmUp = 500 / kShare;
constexpr double kSettleMax = 5;  // seconds
constexpr auto kStepMax = std::chrono::seconds(120);

std::size_t descriptors_of(int pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/fd";
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), &::closedir);
  std::size_t count = 0;
  while (folder != nullptr && ::readdir(folder.get()) != nullptr) ++count;
  return count;
}

std::uint64_t resident_bytes(int pid) {
  const std::optional<ProcStat> stat = read_proc_stat(pid);
  return stat.has_value() ? stat->resident_pages * static_cast<std::uint64_t>(::getpagesize()) : 0;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

bool is_alive(int pid) {
  const std::optional<ProcStat> stat = read_proc_stat(pid);
  return stat.has_value() && !stat->ended();
}

constexpr std::size_t kUnderWay = 64;  // starts that were asked for

/// One child's conversation.
class Talk final : private ProcessListener {
 public:
  Talk(Reactor& reactor, ProcessHost& host, const LaunchSpec& spec, std::size_t number)
      : reactor_(reactor) {
    Result<std::unique_ptr<Process>> spawned = host.spawn(reactor, spec, *this);
    if (!spawned.has_value()) {
      error = spawned.error().message;
      return;
    }
    process = std::move(*spawned);
    for (std::size_t i = 0; i < kLines; ++i) {
      text_ += "line " + std::to_string(i) + " of child " + std::to_string(number) + "\n";
    }
    heard_.handle = process->stdout_handle;
    reactor.start(heard_);
  }
  ~Talk() {
    if (process == nullptr) return;
    reactor_.close(process->stdin_handle);
    reactor_.close(process->stdout_handle);
  }

  void say_all() {
    part_ = {text_.data(), text_.size()};
    saying_.handle = process->stdin_handle;
    saying_.parts = {&part_, 1};
    reactor_.start(saying_);
  }
  bool started() const { return started_; }
  bool is_up() const { return heard_.text.starts_with("up ") && heard_.text.ends_with("\n"); }
  bool echoed() const {
    return heard_.text.ends_with(text_) &&
           heard_.text.find('\n') + 1 + text_.size() == heard_.text.size();
  }
  bool over() const { return exited_ && heard_.ended; }
  int descendant() const { return std::atoi(heard_.text.c_str() + 3); }

  std::unique_ptr<Process> process;
  std::string error;

 private:
  struct Saying final : WriteOp {
    void on_written(int) override {}
  };
  void on_started() override { started_ = true; }
  void on_start_failed(Error why) override { error = std::move(why.message); }
  void on_exit(ExitStatus) override { exited_ = true; }

  Reactor& reactor_;
  Collector heard_;
  Saying saying_;
  std::string text_;
  iovec part_ = {};
  bool started_ = false;
  bool exited_ = false;
};

struct Flood {
  const char* name;
  bool kept;
  TreeKill tree_kill;
  std::size_t children;
  double growth_max = kGrowthMax;
};

void PrintTo(const Flood& flood, std::ostream* out) {
  *out << flood.name;
}

struct Holdings {
  std::size_t descriptors = 0;
  std::uint64_t resident = 0;
};

Holdings holdings_of(int pid) {
  return {descriptors_of(pid), resident_bytes(pid)};
}

class ProcessFlood : public testing::TestWithParam<Flood> {
 protected:
  template <typename Fn>
  [[nodiscard]] bool run_until_all(Fn test) {
    const auto begin = std::chrono::steady_clock::now();
    while (!std::all_of(talks.begin(), talks.end(), test)) {
      if (std::chrono::steady_clock::now() - begin > kStepMax) return false;
      for (int turns = 0; turns < 10; ++turns) loop.turn();
      const timespec pause = {0, 1'000'000};
      ::nanosleep(&pause, nullptr);
    }
    return true;
  }

  /// All of it with `count` children; says how long each step took.
  void run(std::size_t count) {
    LaunchSpec spec = shell("");
    spec.command = BERTH_ECHO_CHILD;
    spec.arguments = {};
    auto begin = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < count; ++i) {
      talks.push_back(std::make_unique<Talk>(loop.reactor(), *host, spec, i));
      ASSERT_NE(talks.back()->process, nullptr) << i << ": " << talks.back()->error;
      // The ends of a child that has not been asked for yet are open here as well.
      while (i >= kUnderWay && !talks[i - kUnderWay]->started() && talks[i]->error.empty()) {
        loop.turn();
      }
    }
    ASSERT_TRUE(run_until_all([](const auto& talk) { return talk->started(); }));
    const double started = seconds_since(begin);
    ASSERT_TRUE(run_until_all([](const auto& talk) { return talk->is_up(); }));
    begin = std::chrono::steady_clock::now();
    for (const auto& talk : talks) talk->say_all();
    ASSERT_TRUE(run_until_all([](const auto& talk) { return talk->echoed(); }));
    const double echoed = seconds_since(begin);
    std::vector<int> descendants;
    for (const auto& talk : talks) descendants.push_back(talk->descendant());
    for (const int pid : descendants) ASSERT_TRUE(is_alive(pid)) << pid;

    begin = std::chrono::steady_clock::now();
    for (const auto& talk : talks) talk->process->kill_tree();
    ASSERT_TRUE(run_until_all([](const auto& talk) { return talk->over(); }));
    const double killed = seconds_since(begin);
    for (const int pid : descendants) EXPECT_FALSE(is_alive(pid)) << pid;
    talks.clear();
    talks.shrink_to_fit();
    if (count < GetParam().children) return;
    std::printf(
        "figure: %zu children (%s): started at %.0f/s, 10 lines each echoed in %.2f s, killed with "
        "their trees and reaped at %.0f/s\n",
        count, GetParam().name, static_cast<double>(count) / started, echoed,
        static_cast<double>(count) / killed);
  }

  /// The keeper gives its memory back in a later turn of its own: it is waited for.
  void expect_back(const char* whose, int pid, const Holdings& before) {
    const auto begin = std::chrono::steady_clock::now();
    Holdings after;
    double grown = 0;
    do {
      const timespec pause = {0, 10'000'000};
      ::nanosleep(&pause, nullptr);
      after = holdings_of(pid);
      grown = static_cast<double>(after.resident) / static_cast<double>(before.resident) - 1;
    } while ((after.descriptors != before.descriptors ||
              (!kSanitized && grown > GetParam().growth_max)) &&
             seconds_since(begin) < kSettleMax);
    EXPECT_EQ(after.descriptors, before.descriptors) << whose;
    std::printf("figure: RSS of %s %.1f MiB, %+.1f %% after\n", whose,
                static_cast<double>(before.resident) / (1 << 20), grown * 100);
    if (!kSanitized) {
      EXPECT_LE(grown, GetParam().growth_max) << whose;
    }
  }

  NullLog log;
  Loop loop;
  std::unique_ptr<ProcessHost> host;
  std::vector<std::unique_ptr<Talk>> talks;
};

TEST_P(ProcessFlood, AllAreStartedEchoAreKilledWithTheirTreesAndEverythingIsBack) {
  const Flood& flood = GetParam();
  rlimit limit;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  const std::size_t each = flood.kept ? 2 : 4;
  if (limit.rlim_max < flood.children * each + 100) {
    GTEST_SKIP() << "only " << limit.rlim_max << " open files are allowed here";
  }
  DirectOptions options;
  options.tree_kill = flood.tree_kill;
  options.tree_end_max = kStepMax;
  auto made = flood.kept ? make_keeper_process_host(log, {options, BERTH_KEEPER})
                         : make_direct_process_host(log, options);
  ASSERT_TRUE(made.has_value()) << made.error().message;
  host = std::move(*made);
  run(kWarmUp);  // pools and tables that are had once
  ASSERT_FALSE(HasFatalFailure());
  int keeper = 0;
  const ProcessList list = list_processes().value();
  for (const ProcStat& process : list.processes) {
    if (process.parent == ::getpid()) keeper = process.id.pid;
  }
  ASSERT_EQ(keeper != 0, flood.kept);
  ::malloc_trim(0);
  const Holdings before = holdings_of(::getpid());
  const Holdings keeper_before = holdings_of(keeper);

  run(flood.children);
  ASSERT_FALSE(HasFatalFailure());

  ::malloc_trim(0);
  expect_back("this program", ::getpid(), before);
  if (flood.kept) expect_back("the keeper", keeper, keeper_before);
  EXPECT_TRUE(marked(test_tag("")).empty());
  if (const auto home = find_cgroup_home(); home.has_value()) {
    EXPECT_TRUE(find_cgroups(home->mount, "berth." + test_tag("")).empty());
  }
}

INSTANTIATE_TEST_SUITE_P(
    , ProcessFlood,
    testing::Values(Flood{"Keeper", true, TreeKill::automatic, kKeptChildren, kFragmentedMax},
                    Flood{"KeeperMany", true, TreeKill::automatic, kManyChildren, kFragmentedMax},
                    Flood{"KeeperProcWalk", true, TreeKill::proc_walk, kDirectChildren},
                    Flood{"Direct", false, TreeKill::automatic, kDirectChildren}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace berth::inline v0::io
