#include <berth/server/agents/output_filter.h>

#include <gtest/gtest.h>

namespace berth::server {
namespace {

std::string whole(const OutputMarkers& markers, std::string_view text) {
  OutputFilter filter(markers);
  std::string out = filter.feed(text);
  return out + filter.finish();
}

TEST(OutputFilter, CutsMarkersAndWhatStandsBetweenPairs) {
  const OutputMarkers markers{{"[DONE]"}, {{"<think>", "</think>"}}};
  EXPECT_EQ(whole(markers, "a[DONE]b<think>hidden</think>c"), "abc");
  EXPECT_EQ(whole(markers, "a<think>never closed"), "a");
  EXPECT_EQ(whole(markers, "a </think> <thin> [DONE"), "a </think> <thin> [DONE");
}

TEST(OutputFilter, GivesTheSameHoweverTheTextIsCut) {
  const OutputMarkers markers{{"ab", "abc", "bcd"}, {{"<<", ">>"}, {"<", "!"}}};
  const std::string_view texts[] = {"xabcdabcabab<<q>>aba", "ab",       "abc",
                                    "<a!b<<c>d>>e<",        "aabbccdd", "bcbcd<<!>>ab"};
  for (const std::string_view text : texts) {
    const std::string expected = whole(markers, text);
    for (std::uint64_t cuts = 0; cuts < (std::uint64_t{1} << (text.size() - 1)); ++cuts) {
      if (text.size() > 16 && cuts % 61 != 0) continue;  // a sample of the many
      OutputFilter filter(markers);
      std::string out;
      std::size_t begin = 0;
      for (std::size_t i = 1; i <= text.size(); ++i) {
        if (i < text.size() && (cuts >> (i - 1) & 1) == 0) continue;
        out += filter.feed(text.substr(begin, i - begin));
        begin = i;
      }
      out += filter.finish();
      ASSERT_EQ(out, expected) << text << " cut as " << cuts;
    }
  }
}

TEST(OutputFilter, HoldsBackNoMoreThanTheBeginningOfAMarker) {
  const OutputMarkers markers{{"[DONE]"}, {}};
  OutputFilter filter(markers);
  EXPECT_EQ(filter.feed("text [DO"), "text ");
  EXPECT_EQ(filter.feed("G"), "[DOG");
}

}  // namespace
}  // namespace berth::server
