// What a confined process can and cannot do, tried by real processes of both hosts.
#include "child.h"

#include <berth/io/landlock.h>
#include <berth/io/process_direct.h>
#include <berth/io/process_keeper.h>

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>

namespace berth::inline v0::io {
namespace {

namespace fs = std::filesystem;

/// A machine in a folder: what is the agent's, what is berth's, what is anybody's.
class ConfinedProcesses : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (!probe_landlock().usable()) GTEST_SKIP() << probe_landlock().reason;
    char name[] = "/tmp/berth-confined-XXXXXX";
    root = ::mkdtemp(name);
    for (const char* folder : {"state/worktrees/mine", "state/worktrees/theirs", "shared"}) {
      fs::create_directories(root + "/" + folder);
    }
    write("state/token", "secret");
    write("state/worktrees/theirs/file", "theirs");
    write("shared/file", "shared");
    auto made = GetParam() ? make_keeper_process_host(log_, {{}, BERTH_KEEPER})
                           : make_direct_process_host(log_);
    ASSERT_TRUE(made.has_value()) << made.error().message;
    host = std::move(*made);
  }
  void TearDown() override {
    host.reset();
    if (!root.empty()) fs::remove_all(root);
  }

  void write(const std::string& path, const std::string& text) {
    std::ofstream(root + "/" + path) << text;
  }
  std::string read(const std::string& path) {
    std::stringstream text;
    text << std::ifstream(root + "/" + path).rdbuf();
    return text.str();
  }

  LaunchSpec confined(const std::string& script) {
    LaunchSpec spec = shell(script);
    spec.working_directory = root + "/state/worktrees/mine";
    spec.confinement.kind = Confinement::Kind::landlock;
    spec.confinement.readable = {"/"};
    spec.confinement.hidden = {root + "/state", "/dev"};
    spec.confinement.writable = {root + "/state/worktrees/mine", root + "/state/tmp/mine/",
                                 "/dev/null"};
    return spec;
  }
  /// Its exit code, or 1000 and more when it was killed.
  int run(const LaunchSpec& spec) {
    Child child(loop, *host, spec);
    EXPECT_TRUE(child.start()) << child.error.message;
    if (child.process == nullptr || !child.finish()) return -1;
    said = child.out.text + child.err;
    const bool exited = child.status->kind == ExitStatus::Kind::exited;
    return exited ? child.status->value : 1000 + child.status->value;
  }
  bool works(const std::string& script) { return run(confined(script)) == 0; }

  NullLog log_;
  Loop loop;
  std::unique_ptr<ProcessHost> host;
  std::string root;
  std::string said;
};

INSTANTIATE_TEST_SUITE_P(, ConfinedProcesses, testing::Bool(),
                         [](const auto& info) { return info.param ? "Keeper" : "Direct"; });

TEST_P(ConfinedProcesses, WorkInTheirOwnFolderAndReadTheSystem) {
  EXPECT_TRUE(
      works("echo a > f && mkdir -p d/e && mv f d/e/g && ln -s g d/e/l && cat d/e/l && "
            "chmod 700 d/e/g && rm -r d && cat ../../../shared/file && ls /usr > /dev/null"))
      << said;
  EXPECT_TRUE(works("echo a > ../../tmp/mine/scratch")) << said;
  EXPECT_EQ(run(confined("exit 37")), 37);
  EXPECT_EQ(run(confined("kill -SEGV $$")), 1000 + SIGSEGV);
}

TEST_P(ConfinedProcesses, NeitherReadNorWriteWhatIsHidden) {
  for (const std::string target : {"state/token", "state/worktrees/theirs/file"}) {
    const std::string path = root + "/" + target;
    for (const std::string& attempt :
         {"cat " + path, "echo x >> " + path, "rm " + path, "mv " + path + " here",
          "ln " + path + " here", "truncate -s 0 " + path, "cat /proc/self/root" + path,
          "ln -s " + path + " there && cat there", "cp " + path + " here"}) {
      EXPECT_FALSE(works(attempt)) << attempt;
    }
  }
  EXPECT_FALSE(works("ls " + root + "/state"));
  EXPECT_FALSE(works("ls " + root + "/state/worktrees/theirs"));
  EXPECT_FALSE(works("touch " + root + "/state/worktrees/theirs/new"));
  EXPECT_EQ(read("state/token"), "secret");
  EXPECT_EQ(read("state/worktrees/theirs/file"), "theirs");
  EXPECT_FALSE(fs::exists(root + "/state/worktrees/theirs/new"));
}

TEST_P(ConfinedProcesses, WriteNothingElse) {
  EXPECT_FALSE(works("echo x > " + root + "/shared/file"));
  EXPECT_FALSE(works("echo x > " + root + "/shared/new"));
  EXPECT_FALSE(works("mknod here b 8 0"));
  EXPECT_EQ(read("shared/file"), "shared");
}

TEST_P(ConfinedProcesses, AreNotLedOutByALinkInAPathThatTheyAreGiven) {
  fs::create_symlink(root + "/state", root + "/data");
  fs::create_symlink("../theirs", root + "/state/worktrees/mine/way");
  for (const char* given : {"/data", "/data/worktrees/mine", "/state/worktrees/mine/../theirs",
                            "/state/worktrees/mine/way", "/state/worktrees/mine/.."}) {
    LaunchSpec spec = confined("true");
    spec.confinement.writable.push_back(root + given);
    Child child(loop, *host, spec);
    EXPECT_FALSE(child.start()) << given;
    EXPECT_EQ(std::string_view(child.error.code), "bad_launch") << child.error.message;
  }
}

TEST_P(ConfinedProcesses, DoNotFollowALinkBesideWhatIsHidden) {
  fs::create_symlink(root + "/state/token", root + "/way-in");
  EXPECT_FALSE(works("cat " + root + "/way-in"));
}

TEST_P(ConfinedProcesses, GainNoPrivilegeAndKeepNoCapabilityButOne) {
  EXPECT_TRUE(works("grep -q 'NoNewPrivs:\t1' /proc/self/status")) << said;
  EXPECT_TRUE(works("grep -Eq 'CapEff:\t0000000000000(000|002)$' /proc/self/status")) << said;
  EXPECT_FALSE(works("mount -t tmpfs none " + root + "/state/worktrees/mine"));
}

TEST_P(ConfinedProcesses, NeitherSignalNorLookIntoProcessesOutside) {
  const pid_t outside = ::fork();
  if (outside == 0) {
    ::pause();
    ::_exit(0);
  }
  const std::string pid = std::to_string(outside);
  if (probe_landlock().abi >= 6) {
    EXPECT_FALSE(works("kill -KILL " + pid));
  }
  EXPECT_FALSE(works("cat /proc/" + pid + "/environ"));
  EXPECT_FALSE(works("ls /proc/" + pid + "/root/"));
  EXPECT_TRUE(works("sleep 100 & kill -KILL $!")) << said;
  EXPECT_EQ(::waitpid(outside, nullptr, WNOHANG), 0) << "it was killed";
  ::kill(outside, SIGKILL);
  ::waitpid(outside, nullptr, 0);
}

TEST_P(ConfinedProcesses, AreStartedOrNotJustAsOthersAre) {
  LaunchSpec spec = confined("");
  spec.command = "no-such-command";
  Child missing(loop, *host, spec);
  EXPECT_FALSE(missing.start());
  EXPECT_EQ(std::string_view(missing.error.code), "command_not_found");
  spec = confined("true");
  spec.working_directory = root + "/nowhere";
  Child nowhere(loop, *host, spec);
  EXPECT_FALSE(nowhere.start());
  EXPECT_EQ(std::string_view(nowhere.error.code), "bad_working_directory");
  spec = confined("true");
  spec.confinement.writable.emplace_back("relative");
  Child relative(loop, *host, spec);
  EXPECT_FALSE(relative.start());
  EXPECT_EQ(std::string_view(relative.error.code), "bad_launch");
}

// --- in a sandbox by bubblewrap ---

class SandboxedProcesses : public ConfinedProcesses {
 protected:
  void SetUp() override {
    ConfinedProcesses::SetUp();
    if (IsSkipped()) return;
    for (const bool user_namespace : {true, false}) {
      user_namespace_ = user_namespace;
      if (works("true")) return;
    }
    GTEST_SKIP() << "no sandbox here: " << said;
  }
  LaunchSpec sandboxed(const std::string& script) {
    LaunchSpec spec = shell(script);
    spec.working_directory = root + "/state/worktrees/mine";
    spec.confinement.kind = Confinement::Kind::namespaces;
    spec.confinement.bubblewrap = "/usr/bin/bwrap";
    spec.confinement.helper = BERTH_LAUNCH;
    spec.confinement.user_namespace = user_namespace_;
    spec.confinement.readable = {"/usr", "/bin", "/lib", "/lib64", "/etc"};
    spec.confinement.hidden = {root + "/state"};
    spec.confinement.writable = {root + "/state/worktrees/mine"};
    spec.confinement.placed = {{root + "/state/tmp/mine", "/tmp"}};
    return spec;
  }
  bool works(const std::string& script) { return run(sandboxed(script)) == 0; }

  bool user_namespace_ = true;
};

INSTANTIATE_TEST_SUITE_P(, SandboxedProcesses, testing::Bool(),
                         [](const auto& info) { return info.param ? "Keeper" : "Direct"; });

TEST_P(SandboxedProcesses, SeeTheirOwnAndNothingElse) {
  EXPECT_TRUE(works("echo a > f && cat f && echo b > /tmp/f && cat /tmp/f && ls /usr > /dev/null"))
      << said;
  EXPECT_EQ(read("state/worktrees/mine/f"), "a\n");
  EXPECT_EQ(read("state/tmp/mine/f"), "b\n");
  for (const std::string hidden : {"state/token", "state/worktrees/theirs/file", "shared/file"}) {
    EXPECT_FALSE(works("ls -d " + root + "/" + hidden)) << hidden;
    EXPECT_FALSE(works("cat /proc/1/root" + root + "/" + hidden)) << hidden;
  }
  for (const char* forbidden : {"touch /usr/x", "touch /x", "mount -t tmpfs none /mnt",
                                "umount /tmp", "echo 1 > /proc/sys/vm/drop_caches",
                                "find /proc -maxdepth 5 -not -path '/proc/[0-9]*' -type f "
                                "-writable 2> /dev/null | grep ."}) {
    EXPECT_FALSE(works(forbidden)) << forbidden << ": " << said;
  }
  EXPECT_TRUE(works("grep -q 'CapEff:\t0000000000000000$' /proc/self/status")) << said;
  EXPECT_TRUE(works("test $(tail -n +3 /proc/net/dev | wc -l) = 1")) << said;
}

TEST_P(SandboxedProcesses, EndAsTheProgramDid) {
  EXPECT_EQ(run(sandboxed("exit 37")), 37);
  EXPECT_EQ(run(sandboxed("exit 137")), 137);
  EXPECT_EQ(run(sandboxed("kill -SEGV $$")), 1000 + SIGSEGV);
  EXPECT_EQ(run(sandboxed("kill -KILL $$")), 1000 + SIGKILL);
  EXPECT_EQ(run(sandboxed("(sleep 1000 &); (setsid sleep 1000 &); exit 3")), 3);
}

TEST_P(SandboxedProcesses, TellWhatWasUsedInside) {
  LaunchSpec spec = sandboxed("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done");
  Child child(loop, *host, spec);
  ASSERT_TRUE(child.finish());
  const ResourceUsage used = child.status->usage;
  EXPECT_GT(used.user + used.system, std::chrono::milliseconds(20));
}

TEST_P(SandboxedProcesses, HearSignalsThatAreForThem) {
  Child child(loop, *host,
              sandboxed("trap 'echo got it; exit 5' TERM; echo ready; sleep 1000 & wait"));
  ASSERT_TRUE(child.wait_for_output("ready")) << child.err;
  child.process->signal(SIGTERM);
  ASSERT_TRUE(child.finish());
  EXPECT_EQ(child.out.text, "ready\ngot it\n");
  EXPECT_EQ(describe(*child.status), "exit code 5");
}

TEST_P(SandboxedProcesses, AreKilledAsAWhole) {
  Child child(loop, *host, sandboxed("setsid sleep 1000 & echo ready; sleep 1000"));
  ASSERT_TRUE(child.wait_for_output("ready")) << child.err;
  child.process->kill_tree();
  ASSERT_TRUE(child.finish());
  EXPECT_EQ(child.status->kind, ExitStatus::Kind::killed);
  EXPECT_TRUE(marked(test_tag("sh")).empty());
}

TEST_P(SandboxedProcesses, OfAMissingProgramAreNotStarted) {
  LaunchSpec spec = sandboxed("");
  spec.command = "no-such-command";
  Child missing(loop, *host, spec);
  EXPECT_FALSE(missing.start());
  EXPECT_EQ(std::string_view(missing.error.code), "command_not_found");
  spec = sandboxed("");
  spec.command = root + "/state/token";
  Child no_program(loop, *host, spec);
  EXPECT_FALSE(no_program.start());
  EXPECT_EQ(std::string_view(no_program.error.code), "command_not_executable");
}

}  // namespace
}  // namespace berth::inline v0::io
