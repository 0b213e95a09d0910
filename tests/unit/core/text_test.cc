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

}  // namespace
}  // namespace berth
