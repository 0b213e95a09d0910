#include "child.h"
#include "starter.h"

#include <berth/io/cgroup.h>
#include <berth/io/orphans.h>
#include <berth/io/process_direct.h>
#include <berth/io/process_keeper.h>
#include <berth/io/process_table.h>
#include <berth/io/tree_limits.h>

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace berth::inline v0::io {
namespace {

struct Mode {
  const char* name;
  DirectOptions options;
  bool kept = false;

  Result<std::unique_ptr<ProcessHost>> make(LogSink& log) const {
    if (kept) return make_keeper_process_host(log, {options, BERTH_KEEPER});
    return make_direct_process_host(log, options);
  }
};

void PrintTo(const Mode& mode, std::ostream* out) {
  *out << mode.name;
}

class ProcessHosts : public testing::TestWithParam<Mode> {
 protected:
  void SetUp() override {
    auto made = GetParam().make(log_);
    if (!made.has_value()) GTEST_SKIP() << "no control groups here: " << made.error().message;
    host = std::move(*made);
    // So that what is had once for all children is there before anything is counted.
    EXPECT_TRUE(Child(loop, *host, shell("exit 0")).finish());
  }
  void TearDown() override {
    host.reset();
    EXPECT_TRUE(marked(test_tag("")).empty()) << "the test has left processes behind";
  }

  NullLog log_;
  Loop loop;
  std::unique_ptr<ProcessHost> host;
};

DirectOptions mode(TreeKill tree_kill, bool clone3 = true) {
  DirectOptions options;
  options.tree_kill = tree_kill;
  options.clone3 = clone3;
  return options;
}

INSTANTIATE_TEST_SUITE_P(, ProcessHosts,
                         testing::Values(Mode{"Cgroup", mode(TreeKill::cgroup)},
                                         Mode{"CgroupWithoutClone3", mode(TreeKill::cgroup, false)},
                                         Mode{"ProcWalk", mode(TreeKill::proc_walk)},
                                         Mode{"KeeperCgroup", mode(TreeKill::cgroup), true},
                                         Mode{"KeeperProcWalk", mode(TreeKill::proc_walk), true}),
                         [](const auto& info) { return std::string(info.param.name); });

/// What must be the same before and after: descriptors, children (zombies too), control groups.
struct Census {
  std::size_t descriptors = 0;
  std::size_t children = 0;
  std::size_t groups = 0;
  bool operator==(const Census&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Census& census) {
  return out << census.descriptors << " descriptors, " << census.children << " children, "
             << census.groups << " groups";
}

Census count() {
  Census census;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir("/proc/self/fd"), &::closedir);
  while (::readdir(folder.get()) != nullptr) ++census.descriptors;
  const ProcessList list = list_processes().value();
  for (const ProcStat& process : list.processes) {
    if (process.parent == ::getpid()) ++census.children;
  }
  if (const auto home = find_cgroup_home(); home.has_value()) {
    census.groups = find_cgroups(home->mount, "berth." + test_tag("")).size();
  }
  return census;
}

TEST_P(ProcessHosts, EchoesThroughCat) {
  LaunchSpec spec = shell("");
  spec.command = "cat";
  spec.arguments = {};
  Child cat(loop, *host, spec);
  ASSERT_TRUE(cat.start()) << cat.error.message;

  cat.write("hello\n");
  ASSERT_TRUE(cat.wait_for_output("hello\n"));
  EXPECT_FALSE(cat.status.has_value());
  cat.close_stdin();
  ASSERT_TRUE(cat.finish());

  EXPECT_EQ(cat.out.text, "hello\n");
  EXPECT_EQ(describe(*cat.status), "exit code 0");
}

TEST_P(ProcessHosts, TellsTheExitCode) {
  Child child(loop, *host, shell("exit 37"));
  ASSERT_TRUE(child.finish());
  EXPECT_EQ(describe(*child.status), "exit code 37");
}

TEST_P(ProcessHosts, TellsTheSignalThatKilled) {
  Child child(loop, *host, shell("kill -SEGV $$"));
  ASSERT_TRUE(child.finish());
  EXPECT_EQ(child.status->kind, ExitStatus::Kind::killed);
  EXPECT_EQ(child.status->value, SIGSEGV);
}

TEST_P(ProcessHosts, SignalReachesTheWholeGroup) {
  Child child(loop, *host, shell("trap 'echo got it; exit 5' TERM; echo ready; sleep 1000 & wait"));
  ASSERT_TRUE(child.wait_for_output("ready"));

  child.process->signal(SIGTERM);
  ASSERT_TRUE(child.finish());

  EXPECT_EQ(child.out.text, "ready\ngot it\n");
  EXPECT_EQ(describe(*child.status), "exit code 5");
}

TEST_P(ProcessHosts, KeepsStderrApart) {
  Child child(loop, *host, shell("echo out; echo err >&2"));
  ASSERT_TRUE(child.finish());
  EXPECT_EQ(child.out.text, "out\n");
  EXPECT_EQ(child.err, "err\n");
}

TEST_P(ProcessHosts, SetsTheLimitsOfEachProcess) {
  LaunchSpec spec = shell("ulimit -v; ulimit -n; ulimit -Hn; ulimit -t");
  spec.limits.address_space = std::uint64_t{3} << 30;
  spec.limits.open_files = 77;
  spec.limits.cpu_seconds = 100;
  Child child(loop, *host, spec);
  ASSERT_TRUE(child.finish());
  EXPECT_EQ(child.out.text, "3145728\n77\n77\n100\n");
}

TEST_P(ProcessHosts, LimitsTheMemoryOfATree) {
  LaunchSpec spec = shell("x=$(head -c 60000000 /dev/zero | tr '\\0' x); echo survived ${#x}");
  spec.limits.tree_memory = std::uint64_t{20} << 20;
  Child child(loop, *host, spec);
  ASSERT_TRUE(child.start()) << child.error.message;
  ASSERT_TRUE(child.finish());
  EXPECT_EQ(child.out.text.find("survived 60000000"), std::string::npos);
}

TEST_P(ProcessHosts, CountsTheMemoryOfATreeAndSaysByWhat) {
  const Census before = count();
  {
    // What is large is a child of what was started.
    LaunchSpec spec = shell(
        "(x=$(head -c 30000000 /dev/zero | tr '\\0' x); echo held ${#x}; sleep 1000; :) & wait");
    spec.limits.count_memory = true;
    Child child(loop, *host, spec);
    ASSERT_TRUE(child.start()) << child.error.message;
    ASSERT_TRUE(child.wait_for_output("held 30000000"));
    ProcProcessTable table;
    const Result<VitalSigns> tree = table.look(child.id, true);
    const Result<VitalSigns> alone = table.look(child.id, false);
    ASSERT_TRUE(tree.has_value() && alone.has_value());
    EXPECT_GT(tree->memory_bytes, 30'000'000U);
    EXPECT_LT(tree->memory_bytes, 120'000'000U);
    EXPECT_LT(alone->memory_bytes, 15'000'000U);
    const bool by_group = host->describe().find("counted by cgroup") != std::string::npos;
    EXPECT_EQ(tree->counted_by_group, by_group) << host->describe();
    EXPECT_FALSE(alone->counted_by_group);
    child.process->kill_tree();
    ASSERT_TRUE(child.finish());
  }
  EXPECT_EQ(count(), before);
  if (const auto home = find_cgroup_home("memory"); home.has_value()) {
    EXPECT_TRUE(find_cgroups(home->mount, "berth." + test_tag("")).empty());
  }
}

TEST_P(ProcessHosts, LimitsTheNumberOfProcessesOfATreeOrSaysThatItCannot) {
  const Census before = count();
  LaunchSpec spec = shell("for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo started");
  spec.limits.tree_processes = 4;
  {
    Child child(loop, *host, spec);
    if (host->describe().find("processes not") != std::string::npos) {
      EXPECT_FALSE(child.start());
      EXPECT_STREQ(child.error.code, "no_limit");
      return;
    }
    ASSERT_TRUE(child.start()) << child.error.message;
    ASSERT_TRUE(child.finish());
    EXPECT_EQ(child.out.text.find("started"), std::string::npos);
    EXPECT_NE(child.err.find("fork"), std::string::npos) << child.err;
  }
  EXPECT_EQ(count(), before);
  if (const auto home = find_cgroup_home("pids"); home.has_value()) {
    EXPECT_TRUE(find_cgroups(home->mount, "berth." + test_tag("")).empty());
  }
}

TEST_P(ProcessHosts, LimitsTheProcessorTimeOfATreeOrSaysThatItCannot) {
  LaunchSpec spec =
      shell("i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done; read x < /proc/uptime");
  spec.limits.tree_cpu_percent = 10;
  const auto begin = std::chrono::steady_clock::now();
  Child child(loop, *host, spec);
  if (host->describe().find("cpu not") != std::string::npos) {
    EXPECT_FALSE(child.start());
    EXPECT_STREQ(child.error.code, "no_limit");
    return;
  }
  ASSERT_TRUE(child.start()) << child.error.message;
  ASSERT_TRUE(child.finish());
  const auto wall = std::chrono::steady_clock::now() - begin;
  // A tenth of a processor; half of the factor leaves room for the first period.
  EXPECT_GT(wall, 5 * (child.status->usage.user + child.status->usage.system));
}

TEST_P(ProcessHosts, GivesTheEnvironmentAndOnlyThat) {
  LaunchSpec spec = shell("");
  spec.command = "/usr/bin/env";
  spec.arguments = {};
  spec.environment = {{"A", "1"}, {"B", "two words"}, {"BERTH_TAG", "of somebody else"}};
  Child child(loop, *host, spec);
  ASSERT_TRUE(child.finish());

  const std::string marker_end = child.out.text.substr(child.out.text.find('\n'));
  EXPECT_TRUE(child.out.text.starts_with("BERTH_TAG=" + spec.tag + ".")) << child.out.text;
  EXPECT_EQ(marker_end, "\nA=1\nB=two words\n");
}

TEST_P(ProcessHosts, StartsInItsFolderAndInASessionOfItsOwn) {
  LaunchSpec spec = shell("pwd; cut -d' ' -f1,5,6 /proc/$$/stat");
  spec.working_directory = "/usr/bin";
  Child child(loop, *host, spec);
  ASSERT_TRUE(child.finish());
  const std::string pid = std::to_string(child.id.pid);
  EXPECT_EQ(child.out.text, "/usr/bin\n" + pid + " " + pid + " " + pid + "\n");
}

TEST_P(ProcessHosts, PassesNoOtherDescriptor) {
  const int leaky = ::open("/dev/null", O_RDONLY);  // without CLOEXEC
  const int high = ::fcntl(leaky, F_DUPFD, 500);
  LaunchSpec spec = shell("");
  spec.command = "/bin/ls";
  spec.arguments = {"/proc/self/fd"};
  Child child(loop, *host, spec);
  ASSERT_TRUE(child.finish());
  ::close(leaky);
  ::close(high);
  EXPECT_EQ(child.out.text, "0\n1\n2\n3\n");  // 3 is the folder that ls reads
}

TEST_P(ProcessHosts, StartsWithDefaultSignalsAndAnEmptyMask) {
  struct sigaction before;
  struct sigaction ignore = {};
  ignore.sa_handler = SIG_IGN;
  ASSERT_EQ(::sigaction(SIGPIPE, &ignore, &before), 0);
  sigset_t blocked;
  sigset_t mask_before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  ASSERT_EQ(::pthread_sigmask(SIG_BLOCK, &blocked, &mask_before), 0);

  LaunchSpec spec = shell("");
  spec.command = "/bin/grep";
  spec.arguments = {"-E", "^Sig(Blk|Ign)", "/proc/self/status"};
  Child child(loop, *host, spec);
  ASSERT_TRUE(child.finish());

  EXPECT_EQ(child.out.text, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
  sigset_t mask_after;
  ::pthread_sigmask(SIG_SETMASK, &mask_before, &mask_after);
  EXPECT_EQ(sigismember(&mask_after, SIGTERM), 1);  // ours is as it was
  EXPECT_EQ(sigismember(&mask_after, SIGINT), 0);
  ::sigaction(SIGPIPE, &before, nullptr);
}

struct BadLaunch {
  std::string name;
  std::function<void(LaunchSpec&)> change;
  std::string code;
  std::string message;
};

TEST_P(ProcessHosts, ALaunchThatFailsNamesTheCulpritAndLeavesNothing) {
  char folder[] = "/tmp/berth-process-test-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const std::string base = folder;
  const auto make_file = [&base](const std::string& name, const std::string& text, mode_t rights) {
    const int file = ::open((base + "/" + name).c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, rights);
    EXPECT_EQ(::write(file, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    ::close(file);
  };
  make_file("plain", "no program", 0644);
  make_file("lost", "#!/no/such/interpreter\n", 0755);
  make_file("junk", "no program", 0755);
  const std::vector<BadLaunch> cases = {
      {"absolute", [](LaunchSpec& s) { s.command = "/no/such/thing"; }, "command_not_found",
       "command not found: /no/such/thing"},
      {"by name", [](LaunchSpec& s) { s.command = "no-such-thing"; }, "command_not_found",
       "command not found: no-such-thing (PATH is /usr/bin:/bin)"},
      {"folder", [](LaunchSpec& s) { s.working_directory = "/no/such/folder"; },
       "bad_working_directory", "working directory /no/such/folder: No such file or directory"},
      {"file as folder", [](LaunchSpec& s) { s.working_directory = "/bin/sh"; },
       "bad_working_directory", "working directory /bin/sh: Not a directory"},
      {"not executable", [&](LaunchSpec& s) { s.command = base + "/plain"; },
       "command_not_executable", "cannot run " + base + "/plain: permission denied"},
      {"not executable in PATH",
       [&](LaunchSpec& s) {
         s.command = "plain";
         s.environment = {{"PATH", base}};
       },
       "command_not_executable", "cannot run " + base + "/plain: it is not executable"},
      {"interpreter", [&](LaunchSpec& s) { s.command = base + "/lost"; }, "command_not_executable",
       "cannot run " + base + "/lost: the interpreter or loader that it names does not exist"},
      {"no program", [&](LaunchSpec& s) { s.command = base + "/junk"; }, "command_not_executable",
       "cannot run " + base + "/junk: it is no program (a script needs a #! line)"},
      {"too long", [](LaunchSpec& s) { s.arguments = {std::string(200'000, 'x')}; }, "bad_launch",
       "arguments and environment of /bin/sh are too long"},
      {"tag", [](LaunchSpec& s) { s.tag = "Big.Tag"; }, "bad_launch",
       "tag 'Big.Tag' is not [a-z0-9-]{1,64}"},
      {"nul", [](LaunchSpec& s) { s.arguments = {std::string("a\0b", 3)}; }, "bad_launch",
       "command or environment holds a NUL byte"},
      {"name", [](LaunchSpec& s) { s.environment = {{"A=B", "c"}}; }, "bad_launch",
       "environment: 'A=B' is not a name"},
  };
  const Census before = count();
  for (const BadLaunch& bad : cases) {
    LaunchSpec spec = shell("");
    bad.change(spec);
    {
      Child child(loop, *host, spec);
      EXPECT_FALSE(child.start()) << bad.name;
      EXPECT_STREQ(child.error.code, bad.code.c_str()) << bad.name;
      EXPECT_EQ(child.error.message, bad.message) << bad.name;
    }
    EXPECT_EQ(count(), before) << bad.name;
  }
  for (const char* name : {"plain", "lost", "junk"}) ::unlink((base + "/" + name).c_str());
  ::rmdir(folder);
}

TEST_P(ProcessHosts, TheStartIsToldLaterAndWhatWasWrittenBeforeItWaits) {
  Child cat(loop, *host, shell("cat"));
  EXPECT_FALSE(cat.started);
  EXPECT_EQ(cat.process->id(), ProcessId());
  cat.write("early\n");
  ASSERT_TRUE(cat.start());
  EXPECT_TRUE(is_running(cat.process->id()));
  EXPECT_EQ(cat.process->id(), cat.id);
  cat.close_stdin();
  ASSERT_TRUE(cat.finish());
  EXPECT_EQ(cat.out.text, "early\n");
}

TEST_P(ProcessHosts, AFailureToStartIsToldLaterAndEndsThePipes) {
  const Census before = count();
  {
    LaunchSpec spec = shell("");
    spec.command = "/no/such/thing";
    Child child(loop, *host, spec);
    EXPECT_FALSE(child.failed);
    child.process->kill_tree();
    child.process->signal(SIGTERM);
    ASSERT_TRUE(loop.run_until([&] { return child.failed && child.out.ended; }));
    EXPECT_EQ(child.process->id(), ProcessId());
    EXPECT_FALSE(child.status.has_value());
    child.process->kill_tree();
  }
  EXPECT_EQ(count(), before);
}

TEST_P(ProcessHosts, WhatIsAskedDuringAStartIsDone) {
  Child killed(loop, *host, shell(kTree));
  killed.process->kill_tree();
  Child signalled(loop, *host, shell("exec sleep 1000"));
  signalled.process->signal(SIGTERM);
  ASSERT_TRUE(killed.finish());
  ASSERT_TRUE(signalled.finish());
  EXPECT_EQ(describe(*killed.status), "killed by signal 9");
  EXPECT_EQ(describe(*signalled.status), "killed by signal 15");
}

TEST_P(ProcessHosts, DroppingAProcessDuringItsStartLeavesNothing) {
  const Census before = count();
  {
    LaunchSpec missing = shell("");
    missing.command = "/no/such/thing";
    Child good(loop, *host, shell(kTree));
    Child bad(loop, *host, missing);
    good.process.reset();
    bad.process.reset();
    ASSERT_TRUE(loop.run_until([&] { return good.out.ended && bad.out.ended; }));
    EXPECT_FALSE(good.started || good.status.has_value() || bad.failed);
  }
  EXPECT_TRUE(loop.run_until([&] { return count() == before; })) << count() << ", not " << before;
}

TEST_P(ProcessHosts, TheListenerMayDropTheProcessWhenItHearsOfItsStart) {
  LaunchSpec missing = shell("");
  missing.command = "/no/such/thing";
  Child good(loop, *host, shell("exec sleep 1000"));
  Child bad(loop, *host, missing);
  good.at_start = [&] { good.process.reset(); };
  bad.at_failure = [&] { bad.process.reset(); };
  EXPECT_TRUE(loop.run_until([&] { return good.out.ended && bad.out.ended; }));
  EXPECT_TRUE(good.started && bad.failed);
  EXPECT_EQ(good.process, nullptr);
  EXPECT_FALSE(good.status.has_value());
}

TEST_P(ProcessHosts, DroppingTheHostDuringAStartLeavesNothing) {
  Child good(loop, *host, shell(kTree));
  LaunchSpec missing = shell("");
  missing.command = "/no/such/thing";
  Child bad(loop, *host, missing);
  host.reset();
  EXPECT_TRUE(marked(test_tag("sh")).empty());
  EXPECT_FALSE(good.status.has_value());
}

TEST_P(ProcessHosts, WithoutDescriptorsItFailsAndLeavesNothing) {
  const Census before = count();
  std::vector<int> hoard;
  rlimit limit;
  ::getrlimit(RLIMIT_NOFILE, &limit);
  rlimit low = limit;
  low.rlim_cur = 200;
  ::setrlimit(RLIMIT_NOFILE, &low);
  for (int fd = ::dup(2); fd >= 0; fd = ::dup(2)) hoard.push_back(fd);
  // From none free to as many as a launch needs: each try fails at another place.
  int tries = 0;
  for (bool failed = true; failed && tries < 20; ++tries) {
    {
      Child child(loop, *host, shell("exit 0"));
      failed = !child.start();
      if (failed) {
        EXPECT_EQ(child.error.kind, ErrorKind::overloaded) << child.error.message;
      }
    }
    ::close(hoard.back());
    hoard.pop_back();
  }
  for (const int fd : hoard) ::close(fd);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_GT(tries, 4);
  EXPECT_LT(tries, 20);
  EXPECT_TRUE(loop.run_until([&] { return count() == before; })) << count() << ", not " << before;
}

TEST_P(ProcessHosts, KillTreeReachesProcessesInSessionsOfTheirOwn) {
  Child child(loop, *host, shell(kTree));
  ASSERT_TRUE(child.wait_for_output("ready"));
  ASSERT_TRUE(loop.run_until([] { return marked(test_tag("sh")).size() == 6; }));

  child.process->kill_tree();
  std::size_t alive_at_exit = 99;
  child.at_exit = [&] { alive_at_exit = marked(test_tag("sh")).size(); };
  ASSERT_TRUE(child.finish());

  EXPECT_EQ(describe(*child.status), "killed by signal 9");
  EXPECT_EQ(alive_at_exit, 0U);
}

TEST_P(ProcessHosts, WhatAnAgentLeavesBehindIsGoneBeforeItsExitIsTold) {
  Child child(loop, *host, shell("(setsid sleep 1000 &); (setsid sleep 1001 &); exit 3"));
  std::size_t alive_at_exit = 99;
  child.at_exit = [&] { alive_at_exit = marked(test_tag("sh")).size(); };

  ASSERT_TRUE(child.finish());

  EXPECT_EQ(alive_at_exit, 0U);
  EXPECT_EQ(describe(*child.status), "exit code 3");
}

TEST_P(ProcessHosts, AKilledAgentTakesItsToolsWithIt) {
  Child child(loop, *host, shell(kTree));
  ASSERT_TRUE(child.wait_for_output("ready"));
  ASSERT_TRUE(loop.run_until([] { return marked(test_tag("sh")).size() == 6; }));

  ASSERT_EQ(::kill(child.id.pid, SIGKILL), 0);
  std::size_t alive_at_exit = 99;
  child.at_exit = [&] { alive_at_exit = marked(test_tag("sh")).size(); };
  ASSERT_TRUE(child.finish());

  EXPECT_EQ(alive_at_exit, 0U);
}

TEST_P(ProcessHosts, DroppingAProcessKillsItsTreeAndTellsNobody) {
  const Census before = count();
  {
    Child child(loop, *host, shell(kTree));
    ASSERT_TRUE(child.wait_for_output("ready"));
    ASSERT_TRUE(loop.run_until([] { return marked(test_tag("sh")).size() == 6; }));
    child.process.reset();
    ASSERT_TRUE(loop.run_until([] { return marked(test_tag("sh")).empty(); }));
    ASSERT_TRUE(loop.run_until([&] { return child.out.ended; }));
    EXPECT_FALSE(child.status.has_value());
  }
  EXPECT_TRUE(loop.run_until([&] { return count() == before; })) << count() << ", not " << before;
}

TEST_P(ProcessHosts, DroppingTheHostKillsWhatIsLeft) {
  auto child = std::make_unique<Child>(loop, *host, shell(kTree));
  ASSERT_TRUE(child->wait_for_output("ready"));
  ASSERT_TRUE(loop.run_until([] { return marked(test_tag("sh")).size() == 6; }));

  host.reset();

  EXPECT_TRUE(marked(test_tag("sh")).empty());
  EXPECT_FALSE(read_proc_stat(child->id.pid).has_value()) << "not reaped";
  EXPECT_FALSE(child->status.has_value());
}

TEST_P(ProcessHosts, AStatusThatSomebodyElseTookReadsKilled) {
  if (GetParam().kept) GTEST_SKIP() << "nobody else can wait for the children of a keeper";
  Child child(loop, *host, shell("read line; exit 0"));
  ASSERT_TRUE(child.start());
  child.close_stdin();
  int status = 0;
  ASSERT_EQ(::waitpid(child.id.pid, &status, 0), child.id.pid);

  ASSERT_TRUE(child.finish());

  EXPECT_EQ(describe(*child.status), "killed (no status was recorded)");
}

TEST_P(ProcessHosts, TheListenerMayDropTheProcessAndStartAnother) {
  Child first(loop, *host, shell("exit 1"));
  std::unique_ptr<Child> second;
  first.at_exit = [&] {
    first.process.reset();
    second = std::make_unique<Child>(loop, *host, shell("exit 2"));
  };
  ASSERT_TRUE(first.finish());
  ASSERT_NE(second, nullptr);
  ASSERT_TRUE(second->finish());
  EXPECT_EQ(describe(*second->status), "exit code 2");
}

TEST_P(ProcessHosts, TwoHundredAtOnceLeaveNothing) {
  const Census before = count();
  {
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 200; ++i) {
      const std::string script = "exec 3>&1; (setsid sleep 1000 &); exit " + std::to_string(i);
      children.push_back(std::make_unique<Child>(loop, *host, shell(script)));
      ASSERT_TRUE(children.back()->start()) << children.back()->error.message;
    }
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE(children[static_cast<std::size_t>(i)]->finish());
      EXPECT_EQ(describe(*children[static_cast<std::size_t>(i)]->status),
                "exit code " + std::to_string(i));
    }
  }
  EXPECT_TRUE(marked(test_tag("")).empty());
  EXPECT_EQ(count(), before);
}

TEST_P(ProcessHosts, ReapsTheOrphansOfACrashedPredecessorAndNothingElse) {
  if (GetParam().kept) GTEST_SKIP() << "a keeper leaves no orphans";
  const std::string tag = test_tag("crash");
  Starter starter(GetParam().name, tag + "-a", kTree);
  ASSERT_NE(starter.root, 0);
  Starter bystander(GetParam().name, test_tag("other"), kTree);
  LaunchSpec own_spec = shell("echo ready; (setsid sleep 1000 &) ; wait; sleep 1000");
  own_spec.tag = tag + "-b";
  Child own(loop, *host, own_spec);
  ASSERT_TRUE(loop.run_until([&] { return marked(tag + "-a").size() == 6; }));
  ASSERT_TRUE(loop.run_until([&] { return marked(test_tag("other")).size() == 6; }));
  ASSERT_TRUE(loop.run_until([&] { return marked(tag + "-b").size() == 3; }));

  starter.crash();
  ASSERT_TRUE(loop.run_until([&] { return !starter.root_lives(); }));
  const std::size_t left = marked(tag + "-a").size();
  EXPECT_EQ(left, 5U);
  const Result<int> killed = host->reap_orphans(tag);

  ASSERT_TRUE(killed.has_value());
  EXPECT_EQ(*killed, 5);
  EXPECT_EQ(marked(tag + "-a").size(), 0U);
  EXPECT_EQ(marked(tag + "-b").size(), 3U) << "children of this host are no orphans";
  EXPECT_EQ(marked(test_tag("other")).size(), 6U) << "another prefix";
  if (const auto home = find_cgroup_home(); home.has_value()) {
    EXPECT_TRUE(find_cgroups(home->mount, "berth." + tag + "-a").empty());
  }
  bystander.crash();
  ASSERT_TRUE(loop.run_until([&] { return !bystander.root_lives(); }));
  EXPECT_EQ(host->reap_orphans(test_tag("other")).value(), 5);
}

TEST_P(ProcessHosts, ReapingNeverKillsThisProcessEvenIfItCarriesTheMark) {
  // A process of this family with a matching mark, as when an agent starts a server of its own.
  const std::string marker = "BERTH_TAG=" + test_tag("mine") + ".0123456789abcdef.1";
  const pid_t relative = ::fork();
  if (relative == 0) {
    ::execle("/bin/sleep", "sleep", "1000", nullptr,
             std::array<const char*, 2>{marker.c_str(), nullptr}.data());
    ::_exit(127);
  }
  EXPECT_TRUE(loop.run_until([] { return marked(test_tag("mine")).size() == 1; }));

  EXPECT_EQ(host->reap_orphans(test_tag("mine")).value(), 0);

  EXPECT_EQ(marked(test_tag("mine")).size(), 1U);
  ::kill(relative, SIGKILL);
  ::waitpid(relative, nullptr, 0);
}

TEST(ProcessHost, SaysHowTreesAreKilledAndWhy) {
  NullLog log;
  auto walking = make_direct_process_host(log, mode(TreeKill::proc_walk));
  ASSERT_TRUE(walking.has_value());
  EXPECT_TRUE((*walking)->describe().starts_with(
      "descendants by /proc and the mark BERTH_TAG in their environment: chosen by option; trees "
      "are limited: memory "))
      << (*walking)->describe();
  auto automatic = make_direct_process_host(log);
  ASSERT_TRUE(automatic.has_value());
  if (make_direct_process_host(log, mode(TreeKill::cgroup)).has_value()) {
    EXPECT_TRUE(
        (*automatic)->describe().starts_with("cgroup2 at " + find_cgroup_home()->own + "; trees"));
  } else {
    EXPECT_TRUE((*automatic)->describe().starts_with("descendants by /proc"));
  }
}

TEST(ProcessHost, AStrangerWithoutAnyEnvironmentDelaysNoExit) {
  NullLog log;
  Loop loop;
  DirectOptions options = mode(TreeKill::proc_walk);
  options.tree_end_max = std::chrono::hours(1);
  auto host = make_direct_process_host(log, options);
  ASSERT_TRUE(host.has_value());
  Child child(loop, **host, shell("read line; exit 4"));
  const pid_t stranger = ::fork();
  if (stranger == 0) {
    ::execle("/bin/sleep", "sleep", "1000", nullptr, std::array<const char*, 1>{nullptr}.data());
    ::_exit(127);
  }
  ASSERT_TRUE(loop.run_until(
      [stranger] { return read_environment_of(stranger, "PATH").lookup == Lookup::absent; }));

  child.close_stdin();
  EXPECT_TRUE(child.finish());

  EXPECT_TRUE(is_running(read_proc_stat(stranger)->id));
  ::kill(stranger, SIGKILL);
  ::waitpid(stranger, nullptr, 0);
}

TEST(ProcessHost, RemovesEmptyGroupsOfHostsThatAreGone) {
  NullLog log;
  auto host = make_direct_process_host(log, mode(TreeKill::cgroup));
  if (!host.has_value()) GTEST_SKIP() << host.error().message;
  const ProcessId self = read_proc_stat(::getpid())->id;
  const auto group_of = [](int pid, std::uint64_t start_time) {
    const std::string instance = std::to_string(pid) + "-" + std::to_string(start_time) + "-0a0b";
    return find_cgroup_home()->own + "/berth." + make_marker(test_tag("dead"), instance, 1);
  };
  const std::string dead = group_of(self.pid, self.start_time + 1);
  const std::string alive = group_of(self.pid, self.start_time);
  ASSERT_TRUE(make_cgroup(dead).has_value());
  ASSERT_TRUE(make_cgroup(alive).has_value());

  EXPECT_EQ((*host)->reap_orphans(test_tag("another")).value(), 0);

  EXPECT_NE(::access(dead.c_str(), F_OK), 0);
  EXPECT_EQ(::access(alive.c_str(), F_OK), 0);
  EXPECT_TRUE(remove_cgroup(alive));
}

TEST(ProcessHost, ADaemonThatWipedItsEnvironmentDoesNotLeaveItsGroup) {
  NullLog log;
  Loop loop;
  auto host = make_direct_process_host(log, mode(TreeKill::cgroup));
  if (!host.has_value()) GTEST_SKIP() << host.error().message;
  const std::string script = "(setsid env -i sleep 123456.75 &); echo ready; wait; sleep 1000";
  Child child(loop, **host, shell(script));
  const std::string group = find_cgroup_home()->own;
  const auto members = [&group] {
    std::size_t sum = 0;
    for (const std::string& folder : find_cgroups(group, "berth." + test_tag("sh"))) {
      sum += cgroup_processes(folder).size();
    }
    return sum;
  };
  ASSERT_TRUE(child.wait_for_output("ready"));
  ASSERT_TRUE(loop.run_until([&] { return members() == 3; }));
  ASSERT_TRUE(loop.run_until([] { return marked(test_tag("sh")).size() == 2; }));

  child.process->kill_tree();
  ASSERT_TRUE(child.finish());

  EXPECT_EQ(members(), 0U);
}

}  // namespace
}  // namespace berth::inline v0::io
