// ACP v2: its updates in the words of v1, the ends of its turns, and the driver against a peer that
// speaks it. Shapes as claude-agent-acp 0.100.0 and codex-acp 2.6.0 send them.
#include "acp_rig.h"

#include <berth/server/agents/acp2_messages.h>
#include <berth/server/agents/acp2_translator.h>

#include <gtest/gtest.h>

namespace berth::server {
namespace {

using acp2::Translator;
using Lines = std::vector<std::string>;

constexpr const char* kIdle = R"({"sessionUpdate":"state_update","state":"idle"})";
constexpr const char* kDone =
    R"({"sessionUpdate":"state_update","state":"idle","stopReason":"end_turn",)"
    R"("usage":{"totalTokens":9}})";
constexpr const char* kRunning = R"({"sessionUpdate":"state_update","state":"running"})";
constexpr const char* kWaiting = R"({"sessionUpdate":"state_update","state":"requires_action"})";

/// What is shown for an update, one JSON text each.
Lines take(Translator& translator, const std::string& update) {
  const Result<JsonDoc> doc = JsonDoc::parse(update);
  Lines out;
  for (const Translator::Update& told :
       translator.take(doc->root().get_string("sessionUpdate").value(), update)) {
    out.push_back(told.json);
  }
  return out;
}

bool ends(Translator& translator) {
  return translator.take_end().has_value();
}

std::string text(std::string_view kind, std::string_view id, std::string_view words) {
  return R"({"sessionUpdate":")" + std::string(kind) + R"(","messageId":")" + std::string(id) +
         R"(","content":{"type":"text","text":")" + std::string(words) + "\"}}";
}
std::string whole(std::string_view kind, std::string_view id, std::string_view words) {
  return R"({"sessionUpdate":")" + std::string(kind) + R"(","messageId":")" + std::string(id) +
         R"(","content":[{"type":"text","text":")" + std::string(words) + "\"}]}";
}

// --- turns ---

TEST(Acp2Turns, EndWhenTheSessionHasWorkedAndIsIdleAgain) {
  Translator translator;
  translator.prompted();
  EXPECT_FALSE(translator.taken("m1").has_value()) << "it was taken, not done";
  take(translator, kRunning);
  take(translator, kWaiting);
  take(translator, kRunning);
  EXPECT_FALSE(ends(translator));
  take(translator, kDone);
  const std::optional<PromptEnd> end = translator.take_end();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->stop_reason, "end_turn");
  EXPECT_EQ(end->usage, R"({"totalTokens":9})");
  EXPECT_FALSE(ends(translator)) << "once";
}

TEST(Acp2Turns, AreNotEndedByAnIdleThatIsToldAgain) {
  Translator translator;
  take(translator, kRunning);
  take(translator, kDone);  // work of the agent's own, without a prompt
  translator.prompted();
  translator.taken("m1");
  take(translator, kDone);
  EXPECT_FALSE(ends(translator)) << "it told the same state before";
  take(translator, kRunning);
  take(translator, kDone);
  EXPECT_TRUE(ends(translator));
}

TEST(Acp2Turns, AreNotEndedByWorkThatWasDoneBeforeTheirPromptWasTaken) {
  Translator translator;
  take(translator, kRunning);
  translator.prompted();
  take(translator, kDone);
  EXPECT_FALSE(translator.taken("m1").has_value());
  EXPECT_FALSE(ends(translator));
  take(translator, kRunning);
  take(translator, kDone);
  EXPECT_TRUE(ends(translator));
}

TEST(Acp2Turns, AreNotEndedByTheWorkForAnotherMessageThatWasEchoedBeforeTheirs) {
  Translator translator;
  translator.prompted();
  take(translator, whole("user_message", "m0", "from elsewhere"));
  take(translator, kRunning);
  take(translator, kDone);
  EXPECT_FALSE(translator.taken("m1").has_value());
  EXPECT_FALSE(ends(translator));
  take(translator, kRunning);
  take(translator, kDone);
  EXPECT_TRUE(ends(translator));
}

TEST(Acp2Turns, MayEndBeforeTheAnswerThatTheirPromptWasTaken) {
  Translator translator;
  translator.prompted();
  take(translator, kRunning);
  take(translator, whole("user_message", "m1", "hi"));
  take(translator, kDone);
  EXPECT_FALSE(ends(translator)) << "the message may be another one";
  const std::optional<PromptEnd> end = translator.taken("m1");
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->stop_reason, "end_turn");
}

TEST(Acp2Turns, EndByAnErrorWithTheAgentsOwn) {
  Translator translator;
  translator.prompted();
  translator.taken("m1");
  take(translator, kRunning);
  take(translator, R"({"sessionUpdate":"state_update","state":"idle","stopReason":"error",)"
                   R"("error":{"code":-32603,"message":"overloaded"}})");
  const std::optional<PromptEnd> end = translator.take_end();
  ASSERT_TRUE(end.has_value());
  EXPECT_EQ(end->stop_reason, "");
  EXPECT_NE(end->error.message.find("overloaded"), std::string::npos);
  EXPECT_NE(end->agent_error.find("-32603"), std::string::npos);
}

TEST(Acp2Turns, ThatNobodyPromptedEndNothing) {
  Translator translator;
  take(translator, kIdle);
  take(translator, kRunning);
  take(translator, kDone);
  EXPECT_FALSE(ends(translator));
}

// --- words ---

TEST(Acp2Words, WhatBerthSaidItselfIsLeftOut) {
  Translator translator;
  translator.prompted();
  EXPECT_TRUE(take(translator, whole("user_message", "m1", "hi")).empty());
  translator.taken("m1");
  EXPECT_TRUE(take(translator, text("user_message_chunk", "m1", "hi")).empty());
  EXPECT_TRUE(take(translator, text("user_message_chunk", "m2", "steered")).empty());
  EXPECT_EQ(take(translator, text("agent_message_chunk", "m3", "I see.")).size(), 1U);
}

TEST(Acp2Words, AWholeMessageTellsOnlyWhatWasNotStreamed) {
  Translator translator;
  take(translator, text("agent_message_chunk", "a", "Hello "));
  const Lines rest = take(translator, whole("agent_message", "a", "Hello there."));
  ASSERT_EQ(rest.size(), 1U);
  EXPECT_NE(rest[0].find(R"("text":"there.")"), std::string::npos) << rest[0];
  EXPECT_NE(rest[0].find(R"("sessionUpdate":"agent_message_chunk")"), std::string::npos);
  EXPECT_TRUE(take(translator, whole("agent_message", "a", "Hello there.")).empty());
  const Lines changed = take(translator, whole("agent_message", "a", "Never mind."));
  ASSERT_EQ(changed.size(), 1U);
  EXPECT_NE(changed[0].find(R"("sessionUpdate":"agent_message")"), std::string::npos);
}

TEST(Acp2Words, AThoughtThatWasNeverStreamedIsToldWhole) {
  Translator translator;
  const Lines told = take(translator, whole("agent_thought", "t", "Hm."));
  ASSERT_EQ(told.size(), 1U);
  EXPECT_NE(told[0].find(R"("sessionUpdate":"agent_thought_chunk")"), std::string::npos);
}

TEST(Acp2Words, APlanAndOptionsAreToldInV1sShape) {
  Translator translator;
  EXPECT_EQ(
      take(translator, R"({"sessionUpdate":"plan_update","plan":{"type":"items","planId":"p",)"
                       R"("entries":[{"content":"a"}]}})"),
      Lines{R"({"sessionUpdate":"plan","entries":[{"content":"a"}]})"});
  EXPECT_EQ(
      take(
          translator,
          R"({"sessionUpdate":"config_option_update","configOptions":[{"configId":"model",)"
          R"("type":"select","options":[{"groupId":"g","name":"G","options":[{"value":"v"}]}]}]})"),
      Lines{
          R"({"sessionUpdate":"config_option_update","configOptions":[{"id":"model",)"
          R"("type":"select","options":[{"group":"g","name":"G","options":[{"value":"v"}]}]}]})"});
}

TEST(Acp2Words, WhatV1HasNoWordsForComesAsItIs) {
  Translator translator;
  const std::string update =
      R"({"sessionUpdate":"terminal_output_chunk","terminalId":"t","data":"aGk="})";
  EXPECT_EQ(take(translator, update), Lines{update});
  EXPECT_TRUE(take(translator, kWaiting).empty());
}

TEST(Acp2Words, WorkBehindTheTurnsIsToldUntilItIsOver) {
  Translator translator;
  const auto idle_with = [](const std::string& background) {
    return R"({"sessionUpdate":"state_update","state":"idle","background":)" + background + "}";
  };
  const std::string busy = idle_with(R"([{"type":"terminal","terminalId":"t"}])");
  EXPECT_TRUE(take(translator, idle_with("[]")).empty()) << "there was none";
  EXPECT_EQ(take(translator, busy), Lines{busy});
  EXPECT_EQ(take(translator, busy), Lines{busy});
  EXPECT_EQ(take(translator, idle_with("[]")), Lines{idle_with("[]")}) << "it is over";
  EXPECT_TRUE(take(translator, idle_with("[]")).empty());
}

TEST(Acp2Words, TheFirstWordsOfAToolCallOpenItAndLaterOnesUpdateIt) {
  Translator translator;
  const Lines opened = take(translator, R"({"sessionUpdate":"tool_call_update","toolCallId":"c",)"
                                        R"("name":"Write","title":null,"status":"pending"})");
  EXPECT_EQ(opened, Lines{R"({"sessionUpdate":"tool_call","title":"Write","toolCallId":"c",)"
                          R"("name":"Write","status":"pending"})"});
  const char* const statuses[][2] = {
      {"paused", "in_progress"}, {"cancelled", "failed"}, {"completed", "completed"}};
  for (const auto& [said, told] : statuses) {
    const Lines later =
        take(translator, R"({"sessionUpdate":"tool_call_update","toolCallId":"c","status":")" +
                             std::string(said) + "\"}");
    EXPECT_EQ(later, Lines{R"({"sessionUpdate":"tool_call_update","toolCallId":"c","status":")" +
                           std::string(told) + "\"}"});
  }
}

TEST(Acp2Words, ADiffIsToldAsItsPatchAndNamesEveryFileItTouches) {
  Translator translator;
  const Lines told =
      take(translator,
           R"({"sessionUpdate":"tool_call_update","toolCallId":"c","title":"t","locations":)"
           R"([{"path":"/a","line":3}],"content":[{"type":"diff","changes":[)"
           R"({"operation":"modify","path":"/a"},{"operation":"move","oldPath":"/b","path":"/c"})"
           R"(],"patch":{"format":"git_patch","text":"+one\n"}}]})");
  ASSERT_EQ(told.size(), 1U);
  EXPECT_NE(told[0].find(R"("locations":[{"path":"/a","line":3},{"path":"/b"},{"path":"/c"}])"),
            std::string::npos)
      << told[0];
  EXPECT_NE(told[0].find(R"("text":"```diff\n+one\n```")"), std::string::npos) << told[0];
  EXPECT_NE(told[0].find(R"("berth/diff":{"type":"diff")"), std::string::npos);
}

TEST(Acp2Words, ContentThatComesInPiecesIsToldWholeEachTime) {
  Translator translator;
  const auto piece = [](const std::string& words) {
    return R"({"sessionUpdate":"tool_call_content_chunk","toolCallId":"c","content":)"
           R"({"type":"content","content":{"type":"text","text":")" +
           words + "\"}}}";
  };
  take(translator, R"({"sessionUpdate":"tool_call_update","toolCallId":"c","title":"t"})");
  take(translator, piece("a"));
  const Lines told = take(translator, piece("b"));
  ASSERT_EQ(told.size(), 1U);
  EXPECT_NE(told[0].find(R"("text":"a"}},{"type":"content","content":{"type":"text","text":"b")"),
            std::string::npos)
      << told[0];
}

TEST(Acp2Messages, ServersSayTheirTransportAndValuesTheirType) {
  acp::OpenParams open;
  open.directory = "/w";
  open.mcp_servers = R"([{"name":"a","command":"/a"},{"name":"b","type":"http","url":"http://b"}])";
  EXPECT_EQ(acp2::open_params(open),
            R"({"cwd":"/w","mcpServers":[{"type":"stdio","name":"a","command":"/a"},)"
            R"({"name":"b","type":"http","url":"http://b"}]})");
  EXPECT_EQ(acp2::set_config_params("s", "mode", "\"plan\""),
            R"({"sessionId":"s","configId":"mode","type":"id","value":"plan"})");
  EXPECT_EQ(acp2::set_config_params("s", "fast", "true"),
            R"({"sessionId":"s","configId":"fast","type":"boolean","value":true})");
}

TEST(Acp2Messages, LoginsAndQuestionsReadAsInV1) {
  const Result<JsonDoc> hello = JsonDoc::parse(
      R"({"authMethods":[{"methodId":"m","type":"terminal","name":"N","args":["login"],)"
      R"("env":[{"name":"A","value":"b"}]}]})");
  EXPECT_EQ(acp2::auth_methods(hello->root()),
            R"([{"id":"m","type":"terminal","name":"N","args":["login"],"env":{"A":"b"}}])");
  const Result<JsonDoc> asked = JsonDoc::parse(
      R"({"sessionId":"s","title":"Run it?","subject":{"type":"command","command":"rm x",)"
      R"("cwd":"/w","toolCallId":"c"},"options":[]})");
  EXPECT_EQ(acp2::permission_params(asked->root()),
            R"({"sessionId":"s","title":"Run it?","options":[],"toolCall":{"toolCallId":"c",)"
            R"("title":"Run it?","kind":"execute","rawInput":{"command":"rm x","cwd":"/w"}}})");
}

// --- the driver ---

std::string update_line(std::string_view update) {
  return R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"n1","update":)" +
         std::string(update) + "}}";
}

/// A peer that answers initialize in v2 and takes prompts.
struct Acp2Driver : testing::Test {
  void attach(const Lines& after_prompt, std::string native = {}) {
    rig.profile.acp_v2 = true;
    AttachSpec spec = rig.spec();
    spec.native_session_id = std::move(native);
    spec.mode = "plan";
    rig.attach(spec, [after_prompt](const std::string& method, const JsonView&) -> Lines {
      if (method == "initialize") {
        return {R"({"jsonrpc":"2.0","id":$ID,"result":{"protocolVersion":2,)"
                R"("info":{"name":"peer","version":"9"},"capabilities":{"session":{}}}})"};
      }
      if (method == "session/new" || method == "session/resume") {
        return {update_line(kIdle),
                R"({"jsonrpc":"2.0","id":$ID,"result":{"sessionId":"n1","configOptions":)"
                R"([{"configId":"mode","category":"mode","type":"select"}]}})"};
      }
      if (method == "session/prompt") return after_prompt;
      if (method == "session/set_config_option" || method == "session/close")
        return {R"({"jsonrpc":"2.0","id":$ID,"result":{"configOptions":[]}})"};
      if (method == "session/cancel") {
        return {update_line(R"({"sessionUpdate":"state_update","state":"idle",)"
                            R"("stopReason":"cancelled"})")};
      }
      return {};
    });
    rig.settle();
    ASSERT_EQ(rig.sink.attached_count, 1);
    rig.sink.heard.clear();
  }
  void prompt() {
    rig.agent->prompt("t1", R"([{"type":"text","text":"hi"}])", {});
    rig.settle();
  }
  AcpRig rig;
};

const char* const kTaken = R"({"jsonrpc":"2.0","id":$ID,"result":{"messageId":"m1"}})";

TEST_F(Acp2Driver, RunsATurnToItsEnd) {
  attach({update_line(whole("user_message", "m1", "hi")), kTaken, update_line(kRunning),
          update_line(text("agent_message_chunk", "a", "Hello.")), update_line(kDone)});
  EXPECT_EQ(rig.sink.attached.protocol_version, 2);
  EXPECT_EQ(rig.sink.attached.agent_info, R"({"name":"peer","version":"9"})");
  ASSERT_EQ(rig.sent_of("session/set_config_option").size(), 1U) << "v2 has no set_mode";
  EXPECT_NE(rig.sent_of("session/set_config_option")[0].find(R"("type":"id","value":"plan")"),
            std::string::npos);
  prompt();
  ASSERT_EQ(rig.sink.heard.size(), 2U);
  EXPECT_TRUE(rig.sink.heard[0].starts_with("update agent_message_chunk"));
  EXPECT_EQ(rig.sink.heard[1], "ended t1 end_turn");
  EXPECT_EQ(rig.sink.end.usage, R"({"totalTokens":9})");
}

TEST_F(Acp2Driver, ResumesItsSession) {
  attach({}, "n1");
  EXPECT_EQ(rig.sink.attached.rung, Rung::resume);
  EXPECT_TRUE(rig.sent_of("session/new").empty());
}

TEST_F(Acp2Driver, ACancelEndsATurnThatWasTakenLongAgo) {
  attach({kTaken, update_line(kRunning)});
  prompt();
  EXPECT_TRUE(rig.sink.heard.empty());
  rig.agent->cancel("t1");
  rig.settle();
  EXPECT_EQ(rig.sink.heard, Lines{"ended t1 cancelled"});
}

TEST_F(Acp2Driver, ItsDeathInATurnIsTold) {
  attach({kTaken, update_line(kRunning), AcpRig::kDie});
  prompt();
  EXPECT_EQ(rig.sink.heard, Lines{"exited"});
}

TEST_F(Acp2Driver, APromptThatIsRefusedFailsTheTurn) {
  attach({R"({"jsonrpc":"2.0","id":$ID,"error":{"code":-32603,"message":"no"}})"});
  prompt();
  EXPECT_EQ(rig.sink.end.stop_reason, "");
  EXPECT_NE(rig.sink.end.agent_error.find("-32603"), std::string::npos);
}

TEST_F(Acp2Driver, AQuestionIsAskedInV1sWords) {
  attach({kTaken, R"({"jsonrpc":"2.0","id":5,"method":"session/request_permission","params":{)"
                  R"("sessionId":"n1","title":"Write?","subject":{"type":"tool_call","toolCall":)"
                  R"({"toolCallId":"c"}},"options":[]}})"});
  prompt();
  ASSERT_EQ(rig.sink.questions.size(), 1U);
  rig.agent->answer(rig.sink.questions[0], {AgentAnswer::Outcome::selected, "yes", {}});
  rig.settle();
  EXPECT_NE(rig.sent().back().find(R"("outcome":{"outcome":"selected","optionId":"yes"})"),
            std::string::npos);
}

TEST(Acp2Fallback, AnAgentOfV1IsSpokenToInV1) {
  AcpRig rig;
  rig.profile.acp_v2 = true;
  rig.attach(rig.spec(), AcpRig::plain({}));
  rig.settle();
  ASSERT_EQ(rig.sink.attached_count, 1);
  EXPECT_EQ(rig.sink.attached.protocol_version, 1);
  const std::string hello = rig.sent_of("initialize")[0];
  EXPECT_NE(hello.find(R"("protocolVersion":2)"), std::string::npos);
  EXPECT_NE(hello.find(R"("clientCapabilities")"), std::string::npos);
  EXPECT_NE(hello.find(R"("info":{"name":"berth")"), std::string::npos);
  EXPECT_NE(rig.sent_of("session/new")[0].find(R"("mcpServers":[])"), std::string::npos);
}

TEST(Acp2Fallback, AnAgentThatRefusesTheOfferIsAskedAgain) {
  AcpRig rig;
  rig.profile.acp_v2 = true;
  const AcpRig::Answer plain = AcpRig::plain({});
  rig.attach(rig.spec(), [plain](const std::string& method, const JsonView& message) -> Lines {
    if (method == "initialize" && message.get_int64("params.protocolVersion") == 2) {
      return {R"({"jsonrpc":"2.0","id":$ID,"error":{"code":-32022,"message":"unsupported"}})"};
    }
    return plain(method, message);
  });
  rig.settle();
  ASSERT_EQ(rig.sink.attached_count, 1);
  EXPECT_EQ(rig.sink.attached.protocol_version, 1);
  EXPECT_EQ(rig.sent_of("initialize").size(), 2U);
}

TEST(Acp2Fallback, WithoutTheFlagVersionTwoIsNeitherOfferedNorTaken) {
  AcpRig rig;
  rig.attach(rig.spec(), [](const std::string& method, const JsonView&) -> Lines {
    if (method != "initialize") return {};
    return {R"({"jsonrpc":"2.0","id":$ID,"result":{"protocolVersion":2,"info":{}}})"};
  });
  rig.settle();
  EXPECT_EQ(rig.sink.failed_count, 1);
  EXPECT_NE(rig.sent_of("initialize")[0].find(R"("protocolVersion":1)"), std::string::npos);
}

}  // namespace
}  // namespace berth::server
