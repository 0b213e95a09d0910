#include <berth/core/json_doc.h>

#include <gtest/gtest.h>

namespace berth {
namespace {

JsonDoc parsed(std::string_view text) {
  Result<JsonDoc> doc = JsonDoc::parse(text);
  EXPECT_TRUE(doc.has_value()) << text;
  return std::move(*doc);
}

TEST(JsonDoc, ReadsMembersByPath) {
  const JsonDoc doc = parsed(R"({"a":{"b":{"c":true,"s":"x\ny"},"n":-5},"z":null,"":{"":1}})");
  EXPECT_EQ(doc.root().get_bool("a.b.c"), true);
  EXPECT_EQ(doc.root().get_string("a.b.s"), "x\ny");
  EXPECT_EQ(doc.root().get_int64("a.n"), -5);
  EXPECT_EQ(doc.root().find("a").find("b").get_bool("c"), true);
  EXPECT_TRUE(doc.root().find("z").is_null());
  EXPECT_TRUE(doc.root().is_object("a.b"));
}

TEST(JsonDoc, WhatIsAbsentOrOfAnotherTypeAnswersNo) {
  const JsonDoc doc = parsed(R"({"a":{"n":1.5,"big":18446744073709551615},"s":"t"})");
  EXPECT_FALSE(doc.root().find("a.x").present());
  EXPECT_FALSE(doc.root().find("s.x").present()) << "no way into a string";
  EXPECT_FALSE(doc.root().find("x.y.z").is_object());
  EXPECT_EQ(doc.root().get_string("a"), std::nullopt);
  EXPECT_EQ(doc.root().get_int64("a.n"), std::nullopt);
  EXPECT_EQ(doc.root().get_int64("a.big"), std::nullopt);
  EXPECT_EQ(doc.root().get_bool("s"), std::nullopt);
  EXPECT_TRUE(doc.root().elements("s").empty());
  EXPECT_TRUE(doc.root().find("s").members().empty());
  EXPECT_EQ(doc.root().raw("a.x"), "");
  EXPECT_FALSE(JsonView().present());
}

TEST(JsonDoc, ListsElementsAndMembersInOrder) {
  const JsonDoc doc = parsed(R"({"list":[1,"two",[3]],"o":{"b":1,"a":2}})");
  const std::vector<JsonView> list = doc.root().elements("list");
  ASSERT_EQ(list.size(), 3U);
  EXPECT_EQ(list[0].as_int64(), 1);
  EXPECT_EQ(list[0].as_double(), 1.0);
  EXPECT_EQ(list[1].as_string(), "two");
  EXPECT_TRUE(list[2].is_array());
  const auto members = doc.root().find("o").members();
  ASSERT_EQ(members.size(), 2U);
  EXPECT_EQ(members[0].first, "b");
  EXPECT_EQ(members[1].second.as_int64(), 2);
}

TEST(JsonDoc, WritesASubtreeOnOneLineWithItsValues) {
  const JsonDoc doc =
      parsed("{\n \"p\" : [ { \"t\" : \"a\\n\\u00fc\\\"\" ,\r\n\"n\":0.1 } , 1e2, null ]\n}");
  EXPECT_EQ(doc.root().raw("p"), "[{\"t\":\"a\\n\xC3\xBC\\\"\",\"n\":0.1},100.0,null]");
}

TEST(JsonDoc, ViewsStayValidWhenTheDocumentMoves) {
  JsonDoc first = parsed(R"({"a":"text"})");
  const JsonView view = first.root().find("a");
  const JsonDoc second = std::move(first);
  EXPECT_EQ(view.as_string(), "text");
  EXPECT_EQ(second.root().get_string("a"), "text");
}

TEST(JsonDoc, RefusesWhatIsNotJson) {
  for (const char* text : {"", "{", "{} {}", "{\"a\":01}", "\"\xFF\"", "{\"a\":\"\\ud800\"}"}) {
    const Result<JsonDoc> doc = JsonDoc::parse(text);
    ASSERT_FALSE(doc.has_value()) << text;
    EXPECT_EQ(doc.error().kind, ErrorKind::invalid);
    EXPECT_STREQ(doc.error().code, "bad_json");
  }
}

}  // namespace
}  // namespace berth
