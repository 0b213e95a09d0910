// Prompts that wait: edited, put in another order, removed, sent now; through crashes.
#include "session_world.h"

namespace berth::server {
namespace {

std::string text_block(const std::string& text) {
  return R"([{"type":"text","text":")" + text + R"("}])";
}

std::string edit(const std::string& text) {
  return R"({"prompt":")" + text + R"("})";
}

/// A turn of "one" that runs, and two that wait.
struct Waiting {
  SessionWorld world;
  std::string running = world.prompt("run", "one");
  std::string second;
  std::string third;

  Waiting() {
    one().attaches(Rung::new_session, "native");
    world.settle();
    second = world.prompt("second");
    third = world.prompt("third");
  }
  Puppet& one() { return world.agent_named("one"); }
  std::string path(const std::string& turn) { return "s/inputs/" + turn; }
};

TEST(Inputs, AreListedInTheirOrderWithTheirPrompts) {
  Waiting waiting;
  const auto answer = waiting.world.call("GET", "s/inputs");
  EXPECT_EQ(answer.status, 200);
  const Result<JsonDoc> doc = JsonDoc::parse(answer.body);
  const std::vector<JsonView> inputs = doc->root().elements("inputs");
  ASSERT_EQ(inputs.size(), 2U);
  EXPECT_EQ(inputs[0].get_string("id"), waiting.second);
  EXPECT_EQ(inputs[0].raw("prompt"), text_block("second"));
  EXPECT_EQ(inputs[1].get_string("id"), waiting.third);
  EXPECT_EQ(doc->root().get_bool("held"), false);
}

TEST(Inputs, AnEditedPromptIsWhatTheAgentGetsAlsoAfterACrash) {
  Waiting waiting;
  EXPECT_EQ(waiting.world.call("PATCH", waiting.path(waiting.second), edit("better")).status, 200);
  waiting.world.crash();
  waiting.world.session().resume_queue();
  waiting.world.settle();
  waiting.one().attaches(Rung::resume, "native");
  waiting.world.settle();
  EXPECT_EQ(waiting.one().prompts.back(), text_block("better"));
}

TEST(Inputs, AnEditOfATurnThatStartedIsRefusedAndChangesNothing) {
  Waiting waiting;
  const auto running = waiting.world.call("PATCH", waiting.path(waiting.running), edit("late"));
  EXPECT_EQ(running.status, 409);
  EXPECT_NE(running.body.find("input_promoted"), std::string::npos);
  EXPECT_EQ(waiting.world.call("PATCH", waiting.path("trn_none"), edit("late")).status, 404);
  EXPECT_EQ(waiting.world.call("PATCH", waiting.path(waiting.second), "{}").status, 422);
  EXPECT_EQ(waiting.world.call("PATCH", waiting.path(waiting.second), R"({"agent":"no"})").status,
            422);
  EXPECT_TRUE(waiting.world.log("turn.edited").empty());
}

TEST(Inputs, AnotherAgentCanBeGivenTheWork) {
  Waiting waiting;
  const auto answer =
      waiting.world.call("PATCH", waiting.path(waiting.second), R"({"agent":"two"})");
  EXPECT_EQ(answer.status, 200);
  waiting.one().ends("end_turn");
  waiting.world.settle();
  EXPECT_TRUE(waiting.world.agent_named("two").attaching);
}

TEST(Inputs, RunInTheOrderThatWasAskedForAlsoAfterACrash) {
  Waiting waiting;
  const std::string order = R"({"order":[")" + waiting.third + R"(",")" + waiting.second + R"("]})";
  EXPECT_EQ(waiting.world.call("PUT", "s/inputs", order).status, 200);
  waiting.world.crash();
  ASSERT_EQ(waiting.world.session().queue().size(), 2U);
  EXPECT_EQ(waiting.world.session().queue()[0].id, waiting.third);
  EXPECT_EQ(waiting.world.session().queue()[0].number, 2) << "a lower number runs first";
  waiting.world.session().resume_queue();
  waiting.world.settle();
  EXPECT_EQ(waiting.world.session().current_turn()->id, waiting.third);
}

TEST(Inputs, AnOrderThatIsNotOfWhatWaitsIsRefusedWithWhatDoes) {
  Waiting waiting;
  for (const std::string& order :
       {R"([")" + waiting.second + R"("])",
        R"([")" + waiting.second + R"(",")" + waiting.second + R"("])",
        R"([")" + waiting.second + R"(",")" + waiting.running + R"("])"}) {
    const auto answer = waiting.world.call("PUT", "s/inputs", R"({"order":)" + order + "}");
    EXPECT_EQ(answer.status, 409) << order;
    EXPECT_NE(answer.body.find(waiting.third), std::string::npos) << "the queue as it is";
  }
  EXPECT_EQ(waiting.world.call("PUT", "s/inputs", R"({"order":"x"})").status, 422);
  EXPECT_EQ(waiting.world.session().queue()[0].id, waiting.second);
}

TEST(Inputs, ARemovedOneEndsCancelledAndTheOthersRun) {
  Waiting waiting;
  EXPECT_EQ(waiting.world.call("DELETE", waiting.path(waiting.second)).status, 200);
  EXPECT_EQ(waiting.world.state_of(waiting.second), TurnState::cancelled);
  EXPECT_EQ(waiting.world.call("DELETE", waiting.path(waiting.second)).status, 409);
  EXPECT_EQ(waiting.world.call("DELETE", waiting.path(waiting.running)).status, 409)
      << "that is what cancel is for";
  waiting.one().ends("end_turn");
  waiting.world.settle();
  EXPECT_EQ(waiting.world.session().current_turn()->id, waiting.third);
}

TEST(Inputs, OneThatIsSentNowStopsTheRunningTurnAndNotTheQueue) {
  Waiting waiting;
  EXPECT_EQ(waiting.world.call("POST", waiting.path(waiting.third) + "/send").status, 200);
  EXPECT_EQ(waiting.world.state_of(waiting.running), TurnState::stopping);
  waiting.one().ends("cancelled");
  waiting.world.settle();
  EXPECT_EQ(waiting.world.state_of(waiting.running), TurnState::cancelled);
  EXPECT_EQ(waiting.world.session().current_turn()->id, waiting.third);
  EXPECT_EQ(waiting.one().prompts.back(), text_block("third"));
  EXPECT_TRUE(waiting.world.log("queue.held").empty());
}

TEST(Inputs, ATurnThatIsStoppedForOneThatIsRemovedMeanwhileHoldsTheQueue) {
  Waiting waiting;
  EXPECT_EQ(waiting.world.call("POST", waiting.path(waiting.third) + "/send").status, 200);
  EXPECT_EQ(waiting.world.call("DELETE", waiting.path(waiting.third)).status, 200);
  waiting.one().ends("cancelled");
  waiting.world.settle();
  EXPECT_EQ(waiting.world.session().current_turn(), nullptr);
  EXPECT_TRUE(waiting.world.session().row().held);
}

TEST(Inputs, OneThatIsSentNowLetsAHeldQueueGoOn) {
  Waiting waiting;
  waiting.world.session().cancel(waiting.running, "stop").value();
  waiting.one().ends("cancelled");
  waiting.world.settle();
  ASSERT_TRUE(waiting.world.session().row().held);
  EXPECT_EQ(waiting.world.call("POST", waiting.path(waiting.third) + "/send").status, 200);
  waiting.world.settle();
  EXPECT_EQ(waiting.world.session().current_turn()->id, waiting.third);
}

}  // namespace
}  // namespace berth::server
