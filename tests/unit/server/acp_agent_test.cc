// The ACP driver: prompts, questions, cancel, steering, and all that an agent may say.
#include "acp_rig.h"

#include <gtest/gtest.h>

namespace berth::server {
namespace {

using Lines = std::vector<std::string>;

std::string update(std::string_view kind, std::string_view rest) {
  return R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"n1","update":)" +
         std::string(R"({"sessionUpdate":")") + std::string(kind) + "\"" + std::string(rest) +
         "}}}";
}
std::string text(std::string_view words) {
  return update("agent_message_chunk",
                R"(,"content":{"type":"text","text":")" + std::string(words) + "\"}");
}
const char* const kEndTurn = R"({"jsonrpc":"2.0","id":$ID,"result":{"stopReason":"end_turn"}})";
const char* const kBlocks = R"([{"type":"text","text":"hi"}])";

/// Attached, with what the agent answers to a prompt.
struct Prompted : AcpRig {
  explicit Prompted(Lines to_prompt, std::string capabilities = {}, Answer other = {}) {
    attach(spec(), plain(std::move(capabilities),
                         [to_prompt = std::move(to_prompt), other = std::move(other)](
                             const std::string& method, const JsonView& message) -> Lines {
                           if (method == "session/prompt") return to_prompt;
                           return other ? other(method, message) : Lines();
                         }));
    settle();
    sink.heard.clear();
  }
  void run(std::string blocks = kBlocks) {
    agent->prompt("t1", std::move(blocks), {});
    settle();
  }
};

TEST(AcpAgent, GivesUpdatesInOrderAndThenTheEnd) {
  Prompted rig({text("one"), text("two"), kEndTurn});
  rig.run();
  ASSERT_EQ(rig.sink.heard.size(), 3U);
  EXPECT_NE(rig.sink.heard[0].find("one"), std::string::npos);
  EXPECT_NE(rig.sink.heard[1].find("two"), std::string::npos);
  EXPECT_EQ(rig.sink.heard[2], "ended t1 end_turn");
}

TEST(AcpAgent, TakesUpdatesAfterTheEndOfTheTurn) {
  Prompted rig({kEndTurn, update("session_info_update", R"(,"title":"late")")});
  rig.run();
  EXPECT_EQ(rig.sink.count("update session_info_update"), 1);
}

TEST(AcpAgent, ReportsJunkAndGoesOn) {
  Prompted rig({"Loading model...", R"([{"jsonrpc":"2.0"}])",
                R"({"jsonrpc":"2.0","id":null,)"
                R"("error":{"code":-32700,"message":"Parse error"}})",
                text("fine"), kEndTurn});
  rig.run();
  EXPECT_EQ(rig.sink.count("junk"), 2);
  EXPECT_EQ(rig.sink.count("update agent_message_chunk"), 1);
  EXPECT_EQ(rig.sink.end.stop_reason, "end_turn");
}

TEST(AcpAgent, AnswersUnknownRequestsAtOnceSoThatNoTurnStands) {
  const char* const asked = R"({"jsonrpc":"2.0","id":5,"method":"craft/drain","params":{"a":1}})";
  Prompted rig({asked}, {}, [](const std::string& method, const JsonView& message) -> Lines {
    if (method != "(answer)") return {};
    return {R"({"jsonrpc":"2.0","id":3,"result":{"stopReason":"c)" +
            std::to_string(message.get_int64("error.code").value_or(0)) + R"("}})"};
  });
  rig.run();
  EXPECT_EQ(rig.sink.count(R"(foreign craft/drain {"a":1})"), 1);
  EXPECT_EQ(rig.sink.end.stop_reason, "c-32601");
}

TEST(AcpAgent, RefusesFilesAndTerminalsWithoutLoggingTheirContent) {
  Prompted rig({R"({"jsonrpc":"2.0","id":"w","method":"fs/write_text_file","params":{)"
                R"("sessionId":"n1","path":"/x","content":"secret"}})",
                kEndTurn});
  rig.run();
  EXPECT_EQ(rig.sink.count(R"(foreign fs/write_text_file {"path":"/x"})"), 1);
  EXPECT_NE(rig.sent().back().find(R"("id":"w","error":{"code":-32601)"), std::string::npos);
}

TEST(AcpAgent, AnswersAPermissionByTheIdThatTheAgentChose) {
  Prompted rig({R"({"jsonrpc":"2.0","id":"p-0","method":"session/request_permission","params":{)"
                R"("sessionId":"n1","toolCall":{"toolCallId":"c"},"options":[]}})"});
  rig.run();
  ASSERT_EQ(rig.sink.questions.size(), 1U);
  EXPECT_EQ(rig.sink.children[0], "");
  rig.agent->answer(rig.sink.questions[0], {AgentAnswer::Outcome::selected, "once", {}});
  rig.agent->answer(rig.sink.questions[0], {AgentAnswer::Outcome::selected, "twice", {}});
  rig.settle();
  EXPECT_EQ(rig.sent().back(), R"({"jsonrpc":"2.0","id":"p-0","result":)"
                               R"({"outcome":{"outcome":"selected","optionId":"once"}}})");
}

TEST(AcpAgent, SaysOfAChildSessionsQuestionWhoseItIs) {
  Prompted rig({R"({"jsonrpc":"2.0","id":1,"method":"session/request_permission","params":{)"
                R"("sessionId":"child","toolCall":{"toolCallId":"c"},"options":[]}})"});
  rig.run();
  EXPECT_EQ(rig.sink.children, Lines{"child"});
}

TEST(AcpAgent, AnswersElicitationsInTheirOwnWords) {
  const std::string asked = R"({"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{)"
                            R"("sessionId":"n1","mode":"form","message":"Name?",)"
                            R"("requestedSchema":{"type":"object","properties":{}}}})";
  const std::pair<AgentAnswer, const char*> cases[] = {
      {{AgentAnswer::Outcome::accepted, {}, R"({"name":"x"})"},
       R"("result":{"action":"accept","content":{"name":"x"}})"},
      {{AgentAnswer::Outcome::declined, {}, {}}, R"("result":{"action":"decline"})"},
      {{AgentAnswer::Outcome::cancelled, {}, {}}, R"("result":{"action":"cancel"})"},
  };
  for (const auto& [answer, expected] : cases) {
    Prompted rig({asked});
    rig.run();
    ASSERT_EQ(rig.sink.count("question elicitation"), 1);
    rig.agent->answer(rig.sink.questions[0], answer);
    rig.settle();
    EXPECT_NE(rig.sent().back().find(expected), std::string::npos) << rig.sent().back();
  }
}

TEST(AcpAgent, TellsOfAQuestionThatTheAgentWithdrew) {
  Prompted rig({R"({"jsonrpc":"2.0","id":4,"method":"session/request_permission","params":{)"
                R"("sessionId":"n1","toolCall":{"toolCallId":"c"},"options":[]}})",
                R"({"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":4}})"});
  rig.run();
  EXPECT_EQ(rig.sink.count("withdrawn"), 1);
  rig.agent->answer(rig.sink.questions[0], {});
  rig.settle();
  EXPECT_NE(rig.sent().back().find(R"("id":4,"result":{"outcome":{"outcome":"cancelled"}})"),
            std::string::npos);
}

TEST(AcpAgent, OffersTheMemoryOfALongLineAsItCame) {
  const auto update = [](const std::string& text) {
    return R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"n1",)"
           R"("update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":")" +
           text + R"("}}}})";
  };
  const std::string text(200'000, 'x');
  const std::pair<std::string, int> rows[] = {
      {update(text), 1}, {update(text + "\\ud83d"), 0}};  // the second is repaired elsewhere
  for (const auto& [line, offered] : rows) {
    Prompted rig({line});
    rig.run();
    EXPECT_EQ(rig.sink.count("update agent_message_chunk"), 1);
    EXPECT_EQ(rig.sink.offered_lines, offered);
  }
}

TEST(AcpAgent, SendsCancelOnceAndTakesAnErrorForTheEndOfIt) {
  Prompted rig({}, {}, [](const std::string& method, const JsonView&) -> Lines {
    if (method != "session/cancel") return {};
    return {R"({"jsonrpc":"2.0","id":3,"error":{"code":-32603,"message":"Internal error"}})"};
  });
  rig.run();
  rig.agent->cancel("another");
  rig.agent->cancel("t1");
  rig.agent->cancel("t1");
  rig.settle();
  EXPECT_EQ(rig.sent_of("session/cancel").size(), 1U);
  EXPECT_EQ(rig.sink.end.stop_reason, "cancelled");
  EXPECT_NE(rig.sink.end.agent_error.find("-32603"), std::string::npos);
}

TEST(AcpAgent, APromptThatWantsALoginSaysHow) {
  Prompted rig({R"({"jsonrpc":"2.0","id":$ID,"error":{"code":-32000,"message":"Log in"}})"});
  rig.run();
  EXPECT_EQ(rig.sink.end.stop_reason, "");
  EXPECT_STREQ(rig.sink.end.error.code, "agent_needs_login");
}

TEST(AcpAgent, SteersTheRunningTurnOnly) {
  Prompted rig({}, {}, [](const std::string& method, const JsonView&) -> Lines {
    if (method != "_session/steering") return {};
    return {R"({"jsonrpc":"2.0","id":$ID,"result":{"outcome":"injected"}})"};
  });
  EXPECT_FALSE(rig.agent->steer("t1", kBlocks)) << "nothing runs";
  rig.run();
  EXPECT_FALSE(rig.agent->steer("t0", kBlocks)) << "another turn";
  EXPECT_TRUE(rig.agent->steer("t1", kBlocks));
  rig.settle();
  EXPECT_EQ(rig.sent_of("_session/steering").size(), 1U);
  EXPECT_EQ(rig.sink.count("foreign"), 0);
  rig.agent->cancel("t1");
  EXPECT_FALSE(rig.agent->steer("t1", kBlocks)) << "it is being cancelled";
}

TEST(AcpAgent, ASteeringThatCameTooLateIsToldWithItsWords) {
  Prompted rig({}, {}, [](const std::string& method, const JsonView&) -> Lines {
    if (method != "_session/steering") return {};
    return {R"({"jsonrpc":"2.0","id":$ID,"result":{"outcome":"promptRequired"}})"};
  });
  rig.run();
  EXPECT_TRUE(rig.agent->steer("t1", kBlocks));
  rig.settle();
  EXPECT_EQ(rig.sink.count(std::string("foreign berth/steer_refused {\"prompt\":") + kBlocks), 1);
}

TEST(AcpAgent, TellsAsTextWhatTheAgentCannotBeGiven) {
  Prompted rig({kEndTurn}, R"("promptCapabilities":{"image":true})");
  rig.run(R"([{"type":"image","mimeType":"image/png","data":"AA=="},)"
          R"({"type":"audio","mimeType":"audio/wav","data":"AA=="},)"
          R"({"type":"resource","resource":{"uri":"file:///a","text":"body"}}])");
  const std::string sent = rig.sent_of("session/prompt").front();
  EXPECT_NE(sent.find(R"("type":"image")"), std::string::npos);
  EXPECT_EQ(sent.find(R"("type":"audio")"), std::string::npos);
  EXPECT_EQ(sent.find(R"("type":"resource")"), std::string::npos);
  EXPECT_NE(sent.find(R"(<resource uri=\"file:///a\">\nbody)"), std::string::npos) << sent;
}

TEST(AcpAgent, ClosesTheSessionBeforeTheProcessWhereTheAgentCan) {
  Prompted rig({}, R"("sessionCapabilities":{"close":{}})",
               [](const std::string& method, const JsonView&) -> Lines {
                 if (method != "session/close") return {};
                 return {R"({"jsonrpc":"2.0","id":$ID,"result":{}})"};
               });
  rig.agent->end(false);
  rig.settle();
  EXPECT_EQ(rig.sent_of("session/close").size(), 1U);
  EXPECT_EQ(rig.sink.exited_count, 1);
}

TEST(AcpAgent, ACloseThatNobodyAnswersDelaysTheEndByASecond) {
  Prompted rig({}, R"("sessionCapabilities":{"close":{}})");
  rig.agent->end(false);
  rig.run_for(std::chrono::milliseconds(500));
  EXPECT_EQ(rig.sink.exited_count, 0);
  rig.run_for(std::chrono::seconds(2));
  EXPECT_EQ(rig.sink.exited_count, 1);
  EXPECT_EQ(rig.sent_of("$/cancel_request").size(), 1U);
}

TEST(AcpAgent, CutsMarkersOutOfTextAndKeepsWhatTheAgentWrote) {
  AcpRig rig;
  rig.profile.strip_between = {{"<think>", "</think>"}};
  rig.attach(rig.spec(), AcpRig::plain({}, [](const std::string& method, const JsonView&) -> Lines {
               if (method != "session/prompt") return {};
               return {text("ab<thi"), text("nk>no</think>c"), text("d<t"), kEndTurn};
             }));
  rig.settle();
  rig.sink.heard.clear();
  rig.agent->prompt("t1", kBlocks, {});
  rig.settle();
  ASSERT_EQ(rig.sink.heard.size(), 5U);
  std::string shown;
  std::string raw;
  for (std::size_t i = 0; i < 4; ++i) {
    const std::string& line = rig.sink.heard[i];
    const Result<JsonDoc> doc = JsonDoc::parse(line.substr(line.find('{')));
    shown += doc->root().get_string("content.text").value_or("?");
    for (const auto& [name, value] : doc->root().find("_meta").members()) {
      if (name == "berth/raw") raw += value.as_string().value_or("?");
    }
  }
  EXPECT_EQ(shown, "abcd<t");
  EXPECT_EQ(raw, "ab<think>no</think>cd<t");
}

}  // namespace
}  // namespace berth::server
