#include <berth/server/agents/built_in.h>
#include <berth/server/config.h>

#include <gtest/gtest.h>

namespace berth::server {
namespace {

TEST(BuiltInAgents, KnowTheAgentsOfTheFieldAndWhichWereProved) {
  const AgentProfiles agents = built_in_agents("/x/scripted");
  for (const char* name : {"opencode", "qwen", "gemini", "claude", "codex", "pi", "kimi", "copilot",
                           "cline", "kilo", "goose"}) {
    ASSERT_TRUE(agents.contains(name)) << name;
    EXPECT_EQ(agents.at(name).name, name);
    EXPECT_FALSE(agents.at(name).command.empty());
    EXPECT_EQ(agents.at(name).proved, agents.at(name).name != "goose");
  }
  EXPECT_TRUE(agents.at("gemini").waits_for_next_minute);
}

TEST(AgentConfig, ReadsADialectAndTakesOverThatOfAnother) {
  Config config;
  config.agents = built_in_agents("/x/scripted");
  const Result<void> read = apply_toml(config, R"(
[agents.mine]
like = "gemini"
command = "/opt/mine"
env_from = { TOKEN = "MY_TOKEN" }
cwd = "/srv"
unknown_session = [{ code = 7, text = "never heard" }]
strip = ["[DONE]"]
strip_between = [["<think>", "</think>"]]
)",
                                       "c");
  ASSERT_TRUE(read.has_value()) << read.error().message;
  const AgentProfile& mine = config.agents.at("mine");
  EXPECT_EQ(mine.name, "mine");
  EXPECT_TRUE(mine.waits_for_next_minute);
  EXPECT_FALSE(mine.proved);
  EXPECT_EQ(mine.arguments, config.agents.at("gemini").arguments);
  EXPECT_EQ(mine.environment_from.front().second, "MY_TOKEN");
  EXPECT_EQ(mine.unknown_session.front().code, 7);
  EXPECT_EQ(mine.strip_between.front().second, "</think>");
}

TEST(AgentConfig, DoesNotGiveTheArgumentsOfOneDriverToAnother) {
  Config config;
  config.agents = built_in_agents("/x/scripted");
  const Result<void> read = apply_toml(config, R"(
[agents.opencode]
driver = "opencode"
[agents.own]
like = "qwen"
driver = "opencode"
command = "/opt/own"
args = ["serve", "--pure"]
)",
                                       "c");
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_TRUE(config.agents.at("opencode").arguments.empty());
  const std::vector<std::string> own = {"serve", "--pure"};
  EXPECT_EQ(config.agents.at("own").arguments, own);
}

TEST(AgentConfig, NamesWhatIsWrongWithADialect) {
  const std::pair<const char*, const char*> cases[] = {
      {"[agents.a]\nlike = \"nobody\"\n", "agents.a.like"},
      {"[agents.a]\ncommand = \"x\"\nunknown_session = [7]\n", "agents.a.unknown_session"},
      {"[agents.a]\ncommand = \"x\"\nstrip_between = [[\"a\"]]\n", "agents.a.strip_between"},
  };
  for (const auto& [text, named] : cases) {
    Config config;
    const Result<void> read = apply_toml(config, text, "c");
    ASSERT_FALSE(read.has_value()) << text;
    EXPECT_NE(read.error().message.find(named), std::string::npos) << read.error().message;
  }
}

}  // namespace
}  // namespace berth::server
