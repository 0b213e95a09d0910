#include <berth/server/sessions/frames.h>

#include <gtest/gtest.h>
#include <string>

namespace berth::server {
namespace {

TEST(Frames, LongDataOfALineBecomesTheSameFrame) {
  const std::string update = R"({"a":")" + std::string(200'000, 'x') + "\",\r\"b\":1}";
  const std::string line = R"({"params":{"update":)" + update + "}}";
  const EventHead head{12, "2026-11-21T05:04:57.123Z", "update", "trn_1", "opencode"};
  for (const bool has_raw_cr : {false, true}) {
    for (const bool first : {false, true}) {
      ByteBuffer copied;
      ByteBuffer in_place;
      for (ByteBuffer* out : {&copied, &in_place}) {
        if (!first) append_frame(*out, {11, "t", "turn.started", {}, {}}, "{}");
      }
      append_frame(copied, head, update, has_raw_cr);
      append_frame_in_place(in_place, head, LineBuffer::copy_of(line), line.find(update),
                            update.size(), has_raw_cr);
      EXPECT_TRUE(in_place == copied.view()) << has_raw_cr << first;
    }
  }
}

TEST(Frames, AnEventIsOneSseFrameWithItsEnvelope) {
  std::string out;
  append_frame(out, {12, "2026-11-21T05:04:57.123Z", "update", "trn_1", "opencode"}, R"({"a":1})");
  EXPECT_EQ(out,
            "id: 12\nevent: update\ndata: "
            "{\"seq\":12,\"time\":\"2026-11-21T05:04:57.123Z\",\"type\":\"update\","
            "\"turn\":\"trn_1\",\"agent\":\"opencode\",\"data\":{\"a\":1}}\n\n");
}

TEST(Frames, AbsentTurnAndAgentAreNull) {
  std::string out;
  append_frame(out, {1, "t", "session.opened", {}, {}}, "{}");
  EXPECT_NE(out.find(R"("turn":null,"agent":null)"), std::string::npos);
}

TEST(Frames, ARawCarriageReturnOfAnAgentCannotEndALine) {
  std::string out;
  append_frame(out, {1, "t", "update", {}, {}}, "{\"a\":\r1}", true);
  EXPECT_EQ(out.find('\r'), std::string::npos);
  EXPECT_NE(out.find("{\"a\": 1}"), std::string::npos);
}

TEST(Frames, WalkingGivesBackWhatWasAppended) {
  std::string out;
  for (std::uint64_t seq = 7; seq < 10; ++seq) {
    append_frame(out, {seq, "t", seq == 8 ? "turn.ended" : "update", {}, {}}, std::to_string(seq));
  }
  std::string_view rest = out;
  Frame frame;
  ASSERT_TRUE(next_frame(rest, frame));
  EXPECT_EQ(frame.seq, 7U);
  EXPECT_EQ(frame.type, "update");
  ASSERT_TRUE(next_frame(rest, frame));
  EXPECT_EQ(frame.type, "turn.ended");
  EXPECT_EQ(frame.data.substr(frame.data.size() - 3), ":8}");
  ASSERT_TRUE(next_frame(rest, frame));
  EXPECT_EQ(frame.seq, 9U);
  EXPECT_FALSE(next_frame(rest, frame));
}

TEST(Frames, FramesAfterACursorBeginWithTheNextEvent) {
  std::string out;
  for (std::uint64_t seq = 3; seq < 6; ++seq) append_frame(out, {seq, "t", "update", {}, {}}, "1");
  Frame frame;
  std::string_view rest = frames_after(out, 3, 4);
  ASSERT_TRUE(next_frame(rest, frame));
  EXPECT_EQ(frame.seq, 5U);
  EXPECT_TRUE(frames_after(out, 3, 5).empty());
  EXPECT_EQ(frames_after(out, 3, 1).size(), out.size());
}

}  // namespace
}  // namespace berth::server
