#include "child.h"

#include <berth/core/scope.h>
#include <berth/io/cgroup.h>
#include <berth/io/orphans.h>
#include <berth/io/platform_linux.h>
#include <berth/io/process_table.h>
#include <berth/io/resolver.h>
#include <berth/io/tree_memory.h>

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <algorithm>
#include <ctime>
#include <map>
#include <string>
#include <vector>

namespace berth::inline v0::io {
namespace {

TEST(ProcStatLine, IsReadBehindANameFullOfParenthesesAndBlanks) {
  const std::optional<ProcStat> stat = parse_proc_stat(
      "4711 (a) S 1 (x) R 12 34 56 0 -1 4194304 100 0 0 0 7 8 0 0 20 0 1 0 123456 9999 42 1844 "
      "1 1 1 0 0 0 4096 3 0 0 0 0 17 1 0 0 0 0 0 1 1 1 140 150 150 777 0\n");
  ASSERT_TRUE(stat.has_value());
  EXPECT_EQ(stat->id, (ProcessId{4711, 123456}));
  EXPECT_EQ(stat->state, 'R');
  EXPECT_EQ(stat->parent, 12);
  EXPECT_EQ(stat->session, 56);
  EXPECT_EQ(stat->cpu_ticks, 15U);
  EXPECT_EQ(stat->resident_pages, 42U);
  EXPECT_EQ(stat->environment_end, 777U);
}

TEST(ProcStatLine, ThatIsCutIsNone) {
  EXPECT_FALSE(parse_proc_stat("").has_value());
  EXPECT_FALSE(parse_proc_stat("4711 (name) S 1 2 3").has_value());
  EXPECT_FALSE(
      parse_proc_stat("pid (name) S 1 2 3 0 0 0 0 0 0 0 1 1 0 0 0 0 1 0 5 5 5").has_value());
}

struct Line {
  int pid;
  int parent;
  int session;
  std::uint64_t start;
  char state = 'S';
};

std::vector<int> pids_of(const std::vector<ProcessId>& ids) {
  std::vector<int> pids;
  for (const ProcessId& id : ids) pids.push_back(id.pid);
  std::sort(pids.begin(), pids.end());
  return pids;
}

TEST(ProcessTree, FindsMembersByParentSessionAndMark) {
  std::vector<ProcStat> processes;
  for (const Line& line : std::vector<Line>{
           {1, 0, 1, 1},               // init
           {50, 1, 50, 90},            // older than the root, though its mark would match
           {100, 1, 100, 100},         // the root
           {101, 100, 100, 101},       // child
           {102, 101, 102, 102},       // grandchild in a session of its own
           {103, 1, 100, 103},         // lost its parent, kept the session
           {104, 1, 104, 104},         // a daemon with the mark
           {105, 104, 104, 105},       // the daemon's child
           {106, 101, 100, 106, 'Z'},  // has ended
           {107, 1, 107, 107},         // somebody else
           {108, 100, 108, 108},       // spared
           {109, 108, 109, 109},       // below a spared one
       }) {
    ProcStat stat;
    stat.id = {line.pid, line.start};
    stat.parent = line.parent;
    stat.session = line.session;
    stat.state = line.state;
    processes.push_back(stat);
  }
  const std::map<int, std::string> markers = {{50, "mine"}, {104, "mine"}, {107, "another"}};
  const MarkerReader marker_of = [&markers](const ProcStat& process) -> std::optional<std::string> {
    const auto found = markers.find(process.id.pid);
    if (found == markers.end()) return {};
    return found->second;
  };
  TreeSeed seed;
  seed.root = {100, 100};
  seed.marker_matches = [](std::string_view marker) { return marker == "mine"; };

  EXPECT_EQ(pids_of(members_of(seed, processes, {108}, marker_of)),
            (std::vector<int>{100, 101, 102, 103, 104, 105}));
  seed.root = {100, 99};  // the pid is another process's by now; the session's number too
  seed.marker_matches = [](std::string_view) { return false; };
  EXPECT_EQ(pids_of(members_of(seed, {processes.data() + 2, 1}, {}, marker_of)),
            (std::vector<int>{100}));
}

TEST(ProcessTree, ASignalNeverReachesAnotherProcessWithTheSamePid) {
  const ProcessId self = read_proc_stat(::getpid())->id;
  EXPECT_EQ(send_signal(self, 0), 0);
  EXPECT_EQ(send_signal({self.pid, self.start_time + 1}, 0), ESRCH);
  EXPECT_TRUE(is_running(self));
  EXPECT_FALSE(is_running({self.pid, self.start_time + 1}));
}

TEST(OrphanMarkers, MatchByTagPrefixAndForeignInstance) {
  EXPECT_EQ(make_marker("tag-1", "00ff", 7), "tag-1.00ff.7");
  EXPECT_TRUE(is_orphan_marker("tag-1.00ff.7", "tag-", "0000"));
  EXPECT_TRUE(is_orphan_marker("tag-1.00ff.7", "tag-1", "0000"));
  EXPECT_FALSE(is_orphan_marker("tag-1.00ff.7", "tag-", "00ff")) << "our own";
  EXPECT_FALSE(is_orphan_marker("tag-1.00ff.7", "tag-12", "0000"));
  EXPECT_FALSE(is_orphan_marker("tag-1.00ff.7", "tag-1.00", "0000")) << "longer than the tag";
  EXPECT_FALSE(is_orphan_marker("tag-1", "tag-", "0000")) << "no marker of ours";
}

constexpr const char* kPlainHost =
    "22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw\n"
    "32 31 0:29 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kHybridHost =
    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
    "41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime - cgroup2 cgroup2 rw\n";
constexpr const char* kPartOfHost =
    "41 31 0:38 /pods/a /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n";

TEST(CgroupHome, IsFoundOnPlainAndHybridHostsAndInContainers) {
  EXPECT_EQ(parse_cgroup_home(kPlainHost, "0::/user.slice/x.scope\n")->own,
            "/sys/fs/cgroup/user.slice/x.scope");
  EXPECT_EQ(parse_cgroup_home(kHybridHost, "9:name=systemd:/a\n0::/\n")->own,
            "/sys/fs/cgroup/uni fied");
  EXPECT_EQ(parse_cgroup_home(kPartOfHost, "0::/pods/a/b\n")->own, "/sys/fs/cgroup/b");
}

TEST(CgroupHome, IsFoundForAControllerOfVersion1) {
  EXPECT_EQ(parse_cgroup_home(kHybridHost, "5:cpu,cpuacct:/b\n0::/a\n", "cpu")->own,
            "/sys/fs/cgroup/cpu/b");
  EXPECT_EQ(parse_cgroup_home(kHybridHost, "5:cpu:/b\n", "memory").error().message,
            "no cgroup with memory is mounted");
  EXPECT_EQ(parse_cgroup_home(kHybridHost, "5:cpuacct:/b\n0::/a\n", "cpu").error().message,
            "this process is in no group of cgroup with cpu");
}

TEST(CgroupHome, SaysWhyThereIsNone) {
  EXPECT_EQ(parse_cgroup_home("", "0::/\n").error().message, "no cgroup2 is mounted");
  EXPECT_EQ(parse_cgroup_home(kPlainHost, "9:cpu:/\n").error().message,
            "this process is in no group of cgroup2");
  EXPECT_EQ(parse_cgroup_home(kPlainHost, "0::/../x\n").error().message,
            "this process's group /../x is outside of its namespace");
  EXPECT_EQ(parse_cgroup_home(kPartOfHost, "0::/other\n").error().message,
            "this process's group /other is outside of the mount /sys/fs/cgroup");
  EXPECT_EQ(parse_cgroup_home(kPartOfHost, "0::/pods/ab\n").error().message,
            "this process's group /pods/ab is outside of the mount /sys/fs/cgroup");
}

/// "FOLDER" for version 2, "1:FOLDER" for version 1.
std::vector<std::string> groups_of(std::string_view mountinfo, std::string_view self,
                                   std::string_view process) {
  std::vector<std::string> folders;
  for (const MemoryGroup& group : MemoryHomes(mountinfo, self).groups_of(process, "berth.")) {
    folders.push_back((group.version1 ? "1:" : "") + group.folder);
  }
  return folders;
}

TEST(TreeMemory, IsCountedByTheGroupOfTheTreeAndByNoLargerOne) {
  const std::string with_memory1 =
      std::string(kHybridHost) +
      "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
  struct Row {
    const char* name;
    std::string mounts;
    const char* self;
    const char* process;
    std::vector<std::string> groups;
  };
  const Row rows[] = {
      {"its own",
       kPlainHost,
       "0::/s/berth.service\n",
       "0::/s/berth.service/berth.tag.1.2\n",
       {"/sys/fs/cgroup/s/berth.service/berth.tag.1.2"}},
      {"one that it made in its own",
       kPlainHost,
       "0::/b\n",
       "0::/b/berth.tag.1.2/inner/berth.x\n",
       {"/sys/fs/cgroup/b/berth.tag.1.2"}},
      {"a berth below another's agent",
       kPlainHost,
       "0::/b/berth.tag.1.2\n",
       "0::/b/berth.tag.1.2/berth.tag.3.4\n",
       {"/sys/fs/cgroup/b/berth.tag.1.2/berth.tag.3.4"}},
      {"only berth's", kPlainHost, "0::/s/berth.service\n", "0::/s/berth.service\n", {}},
      {"somebody else's", kPlainHost, "0::/a\n", "0::/b/berth.tag.1.2\n", {}},
      {"a name that only looks so", kPlainHost, "0::/\n", "0::/noberth.tag\n", {}},
      {"in a container",
       kPartOfHost,
       "0::/pods/a\n",
       "0::/pods/a/berth.t.1.2\n",
       {"/sys/fs/cgroup/berth.t.1.2"}},
      {"both versions",
       with_memory1,
       "4:memory:/x\n0::/\n",
       "4:memory:/x/berth.t.1.2\n0::/berth.t.1.2\n",
       {"/sys/fs/cgroup/uni fied/berth.t.1.2", "1:/sys/fs/cgroup/memory/x/berth.t.1.2"}},
      {"version 1 alone",
       with_memory1,
       "4:memory:/x\n0::/\n",
       "4:memory:/x/berth.t.1.2\n0::/\n",
       {"1:/sys/fs/cgroup/memory/x/berth.t.1.2"}},
      {"another controller", with_memory1, "4:cpu:/\n0::/\n", "4:cpu:/berth.t.1.2\n0::/\n", {}},
      {"none mounted", "", "0::/\n", "0::/berth.t.1.2\n", {}},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(groups_of(row.mounts, row.self, row.process), row.groups) << row.name;
  }
}

TEST(TreeMemory, LeavesOutPagesOfFilesThatTheKernelTakesBack) {
  EXPECT_EQ(memory_in_use("5000\n", "anon 10\ninactive_file 1500\nactive_file 7\n", false), 3500U);
  EXPECT_EQ(memory_in_use("5000\n", "inactive_file 9\ntotal_inactive_file 1500\n", true), 3500U);
  EXPECT_EQ(memory_in_use("5000\n", "", false), 5000U);
  EXPECT_EQ(memory_in_use("100\n", "inactive_file 300\n", false), 0U) << "read one after the other";
  EXPECT_EQ(memory_in_use("", "inactive_file 300\n", false), std::nullopt);
}

TEST(ProcessTableOfProc, LooksAtALivingProcessAndAtNoOther) {
  ProcProcessTable table;
  const ProcessId self = read_proc_stat(table.own_pid())->id;
  const VitalSigns alone = *table.look(self, false);
  EXPECT_GT(alone.memory_bytes, 1U << 20);
  EXPECT_GT(table.look(self, true)->memory_bytes, alone.memory_bytes / 2);
  EXPECT_FALSE(alone.stopped);
  EXPECT_EQ(table.look({self.pid, self.start_time + 1}, true).error().kind, ErrorKind::not_found);
}

TEST(ProcessTableOfProc, KnowsThisProcessAndOnlyThisOne) {
  ProcProcessTable table;
  const ProcessId self = read_proc_stat(table.own_pid())->id;
  EXPECT_GT(table.self().resident_bytes, 1U << 20);
  EXPECT_GT(table.usage(self)->resident_bytes, 1U << 20);
  const auto gone = table.usage({self.pid, self.start_time + 1});
  ASSERT_FALSE(gone.has_value());
  EXPECT_EQ(gone.error().kind, ErrorKind::not_found);
}

TEST(ProcessTableOfProc, CountsProcessorTime) {
  ProcProcessTable table;
  const std::uint64_t before = table.self().cpu_microseconds;
  const auto spent = [] { return std::clock() * 1'000'000 / CLOCKS_PER_SEC; };
  const auto end = spent() + 50'000;
  while (spent() < end) {
  }
  const std::uint64_t more = table.self().cpu_microseconds - before;
  EXPECT_GE(more, 30'000U);
  EXPECT_LE(more, 2'000'000U);
}

TEST(Resolver, TurnsNumbersAndNamesIntoAddresses) {
  SystemResolver resolver;
  EXPECT_EQ(resolver.resolve("127.0.0.1:80").value()[0].text, "127.0.0.1:80");
  EXPECT_EQ(resolver.resolve("[::1]:8420").value()[0].text, "[::1]:8420");
  EXPECT_EQ(resolver.resolve("unix:/run/x").value()[0].text, "unix:/run/x");
  EXPECT_GE(resolver.resolve("localhost:80").value().size(), 1U);
}

TEST(Resolver, SaysWhatIsWrongWithAnAddress) {
  SystemResolver resolver;
  for (const char* bad : {"", "host", "host:", ":80"}) {
    EXPECT_STREQ(resolver.resolve(bad).error().code, "bad_address") << bad;
  }
  EXPECT_FALSE(resolver.resolve("127.0.0.1:http").has_value());
}

class Memory final : public LogSink {
 public:
  void write(LogLevel, std::string_view, std::string_view message, std::string_view) override {
    text += message;
  }
  std::string text;
};

Task<void> read_off_thread(Platform* platform, std::string* content) {
  Files* files = &platform->files();
  Result<std::string> read = co_await platform->offload().run(
      Lane::files, platform->reactor(), [files] { return files->read("/proc/self/comm", 100); });
  if (read.has_value()) *content = std::move(*read);
  platform->reactor().stop();
}

TEST(LinuxPlatform, HasAllItsPartsAndTellsWhatTheyAre) {
  Memory log;
  auto platform = make_linux_platform(log, {});
  ASSERT_TRUE(platform.has_value()) << platform.error().message;
  const auto says = [&log](const std::string& words) {
    return log.text.find(words) != std::string::npos;
  };
  EXPECT_TRUE(says("engine " + std::string((*platform)->reactor().engine_name()))) << log.text;
  EXPECT_TRUE(says("trees of processes are killed by " + (*platform)->processes().describe()))
      << log.text;
  EXPECT_NE((*platform)->random().next(), (*platform)->random().next());
  ::setenv("BERTH_TEST_VARIABLE", "here", 1);
  EXPECT_EQ((*platform)->environment().get("BERTH_TEST_VARIABLE"), "here");
  EXPECT_EQ((*platform)->environment().get("BERTH_TEST_NONE"), std::nullopt);
  EXPECT_GT((*platform)->clock().wall().count(), 1'700'000'000'000);

  std::string content;
  Scope scope((*platform)->reactor());
  scope.spawn(read_off_thread(platform->get(), &content));
  (*platform)->reactor().run();
  EXPECT_NE(content, "");
}

TEST(LinuxPlatform, RaisesItsOwnDescriptorLimitAndNotTheChildrens) {
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low = {256, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  NullLog log;
  auto platform = make_linux_platform(log, {});
  ASSERT_TRUE(platform.has_value());
  rlimit raised;
  ::getrlimit(RLIMIT_NOFILE, &raised);
  EXPECT_EQ(raised.rlim_cur, before.rlim_max);

  struct Ended final : ProcessListener {
    void on_start_failed(Error error) override { FAIL() << error.message; }
    void on_exit(ExitStatus ended) override {
      status = ended;
      reactor->stop();
    }
    Reactor* reactor = nullptr;
    ExitStatus status;
  } listener;
  listener.reactor = &(*platform)->reactor();
  auto process =
      (*platform)->processes().spawn(*listener.reactor, shell("test `ulimit -Sn` = 256"), listener);
  ASSERT_TRUE(process.has_value());
  (*platform)->reactor().run();
  EXPECT_EQ(describe(listener.status), "exit code 0");
  listener.reactor->close((*process)->stdin_handle);
  listener.reactor->close((*process)->stdout_handle);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}  // namespace berth::inline v0::io
