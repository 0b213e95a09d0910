// Agents that go on replaying a loaded session after their answer, and after the next prompt.
#include "acp_rig.h"

#include <berth/server/agents/replay_guard.h>

#include <gtest/gtest.h>

#include <initializer_list>
#include <utility>

namespace berth::server {
namespace {

using Lines = std::vector<std::string>;
using Words = std::pair<const char*, const char*>;  // kind without "_chunk", text

constexpr const char* kOk = R"({"jsonrpc":"2.0","id":$ID,"result":null})";
constexpr const char* kEnd = R"({"jsonrpc":"2.0","id":$ID,"result":{"stopReason":"end_turn"}})";

std::string chunk(const Words& words) {
  return R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"n1","update":)"
         R"({"sessionUpdate":")" +
         std::string(words.first) + R"(_chunk","content":{"type":"text","text":")" + words.second +
         "\"}}}}";
}

/// An agent with a past of two turns, that died; how it sends its history is the test's.
class LateReplay : public testing::Test {
 protected:
  /// `after_load` follows the answer to session/load, `after_prompt` the prompt; then the turn
  /// ends.
  void restore_and_prompt(std::initializer_list<Words> before_answer,
                          std::initializer_list<Words> after_load,
                          std::initializer_list<Words> after_prompt) {
    bool loaded = false;
    const auto answer = [&](const std::string& method, const JsonView& message) {
      Lines out;
      if (method == "session/load") {
        loaded = true;
        for (const Words& words : before_answer) out.push_back(chunk(words));
        out.emplace_back(kOk);
        if (after_load.size() != 0) out.emplace_back(AcpRig::kLater);
        for (const Words& words : after_load) out.push_back(chunk(words));
      } else if (method == "session/prompt" && loaded) {
        for (const Words& words : after_prompt) out.push_back(chunk(words));
        out.emplace_back(kEnd);
      } else if (method == "session/prompt") {
        const std::string asked(message.elements("params.prompt")[0].get_string("text").value());
        out = {chunk({"agent_message", asked == "one" ? "First." : "Second."}), kEnd};
      }
      return out;
    };
    rig.attach(rig.spec(), AcpRig::plain(R"("loadSession":true)", answer));
    rig.settle();
    prompt("one");
    prompt("two");
    rig.agent->end(true);
    rig.settle();
    AttachSpec again = rig.spec();
    again.native_session_id = "n1";
    if (berth_restarts) {
      rig.shut_down(*rig.agent);
      rig.agent = rig.another(rig.sink);
      rig.natives = NativeSessions(rig.machine.clock().wall().count());
      again.last_said = second_answer;
    }
    rig.sink.heard.clear();
    rig.agent->attach(again);
    rig.settle();
    ASSERT_EQ(rig.sink.attached.rung, Rung::load);
    prompt("three");
  }

  void prompt(const std::string& text) {
    rig.agent->prompt(text, R"([{"type":"text","text":")" + text + "\"}]", {});
    rig.settle();
  }

  /// The text of everything that was shown since the restore.
  std::string shown() const {
    std::string out;
    for (const std::string& line : rig.sink.heard) {
      const std::size_t at = line.find(R"("text":")");
      if (at == std::string::npos) continue;
      out += line.substr(at + 8, line.find('"', at + 8) - at - 8) + "|";
    }
    return out;
  }

  /// What the log says.
  static Task<Said> second_answer() {
    Said said;
    said.note({R"({"content":{"text":"Second."}})", "agent_message_chunk", {}, false});
    co_return said;
  }

  AcpRig rig;
  bool berth_restarts = false;  // between the two lives of the agent
};

TEST_F(LateReplay, AfterTheAnswerIsLeftOut) {
  restore_and_prompt({}, {{"user_message", "one"}, {"agent_message", "First."}},
                     {{"agent_message", "New."}});
  EXPECT_EQ(shown(), "New.|");
}

TEST_F(LateReplay, AfterTheNextPromptIsLeftOut) {
  restore_and_prompt({}, {},
                     {{"user_message", "one"},
                      {"agent_message", "First."},
                      {"user_message", "two"},
                      {"agent_thought", "Hm."},
                      {"agent_message", "Sec"},
                      {"agent_message", "ond."},
                      {"agent_thought", "Well."},
                      {"agent_message", "New."}});
  EXPECT_EQ(shown(), "Well.|New.|");
  EXPECT_TRUE(rig.sink.heard.back().starts_with("ended three")) << rig.sink.heard.back();
}

TEST_F(LateReplay, ThatTheNextPromptCutsInTwoIsLeftOut) {
  restore_and_prompt(
      {{"user_message", "one"}},
      {{"agent_message", "First."}, {"user_message", "two"}, {"agent_message", "Sec"}},
      {{"agent_message", "ond."}, {"agent_message", "New."}});
  EXPECT_EQ(shown(), "New.|");
}

TEST_F(LateReplay, IsLeftOutAlsoAfterARestartOfBerth) {
  berth_restarts = true;
  restore_and_prompt(
      {{"user_message", "one"}},
      {{"agent_message", "First."}, {"user_message", "two"}, {"agent_message", "Sec"}},
      {{"agent_message", "ond."}, {"agent_message", "New."}});
  EXPECT_EQ(shown(), "New.|");
}

TEST_F(LateReplay, InWhichTheLastAnswerIsMissingTakesNothingFromTheNewOne) {
  restore_and_prompt({}, {{"user_message", "one"}},
                     {{"agent_message", "First."},
                      {"user_message", "two"},
                      {"agent_message", "Se"},
                      {"agent_message", "cret."}});
  EXPECT_EQ(shown(), "Se|cret.|");
}

TEST_F(LateReplay, CostsNoAnswerThatSaysTheSameAgain) {
  restore_and_prompt({}, {}, {{"user_message", "two"}, {"agent_message", "Second."}});
  EXPECT_EQ(shown(), "Second.|");
}

TEST_F(LateReplay, IsNoReasonToHoldBackTheTurnsOfAnAgentThatKeepsToTheProtocol) {
  restore_and_prompt({{"user_message", "two"}, {"agent_message", "Second."}}, {},
                     {{"user_message", "three"}, {"agent_message", "New."}});
  EXPECT_EQ(shown(), "three|New.|") << "an agent may repeat what it was told";
}

AgentUpdate update(const std::string& json, std::string_view kind) {
  return {json, kind, {}, false};
}

TEST(ReplayGuard, ShowsAtOnceWhatAnAgentSaysThatAnsweredAfterItsReplay) {
  ReplayGuard guard;
  const std::string text = R"({"content":{"text":"a"}})";
  guard.begin({});
  EXPECT_EQ(guard.take(update(text, "user_message_chunk")), ReplayGuard::Fate::drop);
  EXPECT_EQ(guard.take(update(text, "session_info_update")), ReplayGuard::Fate::show);
  guard.answered(false);
  guard.prompted("[]");
  EXPECT_EQ(guard.take(update(text, "agent_message_chunk")), ReplayGuard::Fate::show);
  EXPECT_TRUE(guard.turn_over().empty());
  EXPECT_EQ(guard.take(update(text, "agent_message_chunk")), ReplayGuard::Fate::show);
}

TEST(ReplayGuard, HoldsNoMoreThanItsBound) {
  ReplayGuard guard(30);
  const std::string text = R"({"content":{"text":"a"}})";
  guard.begin({});
  guard.answered(true);
  guard.prompted("[]");
  EXPECT_EQ(guard.take(update(text, "agent_message_chunk")), ReplayGuard::Fate::hold);
  EXPECT_EQ(guard.take(update(text, "agent_message_chunk")), ReplayGuard::Fate::release);
  EXPECT_EQ(guard.release().size(), 2U);
  EXPECT_EQ(guard.take(update(text, "agent_message_chunk")), ReplayGuard::Fate::show);
}

TEST(ReplayGuard, KnowsTheToolCallsOfTheLastAnswer) {
  ReplayGuard guard;
  const std::string json = "{}";
  Said last;
  last.note({json, "tool_call", "old-1", false});
  guard.begin(std::move(last));
  guard.answered(false);
  guard.prompted("[]");
  EXPECT_EQ(guard.take(update(json, "user_message_chunk")), ReplayGuard::Fate::drop);
  EXPECT_EQ(guard.take({json, "tool_call", "old-1", false}), ReplayGuard::Fate::hold);
  EXPECT_EQ(guard.take({json, "tool_call", "new-1", false}), ReplayGuard::Fate::hold);
  const std::vector<ReplayGuard::Update> shown = guard.turn_over();
  ASSERT_EQ(shown.size(), 1U);
  EXPECT_EQ(shown[0].tool_call_id, "new-1");
}

}  // namespace
}  // namespace berth::server
