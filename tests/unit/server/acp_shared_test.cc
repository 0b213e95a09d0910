// The ACP driver where several sessions share a process: what each hears, and what none of them
// can do to another.
#include "acp_rig.h"

#include <gtest/gtest.h>

#include <array>

namespace berth::server {
namespace {

using Lines = std::vector<std::string>;

const char* const kBlocks = R"([{"type":"text","text":"hi"}])";
const char* const kEndTurn = R"({"jsonrpc":"2.0","id":$ID,"result":{"stopReason":"end_turn"}})";
const char* const kDone = R"({"jsonrpc":"2.0","id":$ID,"result":{}})";

std::string says(std::string_view session, std::string_view words) {
  return R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":")" +
         std::string(session) +
         R"(","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":")" +
         std::string(words) + "\"}}}}";
}
std::string asks(int id, std::string_view session) {
  return R"({"jsonrpc":"2.0","id":)" + std::to_string(id) +
         R"(,"method":"session/request_permission","params":{"sessionId":")" +
         std::string(session) + R"(","toolCall":{"toolCallId":"c"},"options":[]}})";
}
std::string session_in(const JsonView& message) {
  return std::string(message.get_string("params.sessionId").value_or(""));
}

/// Three sessions for processes that hold two or more; session/new gives "n1", "n2", ... in order.
/// `Answer` scripts what comes after initialize and session/new.
class AcpShared : public testing::Test {
 protected:
  explicit AcpShared(std::size_t seats = 2) { rig.profile.sessions_per_process = seats; }
  ~AcpShared() override {
    for (const std::unique_ptr<AcpAgent>& agent : agents) {
      if (agent != nullptr) rig.shut_down(*agent);
    }
  }

  void script(AcpRig::Answer answer, const std::string& capabilities = {}) {
    rig.answer_with(AcpRig::plain(
        capabilities, [this, answer](const std::string& method, const JsonView& message) {
          Lines lines = answer(method, message);
          if (method == "session/new" && lines.empty()) {
            lines.push_back(R"({"jsonrpc":"2.0","id":$ID,"result":{"sessionId":"n)" +
                            std::to_string(++made) + "\"}}");
          }
          return lines;
        }));
  }
  void attach(std::size_t index, const std::string& native = {}) {
    AttachSpec spec = rig.spec();
    spec.session_key = "key" + std::to_string(index);
    spec.native_session_id = native;
    spec.may_start = may_start;
    if (agents.at(index) == nullptr) agents.at(index) = rig.another(sinks.at(index));
    agents.at(index)->attach(spec);
  }
  void attach_all(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) attach(i);
    rig.settle();
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_EQ(sinks.at(i).attached_count, 1) << i;
      sinks.at(i).heard.clear();
    }
  }

  int made = 0;
  bool may_start = true;
  AcpRig rig;
  std::array<HeardSink, 3> sinks;
  std::array<std::unique_ptr<AcpAgent>, 3> agents;
};

Lines end_turns(const std::string& method, const JsonView&) {
  return method == "session/prompt" ? Lines{kEndTurn} : Lines();
}

TEST_F(AcpShared, TwoSessionsHaveOneProcessAndAThirdGetsAnother) {
  script(end_turns);
  attach_all(3);
  EXPECT_EQ(rig.sent_of("initialize").size(), 2U);
  EXPECT_EQ(rig.machine.live_processes(), 2U);
  EXPECT_EQ(sinks[0].attached.process.pid, sinks[1].attached.process.pid);
  EXPECT_NE(sinks[0].attached.process.pid, sinks[2].attached.process.pid);
  EXPECT_NE(sinks[0].attached.native_session_id, sinks[1].attached.native_session_id);
}

TEST_F(AcpShared, AProcessThatHasServedEnoughTakesNoFurtherSessionAndEndsWithItsLast) {
  rig.profile.sessions_per_process = 3;
  rig.profile.generation.sessions_max = 2;
  script(end_turns);
  attach_all(2);
  EXPECT_EQ(sinks[0].attached.process.pid, sinks[1].attached.process.pid);
  EXPECT_FALSE(agents[0]->takes_others());
  agents[1]->end(false);  // its seat is free, and nobody gets it
  rig.settle();
  attach(2);
  rig.settle();
  EXPECT_NE(sinks[2].attached.process.pid, sinks[0].attached.process.pid);
  EXPECT_TRUE(agents[2]->takes_others());
  agents[0]->prompt("t", kBlocks, {});
  rig.settle();
  EXPECT_EQ(sinks[0].count("ended t"), 1) << "who sits there stays";
  agents[0]->end(false);
  rig.settle();
  EXPECT_EQ(rig.machine.live_processes(), 1U);
}

TEST_F(AcpShared, WhoMayStartNoneTakesASeatThatIsThereOrComesBack) {
  script(end_turns);
  may_start = false;
  attach(0);
  rig.settle();
  EXPECT_STREQ(sinks[0].failure.error.code, kNoSeat);
  EXPECT_EQ(rig.machine.live_processes(), 0U);
  may_start = true;
  attach(0);
  rig.machine.run_until([&] { return agents[0]->process().pid > 0; });
  EXPECT_EQ(sinks[0].attached.process.pid, 0) << "its process is known before it answers";
  may_start = false;
  attach(1);
  attach(2);
  rig.settle();
  EXPECT_EQ(sinks[1].attached.process.pid, sinks[0].attached.process.pid);
  EXPECT_STREQ(sinks[2].failure.error.code, kNoSeat) << "there were two seats";
  EXPECT_EQ(rig.machine.live_processes(), 1U);
  EXPECT_EQ(agents[2]->process().pid, 0);
}

TEST_F(AcpShared, AnOldProcessTakesNoFurtherSession) {
  rig.profile.sessions_per_process = 3;
  rig.profile.generation.age_max = std::chrono::hours(1);
  script(end_turns);
  attach_all(2);
  EXPECT_EQ(sinks[0].attached.process.pid, sinks[1].attached.process.pid);
  EXPECT_TRUE(agents[0]->takes_others());
  rig.run_for(std::chrono::hours(1));
  EXPECT_FALSE(agents[0]->takes_others());
  attach(2);
  rig.settle();
  EXPECT_NE(sinks[2].attached.process.pid, sinks[0].attached.process.pid);
}

TEST_F(AcpShared, EachHearsItsOwnWordsOnlyAlsoThoseThatComeLate) {
  script([](const std::string& method, const JsonView& message) -> Lines {
    if (method != "session/prompt") return {};
    if (session_in(message) == "n1") return {says("n1", "one"), kEndTurn};
    return {says("n1", "late one"), says("n2", "two"), kEndTurn, says("n1", "later one")};
  });
  attach_all(2);
  agents[0]->prompt("t1", kBlocks, {});
  rig.settle();
  agents[1]->prompt("t2", kBlocks, {});
  rig.settle();
  EXPECT_EQ(sinks[0].count("update"), 3);
  EXPECT_EQ(sinks[1].count("update"), 1);
  EXPECT_NE(sinks[1].heard[0].find("two"), std::string::npos);
  EXPECT_EQ(sinks[1].heard[1], "ended t2 end_turn");
  EXPECT_NE(sinks[0].heard[3].find("later one"), std::string::npos);
}

TEST_F(AcpShared, WordsBeforeTheAnswerThatNamesTheSessionAreKeptForIt) {
  script([](const std::string& method, const JsonView&) -> Lines {
    if (method != "session/new") return {};
    return {says("new", "early"), R"({"jsonrpc":"2.0","id":$ID,"result":{"sessionId":"new"}})",
            says("new", "at once")};
  });
  attach(0);
  rig.settle();
  ASSERT_EQ(sinks[0].count("update"), 2);
  EXPECT_NE(sinks[0].heard[0].find("early"), std::string::npos);
  EXPECT_NE(sinks[0].heard[1].find("at once"), std::string::npos);
}

TEST_F(AcpShared, WhatNamesNoSessionOfOursIsHeardByNobody) {
  script([](const std::string& method, const JsonView&) -> Lines {
    if (method != "session/prompt") return {};
    return {says("stranger", "secret"), asks(70, "stranger"), kEndTurn};
  });
  attach_all(2);
  agents[0]->prompt("t1", kBlocks, {});
  rig.settle();
  EXPECT_EQ(sinks[0].heard, Lines{"ended t1 end_turn"});
  EXPECT_TRUE(sinks[1].heard.empty());
  EXPECT_NE(rig.sent().back().find(R"("id":70,"error":{"code":-32602)"), std::string::npos);
}

TEST_F(AcpShared, WhatIsNoMessageIsHeardByAll) {
  script([](const std::string& method, const JsonView&) {
    return method == "session/prompt" ? Lines{"what is this", kEndTurn} : Lines();
  });
  attach_all(2);
  agents[0]->prompt("t", kBlocks, {});
  rig.settle();
  EXPECT_EQ(sinks[0].count("junk"), 1);
  EXPECT_EQ(sinks[1].count("junk"), 1) << "whose it is nobody knows";
}

TEST_F(AcpShared, ASessionThatIsFullHoldsUpTheOthersUntilItLeaves) {
  script(end_turns);
  attach_all(2);
  sinks[0].reading = false;
  agents[1]->prompt("t", kBlocks, {});
  rig.settle();
  // Reading stops behind the bytes of one read, which are the whole answer or a part of it.
  std::string last = "t";
  if (sinks[1].count("ended t") == 1) {
    last = "u";
    agents[1]->prompt(last, kBlocks, {});
    rig.settle();
  }
  EXPECT_EQ(sinks[1].count("ended " + last), 0);
  agents[0]->end(false);
  rig.settle();
  EXPECT_EQ(sinks[1].count("ended " + last), 1);
}

TEST_F(AcpShared, QuestionsAndTheirWithdrawalReachTheSessionThatAsked) {
  script([](const std::string& method, const JsonView& message) -> Lines {
    if (method != "session/prompt") return {};
    if (session_in(message) == "n1") return {asks(5, "n1")};
    return {asks(6, "n2"), R"({"jsonrpc":"2.0","method":"$/cancel_request",)"
                           R"("params":{"requestId":5}})"};
  });
  attach_all(2);
  agents[0]->prompt("t1", kBlocks, {});
  rig.settle();
  agents[1]->prompt("t2", kBlocks, {});
  rig.settle();
  EXPECT_EQ(sinks[0].questions.size(), 1U);
  EXPECT_EQ(sinks[0].count("withdrawn"), 1);
  EXPECT_EQ(sinks[1].questions.size(), 1U);
  EXPECT_EQ(sinks[1].count("withdrawn"), 0);
}

TEST_F(AcpShared, AFormInTheMiddleOfACallGoesToWhoseCallItIs) {
  script([](const std::string& method, const JsonView& message) -> Lines {
    if (method != "session/prompt" || session_in(message) != "n2") return {};
    return {R"({"jsonrpc":"2.0","id":8,"method":"elicitation/create","params":{"mode":"form",)"
            R"("message":"?","requestedSchema":{},"requestId":)" +
            message.raw("id") + "}}"};
  });
  attach_all(2);
  agents[0]->prompt("t1", kBlocks, {});
  agents[1]->prompt("t2", kBlocks, {});
  rig.settle();
  EXPECT_EQ(sinks[0].count("question"), 0);
  EXPECT_EQ(sinks[1].count("question elicitation"), 1);
}

TEST_F(AcpShared, ACancelAndACloseAreOfOneSession) {
  script(
      [](const std::string& method, const JsonView&) -> Lines {
        return method == "session/close" ? Lines{kDone} : Lines();
      },
      R"("sessionCapabilities":{"close":{}})");
  attach_all(2);
  agents[0]->prompt("t1", kBlocks, {});
  agents[1]->prompt("t2", kBlocks, {});
  rig.settle();
  agents[0]->cancel("t1");
  rig.settle();
  ASSERT_EQ(rig.sent_of("session/cancel").size(), 1U);
  EXPECT_NE(rig.sent_of("session/cancel")[0].find("\"n1\""), std::string::npos);
  EXPECT_EQ(sinks[1].ended_count, 0);

  // It does not answer its cancel, and its session gives it up.
  agents[0]->end(true);
  rig.settle();
  EXPECT_EQ(sinks[0].exited_count, 1);
  EXPECT_TRUE(sinks[0].exit.process_goes_on);
  EXPECT_EQ(sinks[1].exited_count, 0);
  EXPECT_EQ(rig.machine.live_processes(), 1U);
  ASSERT_EQ(rig.sent_of("session/close").size(), 1U);
  EXPECT_NE(rig.sent_of("session/close")[0].find("\"n1\""), std::string::npos);
  EXPECT_EQ(rig.sent_of("session/cancel").size(), 1U) << "never twice";

  // Who knows what it still does for the first: a new session gets a process of its own.
  attach(2);
  rig.settle();
  EXPECT_EQ(rig.sent_of("initialize").size(), 2U);
  agents[1]->end(true);
  rig.settle();
  EXPECT_FALSE(sinks[1].exit.process_goes_on);
  EXPECT_EQ(rig.machine.live_processes(), 1U);
}

TEST_F(AcpShared, ASeatThatIdlesIsNotJudgedWhileAnotherOneWorks) {
  bool well = true;
  script([&well](const std::string& method, const JsonView&) -> Lines {
    if (method != "_berth/ping" || !well) return {};
    return {R"({"jsonrpc":"2.0","id":$ID,"error":{"code":-32601,"message":"unknown"}})"};
  });
  attach_all(2);
  EXPECT_TRUE(agents[0]->ping());
  rig.settle();
  EXPECT_EQ(agents[0]->pings().answered, 1U);
  well = false;
  EXPECT_TRUE(agents[0]->ping());
  rig.settle();
  EXPECT_TRUE(agents[0]->pings().open_since.has_value());

  agents[1]->prompt("t", kBlocks, {});
  EXPECT_FALSE(agents[0]->pings().open_since.has_value());
  EXPECT_FALSE(agents[1]->ping());
  rig.run_for(std::chrono::minutes(5));
  const TimePoint until = rig.machine.clock().now();
  agents[1]->end(true);
  rig.settle();
  ASSERT_TRUE(agents[0]->pings().open_since.has_value());
  EXPECT_GE(*agents[0]->pings().open_since, until) << "it could not answer before";
}

TEST_F(AcpShared, OneThatDoesNotAnswerAPingGetsNoFurtherSession) {
  script([](const std::string&, const JsonView&) { return Lines(); });
  attach_all(2);
  EXPECT_TRUE(agents[0]->ping());
  rig.run_for(std::chrono::seconds(30));
  rig.settle();
  agents[0]->end(true);
  rig.settle();
  EXPECT_TRUE(sinks[0].exit.process_goes_on);
  attach(0);
  rig.settle();
  EXPECT_EQ(rig.sent_of("initialize").size(), 2U) << "it got a seat in the one that hangs";
}

TEST_F(AcpShared, ASessionThatRestsLeavesItsSeatToAnother) {
  script(
      [](const std::string& method, const JsonView& message) -> Lines {
        if (method == "session/close" || method == "session/resume") return {kDone};
        return method == "session/prompt" && session_in(message) == "n1"
                   ? Lines{says("n1", "back"), kEndTurn}
                   : Lines();
      },
      R"("sessionCapabilities":{"close":{},"resume":{}})");
  attach_all(2);
  agents[0]->end(false);
  rig.settle();
  EXPECT_EQ(sinks[0].exited_count, 1);
  EXPECT_EQ(rig.sent_of("session/close").size(), 1U);
  attach(2);
  rig.settle();
  EXPECT_EQ(rig.sent_of("initialize").size(), 1U) << "the free seat was not taken";
  agents[1]->end(false);
  rig.settle();

  attach(0, "n1");
  rig.settle();
  EXPECT_EQ(sinks[0].attached.rung, Rung::resume);
  EXPECT_EQ(rig.sent_of("initialize").size(), 1U);
  sinks[0].heard.clear();
  agents[0]->prompt("t", kBlocks, {});
  rig.settle();
  EXPECT_EQ(sinks[0].count("update"), 1);
}

TEST_F(AcpShared, TheDeathOfTheProcessIsToldToEachAndEachComesBackToItsOwn) {
  bool dead = false;
  script(
      [&dead](const std::string& method, const JsonView& message) -> Lines {
        if (method == "session/resume") return {kDone};
        if (method == "session/set_mode") return {AcpRig::kDie};
        if (method != "session/prompt") return {};
        const std::string session = session_in(message);
        return dead ? Lines{says(session, "back"), kEndTurn} : Lines{says(session, "half")};
      },
      R"("sessionCapabilities":{"resume":{}})");
  attach_all(2);
  agents[0]->prompt("t1", kBlocks, {});
  agents[1]->prompt("t2", kBlocks, {});
  rig.settle();
  dead = true;
  agents[0]->set_mode("deadly");
  rig.settle();
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(sinks.at(i).count("update"), 1) << "the text before the death";
    EXPECT_EQ(sinks.at(i).exited_count, 1);
    EXPECT_FALSE(sinks.at(i).exit.expected);
    EXPECT_FALSE(sinks.at(i).exit.process_goes_on);
  }
  attach(0, "n1");
  attach(1, "n2");
  rig.settle();
  EXPECT_EQ(rig.sent_of("initialize").size(), 2U) << "one process for both again";
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(sinks.at(i).attached.rung, Rung::resume);
    sinks.at(i).heard.clear();
    agents.at(i)->prompt("again", kBlocks, {});
  }
  rig.settle();
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(sinks.at(i).count("update"), 1);
    EXPECT_EQ(sinks.at(i).end.stop_reason, "end_turn");
  }
}

TEST_F(AcpShared, AnErrorOfInitializeFailsAllThatWaitForItAndLeavesNoProcess) {
  rig.answer_with([](const std::string& method, const JsonView&) -> Lines {
    if (method != "initialize") return {};
    return {R"({"jsonrpc":"2.0","id":$ID,"error":{"code":-32603,"message":"no"}})"};
  });
  attach(0);
  attach(1);
  rig.settle();
  EXPECT_EQ(sinks[0].failed_count, 1);
  EXPECT_EQ(sinks[1].failed_count, 1);
  EXPECT_EQ(rig.machine.live_processes(), 0U);
}

TEST_F(AcpShared, OneThatCannotBeOpenedCostsTheOthersNothing) {
  script([](const std::string& method, const JsonView& message) -> Lines {
    if (method == "session/prompt") return {kEndTurn};
    if (method != "session/new" || message.get_string("params.cwd") != "/other") return {};
    return {R"({"jsonrpc":"2.0","id":$ID,"error":{"code":-32603,"message":"no such folder"}})"};
  });
  attach(0);
  AttachSpec spec = rig.spec();
  spec.directory = "/other";
  agents[1] = rig.another(sinks[1]);
  agents[1]->attach(spec);
  rig.settle();
  EXPECT_EQ(sinks[1].failed_count, 1);
  EXPECT_EQ(rig.machine.live_processes(), 1U);
  agents[0]->prompt("t1", kBlocks, {});
  rig.settle();
  EXPECT_EQ(sinks[0].end.stop_reason, "end_turn");
}

TEST_F(AcpShared, OneThatIsGivenUpWhileItStartsKeepsNobodyWaiting) {
  rig.answer_with([](const std::string&, const JsonView&) { return Lines(); });
  attach(0);
  attach(1);
  rig.run_for(std::chrono::milliseconds(10));
  agents[0]->end(true);
  rig.run_for(std::chrono::milliseconds(10));
  EXPECT_EQ(sinks[0].failed_count, 1) << "it waits for what it does not want";
  EXPECT_EQ(rig.machine.live_processes(), 1U);
  rig.shut_down(*agents[1]);
  EXPECT_EQ(rig.machine.live_processes(), 0U);
}

}  // namespace
}  // namespace berth::server
