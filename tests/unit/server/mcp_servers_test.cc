#include <berth/server/sessions/mcp_servers.h>

#include <gtest/gtest.h>

namespace berth::server {
namespace {

class Variables final : public io::Environment {
 public:
  std::map<std::string, std::string> all;
  std::optional<std::string> get(const std::string& name) const override {
    const auto found = all.find(name);
    return found == all.end() ? std::nullopt : std::optional(found->second);
  }
};

const SecretNames kSecrets = {{"token", "MY_TOKEN"}};

TEST(McpServers, OnlySecretsThatTheConfigurationListsCanBeNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {R"([{"name":"a","env":[{"name":"T","value":{"secret":"token"}}]}])", ""},
      {R"([{"name":"a","env":[{"name":"T","value":"text"}]}])", ""},
      {R"([{"name":"a","headers":[{"name":"T","value":{"secret":"MY_TOKEN"}}]}])",
       "mcp_servers[0].headers: the configuration lists no secret \"MY_TOKEN\""},
      {R"([{"name":"a"},{"name":"b","env":[{"name":"T","value":{"env":"HOME"}}]}])",
       "mcp_servers[1].env: a value must be a string or {\"secret\": NAME}"},
      {R"([{"command":"/a"}])", "mcp_servers[0].name: must be a string"},
      {R"({})", "mcp_servers: must be an array"},
  };
  for (const auto& [json, problem] : cases) {
    const Result<void> checked = check_mcp_servers(json, kSecrets);
    EXPECT_EQ(checked.has_value() ? "" : checked.error().message, problem) << json;
  }
}

TEST(McpServers, ASecretThatIsNotToBeHadLeavesItsServerOutAndNoOther) {
  Variables variables;
  const char* const json =
      R"([{"name":"a","env":[{"name":"T","value":{"secret":"token"}}],"args":["x"]},)"
      R"({"name":"b","command":"/b"}])";
  McpServers servers = resolve_mcp_servers(json, kSecrets, variables);
  EXPECT_EQ(servers.json, R"([{"name":"b","command":"/b"}])");
  ASSERT_EQ(servers.left_out.size(), 1U);
  EXPECT_EQ(servers.left_out[0], "mcp_servers.a: berth does not have the secret token");
  variables.all["MY_TOKEN"] = "v\"1";
  servers = resolve_mcp_servers(json, kSecrets, variables);
  EXPECT_EQ(servers.json, R"([{"name":"a","env":[{"name":"T","value":"v\"1"}],"args":["x"]},)"
                          R"({"name":"b","command":"/b"}])");
  EXPECT_TRUE(servers.left_out.empty());
}

TEST(McpServers, NoneAreNone) {
  EXPECT_EQ(resolve_mcp_servers("", kSecrets, Variables()).json, "");
  EXPECT_EQ(resolve_mcp_servers("[]", kSecrets, Variables()).json, "");
}

}  // namespace
}  // namespace berth::server
