#include <berth/core/json_doc.h>
#include <berth/core/prng.h>
#include <berth/server/sessions/text_chunk.h>

#include <gtest/gtest.h>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::server {
namespace {

constexpr std::size_t kNoMax = 1 << 20;

struct Said {
  std::string turn = "trn_1";
  std::string agent = "one";
  std::string update;
};

std::string chunk(const std::string& text, const std::string& kind = "agent_message_chunk") {
  return R"({"sessionUpdate":")" + kind + R"(","content":{"type":"text","text":")" + text + "\"}}";
}

/// What a journal makes of these in one batch: one stretch of frames.
std::string frames_of(const std::vector<Said>& all, std::size_t text_max) {
  ByteBuffer frames;
  OpenChunk open;
  std::uint64_t seq = 0;
  for (const Said& said : all) {
    EventHead head{0, "t", "update", said.turn, said.agent};
    if (open.join(frames, head, said.update, text_max)) continue;
    head.seq = ++seq;
    append_frame(frames, head, said.update);
    open.open(frames, said.update.size());
  }
  return std::string(frames.view());
}

/// The data of each event.
std::vector<std::string> events_of(const std::string& frames) {
  std::vector<std::string> events;
  std::string_view rest = frames;
  for (Frame frame; next_frame(rest, frame);) {
    const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
    EXPECT_TRUE(doc.has_value()) << frame.data;
    events.push_back(doc.has_value() ? doc->root().raw("data") : std::string());
    EXPECT_EQ(frame.seq, events.size());
  }
  return events;
}

TEST(TextChunk, ATextBlockAloneIsOneWhateverTheOrderOfItsMembers) {
  const std::string_view updates[] = {
      R"({"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"abc"}})",
      R"({"sessionUpdate":"agent_thought_chunk","content":{"type":"text","text":"abc"}})",
      R"({"sessionUpdate":"agent_message_chunk","messageId":"m",)"
      R"("content":{"type":"text","text":"abc"}})",
      R"({"sessionUpdate":"agent_message_chunk",)"
      R"("content":{"type":"text","text":"abc"},"messageId":"m"})",
      R"({"content":{"text":"abc","type":"text"},"sessionUpdate":"agent_message_chunk"})",
  };
  for (const std::string_view update : updates) {
    const auto cut = text_chunk_of(update);
    ASSERT_TRUE(cut.has_value()) << update;
    EXPECT_EQ(cut->text, "abc") << update;
    EXPECT_EQ(std::string(cut->head) + "abc" + std::string(cut->tail), update);
  }
}

TEST(TextChunk, ItsTextEndsAtTheQuoteThatIsNotEscaped) {
  for (const std::string_view text :
       {R"()", R"(\")", R"(\\)", R"(\\\")", R"(a\\\\)", R"(\"}},\"messageId\":\"x)"}) {
    const auto cut = text_chunk_of(chunk(std::string(text)));
    ASSERT_TRUE(cut.has_value()) << text;
    EXPECT_EQ(cut->text.size(), text.size()) << text;
  }
}

TEST(TextChunk, WhatHoldsAnythingElseIsNone) {
  for (const std::string_view update : {
           R"({})",
           R"({"sessionUpdate":"agent_message_chunk"})",
           R"({"content":{"type":"text","text":"abc"}})",
           R"({"sessionUpdate":"user_message_chunk","content":{"type":"text","text":"abc"}})",
           R"({"sessionUpdate":"plan","entries":[]})",
           R"({"sessionUpdate":"agent_message_chunk","content":{"type":"image","data":"abc"}})",
           R"({"sessionUpdate":"agent_message_chunk","content":{"type":"text"}})",
           R"({"sessionUpdate":"agent_message_chunk","content":{"text":"abc","annotations":{}}})",
           R"({"sessionUpdate":"agent_message_chunk",)"
           R"("content":{"type":"text","text":"abc"},"_meta":{}})",
           R"({"_meta":{},"sessionUpdate":"agent_message_chunk",)"
           R"("content":{"type":"text","text":"a"}})",
           R"({"sessionUpdate":"agent_message_chunk","messageId":null,)"
           R"("content":{"type":"text","text":"a"}})",
           R"({"sessionUpdate":"agent_message_chunk", "content":{"type":"text","text":"abc"}})",
           R"({"sessionUpdate":"agent_message_chunk",)"
           R"("content":{"type":"text","text":"a"},"content":1})",
       }) {
    EXPECT_FALSE(text_chunk_of(update).has_value()) << update;
  }
}

TEST(OpenChunk, ChunksOfOneMessageBecomeOneEvent) {
  const auto events = events_of(frames_of(
      {{.update = chunk("abc")}, {.update = chunk(R"(\"d)")}, {.update = chunk("ef")}}, kNoMax));
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0], chunk(R"(abc\"def)"));
}

TEST(OpenChunk, WhatDiffersInAnythingStaysAnEventOfItsOwn) {
  const std::string one = chunk("one");
  const std::string with_id = R"({"sessionUpdate":"agent_message_chunk","messageId":"m1",)"
                              R"("content":{"type":"text","text":"x"}})";
  const std::string other_id = R"({"sessionUpdate":"agent_message_chunk","messageId":"m2",)"
                               R"("content":{"type":"text","text":"x"}})";
  const std::string id_behind = R"({"sessionUpdate":"agent_message_chunk",)"
                                R"("content":{"type":"text","text":"x"},"messageId":"m1"})";
  const std::string other_behind = R"({"sessionUpdate":"agent_message_chunk",)"
                                   R"("content":{"type":"text","text":"x"},"messageId":"m2"})";
  const std::string meta = R"({"sessionUpdate":"agent_message_chunk",)"
                           R"("content":{"type":"text","text":"x"},"_meta":{"a":1}})";
  const std::pair<Said, Said> pairs[] = {
      {{.update = one}, {.turn = "trn_2", .update = one}},
      {{.update = one}, {.turn = "", .update = one}},
      {{.update = one}, {.agent = "two", .update = one}},
      {{.agent = "", .update = one}, {.update = one}},
      {{.update = one}, {.update = chunk("one", "agent_thought_chunk")}},
      {{.update = with_id}, {.update = other_id}},
      {{.update = one}, {.update = with_id}},
      {{.update = id_behind}, {.update = other_behind}},
      {{.update = one}, {.update = id_behind}},
      {{.update = meta}, {.update = meta}},
      {{.update = one}, {.update = R"({"sessionUpdate":"plan","entries":[]})"}},
      {{.update = R"({"sessionUpdate":"plan","entries":[]})"}, {.update = one}},
  };
  for (const auto& [first, second] : pairs) {
    const auto events = events_of(frames_of({first, second}, kNoMax));
    ASSERT_EQ(events.size(), 2U) << first.update << second.update;
    EXPECT_EQ(events[0], first.update);
    EXPECT_EQ(events[1], second.update);
  }
}

TEST(OpenChunk, NothingIsJoinedAcrossAnotherEventOrIntoANewStretch) {
  ByteBuffer frames;
  OpenChunk open;
  const EventHead head{1, "t", "update", "trn_1", "one"};
  append_frame(frames, head, chunk("a"));
  open.open(frames, chunk("a").size());
  open.close();
  EXPECT_FALSE(open.join(frames, head, chunk("b"), kNoMax));
}

TEST(OpenChunk, TheTextOfAnEventIsBounded) {
  const std::vector<Said> all = {
      {.update = chunk("aaaa")}, {.update = chunk("bbbb")}, {.update = chunk("c")}};
  EXPECT_EQ(events_of(frames_of(all, 8)), (std::vector{chunk("aaaabbbb"), chunk("c")}));
  EXPECT_EQ(events_of(frames_of(all, 7)), (std::vector{chunk("aaaa"), chunk("bbbbc")}));
  EXPECT_EQ(events_of(frames_of(all, 0)), (std::vector{chunk("aaaa"), chunk("bbbb"), chunk("c")}));
}

// --- whatever agents say, readers put the same together ---

/// The texts of events, each with what it belongs to, as a reader joins them.
std::vector<std::string> as_read(const std::string& frames) {
  std::vector<std::string> messages;
  std::string owner_before;
  std::string_view rest = frames;
  for (Frame frame; next_frame(rest, frame);) {
    const Result<JsonDoc> doc = JsonDoc::parse(frame.data);
    EXPECT_TRUE(doc.has_value()) << frame.data;
    if (!doc.has_value()) return messages;
    const JsonView root = doc->root();
    const std::string text(root.get_string("data.content.text").value_or(""));
    std::string owner = root.raw("turn") + root.raw("agent");
    for (const auto& [name, value] : root.find("data").members()) {
      owner += std::string(name) + (name == "content" ? value.raw("type") : value.raw());
    }
    if (owner != owner_before) messages.push_back(owner + ": ");
    messages.back() += text;
    owner_before = owner;
  }
  return messages;
}

Said random_update(Prng& random) {
  static constexpr std::string_view kPieces[] = {"a",         " ",
                                                 "word",      R"(\")",
                                                 R"(\\)",     R"(\n)",
                                                 R"(\u0041)", R"(\ud83d\ude00)",
                                                 "\xc3\xa9",  "\xf0\x9f\x98\x80",
                                                 R"(\"}})",   R"(\",\"text\":\"x)",
                                                 R"(\\\")",   "}",
                                                 "{",         ":",
                                                 ","};
  std::string text;
  for (std::uint64_t more = random.below(6); more > 0; --more) {
    text += kPieces[random.below(std::size(kPieces))];
  }
  const std::string kind = random.one_in(10) ? "agent_thought_chunk" : "agent_message_chunk";
  const std::string id = R"("messageId":"m)" + std::to_string(random.below(2)) + "\"";
  const std::string said = R"("sessionUpdate":")" + kind + "\"";
  const std::string content = R"("content":{"type":"text","text":")" + text + "\"}";
  const std::string forms[] = {
      "{" + said + "," + content + "}",
      "{" + said + "," + id + "," + content + "}",
      "{" + said + "," + content + "," + id + "}",
      "{" + content + "," + said + "}",
      "{" + said + "," + content + R"(,"_meta":{"a":)" + std::to_string(random.below(3)) + "}}",
      "{" + said + R"(,"content":{"type":"text","text":")" + text + R"(","annotations":null}})",
      "{" + said + " ," + content + "}",
  };
  // Mostly the same as before, so that much is joined.
  const std::size_t form = random.one_in(8) ? random.below(std::size(forms)) : 0;
  return {.turn = random.one_in(16) ? "trn_2" : "trn_1",
          .agent = random.one_in(16) ? "two" : "one",
          .update = forms[form]};
}

TEST(OpenChunk, AnySequenceOfUpdatesReadsTheSameJoinedAndNot) {
  std::size_t apart = 0;
  std::size_t joined = 0;
  for (std::uint64_t seed = 1; seed <= 2000; ++seed) {
    Prng random(seed);
    std::vector<Said> all;
    for (std::uint64_t more = 1 + random.below(20); more > 0; --more)
      all.push_back(random_update(random));
    const std::size_t text_max = 1 + random.below(120);
    const std::string together = frames_of(all, text_max);
    ASSERT_EQ(as_read(together), as_read(frames_of(all, 0))) << "seed " << seed << "\n" << together;
    apart += all.size();
    joined += events_of(together).size();
  }
  EXPECT_LT(joined, apart * 4 / 5) << "hardly anything was joined";
}

}  // namespace
}  // namespace berth::server
