// What does not come to its end: turns that take too long, turns that a crash cut off and what
// their agent is told of them; and secrets that must not stay anywhere.
#include "session_world.h"

namespace berth::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// --- a turn that takes too long ---

TEST(Expiring, ATurnIsStoppedWhenItsTimeIsOverAndTheAgentLives) {
  SessionWorld world;
  world.profile("one").turn_time_max = seconds(10);
  const std::string turn = world.prompt("hang", "one");
  world.settle(seconds(20));
  EXPECT_EQ(world.state_of(turn), TurnState::starting) << "no time passes before it was sent";
  Puppet& one = world.agent_named("one");
  one.attaches(Rung::new_session, "n");
  world.settle(seconds(9));
  EXPECT_TRUE(one.cancelled.empty());
  const std::string next = world.prompt("after it", "one");
  world.settle(seconds(2));
  EXPECT_EQ(one.cancelled, std::vector<std::string>{turn});
  EXPECT_EQ(world.state_of(turn), TurnState::stopping);
  one.ends("cancelled");
  world.settle();
  EXPECT_EQ(world.state_of(turn), TurnState::expired);
  const std::string ended = world.last("turn.ended");
  EXPECT_EQ(member(ended, "state"), "\"expired\"");
  EXPECT_TRUE(holds(ended, "turn_time_max"));
  EXPECT_EQ(world.state_of(next), TurnState::queued);
  EXPECT_TRUE(world.session().row().held) << "as after every stop";
  world.session().resume_queue();
  world.settle();
  EXPECT_EQ(world.state_of(next), TurnState::running);
  world.settle(seconds(5));
  one.ends("end_turn");
  world.settle();
  EXPECT_EQ(world.state_of(next), TurnState::completed);
}

TEST(Expiring, AnAgentThatDoesNotStopIsEndedAfterItsGrace) {
  SessionWorld world;
  world.profile("one").turn_time_max = seconds(10);
  const std::string turn = world.prompt("hang", "one");
  world.agent_named("one").attaches(Rung::new_session, "n");
  world.settle(seconds(30));
  EXPECT_EQ(world.state_of(turn), TurnState::expired);
  EXPECT_FALSE(world.agent_named("one").live());
}

TEST(Expiring, NoTimePassesWhileAPersonIsWaitedFor) {
  SessionWorld world;
  world.profile("one").turn_time_max = seconds(10);
  const std::string turn = world.prompt("write", "one");
  Puppet& one = world.agent_named("one");
  one.attaches(Rung::new_session, "n");
  world.settle(seconds(6));
  const std::uint64_t question = one.asks(
      QuestionKind::permission,
      R"({"toolCall":{"toolCallId":"c"},"options":[{"optionId":"yes","kind":"allow_once"}]})");
  world.settle(std::chrono::hours(1));
  EXPECT_EQ(world.state_of(turn), TurnState::waiting);
  const std::string id =
      world.store().list_interactions(world.session().session_no(), true, 9)->at(0).id;
  EXPECT_EQ(world.call("POST", "s/interactions/" + id, R"({"kind":"allow_once"})").status, 200);
  EXPECT_EQ(one.answers[question].size(), 1U);
  world.settle(seconds(3));
  EXPECT_EQ(world.state_of(turn), TurnState::running) << "6 s before and 3 s after";
  world.settle(seconds(2));
  EXPECT_EQ(world.state_of(turn), TurnState::stopping);
}

TEST(Expiring, TheShorterOfARequestsTimeoutAndItsProfilesLimitHolds) {
  struct Case {
    int profile;
    int request;
    int most;
    bool own;
  };
  for (const Case& test :
       {Case{0, 0, 0, false}, Case{10, 0, 10, false}, Case{0, 10, 10, true},
        Case{10, 20, 10, false}, Case{20, 10, 10, true}, Case{10, 10, 10, false}}) {
    const TurnTime time = turn_time(seconds(test.profile), test.request * 1000);
    EXPECT_EQ(time.most, seconds(test.most)) << test.profile << " " << test.request;
    EXPECT_EQ(holds(std::string(time.reason), "timeout"), test.own);
  }
}

TEST(Expiring, TheTimeoutOfARequestIsStoredWithItsTurnAndHoldsOverACrash) {
  SessionWorld world;
  world.profile("one").turn_time_max = seconds(60);
  world.prompt("hang", "one");
  world.agent_named("one").attaches(Rung::new_session, "n");
  const auto posted = world.call("POST", "s/turns", R"({"prompt":"slow","timeout":10.5})");
  ASSERT_EQ(posted.status, 202) << posted.body;
  EXPECT_EQ(member(posted.body, "timeout"), "10.5");
  const std::string turn = member(posted.body, "id").substr(1, 30);
  world.crash();
  EXPECT_EQ(member(world.call("GET", "s/turns/" + turn, "").body, "timeout"), "10.5");
  world.profile("one").turn_time_max = seconds(60);
  world.session().resume_queue();
  world.settle();
  Puppet& one = world.agent_named("one");
  one.attaches(Rung::resume, "n");
  world.settle(seconds(9));
  EXPECT_EQ(world.state_of(turn), TurnState::running);
  const std::uint64_t question = one.asks(
      QuestionKind::permission,
      R"({"toolCall":{"toolCallId":"c"},"options":[{"optionId":"yes","kind":"allow_once"}]})");
  world.settle(seconds(100));
  EXPECT_EQ(world.state_of(turn), TurnState::waiting) << "a person is waited for";
  const std::string id =
      world.store().list_interactions(world.session().session_no(), true, 9)->at(0).id;
  EXPECT_EQ(world.call("POST", "s/interactions/" + id, R"({"kind":"allow_once"})").status, 200);
  EXPECT_EQ(one.answers[question].size(), 1U);
  world.settle(seconds(3));
  EXPECT_EQ(world.state_of(turn), TurnState::stopping);
  one.ends("cancelled");
  world.settle();
  EXPECT_EQ(world.state_of(turn), TurnState::expired);
  EXPECT_TRUE(holds(world.last("turn.ended"), "the turn's timeout"));
}

TEST(Expiring, ATimeoutIsANumberOfSecondsThatMakesSense) {
  SessionWorld world;
  world.session();
  for (const char* timeout : {"0", "-1", "\"10\"", "1e9", "true", "[]"}) {
    const auto answer =
        world.call("POST", "s/turns", std::string(R"({"prompt":"x","timeout":)") + timeout + "}");
    EXPECT_EQ(answer.status, 422) << timeout;
    EXPECT_EQ(member(answer.body, "field"), "\"timeout\"") << answer.body;
  }
  EXPECT_EQ(world.call("POST", "s/turns", R"({"prompt":"x","timeout":null})").status, 202);
}

TEST(Expiring, WithoutALimitATurnRunsForEver) {
  SessionWorld world;
  const std::string turn = world.prompt("hang", "one");
  world.agent_named("one").attaches(Rung::new_session, "n");
  world.settle(std::chrono::hours(48));
  EXPECT_EQ(world.state_of(turn), TurnState::running);
}

TEST(Expiring, ATurnThatAPersonStoppedBeforeIsCancelled) {
  SessionWorld world;
  world.profile("one").turn_time_max = seconds(10);
  const std::string turn = world.prompt("hang", "one");
  world.agent_named("one").attaches(Rung::new_session, "n");
  world.settle(seconds(9));
  world.session().cancel(turn, "enough").value();
  world.settle(seconds(30));
  EXPECT_EQ(world.state_of(turn), TurnState::cancelled);
}

TEST(Expiring, ATurnThatWaitedTooLongIsNotSent) {
  SessionLimits limits;
  limits.queue_time_max = seconds(10);
  SessionWorld world(limits);
  const std::string turn = world.prompt("hang", "one");
  Puppet& one = world.agent_named("one");
  one.attaches(Rung::new_session, "n");
  world.settle(seconds(60));
  EXPECT_EQ(world.state_of(turn), TurnState::running) << "it does not wait any more";
  const std::string early = world.prompt("early", "one");
  world.settle(seconds(6));
  const std::string late = world.prompt("late", "one");
  world.settle(seconds(5));
  EXPECT_EQ(world.state_of(early), TurnState::expired);
  EXPECT_EQ(world.state_of(late), TurnState::queued);
  EXPECT_TRUE(holds(world.last("turn.ended"), "queue_time_max"));
  world.session().cancel(turn, "enough").value();
  one.ends("cancelled");
  world.settle();
  EXPECT_TRUE(world.session().row().held);
  world.settle(seconds(6));
  EXPECT_EQ(world.state_of(late), TurnState::expired) << "also where the queue is held";
  EXPECT_EQ(world.call("POST", "s/close").status, 200) << "nothing waits any more";
}

// --- a turn that a crash cut off ---

void cut_off_in_a_turn(SessionWorld& world, bool with_words) {
  world.turn("build a boat");
  world.prompt("paint it", "one");
  Puppet& one = world.agent_named("one");
  if (with_words) {
    one.says_text("half of an answer");
    one.says(R"({"sessionUpdate":"tool_call","toolCallId":"c","title":"mix colours"})");
    world.settle();
  }
  world.crash();
  world.prompt("go on", "one");
  world.agent_named("one").attaches(Rung::resume, "one-native");
  world.settle();
}

TEST(CutOff, AnAgentWithAMemoryIsToldOfItsOpenToolCallsAndLastWordsOnly) {
  SessionWorld world;
  cut_off_in_a_turn(world, true);
  Puppet& one = world.agent_named("one");
  const std::string story = text_of_story(one.prompts.back());
  EXPECT_TRUE(holds(story, "turn 2: mix colours")) << story;
  EXPECT_TRUE(holds(story, "half of an answer"));
  EXPECT_FALSE(holds(story, "paint it")) << "its session has the prompt";
  EXPECT_FALSE(holds(story, "build a boat"));
  EXPECT_EQ(member(world.last("agent.told"), "what"), "\"interrupted\"");
  EXPECT_FALSE(world.binding("one").continuation_owed);
  one.ends("end_turn");
  world.settle();
  world.prompt("and now", "one");
  EXPECT_EQ(text_of_story(one.prompts.back()), "") << "once";
}

TEST(CutOff, ATurnWithoutAWordIsNotToldOf) {
  SessionWorld world;
  cut_off_in_a_turn(world, false);
  EXPECT_EQ(text_of_story(world.agent_named("one").prompts.back()), "");
}

TEST(CutOff, AnAgentThatRemembersOnlyWholeTurnsIsToldAllOfIt) {
  SessionWorld world;
  world.profile("one").driver = Driver::checkpoint;
  world.turn("build a boat");
  world.prompt("paint it", "one");
  world.agent_named("one").says_text("half of an answer");
  world.agent_named("one").exits(false);
  world.prompt("go on", "one");
  world.agent_named("one").attaches(Rung::resume, "one-native");
  world.settle();
  const std::string story = text_of_story(world.agent_named("one").prompts.back());
  EXPECT_TRUE(holds(story, "paint it")) << story;
  EXPECT_TRUE(holds(story, "half of an answer"));
  EXPECT_FALSE(holds(story, "build a boat")) << "that turn it remembers";
}

TEST(CutOff, WhatOthersDidMeanwhileIsToldWithIt) {
  SessionWorld world;
  world.turn("build a boat");
  world.prompt("paint it", "one");
  world.agent_named("one").says_text("half of an answer");
  world.agent_named("one").exits(false);
  world.turn("row it", "two");
  world.prompt("go on", "one");
  world.agent_named("one").attaches(Rung::resume, "one-native");
  world.settle();
  const std::string story = text_of_story(world.agent_named("one").prompts.back());
  EXPECT_TRUE(holds(story, "half of an answer"));
  EXPECT_TRUE(holds(story, "row it"));
  EXPECT_EQ(member(world.last("agent.told"), "what"), "\"missed\"");
}

// --- secrets ---

TEST(Secrets, OfAnMcpServerReachTheAgentAtEachAttachAndNoFile) {
  SessionWorld world;
  world.context().secrets = {{"github", "GITHUB_TOKEN"}, {"gone", "NOT_SET"}};
  world.set_environment("GITHUB_TOKEN", "s3cr3t-value");
  OpenRequest request;
  request.mcp_servers =
      R"([{"name":"a","command":"/a","env":[{"name":"T","value":{"secret":"github"}}]},)"
      R"({"name":"b","type":"http","url":"http://b",)"
      R"("headers":[{"name":"H","value":{"secret":"gone"}}]}])";
  world.open(request);
  world.turn("work");
  Puppet& one = world.agent_named("one");
  EXPECT_EQ(one.specs.back().mcp_servers,
            R"([{"name":"a","command":"/a","env":[{"name":"T","value":"s3cr3t-value"}]}])");
  EXPECT_TRUE(holds(world.last("agent.attached"), "berth does not have the secret gone"));
  one.exits(false);
  world.prompt("again", "one");
  EXPECT_TRUE(holds(one.specs.back().mcp_servers, "s3cr3t-value")) << "also when it comes back";
  one.attaches(Rung::resume, "one-native");
  world.settle();
  EXPECT_FALSE(holds(world.stored_bytes(), "s3cr3t-value"));
  EXPECT_TRUE(holds(world.stored_bytes(), "\"secret\":\"github\"")) << "nothing was looked at";
  for (const std::string& file : world.files().list("/")) {
    EXPECT_FALSE(holds(world.files().find(file)->content, "s3cr3t-value")) << file;
  }
}

}  // namespace
}  // namespace berth::server
