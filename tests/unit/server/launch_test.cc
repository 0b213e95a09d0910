#include <berth/core/log.h>
#include <berth/io/sim_platform.h>
#include <berth/server/agents/built_in.h>
#include <berth/server/agents/launch.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

namespace berth::server {
namespace {

using Kind = io::Confinement::Kind;

class Variables final : public io::Environment {
 public:
  std::optional<std::string> get(const std::string& name) const override {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  }
  std::map<std::string, std::string> values = {{"HOME", "/home/me"}, {"PATH", "/usr/bin"}};
};

/// A proxy with nobody behind it.
struct Exit {
  ~Exit() { machine.run_task(platform.reactor(), proxy.shutdown()); }
  io::SimMachine machine{1};
  io::SimPlatform platform{machine, "berth"};
  NullLog log;
  egress::Proxy proxy{platform, log, "/egress", {}};
};

class Launches : public testing::Test {
 protected:
  LaunchPolicy policy(LaunchSettings settings = {}, bool landlock = true, bool sandbox = true) {
    settings.bubblewrap = "/usr/bin/bwrap";
    settings.helper = "/usr/libexec/berth/berth-launch";
    LaunchPolicy made(std::move(settings), variables, "/state");
    LaunchSupport support;
    support.restricted = landlock;
    support.restricted_reason = landlock ? "Landlock version 7" : "this kernel has no Landlock";
    support.sandbox = sandbox;
    support.sandbox_reason = sandbox ? "bubblewrap" : "no bubblewrap";
    made.learn(support);
    return made;
  }
  static LaunchOrder order() {
    LaunchOrder order;
    order.directory = "/state/worktrees/01key";
    order.key = "01key";
    order.tag = "tag";
    order.folders = {order.directory};
    order.git = {"/repo/.git", {"/repo/.git/objects/"}};
    return order;
  }
  static bool has(const std::vector<std::string>& list, const std::string& wanted) {
    return std::find(list.begin(), list.end(), wanted) != list.end();
  }
  static std::string variable(const io::LaunchSpec& spec, const std::string& name) {
    for (const auto& [known, value] : spec.environment) {
      if (known == name) return value;
    }
    return "";
  }

  Variables variables;
  AgentProfile profile;
};

TEST_F(Launches, AreTheStrongestThatSomebodyAskedForAndCanBeHad) {
  struct Case {
    std::optional<LaunchMode> of_settings;
    std::optional<LaunchMode> of_profile;
    LaunchMode of_session;
    bool landlock;
    std::optional<LaunchMode> chosen;  // nothing: an error
  };
  using enum LaunchMode;
  for (const Case& given : {
           Case{{}, {}, none, true, restricted},
           Case{{}, {}, none, false, none},
           Case{{}, {}, sandbox, true, sandbox},
           Case{none, {}, none, true, none},
           Case{sandbox, {}, none, true, sandbox},
           Case{sandbox, none, none, true, none},
           Case{none, restricted, none, true, restricted},
           Case{{}, none, restricted, true, restricted},
           Case{{}, sandbox, restricted, true, sandbox},
           Case{{}, restricted, none, false, {}},
           Case{restricted, {}, none, false, {}},
           Case{{}, {}, restricted, false, {}},
       }) {
    LaunchSettings settings;
    settings.mode = given.of_settings;
    profile.launch = given.of_profile;
    const Result<LaunchChoice> choice =
        policy(settings, given.landlock).choose(profile, given.of_session);
    ASSERT_EQ(choice.has_value(), given.chosen.has_value());
    if (choice.has_value()) {
      EXPECT_EQ(choice->mode, *given.chosen);
      EXPECT_NE(choice->reason, "");
    } else {
      EXPECT_EQ(std::string_view(choice.error().code), "launch_unsupported");
    }
  }
}

TEST_F(Launches, OfSharedProcessesAreUnconfinedUnlessAskedFor) {
  profile.sessions_per_process = 4;
  EXPECT_EQ(policy().choose(profile, LaunchMode::none)->mode, LaunchMode::none);
  profile.launch = LaunchMode::restricted;
  LaunchOrder shared;
  shared.directory = "/state";
  shared.key = "acp";
  shared.tag = "tag";
  const Result<AgentLaunch> launch = policy().launch(profile, shared);
  ASSERT_TRUE(launch.has_value());
  EXPECT_TRUE(has(launch->spec.confinement.writable, "/state/worktrees"));
  EXPECT_FALSE(has(launch->spec.confinement.writable, "/state"));
  EXPECT_EQ(launch->spec.working_directory, "/state/tmp/acp");
  profile.driver = Driver::opencode;
  profile.launch = LaunchMode::sandbox;
  EXPECT_FALSE(policy().choose(profile, LaunchMode::none).has_value());
}

TEST_F(Launches, RestrictedNameWhatTheAgentMayWrite) {
  profile.writable = {"~/.mine/", "$XDG_CACHE_HOME/mine/", "/abs"};
  profile.environment = {{"HOME", "/other"}, {"XDG_CACHE_HOME", "/cache"}};
  const Result<AgentLaunch> launch = policy().launch(profile, order());
  ASSERT_TRUE(launch.has_value());
  const io::Confinement& confinement = launch->spec.confinement;
  EXPECT_EQ(confinement.kind, Kind::landlock);
  for (const char* path : {"/state/worktrees/01key", "/repo/.git/objects/", "/other/.mine/",
                           "/cache/mine/", "/abs", "/state/tmp/01key/", "/dev/null"}) {
    EXPECT_TRUE(has(confinement.writable, path)) << path;
  }
  for (const char* path : {"/", "/other", "/home/me", "/repo/.git"}) {
    EXPECT_TRUE(has(confinement.readable, path)) << path;
  }
  for (const char* path : {"/state", "/home", "/root", "/dev"}) {
    EXPECT_TRUE(has(confinement.hidden, path)) << path;
  }
  EXPECT_EQ(variable(launch->spec, "TMPDIR"), "/state/tmp/01key");
}

TEST_F(Launches, InASandboxNameWhatThereIs) {
  profile.launch = LaunchMode::sandbox;
  const Result<AgentLaunch> launch = policy().launch(profile, order());
  ASSERT_TRUE(launch.has_value());
  const io::Confinement& confinement = launch->spec.confinement;
  EXPECT_EQ(confinement.kind, Kind::namespaces);
  EXPECT_FALSE(has(confinement.readable, "/"));
  EXPECT_TRUE(has(confinement.readable, "/usr"));
  EXPECT_TRUE(has(confinement.readable, "/repo/.git"));
  EXPECT_TRUE(has(confinement.writable, "/state/worktrees/01key"));
  const std::vector<std::pair<std::string, std::string>> placed = {
      {"/state/tmp/01key/tmp", "/tmp"}, {"/state/tmp/01key/home", "/home/me"}};
  EXPECT_EQ(confinement.placed, placed);
  EXPECT_EQ(confinement.egress_socket, "") << "nobody listens";
  EXPECT_EQ(variable(launch->spec, "TMPDIR"), "/tmp");
}

TEST_F(Launches, InASandboxReachEachPortOfThisMachineThatAnyOfTheListsNamesOnce) {
  LaunchSettings settings;
  settings.egress = {"127.0.0.1:1001"};
  settings.project_egress = {{"guild", {"127.0.0.1:1003", "127.0.0.1:1001"}},
                             {"other", {"127.0.0.1:1004"}}};
  profile.launch = LaunchMode::sandbox;
  profile.egress = {"127.0.0.1:1002"};
  LaunchPolicy made = policy(settings);
  Exit exit;
  made.use(&exit.proxy);
  using Ports = std::vector<std::uint32_t>;
  for (const auto& [project, ports] : std::initializer_list<std::pair<const char*, Ports>>{
           {"guild", {1001, 1002, 1003}}, {"default", {1001, 1002}}, {"", {1001, 1002}}}) {
    LaunchOrder wanted = order();
    wanted.project = project;
    const Result<AgentLaunch> launch = made.launch(profile, wanted);
    ASSERT_TRUE(launch.has_value()) << launch.error().message;
    EXPECT_EQ(launch->spec.confinement.tunnels, ports) << project;
  }
}

TEST_F(Launches, GiveNoClientAFolderOfBerthsOrAnothers) {
  for (const char* folder : {"/state", "/state/worktrees", "/state/worktrees/02other",
                             "/state/worktrees/01key2", "/state/token", "/state/tmp/02other"}) {
    LaunchOrder wanted = order();
    wanted.folders.emplace_back(folder);
    const Result<AgentLaunch> launch = policy().launch(profile, wanted);
    ASSERT_FALSE(launch.has_value()) << folder;
    EXPECT_EQ(std::string_view(launch.error().code), "launch_folder");
  }
  LaunchOrder wanted = order();
  wanted.folders.emplace_back("/statement");
  EXPECT_TRUE(policy().launch(profile, wanted).has_value());
}

TEST_F(Launches, OfKnownAgentsNameTheirFoldersAndHosts) {
  for (const auto& [name, known] : built_in_agents("/x/scripted")) {
    if (name == "scripted") continue;
    EXPECT_FALSE(known.writable.empty()) << name;
    EXPECT_FALSE(known.egress.empty()) << name;
    for (const std::string& host : known.egress) {
      EXPECT_TRUE(egress::parse_pattern(host).has_value()) << host;
    }
  }
}

}  // namespace
}  // namespace berth::server
