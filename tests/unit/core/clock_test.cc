#include <berth/core/clock.h>

#include <gtest/gtest.h>

#include <string>

namespace berth {
namespace {

std::string rfc3339(std::int64_t milliseconds) {
  std::string text = "at ";
  append_rfc3339(text, WallTime(milliseconds));
  return text;
}

TEST(Clock, WritesRfc3339InUtcWithMilliseconds) {
  EXPECT_EQ(rfc3339(0), "at 1970-01-01T00:00:00.000Z");
  EXPECT_EQ(rfc3339(1), "at 1970-01-01T00:00:00.001Z");
  EXPECT_EQ(rfc3339(951'782'400'000), "at 2000-02-29T00:00:00.000Z");
  EXPECT_EQ(rfc3339(1'763'701'497'123), "at 2025-11-21T05:04:57.123Z");
  EXPECT_EQ(rfc3339(4'102'444'799'999), "at 2099-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace berth
