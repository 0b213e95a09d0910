#include <berth/server/config.h>

#include <gtest/gtest.h>

#include <map>

namespace berth::server {
namespace {

class Variables final : public io::Environment {
 public:
  explicit Variables(std::map<std::string, std::string> all) : all_(std::move(all)) {}
  std::optional<std::string> get(const std::string& name) const override {
    const auto found = all_.find(name);
    if (found == all_.end()) return std::nullopt;
    return found->second;
  }

 private:
  std::map<std::string, std::string> all_;
};

std::string origin_of(const std::vector<ConfigValue>& values, std::string_view key) {
  for (const ConfigValue& value : values) {
    if (value.key == key) return value.origin;
  }
  return "not there";
}

TEST(ConfigSources, TheEnvironmentWinsOverTheFileAndBothSaySo) {
  const Variables environment({{"BERTH_LISTEN", "unix:/run/berth"},
                               {"BERTH_LIMITS_HEARTBEAT", "0.5"},
                               {"BERTH_LIMITS_QUEUE_MAX", ""},
                               {"BERTH_AGENTS_A_COMMAND", "/elsewhere"}});
  std::vector<ConfigValue> values;
  Config config;
  const Result<void> read = apply_config(config, R"(listen = "127.0.0.1:1"
[limits]
heartbeat = 3
queue_max = 7
[agents.a]
command = "/here"
)",
                                         {"f.toml", &environment, &values});
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(config.listen, "unix:/run/berth");
  EXPECT_EQ(config.sessions.heartbeat, std::chrono::milliseconds(500));
  EXPECT_EQ(config.sessions.queue_max, 7U);
  EXPECT_EQ(config.agents["a"].command, "/here");
  EXPECT_EQ(origin_of(values, "listen"), "environment BERTH_LISTEN");
  EXPECT_EQ(origin_of(values, "limits.queue_max"), "f.toml:4");
  EXPECT_EQ(origin_of(values, "limits.body_max"), "default");
  EXPECT_EQ(origin_of(values, "retention.tidy_every"), "default");
  EXPECT_EQ(origin_of(values, "agents.a.command"), "f.toml:6");
}

TEST(ConfigSources, AWrongVariableIsNamed) {
  for (const auto& [name, value] : std::map<std::string, std::string>{
           {"BERTH_LIMITS_QUEUE_MAX", "0"},
           {"BERTH_LIMITS_BODY_MAX", "1k"},
           {"BERTH_CLONES_TIME_MAX", "-1"},
           {"BERTH_WORKTREES_WATCH", "yes"},
       }) {
    const Variables environment({{name, value}});
    Config config;
    const Result<void> read = apply_config(config, "", {"", &environment, nullptr});
    ASSERT_FALSE(read.has_value()) << name;
    EXPECT_TRUE(read.error().message.starts_with("environment: " + name + " must be "))
        << read.error().message;
  }
}

TEST(ConfigSources, ProjectsHaveHostsOfTheirOwn) {
  std::vector<ConfigValue> values;
  Config config;
  const Result<void> read = apply_config(
      config, "[projects.ci]\negress = [\"a.example\"]\n[projects.\"x.y\"]\negress = []\n",
      {"f.toml", nullptr, &values});
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(config.launch.project_egress["ci"], std::vector<std::string>{"a.example"});
  EXPECT_TRUE(config.launch.project_egress.contains("x.y"));
  EXPECT_EQ(origin_of(values, "projects.\"ci\".egress"), "f.toml:2");
  for (const char* wrong :
       {"[projects.\"A\"]\n", "[projects.ci]\negress = [\"http://a\"]\n",
        "[projects.ci]\nagents = 3\n", "[projects]\nci = 3\n", "projects = 3\n"}) {
    Config other;
    EXPECT_FALSE(apply_toml(other, wrong, "f.toml").has_value()) << wrong;
  }
}

TEST(ConfigSources, ValuesOfAnAgentsEnvironmentAreNotShown) {
  std::vector<ConfigValue> values;
  Config config;
  const Result<void> read =
      apply_config(config, "[agents.a]\ncommand = \"/a\"\nenv = { KEY = \"secret\" }\n",
                   {"f", nullptr, &values});
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(origin_of(values, "agents.a.env.\"KEY\""), "f:3");
  for (const ConfigValue& value : values) {
    EXPECT_EQ(value.value.find("secret"), std::string::npos) << value.key;
  }
}

}  // namespace
}  // namespace berth::server
