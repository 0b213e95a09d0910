#include <berth/server/agents/opencode/translate.h>

#include <berth/core/prng.h>
#include <berth/server/agents/opencode/event_frame.h>
#include <berth/server/agents/opencode/message_ids.h>
#include <berth/server/agents/opencode/transcript.h>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace berth::server::opencode {
namespace {

JsonDoc parse(std::string_view text) {
  Result<JsonDoc> doc = JsonDoc::parse(text);
  EXPECT_TRUE(doc.has_value()) << text;
  return std::move(*doc);
}

TEST(OpencodeMessageIds, GrowWithinAMillisecondAndWhenTheClockGoesBack) {
  Prng random(1);
  MessageIds ids(random);
  std::string last;
  for (const int ms : {1000, 1000, 1000, 999, 500, 1001}) {
    const std::string id = ids.mint(WallTime(ms));
    EXPECT_EQ(id.size(), 30U);
    EXPECT_LT(last.substr(0, std::min<std::size_t>(last.size(), 16)), id.substr(0, 16));
    last = id;
  }
}

TEST(OpencodeMessageIds, UseTheClockAsOpencodeDoes) {
  Prng random(1);
  // msg_1fc25d199001... was made at 1795231699353, see tests/data and opencode's own ids.
  EXPECT_EQ(MessageIds(random).mint(WallTime(1795231699353)).substr(0, 16), "msg_1fc25d199001");
}

TEST(OpencodeEventFrame, KnowsWhoseAnEventIs) {
  const auto frame = EventFrame::parse(R"({"directory":"/d","payload":{"type":"message.updated",)"
                                       R"("properties":{"info":{"id":"m","sessionID":"ses_1"}}}})");
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(frame->type(), "message.updated");
  EXPECT_EQ(frame->session_id(), "ses_1");
  EXPECT_FALSE(EventFrame::parse("[]").has_value());
  EXPECT_FALSE(EventFrame::parse("{\"payload\":{}}").has_value());
  EXPECT_FALSE(EventFrame::parse("no json").has_value());
}

TEST(OpencodeEventFrame, RepairsHalvesOfASurrogatePair) {
  const auto frame = EventFrame::parse(R"({"payload":{"type":"message.part.delta",)"
                                       R"("properties":{"sessionID":"s","delta":"a\ud83d"}}})");
  ASSERT_TRUE(frame.has_value());
  EXPECT_TRUE(frame->repaired());
  EXPECT_EQ(frame->properties().get_string("delta"), "a\xef\xbf\xbd");
}

class Texts final : public UpdateSink {
 public:
  void on_update(std::string_view update, std::string_view, std::string_view) override {
    const JsonDoc doc = parse(update);
    if (doc.root().find("_meta").present()) seen.emplace_back("replace");
    seen.emplace_back(doc.root().get_string("content.text").value_or(""));
  }
  std::vector<std::string> seen;
};

std::string part(std::string_view text, bool ended) {
  return R"({"id":"p","type":"text","text":")" + std::string(text) + R"(","time":{"start":1)" +
         (ended ? R"(,"end":2}})" : "}}");
}

TEST(OpencodeTranscript, ShowsOnlyWhatASnapshotAddsToTheDeltas) {
  Texts texts;
  Transcript transcript(texts);
  transcript.on_part(parse(part("", false)).root(), true);
  transcript.on_delta("p", "text", "Hel", false);
  transcript.on_part(parse(part("Hello", true)).root(), true);
  transcript.on_delta("p", "text", "late", false);
  transcript.on_part(parse(part("Hello", true)).root(), true);
  EXPECT_EQ(texts.seen, (std::vector<std::string>{"Hel", "lo"}));
}

TEST(OpencodeTranscript, HoldsDeltasBehindAHoleUntilASnapshotFillsIt) {
  Texts texts;
  Transcript transcript(texts);
  transcript.on_part(parse(part("", false)).root(), true);
  transcript.on_delta("p", "text", "one ", false);
  transcript.on_stream_lost();
  transcript.on_part(parse(part("", false)).root(), false);  // GET in its middle says nothing
  transcript.on_delta("p", "text", "three ", false);
  EXPECT_EQ(texts.seen, (std::vector<std::string>{"one "}));
  transcript.on_part(parse(part("one two three ", true)).root(), true);
  EXPECT_EQ(texts.seen, (std::vector<std::string>{"one ", "two three "}));
}

TEST(OpencodeTranscript, ShowsWhatItHeldBackWhenNoSnapshotWillCome) {
  Texts texts;
  Transcript transcript(texts);
  transcript.on_part(parse(part("", false)).root(), true);
  transcript.on_delta("p", "text", "one ", false);
  transcript.on_stream_lost();
  transcript.on_delta("p", "text", "three", false);
  transcript.flush();
  ASSERT_EQ(texts.seen.size(), 2U);
  EXPECT_TRUE(texts.seen[1].ends_with("lost with the connection]\nthree")) << texts.seen[1];
}

TEST(OpencodeTranscript, SaysThatATextReplacesAnother) {
  Texts texts;
  Transcript transcript(texts);
  transcript.on_part(parse(part("", false)).root(), true);
  transcript.on_delta("p", "text", "draft", false);
  transcript.on_part(parse(part("other text", true)).root(), true);
  EXPECT_EQ(texts.seen, (std::vector<std::string>{"draft", "replace", "other text"}));
}

TEST(OpencodeTranscript, TakesNothingBackForLostWhiteSpace) {
  Texts texts;
  Transcript transcript(texts);
  transcript.on_part(parse(part("", false)).root(), true);
  transcript.on_delta("p", "text", "text  ", false);
  transcript.on_part(parse(part("text", true)).root(), true);
  EXPECT_EQ(texts.seen, (std::vector<std::string>{"text  "}));
}

TEST(OpencodeTranscript, CountsEachStepOnce) {
  Texts texts;
  Transcript transcript(texts);
  const JsonDoc step =
      parse(R"({"id":"s","type":"step-finish","cost":0.25,"tokens":{"input":3,"output":4,)"
            R"("reasoning":1,"cache":{"read":5,"write":6}}})");
  transcript.on_part(step.root(), true);
  transcript.on_part(step.root(), false);
  EXPECT_EQ(transcript.turn_usage(), (Usage{3, 4, 1, 5, 6, 0.25}));
  EXPECT_EQ(turn_usage(transcript.turn_usage()),
            R"({"inputTokens":3,"outputTokens":4,"totalTokens":19,"thoughtTokens":1,)"
            R"("cachedReadTokens":5,"cachedWriteTokens":6,)"
            R"("cost":{"amount":0.25,"currency":"USD"}})");
}

TEST(OpencodeTranslate, MakesAFormOfQuestionsAndAnswersOfItsContent) {
  const JsonDoc asked = parse(
      R"({"id":"que_1","questions":[{"question":"Which?","header":"Pick","custom":false,)"
      R"("options":[{"label":"A","description":"first"},{"label":"B"}]},)"
      R"({"question":"Many?","header":"Several","multiple":true,"options":[{"label":"X"}]}]})");
  const JsonDoc params = parse(question_params("ses_1", asked.root()));
  EXPECT_EQ(params.root().get_string("mode"), "form");
  EXPECT_EQ(params.root().get_string("message"), "Which?\nMany?");
  EXPECT_EQ(params.root().raw("requestedSchema.properties.q0.oneOf"),
            R"([{"const":"A","title":"A","description":"first"},{"const":"B","title":"B"}])");
  EXPECT_EQ(params.root().get_string("requestedSchema.properties.q1.type"), "array");
  const JsonDoc content = parse(R"({"q0":"B","q1":["X","Y"]})");
  EXPECT_EQ(question_answers(asked.root(), content.root()), R"([["B"],["X","Y"]])");
}

}  // namespace
}  // namespace berth::server::opencode
