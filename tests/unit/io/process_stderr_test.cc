// What processes say on stderr, by each host: whole, before their end, bounded, fair.
#include "child.h"
#include "sanitized.h"

#include <berth/io/process_direct.h>
#include <berth/io/process_keeper.h>

#include <dirent.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace berth::inline v0::io {
namespace {

constexpr std::size_t kFlooders = kSanitized ? 100 : 1000;  // so that it ends in time
constexpr std::size_t kPipeBytes = 64 * 1024;
constexpr std::size_t kSocketBytes = 512 * 1024;  // more than the keeper's socket holds

struct Mode {
  const char* name;
  TreeKill tree_kill;
  bool kept;
};

void PrintTo(const Mode& mode, std::ostream* out) {
  *out << mode.name;
}

class ProcessStderr : public testing::TestWithParam<Mode> {
 protected:
  void SetUp() override {
    rlimit limit;
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
    DirectOptions options;
    options.tree_kill = GetParam().tree_kill;
    auto made = GetParam().kept ? make_keeper_process_host(log, {options, BERTH_KEEPER})
                                : make_direct_process_host(log, options);
    if (!made.has_value()) GTEST_SKIP() << "no control groups here: " << made.error().message;
    host = std::move(*made);
    const ProcessList list = list_processes().value();
    for (const ProcStat& process : list.processes) {
      if (process.parent == ::getpid() && !process.ended()) keeper = process.id.pid;
    }
  }

  NullLog log;
  Loop loop;
  std::unique_ptr<ProcessHost> host;
  int keeper = 0;
};

INSTANTIATE_TEST_SUITE_P(, ProcessStderr,
                         testing::Values(Mode{"Cgroup", TreeKill::cgroup, false},
                                         Mode{"ProcWalk", TreeKill::proc_walk, false},
                                         Mode{"KeeperCgroup", TreeKill::cgroup, true},
                                         Mode{"KeeperProcWalk", TreeKill::proc_walk, true}),
                         [](const auto& info) { return std::string(info.param.name); });

std::size_t descriptors_of(int pid) {
  const std::string path = "/proc/" + std::to_string(pid) + "/fd";
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), &::closedir);
  std::size_t count = 0;
  while (folder != nullptr && ::readdir(folder.get()) != nullptr) ++count;
  return count;
}

std::uint64_t resident_bytes(int pid) {
  return read_proc_stat(pid)->resident_pages * static_cast<std::uint64_t>(::getpagesize());
}

/// What a process has written so far, to whatever.
std::uint64_t bytes_written_by(int pid) {
  std::uint64_t bytes = 0;
  const std::string path = "/proc/" + std::to_string(pid) + "/io";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"),
                                                             &std::fclose);
  char line[128];
  while (file != nullptr && std::fgets(line, sizeof(line), file.get()) != nullptr) {
    if (std::sscanf(line, "wchar: %lu", &bytes) == 1) break;
  }
  return bytes;
}

/// Writes `bytes` NULs to stderr.
std::string write_zeros(std::size_t bytes) {
  return "head -c " + std::to_string(bytes) + " /dev/zero >&2";
}

TEST_P(ProcessStderr, IsToldWholeBeforeTheEnd) {
  // Within what the pipe holds (nobody waits for us then) and far beyond.
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kPipeBytes, kPipeBytes * 50}) {
    Child child(loop, *host, shell(write_zeros(size) + "; printf end >&2; exit 3"));
    std::size_t told_before = 0;
    child.at_exit = [&] { told_before = child.err.size(); };
    ASSERT_TRUE(child.finish());
    EXPECT_EQ(describe(*child.status), "exit code 3");
    EXPECT_EQ(told_before, size + 3);
    EXPECT_EQ(child.err, std::string(size, '\0') + "end");
  }
}

TEST_P(ProcessStderr, CarriesBytesOfEveryValue) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  Child child(loop, *host,
              shell("for i in 0 1 2 3; do for j in 0 1 2 3 4 5 6 7; do for k in 0 1 2 3 4 5 6 7; "
                    "do printf \"\\\\$i$j$k\" >&2; done; done; done"));
  ASSERT_TRUE(child.finish());
  EXPECT_EQ(child.err, all);
}

TEST_P(ProcessStderr, CanBeOpenedByName) {
  Child child(loop, *host, shell("echo hidden; echo named > /dev/stderr"));
  ASSERT_TRUE(child.finish());
  EXPECT_EQ(child.out.text, "hidden\n");
  EXPECT_EQ(child.err, "named\n");
}

TEST_P(ProcessStderr, MayBeClosedByTheProcessWithoutAnEnd) {
  Child child(loop, *host, shell("echo before >&2; exec 2>&-; echo closed; read line; exit 4"));
  ASSERT_TRUE(child.wait_for_output("closed"));
  ASSERT_TRUE(loop.run_until([&] { return child.err == "before\n"; }));
  EXPECT_FALSE(child.status.has_value());
  child.close_stdin();
  ASSERT_TRUE(child.finish());
  EXPECT_EQ(describe(*child.status), "exit code 4");
}

TEST_P(ProcessStderr, WhoHoldsItBeyondTheTreeDelaysNoEndAndWritesToNobody) {
  if (GetParam().tree_kill != TreeKill::proc_walk) GTEST_SKIP() << "nobody leaves his group";
  // A keeper ends whoever wiped his mark when no tree is left.
  Child other(loop, *host, shell("exec sleep 1000"));
  Child child(loop, *host,
              shell("setsid env -i /bin/sh -c 'echo $$; exec 1>&-; while echo more >&2; do :; "
                    "done' & read line; exit 5"));
  ASSERT_TRUE(loop.run_until([&] { return child.err.size() > kPipeBytes; }));
  child.close_stdin();
  ASSERT_TRUE(loop.run_until([&] { return child.status.has_value(); }));

  EXPECT_EQ(describe(*child.status), "exit code 5");
  const int stranger = std::atoi(child.out.text.c_str());
  ASSERT_GT(stranger, 1);
  EXPECT_TRUE(loop.run_until([&] {
    const std::optional<ProcStat> stat = read_proc_stat(stranger);
    return !stat.has_value() || stat->ended();
  }));
}

TEST_P(ProcessStderr, TheListenerMayDropTheProcessAmidItsWords) {
  auto child = std::make_unique<Child>(loop, *host, shell("exec yes >&2"));
  std::size_t heard = 0;
  child->at_stderr = [&] {
    heard = child->err.size();
    child->process.reset();
  };
  ASSERT_TRUE(loop.run_until([&] { return heard > 0; }));
  ASSERT_TRUE(loop.run_until([] { return marked(test_tag("sh")).empty(); }));
  EXPECT_EQ(child->err.size(), heard);
  EXPECT_FALSE(child->status.has_value());
}

TEST_P(ProcessStderr, CostsThisProgramNoDescriptorWhereAKeeperReadsIt) {
  const auto grown = [](int pid, std::size_t before) { return descriptors_of(pid) - before; };
  EXPECT_TRUE(Child(loop, *host, shell("exit 0")).finish());
  const std::size_t before = descriptors_of(::getpid());
  const std::size_t keeper_before = descriptors_of(keeper);
  {
    Child child(loop, *host, shell("echo ready; read line"));
    ASSERT_TRUE(child.wait_for_output("ready"));
    EXPECT_EQ(grown(::getpid(), before), GetParam().kept ? 2U : 4U);
    if (GetParam().kept) {
      EXPECT_EQ(grown(keeper, keeper_before), 2U);
    }
    child.close_stdin();
    ASSERT_TRUE(child.finish());
  }
  EXPECT_EQ(descriptors_of(::getpid()), before);
  EXPECT_TRUE(loop.run_until([&] { return descriptors_of(keeper) == keeper_before; }));
}

TEST_P(ProcessStderr, WhileWeDoNotReadItWriterWaitsAndNobodyGrows) {
  constexpr std::size_t kWriters = 50;
  constexpr std::size_t kEach = 1'000'000;
  std::vector<std::unique_ptr<Child>> children;
  for (std::size_t i = 0; i < kWriters; ++i) {
    children.push_back(
        std::make_unique<Child>(loop, *host, shell("read line; exec " + write_zeros(kEach))));
    ASSERT_TRUE(children.back()->start()) << children.back()->error.message;
  }
  const auto written = [&] {
    std::uint64_t sum = 0;
    for (const auto& child : children) sum += bytes_written_by(child->id.pid);
    return sum;
  };
  const std::uint64_t keeper_before = GetParam().kept ? resident_bytes(keeper) : 0;
  for (const auto& child : children) child->close_stdin();
  // The loop is not turned here: until nothing moves any more.
  std::uint64_t before = 0;
  for (int quiet = 0; quiet < 20; ++quiet) {
    const timespec pause = {0, 10'000'000};
    ::nanosleep(&pause, nullptr);
    if (const std::uint64_t now = written(); std::exchange(before, now) != now) quiet = 0;
  }
  EXPECT_GT(before, 0U);
  EXPECT_LE(before, kWriters * kPipeBytes + kSocketBytes);
  if (GetParam().kept && !kSanitized) {
    EXPECT_LT(resident_bytes(keeper), keeper_before + (1U << 20));
  }

  for (const auto& child : children) {
    ASSERT_TRUE(child->finish());
    EXPECT_EQ(child->err, std::string(kEach, '\0'));
  }
}

TEST_P(ProcessStderr, AThousandThatFloodDelayNeitherEachOtherNorAStartAndAnEnd) {
  if (!GetParam().kept && GetParam().tree_kill == TreeKill::proc_walk) {
    GTEST_SKIP() << "the same pipes, and a look at all of /proc for each end";
  }
  struct Flooder final : ProcessListener {
    void on_start_failed(Error why) override { ADD_FAILURE() << why.message; }
    void on_stderr(std::string_view bytes) override { heard += bytes.size(); }
    void on_exit(ExitStatus) override { over = true; }
    std::unique_ptr<Process> process;
    std::size_t heard = 0;
    bool over = false;
  };
  std::vector<Flooder> flooders(kFlooders);
  const LaunchSpec spec = shell("exec yes >&2");
  for (Flooder& flooder : flooders) {
    auto spawned = host->spawn(loop.reactor(), spec, flooder);
    ASSERT_TRUE(spawned.has_value()) << spawned.error().message;
    flooder.process = std::move(*spawned);
  }
  // Everybody is heard, again and again.
  for (int round = 0; round < 3; ++round) {
    std::vector<std::size_t> before;
    for (const Flooder& flooder : flooders) before.push_back(flooder.heard);
    EXPECT_TRUE(loop.run_until([&] {
      for (std::size_t i = 0; i < flooders.size(); ++i) {
        if (flooders[i].heard == before[i]) return false;
      }
      return true;
    }));
  }
  for (int i = 0; i < 3; ++i) {
    Child child(loop, *host, shell("echo done >&2; exit 4"));
    ASSERT_NE(child.process, nullptr) << child.error.message;
    ASSERT_TRUE(child.finish());
    EXPECT_EQ(child.err, "done\n");
    EXPECT_EQ(describe(*child.status), "exit code 4");
  }
  for (Flooder& flooder : flooders) flooder.process->kill_tree();
  for (Flooder& flooder : flooders) {
    EXPECT_TRUE(loop.run_until([&] { return flooder.over; }));
    loop.reactor().close(flooder.process->stdin_handle);
    loop.reactor().close(flooder.process->stdout_handle);
  }
}

TEST(KeeperDescriptors, ItRaisesItsOwnLimitAndNotTheChildrens) {
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low = {256, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  NullLog log;
  Loop loop;
  auto host = make_keeper_process_host(log, {{}, BERTH_KEEPER});
  ::setrlimit(RLIMIT_NOFILE, &before);
  ASSERT_TRUE(host.has_value());
  Child child(loop, **host, shell("ulimit -Sn; grep 'open files' /proc/$PPID/limits >&2"));
  ASSERT_TRUE(child.finish());
  EXPECT_EQ(child.out.text, "256\n");
  char line[128];
  std::snprintf(line, sizeof(line), "%-26s%-21lu", "Max open files", before.rlim_max);
  EXPECT_TRUE(child.err.starts_with(line)) << child.err;
}

TEST(KeeperDescriptors, WhenItHasNoneLeftTheStartSaysSo) {
  NullLog log;
  Loop loop;
  auto host = make_keeper_process_host(log, {{}, BERTH_KEEPER});
  ASSERT_TRUE(host.has_value());
  Child first(loop, **host, shell("echo $PPID; read line"));
  ASSERT_TRUE(first.wait_for_output("\n"));
  const int keeper = std::atoi(first.out.text.c_str());
  const auto held = static_cast<rlim_t>(descriptors_of(keeper));
  rlimit before;
  ASSERT_EQ(::prlimit(keeper, RLIMIT_NOFILE, nullptr, &before), 0);
  // From none free to as many as a start needs.
  std::size_t refused = 0;
  for (rlim_t limit = held - 3; limit < held + 20; ++limit) {
    const rlimit low = {limit, before.rlim_max};
    ASSERT_EQ(::prlimit(keeper, RLIMIT_NOFILE, &low, nullptr), 0);
    Child child(loop, **host, shell("exit 0"));
    if (child.start()) break;
    ++refused;
    EXPECT_EQ(child.error.kind, ErrorKind::overloaded) << child.error.message;
    if (refused <= 4) {
      EXPECT_NE(child.error.message.find("raise the limit of open files"), std::string::npos)
          << child.error.message;
    }
  }
  EXPECT_GT(refused, 3U);
  EXPECT_LT(refused, 20U);
  first.close_stdin();
  EXPECT_TRUE(first.finish());
}

}  // namespace
}  // namespace berth::inline v0::io
