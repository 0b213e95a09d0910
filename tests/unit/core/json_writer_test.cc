#include <berth/core/json_writer.h>

#include <gtest/gtest.h>

#include <limits>

namespace berth {
namespace {

std::string json_of(std::string_view text) {
  std::string out;
  append_json_string(out, text);
  return out;
}

TEST(JsonString, CopiesPlainTextAsItIs) {
  EXPECT_EQ(json_of(""), "\"\"");
  EXPECT_EQ(json_of("hello, world of long lines"), "\"hello, world of long lines\"");
}

TEST(JsonString, EscapesAtEveryPlaceOfAWord) {
  for (std::size_t at = 0; at < 20; ++at) {
    for (int c = 0; c < 0x80; ++c) {
      std::string text(20, 'x');
      text[at] = static_cast<char>(c);
      const std::string out = json_of(text);
      const bool plain = c >= 0x20 && c != '"' && c != '\\';
      EXPECT_EQ(out.size() == 22, plain) << c << " at " << at;
      EXPECT_EQ(out.find_first_of("\r\n"), std::string::npos);
    }
  }
}

TEST(JsonString, UsesTheShortEscapes) {
  EXPECT_EQ(json_of("\"\\\b\f\n\r\t"), R"("\"\\\b\f\n\r\t")");
  EXPECT_EQ(json_of(std::string_view("\0\x1f\x7f", 3)), "\"\\u0000\\u001f\x7f\"");
}

TEST(JsonString, KeepsValidUtf8) {
  const std::string text =
      "gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80 \xEF\xBF\xBF \xF4\x8F\xBF\xBF";
  EXPECT_EQ(json_of(text), "\"" + text + "\"");
}

TEST(JsonString, ReplacesEachMaximalInvalidPart) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(json_of("a\xFF"
                    "b"),
            "\"a" + r + "b\"");
  EXPECT_EQ(json_of("\xC0\xAF"), "\"" + r + r + "\"") << "overlong form";
  EXPECT_EQ(json_of("\xED\xA0\x80"), "\"" + r + r + r + "\"") << "surrogate";
  EXPECT_EQ(json_of("\xF4\x90\x80\x80"), "\"" + r + r + r + r + "\"") << "above U+10FFFF";
  EXPECT_EQ(json_of("\xF0\x9F\x98"
                    "x"),
            "\"" + r + "x\"")
      << "cut in the middle";
  EXPECT_EQ(json_of("\xE2\x82"), "\"" + r + "\"") << "cut at the end";
  EXPECT_EQ(json_of("\x80"), "\"" + r + "\"");
}

TEST(JsonWriter, PutsCommasAndColons) {
  std::string out = "head ";
  JsonWriter json(out);
  json.begin_object();
  json.member("a", "x").member_int64("b", -5).member_bool("c", true).member_uint64("d", ~0ULL);
  json.key("e")
      .begin_array()
      .null()
      .number(1.5)
      .begin_object()
      .end_object()
      .string("z")
      .end_array();
  json.member_raw("f", R"({"raw":[1]})");
  EXPECT_FALSE(json.complete());
  json.end_object();
  EXPECT_TRUE(json.complete());
  EXPECT_EQ(out, R"(head {"a":"x","b":-5,"c":true,"d":18446744073709551615,)"
                 R"("e":[null,1.5,{},"z"],"f":{"raw":[1]}})");
}

TEST(JsonWriter, WritesNumbersAtTheirLimits) {
  std::string out;
  JsonWriter json(out);
  json.begin_array();
  json.int64(std::numeric_limits<std::int64_t>::min());
  json.number(std::numeric_limits<double>::max());
  json.number(std::numeric_limits<double>::infinity());
  json.number(std::numeric_limits<double>::quiet_NaN());
  json.number(0.1).end_array();
  EXPECT_EQ(out, "[-9223372036854775808,1.7976931348623157e+308,null,null,0.1]");
}

TEST(JsonWriter, EscapesKeys) {
  std::string out;
  JsonWriter(out).begin_object().member("a\"b", "").end_object();
  EXPECT_EQ(out, R"({"a\"b":""})");
}

TEST(JsonWriterDeathTest, EndsTheProgramOnMisuse) {
  std::string out;
  EXPECT_DEATH(JsonWriter(out).begin_object().string("no key"), "invariant");
  EXPECT_DEATH(JsonWriter(out).begin_array().end_object(), "invariant");
  EXPECT_DEATH(JsonWriter(out).begin_array().key("k"), "invariant");
  EXPECT_DEATH(JsonWriter(out).null().null(), "invariant");
}

}  // namespace
}  // namespace berth
