// Pure decisions of a session: rules, forms, the ladder's next step, usage, the story.
#include <berth/server/sessions/interactions.h>
#include <berth/server/sessions/ladder.h>
#include <berth/server/sessions/rules.h>
#include <berth/server/sessions/story.h>
#include <berth/server/sessions/transcript.h>
#include <berth/server/sessions/usage.h>

#include <gtest/gtest.h>
#include <string>

namespace berth::server {
namespace {

// --- rules ---

TEST(Rules, PathsMatchByName) {
  struct Case {
    const char* pattern;
    const char* path;
    bool match;
  };
  const Case cases[] = {
      {"src/*.cc", "/w/src/a.cc", true},
      {"src/*.cc", "src/a.cc", true},
      {"src/*.cc", "/w/src/deep/a.cc", false},
      {"src/**", "/w/src/deep/a.cc", true},
      {"**/*.md", "/w/README.md", true},
      {"**/*.md", "/w/docs/api/README.md", true},
      {"**/*.md", "/other/README.md", false},
      {"src/**", "/w/src/../secret", false},
      {"src/**", "/w/srcs/a", false},
      {"a?c", "/w/abc", true},
      {"a?c", "/w/a/c", false},
      {"/etc/*", "/etc/passwd", true},
      {"/etc/*", "/w/etc/passwd", false},
      {"**", "/w/x", true},
      {"**", "/w", false},
      {"**", "/elsewhere", false},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(path_matches(c.pattern, c.path, "/w"), c.match) << c.pattern << " " << c.path;
  }
}

TEST(Rules, ACautiousWildcardNeverSwallowsASecondCommand) {
  EXPECT_TRUE(command_matches("git *", "git status -s", true));
  for (const char* chained : {"git status; rm -rf /", "git x && y", "git `id`", "git $(id)",
                              "git x | sh", "git x > /etc/passwd", "git x\nrm y"}) {
    EXPECT_FALSE(command_matches("git *", chained, true)) << chained;
    EXPECT_TRUE(command_matches("git *", chained, false)) << chained;
  }
  EXPECT_FALSE(command_matches("git", "git status", true));
}

Verdict judged(const char* policy, const char* rules, const ToolCall& call) {
  return judge(policy, parse_rules(rules).value(), call, "/w");
}

TEST(Rules, TheLastThatMatchesDecides) {
  const ToolCall edit{"c", "t", "edit", "", {"/w/src/a.cc"}, "", false};
  struct Case {
    const char* policy;
    const char* rules;
    PolicyAction action;
    int rule;
  };
  const Case cases[] = {
      {"ask", "[]", PolicyAction::ask, 0},
      {"allow", "[]", PolicyAction::allow, 0},
      {"nonsense", "[]", PolicyAction::ask, 0},
      {"ask", R"([{"kind":"edit","action":"allow"}])", PolicyAction::allow, 1},
      {"ask", R"([{"kind":"read","action":"allow"}])", PolicyAction::ask, 0},
      {"ask", R"([{"action":"allow"},{"path":"src/**","action":"reject"}])", PolicyAction::reject,
       2},
      {"ask", R"([{"path":"src/**","action":"reject"},{"action":"allow"}])", PolicyAction::allow,
       2},
      {"allow", R"([{"command":"rm *","action":"reject"}])", PolicyAction::allow, 0},
  };
  for (const Case& c : cases) {
    const Verdict verdict = judged(c.policy, c.rules, edit);
    EXPECT_EQ(verdict.action, c.action) << c.rules;
    EXPECT_EQ(verdict.rule, c.rule) << c.rules;
  }
}

TEST(Rules, WhatIsNotKnownIsNeverAllowed) {
  const ToolCall blank{"c", "t", "", "", {}, "", false};
  EXPECT_EQ(judged("ask", R"([{"kind":"edit","action":"allow"}])", blank).action,
            PolicyAction::ask);
  EXPECT_EQ(judged("ask", R"([{"path":"**","action":"allow"}])", blank).action, PolicyAction::ask);
  EXPECT_EQ(judged("allow", R"([{"command":"rm *","action":"reject"}])", blank).action,
            PolicyAction::ask);
  const ToolCall two{"c", "t", "edit", "", {"/w/docs/a", "/etc/b"}, "", false};
  EXPECT_EQ(judged("ask", R"([{"path":"docs/**","action":"allow"}])", two).action,
            PolicyAction::ask)
      << "one of two paths";
  EXPECT_EQ(judged("allow", R"([{"path":"docs/**","action":"reject"}])", two).action,
            PolicyAction::reject);
}

TEST(Rules, ErrorsNameTheRule) {
  EXPECT_NE(parse_rules(R"([{"action":"allow"},{"action":"x"}])").error().message.find("rules[1]"),
            std::string::npos);
  EXPECT_STREQ(parse_rules(R"([{"actoin":"allow"}])").error().code, "unknown_field");
  EXPECT_FALSE(parse_rules(R"({"action":"allow"})").has_value());
  EXPECT_TRUE(parse_rules("").value().empty());
}

// --- forms ---

TEST(Forms, TypesChoicesAndRangesAreChecked) {
  const char* schema =
      R"({"properties":{"s":{"type":"string","maxLength":3},"n":{"type":"number","minimum":1},)"
      R"("i":{"type":"integer"},"b":{"type":"boolean"},"a.b":{"type":"string"},)"
      R"("l":{"type":"array","items":{"type":"string","enum":["x"]},"maxItems":1}},)"
      R"("required":["s"]})";
  for (const char* right : {R"({"s":"abc"})", R"({"s":"\u00e4\u00f6\u00fc","n":1.5,"i":2})",
                            R"({"s":"","b":false,"l":["x"],"a.b":"q"})"}) {
    EXPECT_TRUE(check_form(schema, right).has_value()) << right;
  }
  for (const char* wrong :
       {"{}", R"({"s":"abcd"})", R"({"s":1})", R"({"s":"","n":0.5})", R"({"s":"","i":1.5})",
        R"({"s":"","b":"true"})", R"({"s":"","l":["y"]})", R"({"s":"","l":["x","x"]})",
        R"({"s":"","z":1})", "[]"}) {
    EXPECT_FALSE(check_form(schema, wrong).has_value()) << wrong;
  }
}

// --- the ladder ---

TEST(Ladder, WhatMayPassIsTriedAgainWithinABound) {
  AttachFailure failure;
  failure.error = make_error(ErrorKind::unavailable, "agent_ended", "x");
  const RetryLimits limits;
  EXPECT_EQ(plan_after_failure(failure, 1, 0, true, limits).wait, std::chrono::milliseconds(200));
  EXPECT_EQ(plan_after_failure(failure, 3, 0, true, limits).wait, std::chrono::milliseconds(800));
  EXPECT_EQ(plan_after_failure(failure, 4, 0, true, limits).step, AttachStep::decide);
  EXPECT_EQ(plan_after_failure(failure, 4, 0, false, limits).step, AttachStep::fail);
  failure.error.kind = ErrorKind::timed_out;
  EXPECT_EQ(plan_after_failure(failure, 2, 2, true, limits).step, AttachStep::decide);
}

TEST(Ladder, WhatCannotPassIsDecidedByAPersonIfThereIsAMemoryToLose) {
  for (const ErrorKind kind : {ErrorKind::invalid, ErrorKind::denied, ErrorKind::unsupported,
                               ErrorKind::internal, ErrorKind::not_found}) {
    AttachFailure failure;
    failure.error = make_error(kind, "agent_error", "x");
    EXPECT_EQ(plan_after_failure(failure, 1, 0, true, {}).step, AttachStep::decide);
    EXPECT_EQ(plan_after_failure(failure, 1, 0, false, {}).step, AttachStep::fail);
  }
}

TEST(Ladder, OldNativeSessionsAreKeptWithTheTurnsThatTheyHold) {
  std::string history = add_native_session("", "a", 3);
  history = add_native_session(history, "b", 5);
  EXPECT_EQ(history,
            R"([{"id":"a","from_turn":1,"to_turn":3},{"id":"b","from_turn":4,"to_turn":5}])");
}

// --- usage ---

JsonDoc parsed(const std::string& text) {
  return JsonDoc::parse(text).value();
}

std::string cost_update(const std::string& amount) {
  return R"({"used":5,"size":9,"cost":{"amount":)" + amount + R"(,"currency":"USD"}})";
}

TEST(UsageMeters, AnAgentThatBeginsToCountAnewIsCountedFromZero) {
  UsageMeter meter("");
  const JsonDoc first = parsed(cost_update("2"));
  meter.note_update(first.root(), true);
  meter.end_turn("");
  UsageMeter again(meter.stored());
  const JsonDoc second = parsed(cost_update("0.5"));
  again.note_update(second.root(), true);
  again.end_turn("");
  EXPECT_EQ(again.sums().cost.at("USD"), 2'500'000'000);
}

TEST(UsageMeters, AnAgentThatSaysTheCostTwiceIsCountedOnce) {
  UsageMeter meter("");
  const JsonDoc update = parsed(cost_update("2"));
  meter.note_update(update.root(), true);
  meter.end_turn(R"({"inputTokens":1,"cost":{"amount":2,"currency":"USD"}})");
  const JsonDoc late = parsed(cost_update("2.1"));
  meter.note_update(late.root(), false);
  EXPECT_EQ(meter.sums().cost.at("USD"), 2'000'000'000);
}

TEST(UsageMeters, WhoseAnswersCarryTheCostIsKnownAfterARestart) {
  UsageMeter meter("");
  meter.end_turn(R"({"cost":{"amount":1,"currency":"USD"}})");
  UsageMeter again(meter.stored());
  const JsonDoc total = parsed(cost_update("1.5"));
  again.note_update(total.root(), false);  // between turns
  again.note_update(total.root(), true);
  again.end_turn(R"({"inputTokens":1})");
  EXPECT_EQ(again.sums().cost.at("USD"), 1'000'000'000);
}

TEST(UsageMeters, NonsenseCountsNothing) {
  UsageMeter meter("nonsense");
  const JsonDoc update = parsed(cost_update("-3"));
  meter.note_update(update.root(), true);
  meter.end_turn(R"({"inputTokens":-5,"outputTokens":"many","cost":{"amount":"x"}})");
  EXPECT_EQ(meter.sums().tokens[0], 0);
  EXPECT_TRUE(meter.sums().cost.empty());
}

// --- the story ---

std::vector<ToldTurn> many_turns(int count, std::size_t bytes) {
  std::vector<ToldTurn> turns;
  for (int i = 1; i <= count; ++i) {
    ToldTurn turn;
    turn.number = i;
    turn.agent = i % 2 == 0 ? "two" : "one";
    turn.prompt = "prompt " + std::to_string(i) + " " + std::string(bytes, 'p');
    turn.answer = "answer " + std::to_string(i) + " " + std::string(bytes, 'a');
    turn.ending = "completed";
    turns.push_back(turn);
  }
  turns[2].open_tools = {"write the plan"};
  return turns;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Stories, KeepTheFirstRequestThePlanAndTheLastTurnsWhole) {
  const std::vector<ToldTurn> turns = many_turns(12, 400);
  StoryRequest request;
  request.transcript = "/state/t.md";
  const Story story = tell(turns, "- [pending] paint\n", request);
  EXPECT_TRUE(holds(story.text, turns.front().prompt));
  for (int i = 8; i < 12; ++i)
    EXPECT_TRUE(holds(story.text, turns[static_cast<std::size_t>(i)].answer));
  EXPECT_FALSE(holds(story.text, turns[5].answer)) << "those between are a digest";
  EXPECT_TRUE(holds(story.text, "prompt 6"));
  EXPECT_TRUE(holds(story.text, "- [pending] paint"));
  EXPECT_TRUE(holds(story.text, "turn 3: write the plan"));
  EXPECT_TRUE(holds(story.text, "/state/t.md"));
  EXPECT_EQ(story.whole, 5);
  EXPECT_EQ(story.digested, 7);
}

TEST(Stories, StayWithinTheirBudget) {
  for (const std::size_t budget : {2048UL, 8192UL, 65536UL}) {
    for (const std::size_t bytes : {10UL, 3000UL, 200'000UL}) {
      StoryRequest request;
      request.bytes_max = budget;
      const Story story = tell(many_turns(60, bytes), std::string(9000, 'x'), request);
      EXPECT_LE(story.text.size(), budget) << budget << " " << bytes;
      EXPECT_TRUE(holds(story.text, "prompt 60")) << budget << " " << bytes;
      EXPECT_TRUE(holds(story.text, "prompt 1 ")) << budget << " " << bytes;
    }
  }
}

TEST(Stories, OfWhatWasMissedTellTheTurnsOfOthersOnly) {
  StoryRequest request;
  request.agent = "one";
  request.after_turn = 5;
  const Story story = tell(many_turns(10, 10), "", request);
  EXPECT_EQ(story.from_turn, 6);
  EXPECT_EQ(story.to_turn, 10);
  EXPECT_FALSE(holds(story.text, "prompt 7"));
  EXPECT_FALSE(holds(story.text, "prompt 4"));
  request.after_turn = 10;
  EXPECT_EQ(tell(many_turns(10, 10), "", request).text, "");
}

TEST(Stories, GoBeforeThePromptAsABlockOfTheirOwn) {
  EXPECT_EQ(with_story("story", R"([{"type":"text","text":"go"}])"),
            R"([{"type":"text","text":"story"},{"type":"text","text":"go"}])");
}

Frame frame_of(const std::string& type, const std::string& data) {
  return {1, type, data, {}};
}

TEST(Transcripts, DropTheOldestTurnsAboveTheirBound) {
  Transcript transcript(4000);
  for (int i = 1; i <= 100; ++i) {
    const std::string number = std::to_string(i);
    const std::string started =
        R"({"turn":"t)" + number + R"(","agent":"one","data":{"number":)" + number + "}}";
    transcript.take(frame_of("turn.started", started));
    const std::string said = R"({"turn":"t)" + number +
                             R"(","data":{"sessionUpdate":"agent_message_chunk","content":)"
                             R"({"type":"text","text":"words )" +
                             number + R"("}}})";
    transcript.take(frame_of("update", said));
  }
  const std::string text = transcript.text();
  EXPECT_LT(text.size(), 4500U);
  EXPECT_TRUE(holds(text, "words 100"));
  EXPECT_FALSE(holds(text, "words 2\n"));
  EXPECT_TRUE(holds(text, "left out"));
}

}  // namespace
}  // namespace berth::server
