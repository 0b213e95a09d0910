#include <berth/core/json_scan.h>
#include <berth/core/ndjson.h>
#include <gtest/gtest.h>
#include <simdjson.h>

#include <random>
#include <string>
#include <vector>

namespace berth {
namespace {

/// A line in memory of exactly the promised size, so that a sanitizer sees a read behind the
/// padding.
class Padded {
 public:
  explicit Padded(std::string_view line, char padding = '}')
      : bytes_(line.begin(), line.end()), size_(line.size()) {
    bytes_.resize(size_ + kLinePadding, padding);
  }
  std::string_view line() const { return {bytes_.data(), size_}; }

 private:
  std::vector<char> bytes_;
  std::size_t size_;
};

class JsonScan : public testing::Test {
 protected:
  /// The line stays alive until the next call.
  ScanResult scan(std::string_view line) {
    padded_ = std::make_unique<Padded>(line);
    return scanner_.scan_line(padded_->line());
  }
  RoutedLine routed(std::string_view line) {
    const ScanResult result = scan(line);
    EXPECT_TRUE(result.has_value()) << line << ": " << (result ? "" : result.error().message);
    return result.value_or(RoutedLine{});
  }
  ScanErrorKind error(std::string_view line) {
    const ScanResult result = scan(line);
    EXPECT_FALSE(result.has_value()) << line;
    return result ? ScanErrorKind{255} : result.error().kind;
  }

  JsonScanner scanner_;
  std::unique_ptr<Padded> padded_;
};

constexpr std::string_view kUpdateLine =
    R"({"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s-1","update":)"
    R"({"sessionUpdate":"agent_message_chunk","messageId":"m1","content":{"type":"text",)"
    R"("text":"Hello\n{[\"w\u00f6rld\"]}"}},"_meta":{"n":[1,-2.5e3,true,null,{}]}}})";

TEST_F(JsonScan, RoutesASessionUpdate) {
  const RoutedLine line = routed(kUpdateLine);
  EXPECT_EQ(line.kind, MessageKind::notification);
  EXPECT_EQ(line.id.kind, IdKind::none);
  EXPECT_EQ(line.method, "session/update");
  EXPECT_EQ(line.session_id, "s-1");
  EXPECT_EQ(line.update_kind, "agent_message_chunk");
  EXPECT_EQ(line.message_id, "m1");
  EXPECT_EQ(line.tool_call_id, "");
  EXPECT_EQ(line.update,
            R"({"sessionUpdate":"agent_message_chunk","messageId":"m1","content":{"type":"text",)"
            R"("text":"Hello\n{[\"w\u00f6rld\"]}"}})");
  EXPECT_EQ(line.params.substr(0, 18), R"({"sessionId":"s-1")");
  EXPECT_TRUE(line.params.ends_with("true,null,{}]}}")) << line.params;
  EXPECT_FALSE(line.has_raw_cr);
}

TEST_F(JsonScan, RoutesRequestsWithEveryKindOfId) {
  RoutedLine line = routed(R"({"jsonrpc":"2.0","id":7,"method":"m","params":{"update":3}})");
  EXPECT_EQ(line.kind, MessageKind::request);
  EXPECT_EQ(line.id.kind, IdKind::integer);
  EXPECT_EQ(line.id.integer, 7);
  EXPECT_EQ(line.id.json, "7");
  EXPECT_EQ(line.params, R"({"update":3})");
  EXPECT_EQ(line.update, "") << "not an object";
  line = routed(R"({"id" : -9223372036854775808 ,"method":"m"})");
  EXPECT_EQ(line.id.integer, INT64_MIN);
  EXPECT_EQ(line.id.json, "-9223372036854775808");
  line = routed(R"({"id":"a\"b","method":"m"})");
  EXPECT_EQ(line.id.kind, IdKind::string);
  EXPECT_EQ(line.id.json, R"("a\"b")");
  line = routed(R"({"id":null,"method":"m"})");
  EXPECT_EQ(line.kind, MessageKind::request);
  EXPECT_EQ(line.id.kind, IdKind::null);
}

TEST_F(JsonScan, RoutesAnswers) {
  RoutedLine line = routed(R"({"jsonrpc":"2.0","id":3,"result":{"stopReason":"end_turn"}})");
  EXPECT_EQ(line.kind, MessageKind::response);
  EXPECT_EQ(line.result, R"({"stopReason":"end_turn"})");
  line = routed(R"({"jsonrpc":"2.0","id":3,"result":null})");
  EXPECT_EQ(line.kind, MessageKind::response);
  EXPECT_EQ(line.result, "null");
  line = routed(R"({"jsonrpc":"2.0","id":3,"error":{"code":-32000},"result":null})");
  EXPECT_EQ(line.kind, MessageKind::error_response);
  EXPECT_EQ(line.error, R"({"code":-32000})");
  line = routed(R"({"jsonrpc":"2.0","id":3,"result":1,"error":null})");
  EXPECT_EQ(line.kind, MessageKind::response);
  line = routed(R"({"jsonrpc":"2.0","id":3})");
  EXPECT_EQ(line.kind, MessageKind::response) << "agents leave an empty result out";
  EXPECT_EQ(line.result, "");
}

TEST_F(JsonScan, RefusesObjectsThatAreNoMessage) {
  for (const char* line : {
           R"({})",
           R"({"jsonrpc":"2.0"})",
           R"({"id":5,"level":"info","msg":"a log line of an agent"})",
           R"({"jsonrpc":"1.0","id":1,"method":"m"})",
           R"({"jsonrpc":2.0,"id":1,"method":"m"})",
           R"({"id":1.5,"method":"m"})",
           R"({"id":1e3,"method":"m"})",
           R"({"id":9223372036854775808,"method":"m"})",
           R"({"id":{},"method":"m"})",
           R"({"id":true,"method":"m"})",
           R"({"method":5})",
           R"({"method":null,"id":1})",
           R"({"method":"m","params":"text"})",
           R"({"method":"m","params":5})",
           R"({"method":"m","id":1,"result":{}})",
           R"({"method":"m","id":1,"error":null})",
           R"({"id":1,"result":{},"error":{}})",
           R"({"result":{}})",
       }) {
    EXPECT_EQ(error(line), ScanErrorKind::not_json_rpc) << line;
  }
}

TEST_F(JsonScan, ComparesKeysUnescaped) {
  const RoutedLine line = routed(
      R"({"m\u0065thod":"session\/upd\u0061te","param\u0073":{"\u0073essionId":"s\t1","update":)"
      R"({"session\u0055pdate":"x","toolCallI\u0064":"\ud83d\ude00"}}})");
  EXPECT_EQ(line.method, "session/update");
  EXPECT_EQ(line.session_id, "s\t1");
  EXPECT_EQ(line.update_kind, "x");
  EXPECT_EQ(line.tool_call_id, "\xF0\x9F\x98\x80");
}

TEST_F(JsonScan, RefusesDuplicatesOfKeysThatRoute) {
  for (const char* line : {
           R"({"method":"a","method":"b"})",
           R"({"method":"a","m\u0065thod":"b"})",
           R"({"m\u0065thod":"a","method":"b"})",
           R"({"id":1,"id":1,"method":"a"})",
           R"({"method":"a","params":{},"params":{}})",
           R"({"method":"a","params":null,"params":{}})",
           R"({"id":1,"result":1,"result":2})",
           R"({"id":1,"error":1,"error":2})",
           R"({"method":"a","params":{"sessionId":"a","sessionId":"b"}})",
           R"({"method":"a","params":{"sessionId":"a","x":{},"session\u0049d":"b"}})",
           R"({"method":"a","params":{"update":{},"update":{}}})",
           R"({"method":"a","params":{"update":{"toolCallId":"1","toolCallId":"2"}}})",
       }) {
    EXPECT_EQ(error(line), ScanErrorKind::duplicate_key) << line;
  }
  routed(R"({"method":"a","params":{"id":1,"a":{"id":1,"id":2},"b":1,"b":1},"x":1,"x":2})");
}

TEST_F(JsonScan, IgnoresKeysThatRouteInOtherPlaces) {
  const RoutedLine line =
      routed(R"({"x":{"method":"no","id":9},"method":"yes","params":[{"sessionId":"no"}],)"
             R"("\u0000method":1,"method\u0000":1,"meth":1,"methodd":2})");
  EXPECT_EQ(line.method, "yes");
  EXPECT_EQ(line.id.kind, IdKind::none);
  EXPECT_EQ(line.session_id, "");
}

TEST_F(JsonScan, ToleratesWhiteSpaceAndTellsOfARawCarriageReturn) {
  EXPECT_FALSE(routed(" {\t\"id\" : 1 , \"method\" : \"m\" } ").has_raw_cr);
  const RoutedLine line = routed("{\"id\": 1\r,\r\"method\"\r:\"m\",\"params\" :\r[ ]\r}\r");
  EXPECT_TRUE(line.has_raw_cr);
  EXPECT_EQ(line.id.json, "1");
  EXPECT_EQ(line.params, "[ ]");
  EXPECT_FALSE(routed(R"({"method":"a\rb"})").has_raw_cr) << "an escaped one is harmless";
}

TEST_F(JsonScan, TellsKindsOfBadLinesApart) {
  EXPECT_EQ(error("Server started on port 80"), ScanErrorKind::bad_json);
  EXPECT_EQ(error("true story"), ScanErrorKind::bad_json);
  EXPECT_EQ(error(""), ScanErrorKind::bad_json);
  EXPECT_EQ(error("   "), ScanErrorKind::bad_json);
  EXPECT_EQ(error("{\"method\":\"\xFF\"}"), ScanErrorKind::bad_utf8);
  EXPECT_EQ(error(R"([{"method":"a"}])"), ScanErrorKind::not_an_object);
  EXPECT_EQ(error("12"), ScanErrorKind::not_an_object);
  EXPECT_EQ(error("\"text\""), ScanErrorKind::not_an_object);
  EXPECT_EQ(error("null"), ScanErrorKind::not_an_object);
  EXPECT_EQ(error("[1,]"), ScanErrorKind::bad_json);
  EXPECT_EQ(error("12x"), ScanErrorKind::bad_json);
  EXPECT_EQ(scan(R"({"method":"a","b":tru})").error().offset, 18U);
  EXPECT_EQ(scan(R"({"method":"a\x"})").error().offset, 12U);
}

TEST_F(JsonScan, LoneSurrogatesCanBeReplaced) {
  const std::string_view cut = R"({"method":"m","params":{"sessionId":"\ud83d","a":")"
                               R"(\n\ud83d\ude00\uDE00\uD83Dx\ud83d\ud83d"}})";
  EXPECT_EQ(error(cut), ScanErrorKind::bad_json);
  const LineBuffer repaired = replace_lone_surrogates(cut);
  EXPECT_EQ(repaired.text(), R"({"method":"m","params":{"sessionId":"\ufffd","a":")"
                             R"(\n\ud83d\ude00\ufffd\ufffdx\ufffd\ufffd"}})");
  EXPECT_EQ(routed(repaired.text()).session_id, "\xEF\xBF\xBD");
  EXPECT_TRUE(replace_lone_surrogates(R"({"a":"\ud83d\ude00"})").empty()) << "nothing to do";
  EXPECT_TRUE(replace_lone_surrogates(R"({"a":"\ud83d\x"})").empty()) << "still bad";
  EXPECT_TRUE(replace_lone_surrogates(R"({"a":"\ud83)").empty());
  EXPECT_TRUE(replace_lone_surrogates("").empty());
}

TEST_F(JsonScan, ChecksWhatNobodyReads) {
  const auto inside = [](std::string_view value) {
    return R"({"method":"m","params":{"deep":[{"a":)" + std::string(value) + "}]}}";
  };
  for (const char* good : {"0", "-0", "1.5", "1E+5", "-0.0e-0", "18446744073709551615", "1e308",
                           "-9223372036854775808", "1e-999", "true", "\"\\ud83d\\ude00\"", "[]"}) {
    EXPECT_TRUE(scan(inside(good)).has_value()) << good;
  }
  for (const char* bad : {"01",
                          "-",
                          "1.",
                          ".5",
                          "1e",
                          "1e+",
                          "+1",
                          "1e999",
                          "18446744073709551616",
                          "- 1",
                          "0x1",
                          "-9223372036854775809",
                          "tru",
                          "truee",
                          "nul",
                          "True",
                          "NaN",
                          "\"\\x\"",
                          "\"\\u12g4\"",
                          "\"\\ud800\"",
                          "\"\\udc00\"",
                          "\"\\ud800\\u0041\"",
                          "[1,]",
                          "[,1]",
                          "{\"a\"}",
                          "{\"a\":}",
                          "{1:2}",
                          "[1 2]",
                          "{}{}",
                          "[}",
                          "]",
                          "",
                          "\"a",
                          "\"\t\"",
                          "1\"a\"",
                          "\\\"a\"",
                          "\"a\"\\",
                          "1 : 2",
                          "{\"a\":1,}"}) {
    EXPECT_EQ(error(inside(bad)), ScanErrorKind::bad_json) << bad;
  }
  EXPECT_EQ(error(R"({"method":"m"}{"method":"n"})"), ScanErrorKind::bad_json);
  EXPECT_EQ(error(R"({"method":"m"},)"), ScanErrorKind::bad_json);
  EXPECT_EQ(error(R"({"method":"m")"), ScanErrorKind::bad_json);
  EXPECT_EQ(error(R"({"method":"m","params":{)"), ScanErrorKind::bad_json);
}

TEST_F(JsonScan, NeverTakesThePaddingForAPartOfTheLine) {
  for (const char* line : {R"({"method":"m")", R"({"method":"m","params":{"a":1})",
                           R"({"method":"m","a":1)", R"({"method":"m",)", R"({"method":)", "{"}) {
    for (const char padding : {'}', ',', ']', '1', '"', ' ', ':'}) {
      const Padded padded(line, padding);
      EXPECT_FALSE(scanner_.scan_line(padded.line()).has_value()) << line << padding;
    }
  }
}

TEST_F(JsonScan, LimitsDepthLikeTheDomParser) {
  const auto nested = [](std::size_t levels) {
    return R"({"method":"m","params":)" + std::string(levels, '[') + "1" +
           std::string(levels, ']') + "}";
  };
  EXPECT_TRUE(scan(nested(1022)).has_value());
  EXPECT_EQ(error(nested(1023)), ScanErrorKind::too_deep);
  EXPECT_EQ(error(nested(100'000)), ScanErrorKind::too_deep);
}

TEST_F(JsonScan, TakesABigLineAndGivesTheMemoryBack) {
  std::string text(10 << 20, 'x');
  for (std::size_t i = 0; i + 2 < text.size(); i += 1000) text.replace(i, 2, "\\n");
  const RoutedLine line = routed(R"({"method":"m","params":{"text":")" + text + "\"}}");
  EXPECT_EQ(line.params.size(), text.size() + 11);
  EXPECT_LE(scanner_.capacity(), JsonScanner::kKeepMax);
  EXPECT_EQ(routed(kUpdateLine).session_id, "s-1");
}

/// Lines made of tokens that fit together often, and mutated texts: the verdict must be that of the
/// DOM parser.
TEST_F(JsonScan, AgreesWithTheDomParserOnWhatIsValid) {
  std::mt19937 prng(4711);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(prng() % n); };
  const std::vector<std::string> tokens = {"{",
                                           "}",
                                           "[",
                                           "]",
                                           ":",
                                           ",",
                                           "\"a\"",
                                           "\"method\"",
                                           "\"\\u0069d\"",
                                           "1",
                                           "-1.5e3",
                                           "1e400",
                                           "true",
                                           "null",
                                           " ",
                                           "\r",
                                           "\\",
                                           "\"",
                                           "\"\\ud83d\"",
                                           "x",
                                           "00",
                                           "\"params\":{",
                                           "\xC3\xBC"};
  simdjson::dom::parser dom;
  int valid = 0;
  for (int round = 0; round < 60'000; ++round) {
    std::string line(kUpdateLine);
    if (round % 2 == 0) {
      line = R"({"method":"m","a":[)";
      for (std::size_t i = below(8); i > 0; --i) line += tokens[below(tokens.size())];
      line += "]}";
    }
    for (std::size_t i = below(3); i > 0; --i) {
      const std::string& token = tokens[below(tokens.size())];
      line.replace(below(line.size()), below(2), token);
    }
    const ScanResult result = scan(line);
    const auto document = dom.parse(line);
    const bool dom_takes = document.error() == simdjson::SUCCESS;
    valid += dom_takes ? 1 : 0;
    const bool is_json = result.has_value() ||
                         result.error().kind == ScanErrorKind::not_an_object ||
                         result.error().kind == ScanErrorKind::not_json_rpc;
    if (!result.has_value() && result.error().kind == ScanErrorKind::duplicate_key) continue;
    ASSERT_EQ(is_json, dom_takes) << line << "\n" << (result ? "" : result.error().message);
    if (!result.has_value()) continue;
    for (const std::string_view raw : {result->params, result->update, result->id.json}) {
      if (raw.empty()) continue;
      ASSERT_EQ(dom.parse(raw.data(), raw.size()).error(), simdjson::SUCCESS) << line;
    }
  }
  EXPECT_GT(valid, 2'000) << "the property must be tried on valid lines too";
}

}  // namespace
}  // namespace berth
