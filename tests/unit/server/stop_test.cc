// Stop, at every moment of a turn's life: what the caller is answered, what the agent is told, how
// the turn ends, and that the next one is untouched.
#include "session_world.h"

#include <functional>

namespace berth::server {
namespace {

using std::chrono::seconds;

/// A turn whose agent is up and was asked.
std::string running(SessionWorld& world) {
  return world.begin("go");
}

struct Row {
  const char* name;
  /// Brings a turn to the moment, and returns its id.
  std::function<std::string(SessionWorld&)> moment;
  int status;                               // of the answer
  const char* state;                        // in it
  std::size_t told;                         // cancels that the agent has heard after it
  std::function<void(SessionWorld&)> then;  // what the agent does about it, or the clock
  TurnState ending;
};

void nothing(SessionWorld&) {}

void answers_cancelled(SessionWorld& world) {
  world.agent_named("one").ends("cancelled");
}

void grace_passes(SessionWorld& world) {
  world.settle(seconds(11));
}

std::string in_tool(SessionWorld& world) {
  const std::string turn = running(world);
  world.agent_named("one").says(
      R"({"sessionUpdate":"tool_call","toolCallId":"c1","status":"in_progress"})");
  return turn;
}

std::string at_gate(SessionWorld& world) {
  const std::string turn = running(world);
  world.agent_named("one").asks(QuestionKind::permission,
                                R"({"options":[{"optionId":"a","kind":"allow_once"}]})");
  world.settle();
  EXPECT_EQ(world.state_of(turn), TurnState::waiting);
  return turn;
}

std::string queued(SessionWorld& world) {
  running(world);
  return world.prompt("later");
}

std::string ended(SessionWorld& world) {
  const std::string turn = running(world);
  world.agent_named("one").ends("end_turn");
  world.settle();
  return turn;
}

/// It has ended a moment ago, and the log does not say so yet.
std::string ending(SessionWorld& world) {
  const std::string turn = running(world);
  world.agent_named("one").ends("end_turn");
  return turn;
}

std::string dead(SessionWorld& world) {
  const std::string turn = running(world);
  world.agent_named("one").exits(false);
  return turn;
}

std::string stopped_already(SessionWorld& world) {
  const std::string turn = running(world);
  world.session().cancel(turn, "once").value();
  return turn;
}

/// The prompt that shall join the running turn is not in the log yet.
std::string steering(SessionWorld& world) {
  running(world);
  world.agent_named("one").can_steer = true;
  return world.session().accept(SessionWorld::request_of("and this", OnBusy::steer)).value().id;
}

std::string before_a_restart(SessionWorld& world) {
  const std::string turn = running(world);
  world.crash();
  return turn;
}

const Row kRows[] = {
    {"before its agent has started", [](SessionWorld& world) { return world.prompt("go"); }, 202,
     "cancelled", 0, nothing, TurnState::cancelled},
    {"while it thinks", running, 202, "stopping", 1, answers_cancelled, TurnState::cancelled},
    {"while it thinks, and it says end_turn to that", running, 202, "stopping", 1,
     [](SessionWorld& world) { world.agent_named("one").ends("end_turn"); }, TurnState::cancelled},
    {"in a tool", in_tool, 202, "stopping", 1, answers_cancelled, TurnState::cancelled},
    {"at a gate", at_gate, 202, "stopping", 1, answers_cancelled, TurnState::cancelled},
    {"while it waits its turn", queued, 202, "cancelled", 0, nothing, TurnState::cancelled},
    {"as it ends", ending, 200, "completed", 0, nothing, TurnState::completed},
    {"after it ended", ended, 200, "completed", 0, nothing, TurnState::completed},
    {"after its agent died", dead, 200, "interrupted", 0, nothing, TurnState::interrupted},
    {"and the agent dies of it", running, 202, "stopping", 1,
     [](SessionWorld& world) { world.agent_named("one").exits(false); }, TurnState::cancelled},
    {"and the agent hangs", running, 202, "stopping", 1, grace_passes, TurnState::cancelled},
    {"for the second time", stopped_already, 202, "stopping", 1, answers_cancelled,
     TurnState::cancelled},
    {"before it joined the running turn", steering, 202, "cancelled", 0, nothing,
     TurnState::cancelled},
    {"after berth was restarted under it", before_a_restart, 200, "interrupted", 0, nothing,
     TurnState::interrupted},
};

TEST(Stop, AtEveryMomentDoesWhatItSaysOnceAndNoMore) {
  for (const Row& row : kRows) {
    SCOPED_TRACE(row.name);
    SessionWorld world;
    const std::string turn = row.moment(world);
    const auto answer = world.call("POST", "s/turns/" + turn + "/cancel");
    EXPECT_EQ(answer.status, row.status);
    const Result<JsonDoc> shown = JsonDoc::parse(answer.body);
    EXPECT_EQ(shown->root().get_string("state").value_or(""), row.state);
    if (world.has_agent("one")) {
      EXPECT_EQ(world.agent_named("one").cancelled.size(), row.told);
    }
    row.then(world);
    world.settle();
    EXPECT_EQ(world.state_of(turn), row.ending);
    int endings = 0;
    for (const auto& entry : world.log("turn.ended")) endings += entry.turn == turn ? 1 : 0;
    EXPECT_EQ(endings, 1);
  }
}

TEST(Stop, WithTheIdOfAnotherTurnStopsNothing) {
  SessionWorld world;
  const std::string first = ended(world);
  const std::string second = world.prompt("again");
  EXPECT_EQ(world.call("POST", "s/cancel", R"({"expected_turn":")" + first + "\"}").status, 409);
  EXPECT_EQ(world.call("POST", "s/turns/" + first + "/cancel").status, 200);
  EXPECT_EQ(world.call("POST", "s/turns/trn_nobody/cancel").status, 404);
  EXPECT_EQ(world.state_of(second), TurnState::running);
  EXPECT_TRUE(world.agent_named("one").cancelled.empty());
  EXPECT_EQ(world.call("POST", "s/cancel", R"({"expected_turn":")" + second + "\"}").status, 200);
  EXPECT_EQ(world.state_of(second), TurnState::stopping);
}

TEST(Stop, NeverEndsTheNextTurnWhateverStaleEndingsCome) {
  SessionWorld world;
  const std::string first = running(world);
  const std::string second = world.prompt("next");
  world.session().cancel(first, "no").value();
  world.agent_named("one").ends("cancelled");
  world.settle();
  EXPECT_TRUE(world.session().row().held) << "a stop holds the queue";
  world.session().resume_queue();
  world.settle();
  EXPECT_EQ(world.state_of(second), TurnState::running);
  for (int stale = 0; stale < 3; ++stale) world.agent_named("one").ends_again(first);
  EXPECT_EQ(world.session().cancel(first, "again").value().state, TurnState::cancelled);
  world.settle();
  EXPECT_EQ(world.state_of(second), TurnState::running);
  world.agent_named("one").ends("end_turn");
  world.settle();
  EXPECT_EQ(world.state_of(second), TurnState::completed);
}

TEST(Stop, OfATurnAtAGateClosesTheQuestionAndTellsTheAgentBoth) {
  SessionWorld world;
  const std::string turn = at_gate(world);
  world.session().cancel(turn, "no").value();
  Puppet& one = world.agent_named("one");
  ASSERT_EQ(one.answers.size(), 1U);
  EXPECT_EQ(one.answers.begin()->second.front().outcome, AgentAnswer::Outcome::cancelled);
  EXPECT_EQ(one.cancelled.size(), 1U);
  answers_cancelled(world);
  world.settle();
  EXPECT_EQ(world.log("interaction.closed").size(), 1U);
}

TEST(Stop, OfAnAgentThatHangsEndsItsProcessAndTheNextPromptGetsANewOne) {
  SessionWorld world;
  const std::string turn = running(world);
  world.session().cancel(turn, "no").value();
  world.settle(seconds(9));
  EXPECT_EQ(world.state_of(turn), TurnState::stopping) << "it has its grace";
  EXPECT_TRUE(world.agent_named("one").live());
  world.settle(seconds(2));
  EXPECT_EQ(world.state_of(turn), TurnState::cancelled);
  EXPECT_FALSE(world.agent_named("one").live());
  const std::string next = world.turn("next", "one", Rung::resume, "n");
  EXPECT_EQ(world.state_of(next), TurnState::completed);
}

}  // namespace
}  // namespace berth::server
