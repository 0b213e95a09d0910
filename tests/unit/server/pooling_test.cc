// Agents come and go by the pool's rules: for having idled, for others, and not while a turn needs
// them.
#include "session_world.h"

#include <berth/core/json_doc.h>

namespace berth::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

PoolLimits one_place() {
  PoolLimits limits;
  limits.agents_live_max = 1;
  limits.start_wait_max = minutes(5);
  return limits;
}

std::string limit_of(const std::string& data) {
  const Result<JsonDoc> doc = JsonDoc::parse(data);
  return std::string(doc->root().get_string("limit").value_or(""));
}

TEST(Pooling, AnIdleAgentEndsAfterItsTimeAndTheNextPromptTakesItsMemoryUp) {
  SessionWorld world;
  world.turn("first");
  world.settle(minutes(29));
  EXPECT_TRUE(world.agent_named("one").live());
  world.turn("second");  // which begins the time anew
  world.settle(minutes(29));
  EXPECT_TRUE(world.agent_named("one").live());
  world.settle(minutes(2));
  EXPECT_FALSE(world.agent_named("one").live());
  EXPECT_EQ(limit_of(world.last("agent.evicted")), "agents_idle_ttl");
  EXPECT_EQ(world.binding("one").state, BindingState::sleeping);
  const std::string third = world.turn("third", "one", Rung::resume, "one-native");
  EXPECT_EQ(world.agent_named("one").specs.back().native_session_id, "one-native");
  EXPECT_EQ(world.state_of(third), TurnState::completed);
}

TEST(Pooling, AnAgentWhoseQueueIsHeldIdles) {
  SessionWorld world;
  const std::string turn = world.begin("first");
  const std::string waiting = world.prompt("second", "one");
  world.session().cancel(turn, "enough").value();
  world.agent_named("one").ends("cancelled");
  world.settle();
  EXPECT_TRUE(world.session().row().held) << "a person is to look at it";
  world.settle(minutes(31));
  EXPECT_FALSE(world.agent_named("one").live());
  EXPECT_EQ(limit_of(world.last("agent.evicted")), "agents_idle_ttl");
  EXPECT_EQ(world.state_of(waiting), TurnState::queued);
}

TEST(Pooling, AnIdleAgentMakesRoomForAnotherOne) {
  SessionWorld world({}, "ask", one_place());
  world.turn("first", "one");
  world.prompt("second", "two");
  EXPECT_EQ(limit_of(world.last("agent.evicted")), "agents_live_max");
  EXPECT_FALSE(world.agent_named("one").live());
  ASSERT_TRUE(world.has_agent("two"));
  EXPECT_TRUE(world.agent_named("two").attaching);
}

TEST(Pooling, WhenAllAreBusyAPromptThatNeedsOneMoreIsNotTaken) {
  SessionWorld world({}, "ask", one_place());
  world.begin("first");
  Session& first = world.session();
  OpenRequest request;
  request.id = "other";
  world.open(request);
  const auto refused = world.call("POST", "other/turns", R"({"prompt":"hello"})");
  EXPECT_EQ(refused.status, 503);
  const Result<JsonDoc> problem = JsonDoc::parse(refused.body);
  EXPECT_EQ(problem->root().get_string("code").value_or(""), "overloaded");
  EXPECT_EQ(problem->root().get_string("limit").value_or(""), "agents_live_max");
  EXPECT_EQ(problem->root().get_bool("retryable").value_or(false), true);
  EXPECT_TRUE(world.log("turn.queued").empty()) << "nothing was accepted";
  EXPECT_NE(first.current_turn(), nullptr) << "and nobody was stopped for it";
}

TEST(Pooling, ATurnThatWasAcceptedBeforeWaitsForAPlaceAndThenRuns) {
  SessionWorld world({}, "ask", one_place());
  world.begin("first");
  const std::string second = world.prompt("second", "two");
  EXPECT_EQ(world.state_of(second), TurnState::queued);
  world.agent_named("one").ends("end_turn");
  world.settle();
  EXPECT_FALSE(world.agent_named("one").live()) << "it made room";
  world.agent_named("two").attaches(Rung::new_session, "m");
  world.settle();
  EXPECT_EQ(world.state_of(second), TurnState::running);
}

TEST(Pooling, ATurnWhoseStartFindsNoPlaceInTimeFailsByNameOfTheLimit) {
  PoolLimits limits = one_place();
  limits.start_wait_max = seconds(60);
  SessionWorld world({}, "ask", limits);
  world.profile("one").pinned = true;
  world.prompt("first", "one");
  const std::string second = world.prompt("second", "two");
  world.agent_named("one").attaches(Rung::new_session, "n");
  world.settle();
  world.agent_named("one").ends("end_turn");
  world.settle(seconds(59));
  EXPECT_EQ(world.state_of(second), TurnState::starting) << "it waits: the pinned one stays";
  EXPECT_FALSE(world.has_agent("two"));
  world.settle(seconds(2));
  EXPECT_EQ(world.state_of(second), TurnState::failed);
  EXPECT_TRUE(world.session().find_turn(second)->reason.starts_with("agents_live_max: "));
}

TEST(Pooling, AWaitingTurnThatIsCancelledLeavesTheQueueOfStarts) {
  PoolLimits limits;
  limits.crash_wait_first = seconds(30);
  SessionWorld world({}, "ask", limits);
  for (int crash = 0; crash < 2; ++crash) {
    world.prompt("go");
    world.agent_named("one").attaches(crash == 0 ? Rung::new_session : Rung::resume, "n");
    world.settle();
    world.agent_named("one").exits(false);
    world.settle();
  }
  const std::string third = world.prompt("again");
  EXPECT_EQ(world.state_of(third), TurnState::starting);
  EXPECT_EQ(world.agent_named("one").specs.size(), 2U) << "it waits: it ended twice in a row";
  world.session().cancel(third, "no").value();
  world.settle(minutes(1));
  EXPECT_EQ(world.state_of(third), TurnState::cancelled);
  EXPECT_EQ(world.agent_named("one").specs.size(), 2U) << "nobody wants it any more";
  EXPECT_TRUE(world.context().pool.agents().empty());
}

TEST(Pooling, AnAgentThatEndsAgainAndAgainStartsEverMoreSlowlyUntilItAnswers) {
  PoolLimits limits;
  limits.crash_wait_first = seconds(1);
  SessionWorld world({}, "ask", limits);
  const auto starts = [&] { return world.agent_named("one").specs.size(); };
  const auto crash = [&] {
    world.agent_named("one").attaches(starts() == 1 ? Rung::new_session : Rung::resume, "n");
    world.settle();
    world.agent_named("one").exits(false);
    world.settle();
  };
  world.prompt("one");
  crash();
  world.prompt("two");
  EXPECT_EQ(starts(), 2U) << "once is no storm";
  crash();
  world.prompt("three");
  EXPECT_EQ(starts(), 2U);
  world.settle(seconds(1));
  EXPECT_EQ(starts(), 3U);
  crash();
  world.prompt("four");
  world.settle(milliseconds(1500));
  EXPECT_EQ(starts(), 3U) << "two seconds now";
  world.settle(seconds(1));
  EXPECT_EQ(starts(), 4U);
  world.agent_named("one").attaches(Rung::resume, "n");
  world.settle();
  world.agent_named("one").ends("end_turn");
  world.settle();
  world.agent_named("one").exits(false);
  world.settle();
  world.prompt("five");
  EXPECT_EQ(starts(), 5U) << "it had answered: the count begins anew";
}

TEST(Pooling, AnAgentThatWaitsForAPersonIsNotEvicted) {
  SessionWorld world({}, "ask", one_place());
  world.begin("first");
  Puppet& one = world.agent_named("one");
  one.asks(QuestionKind::permission, R"({"options":[{"optionId":"a","kind":"allow_once"}]})");
  world.settle(minutes(90));
  EXPECT_EQ(world.session().current_turn()->state, TurnState::waiting);
  OpenRequest request;
  request.id = "other";
  world.open(request);
  EXPECT_EQ(world.call("POST", "other/turns", R"({"prompt":"hello"})").status, 503);
  EXPECT_TRUE(one.live());
}

TEST(Pooling, AWarmProfileIsStartedWhenItsSessionIsOpened) {
  SessionWorld world;
  world.profile("one").warm = true;
  OpenRequest request;
  world.open(request);
  ASSERT_TRUE(world.has_agent("one"));
  Puppet& one = world.agent_named("one");
  one.attaches(Rung::new_session, "n");
  world.settle();
  const std::string first = world.prompt("first");
  EXPECT_EQ(world.state_of(first), TurnState::running);
  EXPECT_EQ(one.specs.size(), 1U);
  EXPECT_FALSE(world.binding("one").continuation_owed);
}

TEST(Pooling, APinnedProfileIdlesForEver) {
  SessionWorld world;
  world.profile("one").pinned = true;
  world.turn("first");
  world.settle(minutes(90));
  EXPECT_TRUE(world.agent_named("one").live());
}

TEST(Pooling, AStartThatFindsNoSeatWaitsAgainAndNobodyHearsOfIt) {
  SessionWorld world;
  const std::string turn = world.prompt("go");
  EXPECT_TRUE(world.agent_named("one").specs.back().may_start) << "there is room for a process";
  for (int time = 2; time < 5; ++time) {
    world.agent_named("one").finds_no_seat();
    EXPECT_TRUE(world.context().pool.agents().empty()) << "it holds nobody's place meanwhile";
    world.settle(milliseconds(30));
    EXPECT_EQ(world.agent_named("one").specs.size(), static_cast<std::size_t>(time));
  }
  EXPECT_EQ(world.state_of(turn), TurnState::starting);
  EXPECT_TRUE(world.log("agent.failed").empty());
  EXPECT_TRUE(world.log("agent.retrying").empty());
  world.agent_named("one").finds_no_seat();
  world.session().cancel(turn, "no").value();
  world.settle(seconds(1));
  EXPECT_EQ(world.state_of(turn), TurnState::cancelled);
  EXPECT_FALSE(world.agent_named("one").attaching) << "nobody wants it any more";
}

// --- health ---

/// What a look at the only agent's process found.
void look(SessionWorld& world, bool stopped, std::uint64_t cpu) {
  io::VitalSigns signs;
  signs.stopped = stopped;
  signs.cpu_microseconds = cpu;
  world.context().pool.for_each_member([&](PoolMember& member) { member.on_look(signs); });
  world.settle();
}

/// A session whose turn runs.
class Living : public testing::Test {
 protected:
  Living() {
    turn = world.prompt("go");
    world.agent_named("one").attaches(Rung::new_session, "n");
    world.settle();
    look(world, false, 100);
  }
  std::string health() {
    return std::string(to_string(world.session().bindings().at("one")->diagnosis().health));
  }
  SessionWorld world;
  std::string turn;
};

TEST_F(Living, ASilentTurnStallsVisiblyAndAWordTakesItBack) {
  world.settle(minutes(6));
  look(world, false, 100);
  EXPECT_TRUE(world.session().stalled());
  EXPECT_EQ(world.state_of(turn), TurnState::running) << "nothing was ended for it";
  EXPECT_EQ(world.log("turn.stalled").size(), 1U);
  world.agent_named("one").says_text("here I am");
  world.settle();
  EXPECT_FALSE(world.session().stalled());
  EXPECT_EQ(world.log("turn.stalled").size(), 2U);
  EXPECT_FALSE(world.session().bindings().at("one")->last_trouble().empty()) << "kept";
  world.agent_named("one").ends("end_turn");
  world.settle();
  EXPECT_TRUE(world.session().bindings().at("one")->last_trouble().empty()) << "it answered";
}

TEST_F(Living, ASilentTurnThatUsesTheProcessorIsQuietAndNotStalled) {
  world.settle(minutes(6));
  look(world, false, 200);
  EXPECT_EQ(health(), "quiet");
  EXPECT_FALSE(world.session().stalled());
  EXPECT_TRUE(world.log("turn.stalled").empty());
}

TEST_F(Living, ATurnThatEndsInAStallLeavesNoneBehind) {
  world.settle(minutes(6));
  look(world, false, 100);
  EXPECT_TRUE(world.session().stalled());
  world.session().cancel(turn, "no").value();
  world.agent_named("one").ends("cancelled");
  world.settle();
  EXPECT_FALSE(world.session().stalled());
  EXPECT_EQ(health(), "well");
}

TEST_F(Living, AStopThatIsOverIsForgottenWithTheNextWord) {
  look(world, true, 100);
  world.settle(minutes(6));
  look(world, true, 100);
  EXPECT_TRUE(world.session().stalled());
  world.agent_named("one").says_text("I may go on");
  world.agent_named("one").ends("end_turn");
  world.settle(minutes(6));
  EXPECT_EQ(health(), "well");
  EXPECT_TRUE(world.agent_named("one").live()) << "it is not ended for a stop long ago";
}

TEST_F(Living, AStoppedAgentWithoutATurnIsEndedAndItsMemoryStays) {
  world.agent_named("one").ends("end_turn");
  world.settle();
  look(world, true, 100);
  EXPECT_TRUE(world.agent_named("one").live()) << "a moment is no stall";
  world.settle(minutes(6));
  look(world, true, 100);
  EXPECT_FALSE(world.agent_named("one").live());
  EXPECT_EQ(limit_of(world.last("agent.evicted")), "wedged");
  world.prompt("again");
  EXPECT_EQ(world.agent_named("one").specs.back().native_session_id, "n");
}

/// An agent that has nothing to do, and pings that it answers for now.
class Idle : public Living {
 protected:
  Idle() {
    agent().ends("end_turn");
    world.settle(minutes(2));
    look(world, false, 100);
    EXPECT_TRUE(agent().pinged.open_since.has_value());
  }
  Puppet& agent() { return world.agent_named("one"); }
  /// Looks until `minutes` have passed.
  void look_for(int minutes) {
    for (int i = 0; i < minutes * 4; ++i) {
      world.settle(std::chrono::seconds(15));
      look(world, false, 100);
    }
  }
};

TEST_F(Idle, OneThatDoesNotAnswerPingsAnyMoreIsEnded) {
  agent().answers_ping();
  look_for(1);
  EXPECT_TRUE(agent().pinged.open_since.has_value()) << "it is asked again";
  EXPECT_TRUE(agent().live());
  look_for(2);
  EXPECT_FALSE(agent().live());
  EXPECT_EQ(limit_of(world.last("agent.evicted")), "wedged");
  EXPECT_EQ(agent().specs.size(), 1U) << "the next prompt starts it";
  world.prompt("again");
  EXPECT_EQ(agent().specs.back().native_session_id, "n");
}

TEST_F(Idle, OneThatIsToBeWarmIsReplacedBeforeAnybodyWaits) {
  world.profile("one").warm = true;
  agent().answers_ping();
  look_for(3);
  EXPECT_EQ(agent().specs.size(), 2U);
  agent().attaches(Rung::resume, "n");
  world.settle();
  EXPECT_TRUE(agent().live());
}

TEST_F(Idle, OneThatNeverAnsweredIsNotJudgedByItsSilence) {
  look_for(10);
  EXPECT_TRUE(agent().live());
}

TEST_F(Idle, AWordInPlaceOfTheAnswerIsASignOfLife) {
  agent().answers_ping();
  look_for(1);
  for (int i = 0; i < 12; ++i) {
    agent().says_text("still here");
    world.settle(std::chrono::seconds(15));
    look(world, false, 100);
  }
  EXPECT_TRUE(agent().live());
}

TEST_F(Idle, NobodyIsPingedWhoMustNotBe) {
  agent().answers_ping();
  world.profile("one").pinged = false;
  look_for(5);
  EXPECT_FALSE(agent().pinged.open_since.has_value());
}

}  // namespace
}  // namespace berth::server
