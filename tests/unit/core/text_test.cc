#include <berth/core/text.h>

#include <gtest/gtest.h>

namespace berth {
namespace {

TEST(Text, LinesAreTakenOffOneByOne) {
  std::string_view rest = "one\n\ntwo\r\nlast";
  EXPECT_EQ(take_line(rest), "one");
  EXPECT_EQ(take_line(rest), "");
  EXPECT_EQ(take_line(rest), "two\r");
  EXPECT_EQ(rest, "last");
  EXPECT_EQ(take_line(rest), "last");
  EXPECT_TRUE(rest.empty());
  EXPECT_EQ(take_line(rest), "");
}

TEST(Text, ALineFeedAtTheEndAddsNoLine) {
  std::string_view rest = "one\n";
  EXPECT_EQ(take_line(rest), "one");
  EXPECT_TRUE(rest.empty());
}

TEST(Text, APartIsFoundWholeOrNotAtAll) {
  EXPECT_TRUE(has_part("cpu,memory", "memory", ','));
  EXPECT_TRUE(has_part("cpu", "cpu", ','));
  EXPECT_FALSE(has_part("cpuacct,cpuset", "cpu", ','));
  EXPECT_FALSE(has_part("", "cpu", ','));
}

TEST(Text, IsShortenedBetweenCharacters) {
  EXPECT_EQ(shorten("boat", 4), "boat");
  EXPECT_EQ(shorten("boat", 2), "bo");
  EXPECT_EQ(shorten("a\u00e4\u20ac", 6), "a\u00e4\u20ac");
  EXPECT_EQ(shorten("a\u00e4\u20ac", 5), "a\u00e4");
  EXPECT_EQ(shorten("a\u00e4\u20ac", 2), "a");
  EXPECT_EQ(shorten("\u20ac", 2), "");
}

}  // namespace
}  // namespace berth
