#include <berth/server/api/body.h>
#include <berth/server/api/problem.h>
#include <berth/server/config.h>
#include <berth/server/sessions/directory.h>
#include <berth/server/sessions/interactions.h>

#include <gtest/gtest.h>
#include <string>

namespace berth::server {
namespace {

constexpr std::string_view kRequest =
    R"({"sessionId":"s","toolCall":{"toolCallId":"c"},"options":[)"
    R"({"optionId":"always","name":"A","kind":"allow_always"},)"
    R"({"optionId":"once","name":"B","kind":"allow_once"},)"
    R"({"optionId":"cancel","name":"C","kind":"reject_once"}]})";

TEST(Permission, APolicyPrefersTheOneShotOption) {
  EXPECT_EQ(choose_by_policy(PolicyAction::allow, kRequest), "once");
  EXPECT_EQ(choose_by_policy(PolicyAction::reject, kRequest), "cancel");
}

TEST(Permission, AskingChoosesNothing) {
  EXPECT_EQ(choose_by_policy(PolicyAction::ask, kRequest), "");
}

TEST(Permission, APolicyNeverInventsAnOption) {
  EXPECT_EQ(choose_by_policy(PolicyAction::reject,
                             R"({"options":[{"optionId":"y","kind":"allow_once"}]})"),
            "");
  EXPECT_EQ(choose_by_policy(PolicyAction::allow, "not json"), "");
}

TEST(Permission, APersonNamesTheOptionByIdOrByKind) {
  EXPECT_EQ(choose_option(kRequest, "always", "").value(), "always");
  EXPECT_EQ(choose_option(kRequest, "", "reject_once").value(), "cancel");
  const Result<std::string> wrong = choose_option(kRequest, "yes", "");
  ASSERT_FALSE(wrong.has_value());
  EXPECT_NE(wrong.error().message.find("option_id"), std::string::npos);
}

TEST(Bodies, ErrorsNameTheField) {
  EXPECT_STREQ(Body::parse("{\"x\":", {"x"}).error().code, "bad_json");
  EXPECT_STREQ(Body::parse("[]", {"x"}).error().code, "bad_field");
  const auto unknown = Body::parse(R"({"promt":"a"})", {"prompt"});
  EXPECT_NE(unknown.error().message.find("promt"), std::string::npos);
  const auto body = Body::parse(R"({"prompt":7})", {"prompt"});
  EXPECT_NE(body->text("prompt").error().message.find("prompt"), std::string::npos);
}

TEST(Bodies, APromptIsTextOrBlocks) {
  const auto text = Body::parse(R"({"prompt":"hi \"you\""})", {"prompt"});
  EXPECT_EQ(prompt_blocks(text->root().find("prompt")).value(),
            R"([{"type":"text","text":"hi \"you\""}])");
  const auto bad =
      Body::parse(R"({"prompt":[{"type":"text","text":"a"},{"type":"text"}]})", {"prompt"});
  EXPECT_NE(prompt_blocks(bad->root().find("prompt")).error().message.find("prompt[1].text"),
            std::string::npos);
  EXPECT_FALSE(prompt_blocks(Body::parse("{}", {})->root().find("prompt")).has_value());
}

TEST(Problems, KindDecidesTheStatus) {
  EXPECT_EQ(status_of(make_error(ErrorKind::overloaded, "overloaded", "")), 429);
  EXPECT_EQ(status_of(make_error(ErrorKind::not_found, "interaction_gone", "")), 410);
  EXPECT_EQ(status_of(make_error(ErrorKind::busy, "turn_running", "")), 409);
  const io::HttpResponse response = problem(make_error(ErrorKind::unavailable, "draining", "bye"));
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.content_type, "application/problem+json");
}

TEST(SessionIds, FollowTheirGrammar) {
  EXPECT_TRUE(is_session_id("a.B_c:d-9"));
  EXPECT_FALSE(is_session_id(""));
  EXPECT_FALSE(is_session_id("a/b"));
  EXPECT_FALSE(is_session_id(std::string(129, 'a')));
}

TEST(Configuration, ReadsProfilesAndLimits) {
  Config config;
  config.agents = built_in_agents("/x/scripted");
  const Result<void> applied = apply_toml(config, R"(
listen = "127.0.0.1:0"
durability = "power"
[limits]
queue_max = 3
heartbeat = 0.5
[agents.mine]
command = "/bin/agent"
args = ["acp"]
env = { A = "b" }
initialize_timeout = 1
)",
                                          "berth.toml");
  ASSERT_TRUE(applied.has_value()) << applied.error().message;
  EXPECT_EQ(config.sessions.queue_max, 3U);
  EXPECT_EQ(config.sessions.heartbeat, std::chrono::milliseconds(500));
  EXPECT_EQ(config.durability, Config::Durability::power);
  EXPECT_EQ(config.agents.at("mine").environment.front().second, "b");
  EXPECT_EQ(config.agents.at("scripted").command, "/x/scripted");
}

TEST(Configuration, ErrorsNameLineAndKey) {
  Config config;
  const Result<void> wrong =
      apply_toml(config, "\n[limits]\nqueue_max = \"three\"\n", "berth.toml");
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().message, "berth.toml:3: limits.queue_max must be a number above 0");
  EXPECT_NE(apply_toml(config, "lisen = \"x\"", "f").error().message.find("lisen"),
            std::string::npos);
  EXPECT_FALSE(apply_toml(config, "[agents.a]\nargs = [1]\n", "f").has_value());
}

TEST(Configuration, OnlyLoopbackAndUnixSocketsAreLocal) {
  EXPECT_TRUE(is_local_address("127.0.0.1:80"));
  EXPECT_TRUE(is_local_address("unix:/run/berth.sock"));
  EXPECT_FALSE(is_local_address("0.0.0.0:80"));
  EXPECT_FALSE(is_local_address("[::]:80"));
}

}  // namespace
}  // namespace berth::server
