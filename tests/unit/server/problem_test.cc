// Refusals: what a problem document says of an error, and bodies that are refused.
#include <berth/core/json_doc.h>
#include <berth/server/api/body.h>
#include <berth/server/api/problem.h>

#include <gtest/gtest.h>
#include <string>

namespace berth::server {
namespace {

/// The member "field" of the problem; "none" without.
std::string field_in(const Error& error) {
  const Result<JsonDoc> doc = JsonDoc::parse(problem(error).body);
  if (!doc.has_value() || !doc->root().find("field").present()) return "none";
  return std::string(doc->root().get_string("field").value_or("no string"));
}

std::string field_of(const char* message, const char* code = "bad_field") {
  return field_in(make_error(ErrorKind::invalid, code, message));
}

TEST(Problem, NamesTheFieldThatItsMessageBeginsWith) {
  EXPECT_EQ(field_of("prompt[0].text: must be a string"), "prompt[0].text");
  EXPECT_EQ(field_of("Idempotency-Key: above 255 bytes"), "Idempotency-Key");
  EXPECT_EQ(field_of("agent: no profile \"a: b\""), "agent");
}

TEST(Problem, NamesTheElementThatHoldsTheField) {
  EXPECT_EQ(field_of("answers[1]: kind: must be a string"), "answers[1].kind");
  EXPECT_EQ(field_of("answers[1]: nothing in it fits"), "answers[1]");
}

TEST(Problem, NamesWhatHoldsAnOddWordOfTheClient) {
  EXPECT_EQ(field_of("config.a b%: must be a string or a boolean"), "config");
  EXPECT_EQ(field_of("the body is no JSON: at 3"), "none");
  EXPECT_EQ(field_of("must be something"), "none");
}

TEST(Problem, NamesAnUnknownFieldWhateverItIsCalled) {
  EXPECT_EQ(field_of("two words: unknown field", "unknown_field"), "two words");
  EXPECT_EQ(field_of(": unknown field", "unknown_field"), "");
}

TEST(Problem, NamesNoFieldWhereTheRequestIsNotWrong) {
  EXPECT_EQ(field_in(make_error(ErrorKind::conflict, "turn_running", "turn: another one")), "none");
}

TEST(Problem, TellsWhoCountsWhichLimitItIsAbout) {
  const io::HttpResponse full =
      problem(make_error(ErrorKind::overloaded, "overloaded", "queue_max: 64"));
  EXPECT_EQ(full.limit, "queue_max");
  EXPECT_EQ(JsonDoc::parse(full.body)->root().get_string("limit"), "queue_max");
  EXPECT_EQ(problem(make_error(ErrorKind::not_found, "no_such_route", "queue_max: none")).limit,
            "");
}

TEST(Problem, CutsBetweenCharactersWhatAClientSentAtLength) {
  const std::string name = std::string(99, 'x') + "\u00e9\u00e9";
  const std::string message = name + std::string(5000, 'y') + ": unknown field";
  const Error error = make_error(ErrorKind::invalid, "unknown_field", message);
  EXPECT_EQ(field_in(error), name.substr(0, 99) + "...");
  EXPECT_LT(problem(error).body.size(), 1500U);
}

std::string refusal_of(std::string_view text) {
  const Result<Body> body = Body::parse(text, {"a", "b"});
  return body.has_value() ? "" : std::string(body.error().code) + ", " + body.error().message;
}

TEST(Body, TakesKnownFieldsOnceAndNothingElse) {
  EXPECT_EQ(refusal_of(""), "");
  EXPECT_EQ(refusal_of(R"({"a":1,"b":2})"), "");
  EXPECT_EQ(refusal_of(R"({"a":1,"a":1})"), "bad_field, a: is there twice");
  EXPECT_EQ(refusal_of(R"({"a":1,"c":1})"), "unknown_field, c: unknown field");
  EXPECT_EQ(refusal_of("[1]"), "bad_field, body: must be an object");
  EXPECT_EQ(refusal_of("{").substr(0, 8), "bad_json");
}

TEST(Body, TakesForAFlagNothingButTrueAndFalse) {
  const Result<Body> body = Body::parse(R"({"a":true,"b":"true"})", {"a", "b", "c"});
  ASSERT_TRUE(body.has_value());
  EXPECT_EQ(body->flag("a"), true);
  EXPECT_EQ(body->flag("c", true), true);
  EXPECT_EQ(body->flag("b").error().message, "b: must be true or false");
}

}  // namespace
}  // namespace berth::server
