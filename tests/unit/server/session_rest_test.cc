// The session between its turns: rest, queue, steering, what is counted, its end.
#include "session_world.h"

namespace berth::server {
namespace {

// --- rest ---

TEST(Resting, ReadingWakesNobodyAndTheNextPromptTakesTheNativeSessionUp) {
  SessionWorld world;
  world.turn("build a boat");
  world.restart();
  for (const char* path : {"s", "s/turns", "s/events", "s/agents", "s/interactions", "s/usage"}) {
    EXPECT_EQ(world.call("GET", path).status, 200) << path;
  }
  world.settle(std::chrono::minutes(1));
  EXPECT_FALSE(world.has_agent("one"));
  world.turn("launch it", "one", Rung::load, "one-native");
  EXPECT_EQ(world.agent_named("one").specs.back().native_session_id, "one-native");
  const auto updates = world.log("update");
  ASSERT_EQ(updates.size(), 2U);
  EXPECT_TRUE(holds(updates[0].data, "answer to build a boat"));
  EXPECT_TRUE(holds(updates[1].data, "answer to launch it"));
}

TEST(Resting, ASessionThatNobodyUsesLeavesTheMemoryAndComesBackAsItWas) {
  SessionWorld world;
  const std::string turn = world.turn("dig");
  EXPECT_EQ(world.unload_after(std::chrono::minutes(6)), 0U) << "its agent lives";
  world.agent_named("one").exits(false);
  world.settle();
  EXPECT_EQ(world.unload_after(std::chrono::minutes(6)), 1U);
  EXPECT_EQ(world.session().bindings().at("one")->next(), "resumed");
  EXPECT_EQ(world.call("GET", "s/turns/" + turn).status, 200);
  world.prompt("dig on", "one");
  Puppet& one = world.agent_named("one");
  EXPECT_EQ(one.specs.back().native_session_id, "one-native");
  one.attaches(Rung::resume, "one-native");
  world.settle();
  one.ends("end_turn");
  world.settle();
  EXPECT_EQ(world.log("turn.ended").size(), 2U);
}

TEST(Resting, ASessionStaysWhileSomebodyUsesItOrSomethingWaits) {
  SessionWorld world;
  world.turn("dig");
  world.agent_named("one").exits(false);
  {
    const SessionUse use(world.session());
    EXPECT_EQ(world.unload_after(std::chrono::minutes(6)), 0U);
  }
  EXPECT_EQ(world.unload_after(std::chrono::minutes(1)), 0U) << "it was used just now";
  EXPECT_EQ(world.unload_after(std::chrono::minutes(6)), 1U);
  const std::string turn = world.prompt("think", "one");
  world.agent_named("one").attaches(Rung::resume, "one-native");
  world.settle();
  EXPECT_EQ(world.unload_after(std::chrono::minutes(6)), 0U) << "a turn runs";
  EXPECT_EQ(world.state_of(turn), TurnState::running);
}

// --- queue ---

TEST(Queueing, WhatWasAcceptedSurvivesACrashAndIsSentOnce) {
  SessionWorld world;
  const std::string running = world.begin("first", "one", Rung::new_session, "n");
  const std::string second = world.prompt("second", "one");
  const std::string third = world.prompt("third", "one");
  EXPECT_EQ(world.state_of(second), TurnState::queued) << "not refused while a turn runs";
  world.crash();
  EXPECT_EQ(world.state_of(running), TurnState::interrupted);
  EXPECT_EQ(world.state_of(second), TurnState::queued);
  EXPECT_EQ(world.state_of(third), TurnState::queued);
  world.session().resume_queue();
  world.settle();
  Puppet& one = world.agent_named("one");
  one.attaches(Rung::resume, "n");
  world.settle();
  one.ends("end_turn");
  world.settle();
  ASSERT_EQ(one.prompts.size(), 2U) << "what was sent before the crash is not sent again";
  EXPECT_TRUE(holds(one.prompts[0], "second"));
  EXPECT_TRUE(holds(one.prompts[1], "third"));
}

TEST(Queueing, APausedSessionTakesPromptsAndRunsNone) {
  SessionWorld world;
  world.turn("first");
  world.session().set_paused(true);
  const std::string second = world.prompt("second");
  EXPECT_EQ(world.state_of(second), TurnState::queued);
  EXPECT_EQ(world.agent_named("one").prompts.size(), 1U);
  world.session().set_paused(false);
  world.settle();
  EXPECT_EQ(world.agent_named("one").prompts.size(), 2U);
}

// --- steering ---

TEST(Steering, APromptJoinsTheRunningTurnOnceItIsInTheLog) {
  SessionWorld world;
  const std::string running = world.begin("build a boat");
  Puppet& one = world.agent_named("one");
  one.can_steer = true;
  const std::string added = world.prompt("a red one", {}, OnBusy::steer);
  ASSERT_EQ(one.steered.size(), 1U);
  EXPECT_TRUE(holds(one.steered[0], "a red one"));
  EXPECT_EQ(world.state_of(added), TurnState::completed);
  EXPECT_EQ(world.log("turn.steered").back().turn, running);
  one.ends("end_turn");
  world.settle();
  EXPECT_EQ(one.prompts.size(), 1U) << "it is not sent again";
}

TEST(Steering, FallsBackToTheQueueWhenTheAgentCannot) {
  SessionWorld world;
  world.begin("build a boat");
  Puppet& one = world.agent_named("one");
  const std::string added = world.prompt("a red one", {}, OnBusy::steer);
  EXPECT_EQ(world.state_of(added), TurnState::queued);
  one.ends("end_turn");
  world.settle();
  EXPECT_EQ(world.state_of(added), TurnState::running);
  EXPECT_TRUE(holds(one.prompts.back(), "a red one"));
}

TEST(Steering, WhatCannotJoinAnyMoreStandsWhereItWouldHaveStood) {
  SessionWorld world;
  world.begin("build a boat");
  Puppet& one = world.agent_named("one");
  one.can_steer = true;
  const auto accept = [&](const std::string& text, OnBusy on_busy) {
    return world.session().accept(SessionWorld::request_of(text, on_busy))->id;
  };
  const std::string before = accept("wait", OnBusy::queue);
  const std::string added = accept("a red one", OnBusy::steer);
  const std::string after = accept("and then", OnBusy::queue);
  one.can_steer = false;  // before the prompt is in the log
  world.settle();
  std::vector<std::string> waiting;
  for (const TurnRow& turn : world.session().queue()) waiting.push_back(turn.id);
  EXPECT_EQ(waiting, (std::vector<std::string>{before, added, after}));
}

TEST(Steering, WhatACrashLeftUncertainIsNotSentAgain) {
  SessionWorld world;
  world.begin("build a boat");
  Puppet& one = world.agent_named("one");
  one.can_steer = true;
  const std::string added =
      world.session().accept(SessionWorld::request_of("a red one", OnBusy::steer))->id;
  // The commit of the prompt is through, the one after the sending is not.
  while (one.steered.empty()) world.settle(std::chrono::microseconds(50));
  world.crash();
  EXPECT_EQ(world.state_of(added), TurnState::interrupted);
  EXPECT_TRUE(world.session().queue().empty());
}

// --- usage ---

TEST(Counting, TurnsAgentsAndTheSessionAreSummedOnceOverRestarts) {
  SessionWorld world;
  const auto one_turn = [&](const std::string& agent, const std::string& usage) {
    world.prompt("go", agent);
    Puppet& puppet = world.agent_named(agent);
    if (puppet.attaching) puppet.attaches(Rung::resume, agent + "-native");
    world.settle();
    puppet.ends("end_turn", usage);
    world.settle();
  };
  one_turn("one", R"({"inputTokens":10,"outputTokens":1,"cost":{"amount":0.25,"currency":"USD"}})");
  one_turn("two", R"({"inputTokens":5,"outputTokens":2})");
  world.restart();
  one_turn("one", R"({"inputTokens":7,"outputTokens":1,"cost":{"amount":0.5,"currency":"USD"}})");
  const std::string usage = world.call("GET", "s/usage").body;
  EXPECT_EQ(member(usage, "session.inputTokens"), "22") << usage;
  EXPECT_EQ(member(usage, "session.turns"), "3");
  EXPECT_EQ(member(usage, "session.cost"), R"([{"amount":0.75,"currency":"USD"}])");
  EXPECT_EQ(member(world.last("turn.ended"), "usage.inputTokens"), "7");
}

TEST(Counting, ACostThatGrowsIsCountedByItsDifferencesAlsoAfterARestart) {
  SessionWorld world;
  const auto one_turn = [&](const std::string& total) {
    world.prompt("go", "one");
    Puppet& puppet = world.agent_named("one");
    if (puppet.attaching) puppet.attaches(Rung::resume, "one-native");
    world.settle();
    puppet.says(R"({"sessionUpdate":"usage_update","used":100,"size":1000,"cost":{"amount":)" +
                total + R"(,"currency":"USD"}})");
    puppet.ends("end_turn");
    world.settle();
  };
  one_turn("0.1");
  one_turn("0.3");
  EXPECT_EQ(member(world.last("turn.ended"), "usage.cost.amount"), "0.2");
  EXPECT_EQ(member(world.last("turn.ended"), "usage.context.used"), "100");
  world.crash();
  one_turn("0.35");
  EXPECT_EQ(member(world.call("GET", "s/usage").body, "session.cost"),
            R"([{"amount":0.35,"currency":"USD"}])");
}

// --- closing ---

TEST(Closing, WhoeverAsksAgainWaitsForTheSameEnd) {
  SessionWorld world;
  world.begin("dig");
  world.begin_call("POST", "s/close", "{}");
  world.settle();
  EXPECT_FALSE(world.call_ended()) << "the turn runs";
  Scope again(world.context().reactor());
  std::optional<Result<void>> second;
  const auto close_again = [](Session* session, std::optional<Result<void>>* result) -> Task<void> {
    *result = co_await session->close();
  };
  again.spawn(close_again(&world.session(), &second));
  world.settle();
  EXPECT_FALSE(second.has_value());
  world.agent_named("one").ends("end_turn");
  EXPECT_EQ(world.end_call().status, 200);
  world.settle();
  ASSERT_TRUE(second.has_value());
  EXPECT_TRUE(second->has_value()) << second->error().message;
  EXPECT_EQ(world.log("session.closed").size(), 1U);
}

TEST(Closing, APromptThatWasToJoinTheTurnAndIsNotInTheLogYetIsCancelled) {
  SessionWorld world;
  world.begin("dig");
  Puppet& one = world.agent_named("one");
  const std::string added =
      world.session().accept(SessionWorld::request_of("deeper", OnBusy::steer))->id;
  world.begin_call("POST", "s/close", "{}");
  world.settle();
  EXPECT_EQ(world.state_of(added), TurnState::cancelled);
  one.ends("end_turn");
  EXPECT_EQ(world.end_call().status, 200);
}

TEST(Closing, AForcedDeleteDoesNotWaitForTheTurnThatACloseWaitsFor) {
  SessionWorld world;
  const std::string turn = world.begin("dig");
  world.begin_call("POST", "s/close", "{}");
  world.settle();
  Scope deletion(world.context().reactor());
  std::optional<Result<void>> removed;
  const auto remove = [](Session* session, std::optional<Result<void>>* result) -> Task<void> {
    RemoveOrder order;
    order.force = true;
    *result = co_await session->remove(order);
  };
  deletion.spawn(remove(&world.session(), &removed));
  world.settle();
  EXPECT_EQ(world.state_of(turn), TurnState::stopping);
  world.agent_named("one").ends("cancelled");
  EXPECT_EQ(world.end_call().status, 200);
  world.settle();
  ASSERT_TRUE(removed.has_value());
  EXPECT_TRUE(removed->has_value()) << removed->error().message;
}

TEST(Closing, APurgeThatWaitsForADeletionErasesWhatThatLeft) {
  SessionWorld world;
  world.turn("dig a secret hole");
  Session* session = &world.session();
  Scope ends(world.context().reactor());
  std::optional<Result<void>> removed;
  std::optional<Result<void>> purged;
  const auto remove = [](Session* which, bool purge,
                         std::optional<Result<void>>* result) -> Task<void> {
    *result = co_await which->remove(RemoveOrder(), purge);
  };
  ends.spawn(remove(session, false, &removed));
  ends.spawn(remove(session, true, &purged));
  world.settle(std::chrono::seconds(5));
  ASSERT_TRUE(removed.has_value() && removed->has_value());
  ASSERT_TRUE(purged.has_value() && purged->has_value());
  EXPECT_TRUE(session->erased());
  EXPECT_EQ(world.call("GET", "s/events").status, 404);
  world.restart();
  EXPECT_EQ(world.call("GET", "s/events").status, 404);
}

TEST(Closing, TheLogOfADeletedSessionIsReadUntilItIsPurged) {
  SessionWorld world;
  world.turn("dig");
  EXPECT_EQ(world.call("DELETE", "s").status, 204);
  for (int life = 0; life < 2; ++life) {
    EXPECT_TRUE(holds(world.call("GET", "s/events").body, "answer to dig"));
    EXPECT_TRUE(holds(world.call("GET", "s/transcript").body, "answer to dig"));
    for (const char* path : {"s", "s/turns", "s/agents", "s/worktree"}) {
      EXPECT_EQ(world.call("GET", path).status, 404) << path;
    }
    EXPECT_EQ(world.call("DELETE", "s").status, 404);
    world.restart();
  }
  EXPECT_EQ(world.call("DELETE", "s?purge=1").status, 204);
  for (int life = 0; life < 2; ++life) {
    for (const char* path : {"s", "s/events", "s/transcript"}) {
      EXPECT_EQ(world.call("GET", path).status, 404) << path;
    }
    EXPECT_EQ(world.call("DELETE", "s?purge=1").status, 404);
    EXPECT_EQ(world.request("POST", "/v1/sessions", R"({"id":"s","agent":"one"})").status, 409);
    world.restart();
  }
}

}  // namespace
}  // namespace berth::server
