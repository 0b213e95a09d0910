#include <berth/core/json_doc.h>
#include <berth/server/named/notices.h>
#include <berth/server/named/prompt_cutter.h>
#include <berth/server/named/spec.h>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace berth::server {
namespace {

using namespace std::string_literals;

std::vector<CutPrompt> cut(PromptCutter& cutter, std::string_view bytes) {
  cutter.feed(bytes);
  std::vector<CutPrompt> prompts;
  while (std::optional<CutPrompt> prompt = cutter.next()) prompts.push_back(std::move(*prompt));
  return prompts;
}

TEST(PromptCutter, CutsAtTheNulsHoweverTheBytesCome) {
  const std::string stream = "first\0second, longer\0\0third\0rest"s;
  for (std::size_t piece = 1; piece <= stream.size(); ++piece) {
    PromptCutter cutter(100);
    std::vector<CutPrompt> prompts;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      for (CutPrompt& prompt : cut(cutter, std::string_view(stream).substr(at, piece))) {
        prompts.push_back(std::move(prompt));
      }
    }
    ASSERT_EQ(prompts.size(), 3U) << piece;
    EXPECT_EQ(prompts[0].text, "first");
    EXPECT_EQ(prompts[1].text, "second, longer");
    EXPECT_EQ(prompts[1].offset, 6U);
    EXPECT_EQ(prompts[2].text, "third");
    EXPECT_EQ(prompts[2].offset, 22U);
    EXPECT_EQ(cutter.unfinished_text(), "rest");
    EXPECT_FALSE(cutter.doomed());
  }
}

TEST(PromptCutter, RefusesWhatIsTooLongWithoutKeepingIt) {
  PromptCutter cutter(10);
  EXPECT_TRUE(cut(cutter, std::string(1000, 'x')).empty());
  EXPECT_TRUE(cutter.doomed());
  EXPECT_EQ(cutter.unfinished_text().size(), 10U);
  const std::vector<CutPrompt> prompts = cut(cutter, "y\0ten bytes.\0eleven byte\0"s);
  ASSERT_EQ(prompts.size(), 3U);
  EXPECT_STREQ(prompts[0].refused, "too_long");
  EXPECT_EQ(prompts[0].bytes, 1001U);
  EXPECT_EQ(prompts[1].refused, nullptr);
  EXPECT_STREQ(prompts[2].refused, "too_long");
}

TEST(PromptCutter, RefusesWhatIsNoUtf8) {
  PromptCutter cutter(100);
  const std::vector<CutPrompt> prompts = cut(cutter, "\xff\xfe\0gr\xc3\xbc\xc3\x9f\0\xc3\0"s);
  ASSERT_EQ(prompts.size(), 3U);
  EXPECT_STREQ(prompts[0].refused, "not_utf8");
  EXPECT_EQ(prompts[1].text, "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(prompts[1].refused, nullptr);
  EXPECT_STREQ(prompts[2].refused, "not_utf8");
}

TEST(PromptCutter, NeverRunsAPromptThatLostItsEndOrItsBeginning) {
  PromptCutter cutter(100);
  EXPECT_TRUE(cut(cutter, "do not rm -rf").empty());
  cutter.cut_off();
  const std::vector<CutPrompt> head = cut(cutter, "next\0"s);
  ASSERT_EQ(head.size(), 2U);
  EXPECT_STREQ(head[0].refused, "cut");
  EXPECT_EQ(head[0].text, "do not rm -rf");
  EXPECT_EQ(head[1].refused, nullptr);
  PromptCutter tail(100, true);
  EXPECT_TRUE(tail.doomed());
  const std::vector<CutPrompt> prompts = cut(tail, "rm -rf build\0next\0"s);
  ASSERT_EQ(prompts.size(), 2U);
  EXPECT_STREQ(prompts[0].refused, "cut");
  EXPECT_EQ(prompts[1].text, "next");
  EXPECT_EQ(prompts[1].refused, nullptr);
}

NamedSpec sample_spec() {
  NamedSpec spec;
  spec.name = "alice";
  spec.profile = "warm";
  spec.session = "alice.2";
  spec.model = "m";
  spec.arguments = {"--a b", "\"c\""};
  spec.directory = "/tmp";
  spec.wanted = true;
  spec.leaving = NamedSpec::Leaving::purging;
  return spec;
}

TEST(NamedSpec, ComesBackFromItsFile) {
  const NamedSpec spec = sample_spec();
  const Result<NamedSpec> read = parse_named_spec(to_json(spec));
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(to_json(*read), to_json(spec));
  EXPECT_EQ(read->arguments, spec.arguments);
  EXPECT_EQ(read->leaving, NamedSpec::Leaving::purging);
  EXPECT_FALSE(parse_named_spec("{").has_value());
  EXPECT_FALSE(parse_named_spec(R"({"name":"../x","profile":"p","session":"s"})").has_value());
}

TEST(NamedSpec, OnlyWhatIsAskedForMustBeTheSame) {
  const NamedSpec exists = sample_spec();
  NamedSpec asked;
  EXPECT_TRUE(check_same_options(exists, asked).has_value());
  asked.model = "m";
  EXPECT_TRUE(check_same_options(exists, asked).has_value());
  asked.arguments = {"--other"};
  EXPECT_STREQ(check_same_options(exists, asked).error().code, "agent_conflict");
}

TEST(NamedSpec, ADerivedProfileKeepsWhatIsNotAskedFor) {
  AgentProfile base;
  base.name = "warm";
  base.provider = "p";
  base.model = "old";
  base.arguments = {"-q"};
  const AgentProfile profile = derived_profile(base, sample_spec());
  EXPECT_EQ(profile.name, "alice");
  EXPECT_EQ(profile.provider, "p");
  EXPECT_EQ(profile.model, "m");
  EXPECT_TRUE(profile.pinned);
  EXPECT_EQ(profile.arguments, (std::vector<std::string>{"-q", "--a b", "\"c\""}));
}

Notice sample_notice(TurnState state) {
  Notice notice;
  notice.agent = "alice";
  notice.session = "alice";
  notice.turn.id = "trn_1";
  notice.turn.number = 3;
  notice.turn.state = state;
  notice.turn.reason = "the \"reason\"";
  notice.turn.ended_ms = 1'795'248'000'000;
  notice.answer = "gr\xc3\xbc\xc3\x9f\r\n" + std::string(2000, 'x');
  return notice;
}

TEST(Notice, NamesTheEndingInJson) {
  const Result<JsonDoc> good = JsonDoc::parse(notice_json(sample_notice(TurnState::completed)));
  ASSERT_TRUE(good.has_value());
  EXPECT_EQ(good->root().get_string("event"), "agent_complete");
  EXPECT_EQ(good->root().get_int64("number"), 3);
  EXPECT_TRUE(good->root().find("usage").is_null());
  for (const TurnState state : {TurnState::failed, TurnState::interrupted, TurnState::refused}) {
    const Result<JsonDoc> bad = JsonDoc::parse(notice_json(sample_notice(state)));
    EXPECT_EQ(bad->root().get_string("event"), "agent_error");
  }
  EXPECT_FALSE(sample_notice(TurnState::cancelled).wanted());
}

TEST(Notice, IsAMailWithHeadersAndLinesOfTheRightLength) {
  const std::string mail = notice_mail(sample_notice(TurnState::failed));
  EXPECT_NE(mail.find("Subject: alice: turn 3 failed\n"), std::string::npos);
  EXPECT_NE(mail.find("Date: Sat, 21 Nov 2026 08:00:00 +0000\n"), std::string::npos);
  EXPECT_NE(mail.find("\n\nthe \"reason\"\n\ngr\xc3\xbc\xc3\x9f\n"), std::string::npos) << mail;
  EXPECT_EQ(mail.find('\r'), std::string::npos);
  std::size_t begin = 0;
  for (std::size_t end = mail.find('\n'); end != std::string::npos; end = mail.find('\n', begin)) {
    EXPECT_LE(end - begin, 998U);
    begin = end + 1;
  }
  EXPECT_EQ(begin, mail.size());
}

}  // namespace
}  // namespace berth::server
