#include <berth/core/uri.h>

#include <gtest/gtest.h>

namespace berth {
namespace {

using Path = std::vector<std::string>;
using Query = std::vector<std::pair<std::string, std::string>>;

Target parsed(std::string_view text) {
  Result<Target> target = parse_target(text);
  EXPECT_TRUE(target.has_value()) << text << ": " << (target ? "" : target.error().message);
  return target.value_or(Target{});
}

std::string error_of(std::string_view text, const TargetLimits& limits = {}) {
  const Result<Target> target = parse_target(text, limits);
  EXPECT_FALSE(target.has_value()) << text;
  if (target.has_value()) return "";
  EXPECT_STREQ(target.error().code, "bad_target");
  return target.error().message.substr(std::string_view("request target: ").size());
}

TEST(Uri, SplitsPathAndQuery) {
  const Target target = parsed("/v1/sessions/s-1?after=7&stream=1");
  EXPECT_EQ(target.path, (Path{"v1", "sessions", "s-1"}));
  EXPECT_EQ(target.query, (Query{{"after", "7"}, {"stream", "1"}}));
  EXPECT_EQ(*target.find("after"), "7");
  EXPECT_EQ(target.find("none"), nullptr);
}

TEST(Uri, TheRootHasAnEmptyPath) {
  EXPECT_EQ(parsed("/").path, Path{});
  EXPECT_EQ(parsed("/?").query, Query{});
}

TEST(Uri, DecodesAfterSplitting) {
  const Target target = parsed("/a%2Fb%20c/%C3%BC+?k%3D=v%26w&p+q=a+b%2B&?/=/?");
  EXPECT_EQ(target.path, (Path{"a/b c", "\xC3\xBC+"}));
  EXPECT_EQ(target.query, (Query{{"k=", "v&w"}, {"p q", "a b+"}, {"?/", "/?"}}));
}

TEST(Uri, KeepsEmptyAndRepeatedParameters) {
  EXPECT_EQ(parsed("/a?x&y=&&x=1=2&=z").query,
            (Query{{"x", ""}, {"y", ""}, {"x", "1=2"}, {"", "z"}}));
}

TEST(Uri, RefusesBadEscapes) {
  for (const char* text : {"/%", "/%4", "/%4g", "/%%41", "/a?%", "/a?b=%f", "/% 1"}) {
    EXPECT_EQ(error_of(text), "a percent sign without two hex digits") << text;
  }
}

TEST(Uri, RefusesControlCharactersAndRawOnes) {
  EXPECT_EQ(error_of("/%00"), "a control character");
  EXPECT_EQ(error_of("/a?b=%0d%0A"), "a control character");
  EXPECT_EQ(error_of("/%7f"), "a control character");
  for (const std::string_view text :
       {std::string_view("/a\0b", 4), std::string_view("/a b"), std::string_view("/a#b"),
        std::string_view("/a\\b"), std::string_view("/a\r\n"), std::string_view("/\xC3\xBC"),
        std::string_view("/a?<")}) {
    EXPECT_EQ(error_of(text), "a character that must be percent-encoded") << text;
  }
}

TEST(Uri, RefusesInvalidUtf8) {
  for (const char* text : {"/%FF", "/%C0%AF", "/%ED%A0%80", "/%E2%82", "/a?b=%F4%90%80%80",
                           "/%C3/%BC", "/%F0%80%80%80"}) {
    EXPECT_EQ(error_of(text), "invalid UTF-8") << text;
  }
}

TEST(Uri, RefusesDotAndEmptySegments) {
  for (const char* text : {"/a/../b", "/.", "/%2e%2E/b", "/a/%2e"}) {
    EXPECT_EQ(error_of(text), "a dot segment") << text;
  }
  for (const char* text : {"//", "/a/", "/a//b", "//a"}) {
    EXPECT_EQ(error_of(text), "an empty path segment") << text;
  }
  EXPECT_EQ(parsed("/...").path, Path{"..."});
}

TEST(Uri, RefusesOtherForms) {
  for (const char* text : {"", "*", "http://host/a", "host:80", "?a", "a/b"}) {
    EXPECT_EQ(error_of(text), "it must start with a slash") << text;
  }
}

TEST(Uri, KeepsTheLimits) {
  EXPECT_EQ(error_of("/12345678", {.size_max = 8}), "longer than 8 bytes");
  EXPECT_EQ(error_of("/a/b/c", {.segments_max = 2}), "too many path segments");
  EXPECT_EQ(error_of("/?a&b&c", {.parameters_max = 2}), "too many query parameters");
}

TEST(Uri, EncodedTextIsReadBackAsItWas) {
  std::string text;
  for (int c = 0x20; c < 0x7F; ++c) text += static_cast<char>(c);
  text += "\xC3\xBC\xF0\x9F\x98\x80";
  std::string target = "/";
  append_percent_encoded(target, text);
  target += '?';
  append_percent_encoded(target, text);
  target += '=';
  append_percent_encoded(target, text);
  EXPECT_EQ(parsed(target).path, Path{text});
  EXPECT_EQ(parsed(target).query, (Query{{text, text}}));
}

}  // namespace
}  // namespace berth
