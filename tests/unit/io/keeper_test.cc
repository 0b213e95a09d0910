#include "child.h"
#include "starter.h"

#include <berth/io/cgroup.h>
#include <berth/io/process_keeper.h>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace berth::inline v0::io {
namespace {

/// The running berth-keeper of a process (its newest child); 0 if there is none.
int keeper_of(int pid) {
  int found = 0;
  const ProcessList list = list_processes().value();
  for (const ProcStat& process : list.processes) {
    if (process.parent == pid && !process.ended()) found = process.id.pid;
  }
  return found;
}

int keeper_pid() {
  return keeper_of(::getpid());
}

class Keeper : public testing::TestWithParam<TreeKill> {
 protected:
  void SetUp() override {
    KeeperOptions options;
    options.program = BERTH_KEEPER;
    options.processes.tree_kill = GetParam();
    auto made = make_keeper_process_host(log_, options);
    if (!made.has_value()) GTEST_SKIP() << "no control groups here: " << made.error().message;
    host = std::move(*made);
  }
  void TearDown() override {
    host.reset();
    EXPECT_TRUE(marked(test_tag("")).empty()) << "the test has left processes behind";
  }
  std::string mode() const {
    return GetParam() == TreeKill::cgroup ? "KeeperCgroup" : "KeeperProcWalk";
  }

  NullLog log_;
  Loop loop;
  std::unique_ptr<ProcessHost> host;
};

INSTANTIATE_TEST_SUITE_P(, Keeper, testing::Values(TreeKill::cgroup, TreeKill::proc_walk),
                         [](const auto& info) {
                           return info.param == TreeKill::cgroup ? "Cgroup" : "ProcWalk";
                         });

constexpr Duration kGoneMax = std::chrono::seconds(2);

TEST_P(Keeper, NothingIsLeftTwoSecondsAfterKillMinus9OfItsProgram) {
  const std::string tag = test_tag("crash");
  Starter starter(mode(), tag, kTree);
  ASSERT_NE(starter.root, 0);
  ASSERT_TRUE(loop.run_until([&] { return marked(tag).size() == 6; }));
  const int keeper = keeper_of(starter.pid());
  ASSERT_NE(keeper, 0);

  starter.crash();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(loop.run_until([&] { return marked(tag).empty(); }));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kGoneMax);
  // The keeper itself and the groups go as well.
  EXPECT_TRUE(loop.run_until([keeper] {
    const std::optional<ProcStat> stat = read_proc_stat(keeper);
    return !stat.has_value() || stat->ended();
  }));
  if (const auto home = find_cgroup_home(); home.has_value()) {
    EXPECT_TRUE(find_cgroups(home->mount, "berth." + tag).empty());
  }
}

TEST_P(Keeper, ACopyOfItsProgramThatHoldsTheSocketKeepsNothingAlive) {
  const std::string tag = test_tag("forked");
  const std::string how = GetParam() == TreeKill::cgroup ? "Cgroup" : "ProcWalk";
  Starter starter("KeeperForked" + how, tag, kTree);
  ASSERT_NE(starter.root, 0);
  ASSERT_TRUE(loop.run_until([&] { return marked(tag).size() == 6; }));

  starter.crash();
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(loop.run_until([&] { return marked(tag).empty(); }));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kGoneMax);
}

TEST_P(Keeper, AlsoWhatHasWipedItsMarkAndLeftItsSessionGoesWithItsProgram) {
  const std::string daemon = "sleep 12" + std::to_string(::getpid()) + ".5";
  const auto daemons = [&] {
    std::size_t count = 0;
    const ProcessList list = list_processes().value();
    for (const ProcStat& process : list.processes) {
      if (process.ended()) continue;
      const Variable mark = read_environment_of(process.id.pid, "BERTH_TEST_DAEMON");
      if (mark.lookup == Lookup::found && mark.value == daemon) ++count;
    }
    return count;
  };
  Starter starter(
      mode(), test_tag("wiped"),
      "(setsid env -i BERTH_TEST_DAEMON='" + daemon + "' /bin/" + daemon + " &); wait; sleep 1000");
  ASSERT_TRUE(loop.run_until([&] { return daemons() == 1; }));

  starter.crash();
  EXPECT_TRUE(loop.run_until([&] { return daemons() == 0; }));
}

TEST_P(Keeper, WhenItDiesItsChildrenReadKilledAndTheNextSpawnStartsANewOne) {
  Child first(loop, *host, shell(kTree));
  Child second(loop, *host, shell("exec sleep 1000"));
  ASSERT_TRUE(first.wait_for_output("ready"));
  ASSERT_TRUE(loop.run_until([] { return marked(test_tag("sh")).size() == 7; }));
  const int keeper = keeper_pid();
  ASSERT_NE(keeper, 0);
  std::size_t alive_at_exit = 99;
  std::unique_ptr<Child> third;
  first.at_exit = [&] {
    alive_at_exit = marked(test_tag("sh")).size();
    third = std::make_unique<Child>(loop, *host, shell("exit 5"));  // within its listener
  };

  ASSERT_EQ(::kill(keeper, SIGKILL), 0);
  ASSERT_TRUE(first.finish());
  ASSERT_TRUE(second.finish());

  EXPECT_EQ(describe(*first.status), "killed (no status was recorded)");
  EXPECT_EQ(describe(*second.status), "killed (no status was recorded)");
  EXPECT_EQ(alive_at_exit, 0U);
  ASSERT_NE(third, nullptr);
  ASSERT_TRUE(third->start()) << third->error.message;
  ASSERT_TRUE(third->finish());
  EXPECT_EQ(describe(*third->status), "exit code 5");
  EXPECT_NE(keeper_pid(), keeper);
}

TEST_P(Keeper, ASpawnThatFindsItDeadSaysSoAndTheNextOneWorks) {
  EXPECT_TRUE(Child(loop, *host, shell("exit 0")).finish());
  const int keeper = keeper_pid();
  ASSERT_EQ(::kill(keeper, SIGKILL), 0);
  siginfo_t info;
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(keeper), &info, WEXITED | WNOWAIT), 0);

  Child refused(loop, *host, shell("exit 0"));
  EXPECT_FALSE(refused.start());
  EXPECT_EQ(refused.error.kind, ErrorKind::unavailable);
  EXPECT_STREQ(refused.error.code, "keeper_lost");

  ASSERT_TRUE(loop.run_until([&] { return !read_proc_stat(keeper).has_value(); }));
  Child next(loop, *host, shell("exit 6"));
  ASSERT_TRUE(next.start()) << next.error.message;
  ASSERT_TRUE(next.finish());
  EXPECT_EQ(describe(*next.status), "exit code 6");
}

/// Stopped, so that it answers nothing, until this goes.
class Stopped {
 public:
  explicit Stopped(int keeper) : keeper_(keeper) {
    BERTH_ASSERT(keeper != 0 && ::kill(keeper, SIGSTOP) == 0);
    siginfo_t info;
    BERTH_ASSERT(::waitid(P_PID, static_cast<id_t>(keeper), &info, WSTOPPED) == 0);
  }
  ~Stopped() { ::kill(keeper_, SIGCONT); }
  Stopped(const Stopped&) = delete;
  Stopped& operator=(const Stopped&) = delete;

 private:
  int keeper_;
};

TEST_P(Keeper, TheLoopGoesOnWhileAStartHangs) {
  Child cat(loop, *host, shell("cat"));
  ASSERT_TRUE(cat.start());
  // More than the socket has room for, some of them dropped again while they wait.
  constexpr std::size_t kStarts = 100;
  LaunchSpec spec = shell("read line; exit $line");
  spec.environment.emplace_back("MUCH", std::string(20'000, 'x'));
  std::vector<std::unique_ptr<Child>> hanging;
  {
    const Stopped stopped(keeper_pid());
    for (std::size_t i = 0; i < kStarts; ++i) {
      hanging.push_back(std::make_unique<Child>(loop, *host, spec));
      ASSERT_NE(hanging.back()->process, nullptr) << hanging.back()->error.message;
      if (i % 10 == 5) {
        hanging.back()->process.reset();
      } else if (i % 10 == 6) {
        hanging.back()->process->kill_tree();
      } else {
        hanging.back()->write(std::to_string(i) + "\n");
      }
    }
    cat.write("still here\n");
    ASSERT_TRUE(cat.wait_for_output("still here\n"));
    for (const auto& child : hanging) EXPECT_FALSE(child->started || child->failed);
  }
  for (std::size_t i = 0; i < kStarts; ++i) {
    if (i % 10 == 5) continue;
    ASSERT_TRUE(hanging[i]->finish());
    EXPECT_EQ(describe(*hanging[i]->status),
              i % 10 == 6 ? "killed by signal 9" : "exit code " + std::to_string(i));
  }
}

TEST_P(Keeper, OneThatDiesDuringStartsIsToldOnceToEach) {
  Child before(loop, *host, shell("exec sleep 1000"));
  ASSERT_TRUE(before.start());
  const int keeper = keeper_pid();
  std::vector<std::unique_ptr<Child>> hanging;
  std::unique_ptr<Child> next;
  {
    const Stopped stopped(keeper);
    for (int i = 0; i < 100; ++i) {
      LaunchSpec spec = shell("exec sleep 1000");
      spec.environment.emplace_back("MUCH", std::string(20'000, 'x'));
      hanging.push_back(std::make_unique<Child>(loop, *host, spec));
      ASSERT_NE(hanging.back()->process, nullptr);
    }
    hanging[0]->at_failure = [&] { next = std::make_unique<Child>(loop, *host, shell("exit 6")); };
    ASSERT_EQ(::kill(keeper, SIGKILL), 0);
    // Child itself says when it hears more than one end.
    for (const auto& child : hanging) {
      ASSERT_TRUE(loop.run_until([&] { return child->failed && child->out.ended; }));
      EXPECT_EQ(child->error.kind, ErrorKind::unavailable);
      EXPECT_STREQ(child->error.code, "keeper_lost");
    }
  }
  ASSERT_TRUE(before.finish());
  EXPECT_EQ(describe(*before.status), "killed (no status was recorded)");
  ASSERT_NE(next, nullptr);
  ASSERT_TRUE(next->start()) << next->error.message;
  ASSERT_TRUE(next->finish());
  EXPECT_EQ(describe(*next->status), "exit code 6");
}

TEST_P(Keeper, OneThatDoesNotAnswerIsLostAfterItsTime) {
  KeeperOptions options;
  options.program = BERTH_KEEPER;
  options.processes.tree_kill = GetParam();
  options.silence_max = std::chrono::milliseconds(200);
  auto made = make_keeper_process_host(log_, options);
  ASSERT_TRUE(made.has_value());
  const std::unique_ptr<ProcessHost> impatient = std::move(*made);
  Child before(loop, *impatient, shell("exec sleep 1000"));
  ASSERT_TRUE(before.start());
  const Stopped stopped(keeper_pid());
  // It owes nothing: silence is no sign.
  const auto quiet_until = std::chrono::steady_clock::now() + std::chrono::milliseconds(400);
  ASSERT_TRUE(loop.run_until([&] { return std::chrono::steady_clock::now() > quiet_until; }));
  EXPECT_FALSE(before.status.has_value());

  Child hanging(loop, *impatient, shell("exit 0"));
  EXPECT_FALSE(hanging.start());
  EXPECT_STREQ(hanging.error.code, "keeper_lost");
  ASSERT_TRUE(before.finish());
  Child next(loop, *impatient, shell("exit 6"));
  ASSERT_TRUE(next.finish());
  EXPECT_EQ(describe(*next.status), "exit code 6");
}

TEST_P(Keeper, TellsWhatAChildHasUsed) {
  Child child(loop, *host, shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done"));
  ASSERT_TRUE(child.finish());
  EXPECT_GT(child.status->usage.user + child.status->usage.system, std::chrono::milliseconds(1));
  EXPECT_GT(child.status->usage.resident_max, 200U * 1024);
  EXPECT_LT(child.status->usage.resident_max, 100U * 1024 * 1024);
}

TEST_P(Keeper, ASpecThatFillsManyPacketsArrivesWhole) {
  LaunchSpec spec = shell("printf %s \"$V7\" | wc -c; exit ${#V0}");
  for (int i = 0; i < 8; ++i) {
    const auto size = static_cast<std::size_t>(i == 0 ? 9 : 100'000);
    spec.environment.emplace_back("V" + std::to_string(i), std::string(size, 'x'));
  }
  Child child(loop, *host, spec);
  ASSERT_TRUE(child.start()) << child.error.message;
  ASSERT_TRUE(child.finish());
  EXPECT_EQ(child.out.text, "100000\n");
  EXPECT_EQ(describe(*child.status), "exit code 9");
}

TEST_P(Keeper, ASpecBeyondItsBoundIsRefusedHere) {
  LaunchSpec spec = shell("exit 0");
  spec.environment.emplace_back("V", std::string(9'000'000, 'x'));
  Child child(loop, *host, spec);
  EXPECT_FALSE(child.start());
  EXPECT_STREQ(child.error.code, "bad_launch");
}

TEST_P(Keeper, TwoReactorsHaveTheirOwnLanes) {
  Loop other;
  Child here(loop, *host, shell("read x; exit 1"));
  Child there(other, *host, shell("exit 2"));
  ASSERT_TRUE(there.finish());
  EXPECT_EQ(describe(*there.status), "exit code 2");
  here.close_stdin();
  ASSERT_TRUE(here.finish());
  EXPECT_EQ(describe(*here.status), "exit code 1");
  host.reset();  // before the other loop goes
}

TEST(KeeperProgram, ThatIsMissingOrIsNoneIsAnError) {
  NullLog log;
  auto missing = make_keeper_process_host(log, {{}, "/no/such/berth-keeper"});
  ASSERT_FALSE(missing.has_value());
  EXPECT_STREQ(missing.error().code, "command_not_found");
  auto another = make_keeper_process_host(log, {{}, "/bin/true"});
  ASSERT_FALSE(another.has_value());
  EXPECT_STREQ(another.error().code, "keeper_lost");
}

TEST(KeeperProgram, SaysWhoKillsAndHow) {
  NullLog log;
  KeeperOptions options;
  options.program = BERTH_KEEPER;
  options.processes.tree_kill = TreeKill::proc_walk;
  auto host = make_keeper_process_host(log, options);
  ASSERT_TRUE(host.has_value());
  const std::string text = (*host)->describe();
  EXPECT_TRUE(text.starts_with("descendants by /proc")) << text;
  EXPECT_TRUE(text.ends_with("(by berth-keeper, pid " + std::to_string(keeper_pid()) + ")"))
      << text;
}

}  // namespace
}  // namespace berth::inline v0::io
