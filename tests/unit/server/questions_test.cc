// Questions of agents: asked once, answered once, by a person, a policy or time; never allowed by
// default, never behind a prompt or a commit.
#include "session_world.h"

namespace berth::server {
namespace {

using Outcome = AgentAnswer::Outcome;

constexpr const char* kPermission = R"({"sessionId":"n","toolCall":{"toolCallId":"c1"},"options":[)"
                                    R"({"optionId":"yes","name":"Y","kind":"allow_once"},)"
                                    R"({"optionId":"no","name":"N","kind":"reject_once"}]})";
constexpr const char* kForm =
    R"({"sessionId":"n","mode":"form","message":"Which?","requestedSchema":{"type":"object",)"
    R"("properties":{"color":{"type":"string","enum":["red","blue"]},"count":{"type":"integer"}},)"
    R"("required":["color"]}})";

class Asking : public testing::Test {
 protected:
  explicit Asking(std::string policy = "ask") : world(SessionLimits{}, std::move(policy)) {}
  void SetUp() override {
    turn = world.prompt("go", "one");
    one().attaches(Rung::new_session, "n");
    world.settle();
  }
  Puppet& one() { return world.agent_named("one"); }
  std::string open_id() {
    const std::string data = world.last("interaction.opened");
    return std::string(JsonDoc::parse(data)->root().get_string("id").value_or(""));
  }
  std::string path(const std::string& id) { return "s/interactions/" + id; }

  SessionWorld world;
  std::string turn;
};

TEST_F(Asking, TheFirstAnswerWinsAndTheSecondIsToldWhoWasFirst) {
  const std::uint64_t reply = one().asks(QuestionKind::permission, kPermission);
  const std::string id = open_id();
  EXPECT_EQ(world.state_of(turn), TurnState::waiting);
  EXPECT_EQ(world.call("POST", path(id), R"({"option_id":"yes"})").status, 200);
  const auto second = world.call("POST", path(id), R"({"option_id":"no"})");
  EXPECT_EQ(second.status, 409);
  EXPECT_TRUE(holds(second.body, R"("answered_by":"user")")) << second.body;
  ASSERT_EQ(one().answers[reply].size(), 1U);
  EXPECT_EQ(one().answers[reply][0].option_id, "yes");
  EXPECT_EQ(world.state_of(turn), TurnState::running);
  EXPECT_EQ(world.call("POST", path("int_none"), R"({"option_id":"no"})").status, 404);
}

TEST_F(Asking, NothingIsAllowedByTimeAndTheStateIsStored) {
  const std::uint64_t reply = one().asks(QuestionKind::permission, kPermission);
  const std::string id = open_id();
  world.settle(std::chrono::hours(24 * 7 - 1));
  EXPECT_TRUE(one().answers[reply].empty()) << "a moment too early";
  world.settle(std::chrono::hours(2));
  ASSERT_EQ(one().answers[reply].size(), 1U);
  EXPECT_EQ(one().answers[reply][0].outcome, Outcome::cancelled);
  const auto late = world.call("POST", path(id), R"({"option_id":"yes"})");
  EXPECT_EQ(late.status, 410);
  EXPECT_TRUE(holds(late.body, "interaction_expired")) << late.body;
  EXPECT_TRUE(holds(world.call("GET", "s/interactions").body, R"("state":"expired")"));
  EXPECT_EQ(world.log("interaction.closed").size(), 1U);
}

TEST_F(Asking, AnAnswerReachesTheAgentWhileTheStoreTakesNothing) {
  const std::uint64_t reply = one().asks(QuestionKind::permission, kPermission);
  const std::string id = open_id();
  world.disk().set_full(true);
  one().says_text("something that cannot be committed");
  world.settle();
  world.begin_call("POST", path(id), R"({"option_id":"yes"})");
  world.settle();
  ASSERT_EQ(one().answers[reply].size(), 1U) << "the agent waits for the disk";
  EXPECT_FALSE(world.call_ended()) << "told before it is in the log";
  world.disk().set_full(false);
  EXPECT_EQ(world.end_call().status, 200);
  EXPECT_EQ(world.log("interaction.closed").size(), 1U);
}

TEST_F(Asking, ACancelReachesTheAgentWhileTheStoreTakesNothing) {
  world.settle();
  world.disk().set_full(true);
  one().says_text("something that cannot be committed");
  world.settle();
  world.begin_call("POST", "s/turns/" + turn + "/cancel", "{}");
  world.settle();
  EXPECT_EQ(one().cancelled, std::vector<std::string>{turn});
  world.disk().set_full(false);
  EXPECT_EQ(world.end_call().status, 202);
}

TEST_F(Asking, SeveralAreAnsweredTogetherOrNotAtAll) {
  const std::uint64_t first = one().asks(QuestionKind::permission, kPermission);
  const std::string first_id = open_id();
  const std::uint64_t second = one().asks(QuestionKind::permission, kPermission);
  const std::string second_id = open_id();
  const auto body = [&](const std::string& option) {
    return R"({"answers":[{"id":")" + first_id + R"(","kind":"allow_once"},{"id":")" + second_id +
           R"(","option_id":")" + option + R"("}]})";
  };
  EXPECT_EQ(world.call("POST", "s/interactions", body("maybe")).status, 422);
  EXPECT_TRUE(one().answers[first].empty()) << "half of them";
  const auto answered = world.call("POST", "s/interactions", body("no"));
  EXPECT_EQ(answered.status, 200) << answered.body;
  EXPECT_EQ(one().answers[first].at(0).option_id, "yes");
  EXPECT_EQ(one().answers[second].at(0).option_id, "no");
  EXPECT_EQ(world.call("POST", "s/interactions", body("no")).status, 409);
  EXPECT_EQ(world.call("POST", "s/interactions", R"({"answers":[]})").status, 422);
}

TEST_F(Asking, AFormIsCheckedBeforeTheAgentHearsOfIt) {
  const std::uint64_t reply = one().asks(QuestionKind::elicitation, kForm);
  const std::string id = open_id();
  const auto wrong =
      world.call("POST", path(id), R"({"action":"accept","content":{"color":"green"}})");
  EXPECT_EQ(wrong.status, 422);
  EXPECT_TRUE(holds(wrong.body, "content.color")) << wrong.body;
  EXPECT_EQ(world.call("POST", path(id), R"({"option_id":"yes"})").status, 422);
  EXPECT_TRUE(one().answers[reply].empty());
  const auto right =
      world.call("POST", path(id), R"({"action":"accept","content":{"color":"red"}})");
  EXPECT_EQ(right.status, 200) << right.body;
  EXPECT_EQ(one().answers[reply].at(0).outcome, Outcome::accepted);
  EXPECT_EQ(one().answers[reply].at(0).content, R"({"color":"red"})");
}

TEST_F(Asking, AFormCanBeDeclinedAndAClientToolAnswered) {
  const std::uint64_t form = one().asks(QuestionKind::elicitation, kForm);
  EXPECT_EQ(world.call("POST", path(open_id()), R"({"action":"decline"})").status, 200);
  EXPECT_EQ(one().answers[form].at(0).outcome, Outcome::declined);
  const std::uint64_t tool = one().asks(QuestionKind::client_tool, R"({"name":"clock"})");
  const auto answered =
      world.call("POST", path(open_id()), R"({"action":"accept","content":{"time":"noon"}})");
  EXPECT_EQ(answered.status, 200);
  EXPECT_EQ(one().answers[tool].at(0).content, R"({"time":"noon"})");
}

TEST_F(Asking, AQuestionOfASubAgentComesToTheParentWithItsName) {
  const std::uint64_t reply = one().asks(QuestionKind::permission, kPermission, "child-7");
  EXPECT_TRUE(holds(world.last("interaction.opened"), R"("child":"child-7")"));
  EXPECT_TRUE(holds(world.call("GET", "s/interactions?state=open").body, R"("child":"child-7")"));
  EXPECT_EQ(world.call("POST", path(open_id()), R"({"kind":"allow_once"})").status, 200);
  EXPECT_EQ(one().answers[reply].size(), 1U);
}

TEST_F(Asking, TheEndOfTheTurnClosesWhatIsOpenOnceAndAnswersItCancelled) {
  const std::uint64_t reply = one().asks(QuestionKind::permission, kPermission);
  const std::string id = open_id();
  one().ends("end_turn");
  world.settle();
  ASSERT_EQ(one().answers[reply].size(), 1U);
  EXPECT_EQ(one().answers[reply][0].outcome, Outcome::cancelled);
  EXPECT_EQ(world.call("POST", path(id), R"({"option_id":"yes"})").status, 410);
  EXPECT_EQ(world.log("interaction.closed").size(), 1U);
}

TEST_F(Asking, NobodyIsAskedWhenNoTurnRuns) {
  one().ends("end_turn");
  world.settle();
  const std::uint64_t reply = one().asks(QuestionKind::permission, kPermission);
  EXPECT_EQ(one().answers[reply].at(0).outcome, Outcome::cancelled);
}

TEST_F(Asking, AQuestionStandsBehindTheWordsThatLedToItAlsoAfterACrash) {
  one().says_text("first words");
  one().asks(QuestionKind::permission, kPermission);
  one().says_text("second words");
  world.settle();
  world.crash();
  std::string order;
  for (const SessionWorld::Entry& entry : world.log()) {
    if (entry.type == "interaction.opened") order += "question ";
    if (entry.type == "update") order += holds(entry.data, "first") ? "first " : "second ";
  }
  EXPECT_EQ(order, "first question second ");
}

TEST_F(Asking, ACrashClosesWhatWasOpen) {
  one().asks(QuestionKind::permission, kPermission);
  const std::string id = open_id();
  world.crash();
  EXPECT_EQ(world.call("POST", path(id), R"({"option_id":"yes"})").status, 410);
  EXPECT_EQ(world.log("interaction.closed").size(), 1U);
}

TEST_F(Asking, RulesSeeWhatWasSaidOfTheToolCallBefore) {
  const std::string rules = R"({"rules":[{"kind":"edit","path":"docs/**","action":"allow"}]})";
  EXPECT_EQ(world.call("PUT", "s/permission", rules).status, 200);
  const std::string at = world.session().row().directory + "/docs/a.md";
  one().says(R"({"sessionUpdate":"tool_call","toolCallId":"c1","title":"w","kind":"edit",)"
             R"("locations":[{"path":")" +
             at + R"("}]})");
  const std::uint64_t reply = one().asks(QuestionKind::permission, kPermission);
  ASSERT_EQ(one().answers[reply].size(), 1U);
  EXPECT_EQ(one().answers[reply][0].option_id, "yes");
  EXPECT_TRUE(holds(world.last("interaction.closed"), R"("by":"rule:1:allow")"));
  const std::string bad = R"({"rules":[{"kind":"edit","action":"alow"}]})";
  EXPECT_EQ(world.call("PUT", "s/permission", bad).status, 422);
}

class Rejecting : public Asking {
 protected:
  Rejecting() : Asking("reject") {}
};

TEST_F(Rejecting, AnswersByItselfAndSaysSo) {
  const std::uint64_t permission = one().asks(QuestionKind::permission, kPermission);
  EXPECT_EQ(one().answers[permission].at(0).option_id, "no");
  EXPECT_TRUE(holds(world.last("interaction.closed"), R"("by":"policy:reject")"));
  const std::uint64_t form = one().asks(QuestionKind::elicitation, kForm);
  EXPECT_EQ(one().answers[form].at(0).outcome, Outcome::declined);
}

class Allowing : public Asking {
 protected:
  Allowing() : Asking("allow") {}
};

TEST_F(Allowing, SpeaksForPermissionsOnly) {
  const std::uint64_t permission = one().asks(QuestionKind::permission, kPermission);
  EXPECT_EQ(one().answers[permission].at(0).option_id, "yes");
  const std::uint64_t form = one().asks(QuestionKind::elicitation, kForm);
  EXPECT_TRUE(one().answers[form].empty()) << "a person is asked in words";
}

}  // namespace
}  // namespace berth::server
