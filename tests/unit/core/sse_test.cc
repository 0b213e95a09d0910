#include <berth/core/sse.h>

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace berth {
namespace {

using std::chrono::milliseconds;
using Calls = std::vector<std::string>;

class Recorder : public SseSink {
 public:
  void on_event(const SseEvent& event) override {
    calls.push_back(std::string(event.id) + "|" + std::string(event.type) + "|" +
                    std::string(event.data));
  }
  void on_retry(milliseconds delay) override {
    calls.push_back("retry " + std::to_string(delay.count()));
  }
  void on_comment(std::string_view text) override { calls.push_back(":" + std::string(text)); }
  Calls calls;
};

Calls parse(std::string_view stream) {
  Recorder sink;
  SseParser parser(sink);
  EXPECT_TRUE(parser.feed(stream).has_value());
  return sink.calls;
}

std::string event(std::uint64_t seq, std::string_view type, std::string_view data) {
  std::string out;
  append_sse_event(out, seq, type, data);
  return out;
}

TEST(SseEncoder, WritesIdTypeAndData) {
  EXPECT_EQ(event(7, "update", "{\"a\":1}"), "id: 7\nevent: update\ndata: {\"a\":1}\n\n");
  EXPECT_EQ(event(~0ULL, "x", ""), "id: 18446744073709551615\nevent: x\ndata: \n\n");
}

TEST(SseEncoder, DataCannotForgeAnotherFieldOrEvent) {
  const std::string hostile = "{}\r\rid: 99\revent: forged\ndata: x\r\n\r\n";
  EXPECT_EQ(parse(event(3, "update", hostile)),
            (Calls{"3|update|{}  id: 99 event: forged data: x    "}));
}

TEST(SseMessages, ComeBackAsTheyWereSent) {
  std::mt19937 random(11);
  const std::string letters("ab: \t\0\xEF\xBB\xBF{", 10);
  for (int round = 0; round < 3000; ++round) {
    const auto text = [&](int most, const std::string& more) {
      const std::string from = letters + more;
      std::string result;
      for (unsigned left = random() % static_cast<unsigned>(most); left > 0; --left) {
        result += from[random() % from.size()];
      }
      return result;
    };
    std::string id = text(6, "");
    std::erase(id, '\0');
    const std::string type = random() % 2 == 0 ? "" : "tick";
    const std::string data = text(40, "\n\n\r\r");
    std::string lines;  // CR, LF and CR LF are one LF to the reader
    for (std::size_t i = 0; i < data.size(); ++i) {
      if (data[i] == '\n' && i > 0 && data[i - 1] == '\r') continue;
      lines += data[i] == '\r' ? '\n' : data[i];
    }
    std::string out;
    append_sse_comment(out, "before");
    ASSERT_TRUE(append_sse_message(out, {id, type, data}).has_value());
    append_sse_comment(out, "after");
    EXPECT_EQ(
        parse(out),
        (Calls{":before", id + "|" + (type.empty() ? "message" : type) + "|" + lines, ":after"}));
  }
}

TEST(SseMessages, RefusesFieldsThatCouldForgeOthers) {
  std::string out = "kept";
  for (const char* bad : {"a\rb", "a\nb", "\n"}) {
    EXPECT_FALSE(append_sse_message(out, {.id = bad, .data = "x"}).has_value());
    EXPECT_FALSE(append_sse_message(out, {.type = bad, .data = "x"}).has_value());
  }
  EXPECT_FALSE(append_sse_message(out, {.id = std::string_view("a\0b", 3)}).has_value());
  EXPECT_FALSE(append_sse_message(out, {.type = "two words"}).has_value());
  EXPECT_EQ(out, "kept");
}

TEST(SseEncoder, HelpersAreNeverEvents) {
  std::string out;
  append_sse_retry(out, milliseconds(1500));
  append_sse_comment(out, "alive\r\ndata: forged");
  EXPECT_EQ(out, "retry: 1500\n\n: alive  data: forged\n\n");
  EXPECT_EQ(parse(out), (Calls{"retry 1500", ":alive  data: forged"}));
}

TEST(SseEncoder, PartsGiveTheSameBytesAsTheWhole) {
  std::string out;
  append_sse_head(out, 12, "prompt_done");
  std::string data = "a\rb\nc";
  blank_line_ends(data.data(), data.size());
  out += data;
  out += kSseTail;
  EXPECT_EQ(out, event(12, "prompt_done", "a\rb\nc"));
}

TEST(SseEncoderDeathTest, RefusesATypeThatCouldEndItsLine) {
  EXPECT_FALSE(is_sse_type("a\nb"));
  EXPECT_FALSE(is_sse_type("a\rb"));
  EXPECT_FALSE(is_sse_type(""));
  EXPECT_FALSE(is_sse_type(" a"));
  EXPECT_FALSE(is_sse_type(std::string(65, 'a')));
  EXPECT_TRUE(is_sse_type("session_update"));
  EXPECT_DEATH(event(1, "a\nid: 5", "x"), "invariant");
}

TEST(SseParser, UnderstandsEveryLineEnd) {
  EXPECT_EQ(parse("data: a\n\ndata: b\r\rdata: c\r\n\r\n"),
            (Calls{"|message|a", "|message|b", "|message|c"}));
}

TEST(SseParser, SkipsOneByteOrderMark) {
  EXPECT_EQ(parse("\xEF\xBB\xBF"
                  "data: a\n\n"),
            (Calls{"|message|a"}));
  EXPECT_EQ(parse("\xEF\xBB\xBF\xEF\xBB\xBF"
                  "data: a\n\n"),
            Calls{});
}

TEST(SseParser, JoinsDataLines) {
  EXPECT_EQ(parse("data: a\ndata:\ndata:b\ndata:  c\n\n"), (Calls{"|message|a\n\nb\n c"}));
  EXPECT_EQ(parse("data\n\n"), (Calls{"|message|"}));
  EXPECT_EQ(parse("data\ndata\n\n"), (Calls{"|message|\n"}));
}

TEST(SseParser, KeepsTheIdUntilTheStreamGivesAnother) {
  EXPECT_EQ(parse("id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n"),
            (Calls{"1|message|a", "1|message|b", "|message|c"}));
}

TEST(SseParser, IgnoresAnIdWithNul) {
  EXPECT_EQ(parse(std::string_view("id: 1\nid: 2\0x\ndata: a\n\n", 23)), (Calls{"1|message|a"}));
}

TEST(SseParser, RemembersAnIdWithoutData) {
  Recorder sink;
  SseParser parser(sink);
  ASSERT_TRUE(parser.feed("id: 41\n").has_value());
  EXPECT_EQ(parser.last_event_id(), "") << "not before the event ends";
  ASSERT_TRUE(parser.feed("\n").has_value());
  EXPECT_EQ(parser.last_event_id(), "41");
  EXPECT_EQ(sink.calls, Calls{});
}

TEST(SseParser, DropsATypeWithoutData) {
  EXPECT_EQ(parse("event: x\n\ndata: a\n\n"), (Calls{"|message|a"}));
}

TEST(SseParser, IgnoresUnknownFieldsAndBadRetries) {
  EXPECT_EQ(parse("datax: 1\nretry: 1s\nretry: -1\nretry:\nretry: 99999999999999999999\n"
                  "retry: 20\ndata: a\n\n"),
            (Calls{"retry 20", "|message|a"}));
}

TEST(SseParser, DropsAnEventCutOffByTheEnd) {
  EXPECT_EQ(parse("data: a\n\ndata: b\n"), (Calls{"|message|a"}));
}

TEST(SseParser, FailsForGoodWhenAnEventIsTooLong) {
  Recorder sink;
  SseParser parser(sink, {.event_max = 16});
  ASSERT_TRUE(parser.feed("data: 12345\ndata: 1234\n\n").has_value());
  ASSERT_TRUE(parser.feed("data: 1234567").has_value());
  const auto too_long = parser.feed("890");
  EXPECT_FALSE(too_long.has_value() && parser.feed("1").has_value());
  EXPECT_FALSE(parser.feed("\n\n").has_value());
  EXPECT_EQ(sink.calls, (Calls{"|message|12345\n1234"}));
}

TEST(SseParser, CountsAllDataLinesOfAnEvent) {
  Recorder sink;
  SseParser parser(sink, {.event_max = 16});
  ASSERT_TRUE(parser.feed("data: 12345\ndata: 12345\n").has_value());
  EXPECT_FALSE(parser.feed("data: 12345\n\n").has_value());
  EXPECT_EQ(sink.calls, Calls{});
}

TEST(SseParser, TheEventsDoNotDependOnTheChunks) {
  std::mt19937 prng(7);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(prng() % n); };
  const std::vector<std::string> pieces = {"data",     ":",        " ",        "\n",
                                           "\r",       "\r\n",     "id: ",     "7",
                                           "event: x", "x",        "retry: 5", "\xEF\xBB\xBF",
                                           "\n\n",     "data: y\n"};
  for (int round = 0; round < 500; ++round) {
    std::string stream;
    for (std::size_t i = below(40); i > 0; --i) stream += pieces[below(pieces.size())];
    const Calls whole = parse(stream);
    Recorder sink;
    SseParser parser(sink);
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t part = 1 + below(4);
      ASSERT_TRUE(parser.feed(std::string_view(stream).substr(at, part)).has_value());
      at += part;
    }
    ASSERT_EQ(sink.calls, whole) << stream;
  }
}

}  // namespace
}  // namespace berth
