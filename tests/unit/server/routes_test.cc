// The pure parts of routes: cursors of several sessions, validators, heads of archives, transcripts
// in pieces, the feed of changes.
#include <berth/core/json_doc.h>
#include <berth/server/api/body.h>
#include <berth/server/api/conditional.h>
#include <berth/server/api/tar.h>
#include <berth/server/sessions/feed.h>
#include <berth/server/sessions/stream_cursor.h>
#include <berth/server/sessions/transcript.h>
#include <berth/server/sessions/transcript_json.h>

#include <gtest/gtest.h>
#include <limits>

namespace berth::server {
namespace {

TEST(StreamCursor, ATextGivesBackItsPlaces) {
  StreamCursor cursor;
  cursor.known = 4711;
  cursor.places = {{1, 0}, {35, 36}, {4711, 1ULL << 40}};
  Result<StreamCursor> parsed = StreamCursor::parse(cursor.text(), 3);
  ASSERT_TRUE(parsed.has_value()) << cursor.text();
  EXPECT_EQ(parsed->known, cursor.known);
  EXPECT_EQ(parsed->places, cursor.places);
  EXPECT_TRUE(StreamCursor::parse(StreamCursor().text(), 0).has_value());
  cursor.places.clear();
  for (SessionNo no = 1; no <= 1000; ++no) cursor.places.emplace(no, 300);
  EXPECT_EQ(cursor.text().size(), 2U + 3 + 2 * 1000) << "every event carries it";
  for (std::uint64_t seq = 1; seq < 1ULL << 58; seq = seq * 3 + 1) {
    cursor.places = {{7, seq}, {8, seq}, {9 + 7 * static_cast<SessionNo>(seq % 1000), seq}};
    parsed = StreamCursor::parse(cursor.text(), 3);
    ASSERT_TRUE(parsed.has_value()) << cursor.text();
    EXPECT_EQ(parsed->places, cursor.places);
  }
}

TEST(StreamCursor, ATextThatBerthGaveBeforeIsStillUnderstood) {
  Result<StreamCursor> parsed = StreamCursor::parse("1.3mv.1-0.z-10.3mv-rs", 3);
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->known, 4711);
  EXPECT_EQ(parsed->places, (std::map<SessionNo, std::uint64_t>{{1, 0}, {35, 36}, {4711, 1000}}));
}

TEST(StreamCursor, WhatNoStreamGaveIsRefused) {
  for (const char* text : {"",
                           "1",
                           "1.",
                           "2.1",
                           "1.x-",
                           "1.1.1",
                           "1.1.1-",
                           "1.1.-1-2",
                           "1.1.1-1.",
                           "1.1.1-1.1-2",
                           "1.1 .1-1",
                           "1.zzzzzzzzzzzzzzzz",
                           "1.1.1-1.2-2.3-3.4-4",
                           "2.",
                           "2.A.",
                           "2.AB",
                           "2.Ag",
                           "2.AAAAA",
                           "2.A A",
                           "2.AB_______________A",
                           "2._______________A",
                           "3.A"}) {
    EXPECT_FALSE(StreamCursor::parse(text, 3).has_value()) << text;
  }
}

TEST(Conditional, ATagIsFoundInAListAndAStarIsAny) {
  EXPECT_TRUE(names_etag(R"("a", "b" ,"c")", R"("b")"));
  EXPECT_TRUE(names_etag("*", R"("b")"));
  EXPECT_FALSE(names_etag(R"("a", W/"b")", R"("b")")) << "a weak tag matches nothing";
  EXPECT_FALSE(names_etag("", R"("b")"));
}

TEST(Conditional, AConditionHoldsOrSaysWhichDoesNot) {
  io::HttpRequest request;
  EXPECT_TRUE(check_preconditions(request, "\"1\"").has_value());
  request.headers = {{"if-match", "\"1\""}};
  EXPECT_TRUE(check_preconditions(request, "\"1\"").has_value());
  EXPECT_STREQ(check_preconditions(request, "\"2\"").error().code, "precondition_failed");
  EXPECT_FALSE(check_preconditions(request, "\"1\"", false).has_value()) << "nothing is there";
  request.headers = {{"if-none-match", "*"}};
  EXPECT_FALSE(check_preconditions(request, "\"1\"").has_value());
  EXPECT_TRUE(check_preconditions(request, "\"1\"", false).has_value());
}

TEST(QueryTimes, AreRfc3339OrMilliseconds) {
  EXPECT_EQ(*time_of("t", "1970-01-01T00:00:01Z"), 1000);
  EXPECT_EQ(*time_of("t", "2026-11-21T05:04:57.123Z"), 1795237497123);
  EXPECT_EQ(*time_of("t", "1500"), 1500);
  EXPECT_EQ(*time_of("t", ""), 0);
  for (const char* text : {"2026-02-30T00:00:00Z", "2026-11-21T24:00:00Z", "2026-11-21", "x", "-1",
                           "2026-11-21T05:04:57.123456Z", "2026-11-21T05:04:57+01:00"}) {
    EXPECT_FALSE(time_of("t", text).has_value()) << text;
  }
}

TEST(Tar, AHeadIsOneBlockWithItsSum) {
  io::TreeEntry entry;
  entry.type = io::TreeType::file;
  entry.bytes = 8;
  entry.mode = 0644;
  const std::string head = tar_head("a/b.txt", entry);
  ASSERT_EQ(head.size(), kTarBlock);
  EXPECT_EQ(head.substr(124, 11), "00000000010");
  unsigned sum = 8 * ' ';
  for (std::size_t i = 0; i < head.size(); ++i) {
    if (i < 148 || i >= 156) sum += static_cast<unsigned char>(head[i]);
  }
  EXPECT_EQ(std::stoul(head.substr(148, 6), nullptr, 8), sum);
  EXPECT_EQ(tar_padding(8).size(), kTarBlock - 8);
  EXPECT_EQ(tar_padding(kTarBlock).size(), 0U);
}

TEST(Tar, WhatDoesNotFitStandsInAHeadOfItsOwn) {
  io::TreeEntry entry;
  entry.type = io::TreeType::file;
  entry.bytes = 1ULL << 34;
  const std::string head = tar_head(std::string(150, 'x'), entry);
  ASSERT_EQ(head.size(), 3 * kTarBlock);
  EXPECT_EQ(head[156], 'x');
  EXPECT_NE(head.find("160 path=" + std::string(150, 'x') + "\n"), std::string::npos);
  EXPECT_NE(head.find("20 size=17179869184\n"), std::string::npos);
}

std::string update_frame(std::uint64_t seq, std::string_view kind, std::string_view text) {
  std::string frame;
  append_frame(frame, {seq, "t", "update", "trn_1", "one"},
               R"({"sessionUpdate":")" + std::string(kind) +
                   R"(","content":{"type":"text","text":")" + std::string(text) + R"("}})");
  return frame;
}

TEST(Transcripts, AreTheSameWhetherTakenWholeOrInPieces) {
  std::string frames;
  append_frame(frames, {1, "t", "turn.queued", "trn_1", "one"},
               R"({"number":1,"prompt":[{"type":"text","text":"hello"}]})");
  append_frame(frames, {2, "t", "turn.started", "trn_1", "one"}, R"({"number":1})");
  frames += update_frame(3, "agent_thought_chunk", "think");
  frames +=
      update_frame(4, "agent_message_chunk", "wor") + update_frame(5, "agent_message_chunk", "ds");
  append_frame(frames, {6, "t", "update", "trn_1", "one"},
               R"({"sessionUpdate":"tool_call","toolCallId":"c","title":"run"})");
  append_frame(frames, {7, "t", "turn.ended", "trn_1", "one"},
               R"({"number":1,"state":"completed"})");
  Transcript whole;
  Transcript pieces;
  std::string joined = "# Transcript\n\n";
  TranscriptJson json("id", 1);
  std::string text;
  std::string_view rest = frames;
  for (Frame frame; next_frame(rest, frame);) {
    whole.take(frame);
    pieces.take(frame);
    json.take(frame);
    joined += pieces.drain();
    text += json.drain();
  }
  EXPECT_EQ(joined + "\n", whole.text());
  json.end();
  text += json.drain();
  const Result<JsonDoc> doc = JsonDoc::parse(text);
  ASSERT_TRUE(doc.has_value()) << text;
  std::string kinds;
  for (const JsonView& entry : doc->root().elements("entries")) {
    kinds += std::string(entry.get_string("kind").value_or("")) + ":" +
             std::string(entry.get_string("text").value_or("")) + " ";
  }
  EXPECT_EQ(kinds, "request: turn: thought:think message:words tool_call: turn: ");
}

struct Watcher final : FeedWatcher {
  void on_feed_grew() override { ++told; }
  int told = 0;
};

TEST(Feed, TellsWhatChangedAfterAVersionAndWhoIsBehind) {
  Feed feed;
  // The feed only hands references on: it needs no sessions behind them.
  alignas(64) static char places[2][64];
  FeedEntry a(reinterpret_cast<Session&>(places[0]));
  FeedEntry b(reinterpret_cast<Session&>(places[1]));
  Watcher watcher;
  feed.add(watcher);
  feed.touch(a);
  feed.touch(b);
  feed.touch(a);
  EXPECT_EQ(watcher.told, 3);
  std::vector<const Session*> seen;
  feed.for_each_after(1, [&](Session& session) { seen.push_back(&session); });
  EXPECT_EQ(seen, (std::vector<const Session*>{&b.session(), &a.session()}))
      << "oldest first, each once";
  watcher.seen = 2;
  EXPECT_TRUE(feed.seen_by_all(b));
  EXPECT_FALSE(feed.seen_by_all(a));
  feed.forget(b);
  EXPECT_EQ(feed.forgotten(), 2U);
}

}  // namespace
}  // namespace berth::server
