// The session with agents whose every word the test says: the ladder, continuation, decisions,
// switching, late words. Each defect of resume that is known of other hosts has a test.
#include "session_world.h"

#include <berth/server/sessions/continuation.h>

namespace berth::server {
namespace {

using std::chrono::milliseconds;

// --- continuation ---

TEST(Continuing, AnAgentThatForgotIsToldTheStoryAndTheDebtIsPaidByItsAnswer) {
  SessionWorld world;
  world.turn("build a boat");
  EXPECT_EQ(text_of_story(world.agent_named("one").prompts.back()), "") << "there is no past";
  world.agent_named("one").exits(false);
  const std::string second = world.prompt("paint it", "one");
  Puppet& one = world.agent_named("one");
  EXPECT_EQ(one.specs.back().native_session_id, "one-native");
  one.attaches(Rung::history, "another");
  world.settle();
  ASSERT_EQ(one.prompts.size(), 2U);
  EXPECT_TRUE(holds(text_of_story(one.prompts.back()), "build a boat"));
  EXPECT_TRUE(world.binding("one").continuation_owed) << "not before it was answered";
  one.ends("end_turn");
  EXPECT_FALSE(world.binding("one").continuation_owed);
  world.prompt("launch it", "one");
  EXPECT_EQ(text_of_story(world.agent_named("one").prompts.back()), "");
  EXPECT_EQ(member(world.last("agent.told"), "what"), "\"continuation\"");
}

TEST(Continuing, WhatIsOwedSurvivesAnAgentThatEndsBeforeItsFirstPrompt) {
  SessionWorld world;
  world.turn("build a boat");
  world.agent_named("one").exits(false);
  const std::string second = world.prompt("paint it", "one");
  world.session().cancel(second, "changed my mind").value();
  world.agent_named("one").attaches(Rung::history, "another");
  world.agent_named("one").exits(false);
  world.settle();
  world.crash();
  EXPECT_EQ(world.session().bindings().at("one")->next(), "history");
  world.prompt("paint it after all", "one");
  Puppet& one = world.agent_named("one");
  EXPECT_EQ(one.specs.back().native_session_id, "another");
  one.attaches(Rung::resume, "another");
  world.settle();
  EXPECT_TRUE(holds(text_of_story(one.prompts.back()), "build a boat"))
      << "the new native session is there, but it never heard the story";
}

TEST(Continuing, WhatIsOwedSurvivesAPromptThatTheAgentRefused) {
  SessionWorld world;
  world.turn("build a boat");
  world.agent_named("one").exits(false);
  world.prompt("paint it", "one");
  Puppet& one = world.agent_named("one");
  one.attaches(Rung::history, "another");
  world.settle();
  one.ends("");  // an error in the place of an answer
  EXPECT_TRUE(world.binding("one").continuation_owed);
  world.prompt("again", "one");
  EXPECT_TRUE(holds(text_of_story(world.agent_named("one").prompts.back()), "build a boat"));
}

TEST(Continuing, WhatIsOwedSurvivesAnAgentThatDiesOverItsFirstPrompt) {
  SessionWorld world;
  world.turn("build a boat");
  world.agent_named("one").exits(false);
  world.prompt("paint it", "one");
  Puppet& one = world.agent_named("one");
  one.attaches(Rung::history, "another");
  world.settle();
  ASSERT_EQ(one.prompts.size(), 2U);
  one.exits(false);  // it has read the story, or not
  world.settle();
  world.crash();
  EXPECT_TRUE(world.binding("one").continuation_owed);
  world.prompt("again", "one");
  world.agent_named("one").attaches(Rung::resume, "another");
  world.settle();
  EXPECT_TRUE(holds(text_of_story(world.agent_named("one").prompts.back()), "build a boat"));
}

TEST(Continuing, AnAgentThatComesBackWhileItsStoryIsMadeIsToldWhatItNeedsNow) {
  SessionWorld world;
  world.turn("build a boat", "one");
  world.turn("row it", "two");
  world.agent_named("one").exits(true);
  world.settle();
  world.prompt("paint it", "one");
  // It has missed a turn, which is being read when it dies; then it has lost everything.
  world.agent_named("one").attaches(Rung::resume, "one-native");
  world.agent_named("one").exits(false);
  ASSERT_TRUE(world.agent_named("one").attaching);
  world.agent_named("one").attaches(Rung::history, "another");
  world.settle();
  const std::string story = text_of_story(world.agent_named("one").prompts.back());
  EXPECT_TRUE(holds(story, "row it"));
  EXPECT_TRUE(holds(story, "build a boat")) << story;
}

TEST(Continuing, NoIdOfAnAgentSaysWhereTheTranscriptIs) {
  SessionWorld world;
  world.turn("build a boat", "one", Rung::new_session, "../../../../etc/passwd");
  world.agent_named("one").exits(false);
  world.prompt("paint it", "one");
  world.agent_named("one").attaches(Rung::history, "/etc/shadow");
  world.settle();
  const std::string path = transcript_path(world.context(), world.session().row().key);
  int transcripts = 0;
  for (const std::string& file : world.files().list("/")) {
    if (!holds(world.files().find(file)->content, "answer to build a boat")) continue;
    ++transcripts;
    EXPECT_EQ(file, path);
  }
  EXPECT_EQ(transcripts, 1);
}

TEST(Continuing, TheTranscriptIsAFileOutsideOfTheWorkspace) {
  SessionWorld world;
  world.turn("build a boat");
  world.agent_named("one").exits(false);
  world.prompt("paint it", "one");
  world.agent_named("one").attaches(Rung::history, "another");
  world.settle();
  const std::string path = transcript_path(world.context(), world.session().row().key);
  EXPECT_FALSE(path.starts_with(world.session().row().directory));
  EXPECT_TRUE(holds(text_of_story(world.agent_named("one").prompts.back()), path));
  ASSERT_NE(world.files().find(path), nullptr);
  const std::string text = world.files().find(path)->content;
  EXPECT_TRUE(holds(text, "build a boat"));
  EXPECT_TRUE(holds(text, "answer to build a boat"));
}

TEST(Continuing, ATurnThatACrashCutOffNamesItsToolCallsWithoutAResult) {
  SessionWorld world;
  world.begin("dig");
  Puppet& one = world.agent_named("one");
  one.says(R"({"sessionUpdate":"tool_call","toolCallId":"c1","title":"dig a hole",)"
           R"("status":"in_progress"})");
  one.says_text("half a wo");
  world.settle();
  world.crash();
  const std::string ended = world.last("turn.ended");
  EXPECT_EQ(member(ended, "state"), "\"interrupted\"");
  EXPECT_EQ(member(ended, "open_tool_calls"), R"(["c1"])");
  world.prompt("go on", "one");
  world.agent_named("one").attaches(Rung::history, "m");
  world.settle();
  const std::string story = text_of_story(world.agent_named("one").prompts.back());
  EXPECT_TRUE(holds(story, "dig a hole: no recorded result"));
  EXPECT_TRUE(holds(story, "half a wo")) << "partial text is kept";
}

// --- native sessions ---

TEST(Continuing, AnAgentThatWasMadeToForgetIsToldNothingOfWhatWasBefore) {
  SessionWorld world;
  world.turn("build a boat");
  world.session().set_paused(true);
  const std::string waiting = world.prompt("paint it");
  world.agent_named("one").exits(true);
  world.session().bindings().at("one")->forget();
  world.settle();
  world.crash();
  world.session().resume_queue();
  world.settle();
  Puppet& one = world.agent_named("one");
  EXPECT_EQ(one.specs.back().native_session_id, "");
  one.attaches(Rung::new_session, "another");
  world.settle();
  ASSERT_EQ(one.prompts.size(), 1U);
  EXPECT_EQ(text_of_story(one.prompts.back()), "");
  one.ends("end_turn");
  one.exits(false);
  world.prompt("launch it");
  world.agent_named("one").attaches(Rung::history, "a third");
  world.settle();
  const std::string story = text_of_story(world.agent_named("one").prompts.back());
  EXPECT_TRUE(holds(story, "paint it")) << story;
  EXPECT_FALSE(holds(story, "build a boat")) << story;
}

TEST(NativeSessions, NoFailureOverwritesTheIdAndOlderOnesAreKept) {
  SessionWorld world;
  world.turn("first");
  world.agent_named("one").exits(false);
  world.prompt("second", "one");
  world.agent_named("one").fails(ErrorKind::invalid, "disk failure", R"({"code":-32603})", true);
  EXPECT_EQ(world.binding("one").native_session_id, "one-native");
  EXPECT_EQ(world.call("POST", "s/agents/one/decision", R"({"choice":"history"})").status, 200);
  world.agent_named("one").attaches(Rung::new_session, "fresh");
  world.settle();
  EXPECT_EQ(world.binding("one").native_session_id, "fresh");
  EXPECT_EQ(world.binding("one").native_history,
            R"([{"id":"one-native","from_turn":1,"to_turn":1}])");
  EXPECT_EQ(member(world.last("agent.attached"), "rung"), "\"history\"");
  EXPECT_TRUE(holds(text_of_story(world.agent_named("one").prompts.back()), "first"));
}

TEST(NativeSessions, EveryRungIsAnEventWithItsReasonAndWhatCouldNotBeRestored) {
  SessionWorld world;
  world.turn("first");
  world.agent_named("one").config_failures = {"mode: no such mode"};
  world.agent_named("one").exits(false);
  world.prompt("second", "one");
  world.agent_named("one").attaches(Rung::load, "one-native");
  world.settle();
  const std::string attached = world.last("agent.attached");
  EXPECT_EQ(member(attached, "rung"), "\"load\"");
  EXPECT_EQ(member(attached, "config_failures"), R"(["mode: no such mode"])");
  EXPECT_EQ(text_of_story(world.agent_named("one").prompts.back()), "")
      << "an agent with its memory is told nothing";
}

TEST(NativeSessions, DirectoriesAndServersAreGivenAgainAtEachAttach) {
  SessionWorld world;
  OpenRequest request;
  request.mcp_servers = R"([{"name":"m","command":"/bin/m","args":[],"env":[]}])";
  request.additional_directories = R"(["/extra"])";
  world.open(request);
  world.turn("first");
  world.crash();
  world.prompt("second", "one");
  const AttachSpec& spec = world.agent_named("one").specs.back();
  EXPECT_EQ(spec.mcp_servers, request.mcp_servers);
  EXPECT_EQ(spec.additional_directories, std::vector<std::string>{"/extra"});
}

TEST(NativeSessions, ModeAndOptionsThatWereSetAreGivenAgainAfterACrash) {
  SessionWorld world;
  world.turn("first");
  const std::string wish = R"({"mode":"plan","config":{"model":"m2"}})";
  EXPECT_EQ(world.call("PUT", "s/agents/one/config", wish).status, 200);
  world.crash();
  world.prompt("second", "one");
  const AttachSpec& spec = world.agent_named("one").specs.back();
  EXPECT_EQ(spec.mode, "plan");
  EXPECT_EQ(spec.config, R"({"model":"m2"})");
}

// --- failures ---

TEST(Attaching, WhatMayPassIsTriedAgainAndTheTurnGoesOn) {
  SessionWorld world;
  world.turn("first");
  world.agent_named("one").exits(false);
  const std::string turn = world.prompt("second", "one");
  Puppet& one = world.agent_named("one");
  one.fails(ErrorKind::unavailable, "connection refused");
  EXPECT_FALSE(one.attaching) << "not at once";
  world.settle(milliseconds(250));
  EXPECT_TRUE(one.attaching);
  EXPECT_EQ(one.specs.back().native_session_id, "one-native");
  one.attaches(Rung::resume, "one-native");
  world.settle();
  EXPECT_EQ(world.state_of(turn), TurnState::running);
  EXPECT_EQ(member(world.last("agent.retrying"), "retry_in_ms"), "200");
}

TEST(Attaching, RetriesHaveABoundAndThenAPersonDecides) {
  SessionWorld world;
  world.turn("first");
  world.agent_named("one").exits(false);
  const std::string turn = world.prompt("second", "one");
  Puppet& one = world.agent_named("one");
  for (int failures = 1; failures <= 4; ++failures) {
    ASSERT_TRUE(one.attaching) << failures;
    one.fails(ErrorKind::unavailable, "connection refused");
    world.settle(std::chrono::seconds(6));
  }
  EXPECT_FALSE(one.attaching);
  EXPECT_EQ(world.binding("one").state, BindingState::needs_decision);
  EXPECT_EQ(world.state_of(turn), TurnState::waiting);
  EXPECT_EQ(world.log("agent.retrying").size(), 3U);
}

TEST(Attaching, AnAgentWithoutMemoryToLoseFailsTheTurn) {
  SessionWorld world;
  const std::string turn = world.prompt("first", "one");
  world.agent_named("one").fails(ErrorKind::invalid, "no licence");
  EXPECT_EQ(world.state_of(turn), TurnState::failed);
}

TEST(Attaching, AfterAFailureTheNextPromptStartsTheAgentAgain) {
  SessionWorld world;
  world.prompt("first", "one");
  world.agent_named("one").fails(ErrorKind::invalid, "no licence");
  EXPECT_EQ(member(world.last("agent.failed"), "message"), "\"no licence\"");
  const std::string second = world.prompt("second", "one");
  ASSERT_TRUE(world.agent_named("one").attaching);
  world.agent_named("one").attaches(Rung::new_session, "n");
  world.settle();
  EXPECT_EQ(world.state_of(second), TurnState::running);
}

TEST(Attaching, PromptsThatRaceToASleepingAgentStartOneProcess) {
  SessionWorld world;
  world.turn("first");
  world.restart();
  const std::string given_up = world.prompt("second", "one");
  const std::string sent = world.prompt("third", "one");
  Puppet& one = world.agent_named("one");
  ASSERT_TRUE(one.attaching);
  world.session().cancel(given_up, "enough").value();
  world.session().resume_queue();
  world.settle(std::chrono::seconds(30));  // a job of the simulated store may stall for 20 s
  EXPECT_EQ(one.specs.size(), 1U) << "the turn that comes after finds a start under way";
  one.attaches(Rung::resume, "one-native");
  world.settle(std::chrono::seconds(30));
  ASSERT_EQ(one.prompts.size(), 1U);
  EXPECT_TRUE(holds(one.prompts[0], "third"));
  EXPECT_EQ(world.state_of(given_up), TurnState::cancelled);
  EXPECT_EQ(world.state_of(sent), TurnState::running);
}

TEST(Attaching, APromptThatReachedNoProcessGoesToTheNext) {
  SessionWorld world;
  world.turn("first");
  const std::string second = world.prompt("second");
  EXPECT_EQ(world.state_of(second), TurnState::running);
  world.agent_named("one").exits(false, true);
  world.settle();
  EXPECT_EQ(world.state_of(second), TurnState::starting);
  Puppet& one = world.agent_named("one");
  one.attaches(Rung::resume, "one-native");
  world.settle();
  EXPECT_EQ(one.prompts.size(), 3U);
  EXPECT_TRUE(holds(one.prompts.back(), "second"));
  one.ends("end_turn");
  EXPECT_EQ(world.state_of(second), TurnState::completed);
  EXPECT_EQ(world.log("turn.taken_back").size(), 1U);
}

TEST(Attaching, APromptThatWasNotSentYetGoesToTheNextProcess) {
  SessionWorld world;
  world.turn("first");
  const std::string second = world.prompt("second", "two");
  Puppet& two = world.agent_named("two");
  two.attaches(Rung::new_session, "two-native");
  two.exits(false);  // while what it has to be told is being read
  EXPECT_EQ(world.state_of(second), TurnState::starting);
  world.settle(std::chrono::seconds(30));  // a lane may stall
  ASSERT_EQ(two.specs.size(), 2U);
  two.attaches(Rung::resume, "two-native");
  world.settle(std::chrono::seconds(30));  // a lane may stall
  ASSERT_EQ(two.prompts.size(), 1U);
  EXPECT_TRUE(holds(two.prompts.back(), "second"));
  EXPECT_FALSE(text_of_story(two.prompts.back()).empty());
  two.ends("end_turn");
  EXPECT_EQ(world.state_of(second), TurnState::completed);
  EXPECT_EQ(world.log("turn.taken_back").size(), 1U);
}

TEST(Attaching, APromptThatNoProcessTakesIsGivenUp) {
  SessionWorld world;
  world.turn("first");
  const std::string second = world.prompt("second");
  for (int deaths = 0; deaths < 3; ++deaths) {
    world.agent_named("one").exits(false, true);
    world.settle();
    world.agent_named("one").attaches(Rung::resume, "one-native");
    world.settle();
  }
  world.agent_named("one").exits(false, true);
  EXPECT_EQ(world.state_of(second), TurnState::interrupted);
}

TEST(Attaching, APromptThatMayHaveArrivedOrWasCancelledIsNotSentAgain) {
  SessionWorld world;
  world.turn("first");
  const std::string uncertain = world.prompt("second");
  world.agent_named("one").exits(false, false);
  EXPECT_EQ(world.state_of(uncertain), TurnState::interrupted);
  const std::string cancelled = world.prompt("third");
  world.agent_named("one").attaches(Rung::resume, "one-native");
  world.settle();
  static_cast<void>(world.session().cancel(cancelled, "enough"));
  world.agent_named("one").exits(false, true);
  EXPECT_EQ(world.state_of(cancelled), TurnState::cancelled);
}

TEST(Attaching, ACancelledTurnIsNotTriedAgain) {
  SessionWorld world;
  const std::string turn = world.prompt("first", "one");
  world.agent_named("one").fails(ErrorKind::unavailable, "refused");
  world.session().cancel(turn, "enough").value();
  world.settle(std::chrono::seconds(10));
  EXPECT_FALSE(world.agent_named("one").attaching);
  EXPECT_EQ(world.state_of(turn), TurnState::cancelled);
}

// --- decisions ---

class Deciding : public testing::Test {
 protected:
  void SetUp() override {
    world.turn("first");
    world.agent_named("one").exits(false);
    waiting = world.prompt("second", "one");
    queued = world.prompt("third", "one");
    world.agent_named("one").fails(ErrorKind::invalid, "what", R"({"code":-32603})", true);
    world.settle();
  }
  SessionWorld world;
  std::string waiting;
  std::string queued;
};

TEST_F(Deciding, TheQueueWaitsAndTheStateSaysWhy) {
  EXPECT_EQ(world.state_of(waiting), TurnState::waiting);
  EXPECT_EQ(world.state_of(queued), TurnState::queued);
  const std::string agents = world.call("GET", "s/agents").body;
  EXPECT_TRUE(holds(agents, R"("state":"needs_decision")")) << agents;
  EXPECT_TRUE(holds(agents, R"("choices":["retry","history","fail"])")) << agents;
  EXPECT_TRUE(holds(agents, R"("next":null)")) << agents;
}

TEST_F(Deciding, RetryGoesUpTheSameLadder) {
  EXPECT_EQ(world.call("POST", "s/agents/one/decision", R"({"choice":"retry"})").status, 200);
  EXPECT_EQ(world.agent_named("one").specs.back().native_session_id, "one-native");
  world.agent_named("one").attaches(Rung::resume, "one-native");
  world.settle();
  EXPECT_EQ(world.state_of(waiting), TurnState::running);
  EXPECT_EQ(text_of_story(world.agent_named("one").prompts.back()), "");
}

TEST_F(Deciding, FailEndsTheTurnAndKeepsTheMemory) {
  EXPECT_EQ(world.call("POST", "s/agents/one/decision", R"({"choice":"fail"})").status, 200);
  EXPECT_EQ(world.state_of(waiting), TurnState::failed);
  EXPECT_TRUE(world.session().row().held);
  EXPECT_EQ(world.binding("one").native_session_id, "one-native");
}

TEST_F(Deciding, TheWaitSurvivesTheDeathOfTheServer) {
  world.crash();
  EXPECT_EQ(world.state_of(waiting), TurnState::waiting);
  EXPECT_EQ(world.log("turn.ended").size(), 1U) << "of the first turn";
  EXPECT_EQ(world.call("POST", "s/agents/one/decision", R"({"choice":"retry"})").status, 200);
  world.agent_named("one").attaches(Rung::resume, "one-native");
  world.settle();
  EXPECT_EQ(world.state_of(waiting), TurnState::running);
  EXPECT_TRUE(holds(world.agent_named("one").prompts.back(), "second"));
}

TEST_F(Deciding, OnlyWhatIsOpenCanBeDecidedAndOnlySo) {
  EXPECT_EQ(world.call("POST", "s/agents/one/decision", R"({"choice":"maybe"})").status, 422);
  EXPECT_EQ(world.call("POST", "s/agents/two/decision", R"({"choice":"retry"})").status, 404);
  EXPECT_EQ(world.call("POST", "s/agents/one/decision", R"({"choice":"retry"})").status, 200);
  EXPECT_EQ(world.call("POST", "s/agents/one/decision", R"({"choice":"retry"})").status, 409);
}

TEST_F(Deciding, ACancelEndsTheWaitAndTheNextPromptWaitsAgain) {
  world.session().cancel(waiting, "enough").value();
  EXPECT_EQ(world.state_of(waiting), TurnState::cancelled);
  world.session().resume_queue();
  world.settle();
  EXPECT_EQ(world.state_of(queued), TurnState::waiting);
  EXPECT_FALSE(world.agent_named("one").attaching);
}

// --- several agents ---

TEST(Switching, AnAgentThatComesLateIsToldEverything) {
  SessionWorld world;
  world.turn("build a boat");
  world.turn("paint it", "two");
  EXPECT_TRUE(holds(text_of_story(world.agent_named("two").prompts.back()), "build a boat"));
}

TEST(Switching, AnAgentThatReturnsIsToldExactlyWhatItMissed) {
  SessionWorld world;
  world.turn("build a boat");
  world.turn("paint it", "two");
  world.turn("launch it");
  const std::string story = text_of_story(world.agent_named("one").prompts.back());
  EXPECT_TRUE(holds(story, "paint it"));
  EXPECT_FALSE(holds(story, "build a boat")) << "its own turns it knows";
  EXPECT_EQ(member(world.last("agent.told"), "what"), "\"missed\"");
  world.turn("row");
  EXPECT_EQ(text_of_story(world.agent_named("one").prompts.back()), "");
  EXPECT_EQ(world.binding("one").native_session_id, "one-native");
}

TEST(Switching, WhatWasMissedSurvivesARestartAndIsToldToARestoredAgent) {
  SessionWorld world;
  world.turn("build a boat");
  world.turn("paint it", "two");
  world.restart();
  world.turn("launch it", "one", Rung::resume, "one-native");
  const std::string story = text_of_story(world.agent_named("one").prompts.back());
  EXPECT_TRUE(holds(story, "paint it"));
  EXPECT_FALSE(holds(story, "build a boat"));
}

TEST(Switching, TheChipsSayWhatTheNextPromptOfEachWillBe) {
  SessionWorld world;
  EXPECT_EQ(world.session().bindings().size(), 0U);
  EXPECT_EQ(world.call("PUT", "s/agents/two/config", R"({"mode":"plan"})").status, 200);
  EXPECT_EQ(world.call("GET", "s/agents").body, R"({"agents":[]})");
  EXPECT_EQ(world.session().bindings().at("two")->next(), "new");
  world.turn("build a boat");
  EXPECT_EQ(world.session().bindings().at("one")->next(), "live");
  EXPECT_EQ(world.session().bindings().at("two")->next(), "history");
  world.agent_named("one").exits(false);
  EXPECT_EQ(world.session().bindings().at("one")->next(), "resumed");
}

// --- chunks that are committed together ---

std::vector<std::string> texts_of(SessionWorld& world) {
  std::vector<std::string> texts;
  for (const auto& entry : world.log("update")) texts.push_back(member(entry.data, "content.text"));
  return texts;
}

TEST(Chunks, OfOneMomentAreOneEventThatReadersSeeOnce) {
  SessionWorld world;
  const std::string turn = world.turn("build a boat");
  world.prompt("paint it");
  Puppet& one = world.agent_named("one");
  for (const char* text : {"red", "\\n", "white"}) one.says_text(text);
  world.settle();
  for (const char* text : {" and", " blue"}) one.says_text(text);
  one.says(R"({"sessionUpdate":"plan","entries":[]})");
  one.says_text("more");
  one.ends("end_turn");
  one.says_text("late");
  EXPECT_EQ(texts_of(world),
            (std::vector<std::string>{R"("answer to build a boat")", R"("red\nwhite")",
                                      R"(" and blue")", "", R"("more")", R"("late")"}));
  EXPECT_EQ(world.context().journal.stats().joined, 3U);
  EXPECT_EQ(world.session().last_seq(), world.log().size());
  EXPECT_EQ(world.session().visible_seq(), world.session().last_seq());
}

TEST(Chunks, AreCountedByTheirBytesSoThatALoudSessionWaitsAsItDidApart) {
  SessionWorld world;
  world.turn("build a boat");
  world.prompt("paint it");
  const std::string text(4000, 'x');
  int taken = 0;
  for (; taken < 1000 && !world.context().journal.full_for(world.session()); ++taken) {
    world.agent_named("one").says_text(text);
  }
  EXPECT_EQ(taken, 65);  // run_bytes_max, with what the turns before said
  std::size_t longest = 0;
  for (const std::string& said : texts_of(world)) longest = std::max(longest, said.size());
  EXPECT_EQ(longest, 4 * text.size() + 2);  // joined_text_max
  world.settle();
  EXPECT_GE(world.context().journal.stats().event_bytes,
            static_cast<std::size_t>(taken) * text.size());
}

TEST(LongLines, AreTakenWithTheirMemoryAndAreEventsAmongOthers) {
  SessionWorld world;
  world.turn("build a boat");
  world.prompt("paint it");
  const auto chunk = [](std::size_t size) {
    return R"({"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":")" +
           std::string(size, 'x') + "\"}}";
  };
  Puppet& one = world.agent_named("one");
  EXPECT_TRUE(one.says_in_own_memory(chunk(300'000))) << "the first of its commit";
  world.settle();
  one.says_text("before");
  EXPECT_FALSE(one.says_in_own_memory(chunk(20'000)));
  EXPECT_TRUE(one.says_in_own_memory(chunk(200'000)));
  EXPECT_TRUE(one.says_in_own_memory(chunk(100'000)));
  one.says_text("after");
  world.settle();
  std::vector<std::size_t> sizes;
  for (const std::string& text : texts_of(world)) sizes.push_back(text.size() - 2);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{22, 300'000, 6, 20'000, 200'000, 100'000, 5}));
  EXPECT_EQ(world.session().last_seq(), world.log().size());
}

// --- late words ---

TEST(LateWords, AmendTheTurnThatTheyBelongToAndNeverItsEnding) {
  SessionWorld world;
  const std::string first = world.turn("build a boat");
  world.agent_named("one").says_text("one more thing");
  world.agent_named("one").ends_again(first);
  world.settle();
  const auto updates = world.log("update");
  EXPECT_EQ(updates.back().turn, first);
  EXPECT_TRUE(holds(updates.back().data, "one more thing"));
  EXPECT_EQ(world.log("turn.ended").size(), 1U);
  for (const char* content :
       {R"("sessionUpdate":"plan","entries":[])", R"("sessionUpdate":"tool_call","toolCallId":"t")",
        R"("sessionUpdate":"agent_thought_chunk","content":{})"}) {
    world.agent_named("one").says(std::string("{") + content + "}");
    EXPECT_EQ(world.log("update").back().turn, first) << content;
  }
  world.agent_named("one").says(R"({"sessionUpdate":"available_commands_update"})");
  EXPECT_EQ(world.log("update").back().turn, "") << "it says nothing of a turn";
}

TEST(LateWords, OfOneAgentAreNotFiledUnderTheTurnOfAnother) {
  SessionWorld world;
  const std::string first = world.turn("build a boat");
  const std::string second = world.begin("paint it", "two");
  world.agent_named("one").says_text("late");
  const auto updates = world.log("update");
  EXPECT_EQ(updates.back().turn, first);
  world.agent_named("one").ends_again(second);
  EXPECT_EQ(world.state_of(second), TurnState::running);
}

TEST(LateWords, OfAnEarlierProcessAreDropped) {
  SessionWorld world;
  world.turn("build a boat");
  const std::int64_t old = world.agent_named("one").epoch();
  world.agent_named("one").exits(false);
  world.prompt("paint it", "one");
  world.agent_named("one").attaches(Rung::resume, "one-native");
  world.settle();
  const std::size_t before = world.log("update").size();
  world.agent_named("one").says(
      R"({"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"old"}})", old);
  EXPECT_EQ(world.log("update").size(), before);
}

TEST(LateWords, BelongToWhatTheAgentSaidLastWhichTheNextLifeOfBerthReadsFromTheLog) {
  SessionWorld world;
  world.turn("build a boat");
  world.agent_named("one").says_text("and a mast");
  world.turn("row it", "two");
  world.crash();
  world.prompt("launch it", "one");
  world.session().cancel(world.session().current_turn()->id, "later").value();
  world.agent_named("one").attaches(Rung::load, "one-native");
  const Said last = world.await(world.agent_named("one").specs.back().last_said());
  EXPECT_EQ(last.text, "answertobuildaboatandamast");
}

}  // namespace
}  // namespace berth::server
