// When a process that serves many sessions is old, big or used enough: as a table.
#include <berth/server/agents/generation.h>

#include <gtest/gtest.h>

namespace berth::server {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

TEST(Generation, IsOverAtTheFirstOfItsLimits) {
  const GenerationLimits limits = {1000, minutes(10), 3};
  const GenerationLimits none = {0, Duration{}, 0};
  struct Row {
    const char* name;
    GenerationFacts facts;
    GenerationLimits limits;
    const char* over;  // nullptr: the next session may join
  };
  const Row rows[] = {
      {"new", {0, seconds(0), 0}, limits, nullptr},
      {"just as big as it may be", {1000, seconds(0), 1}, limits, nullptr},
      {"a byte more", {1001, seconds(0), 1}, limits, "server_memory_max"},
      {"almost old", {1, minutes(10) - seconds(1), 1}, limits, nullptr},
      {"old", {1, minutes(10), 1}, limits, "server_age_max"},
      {"room for one more", {1, seconds(0), 2}, limits, nullptr},
      {"has served enough", {1, seconds(0), 3}, limits, "server_sessions_max"},
      {"the size comes first", {2000, minutes(20), 9}, limits, "server_memory_max"},
      {"without limits it is never over", {1u << 30, minutes(9999), 9999}, none, nullptr},
  };
  for (const Row& row : rows) {
    EXPECT_STREQ(generation_over(row.facts, row.limits), row.over) << row.name;
  }
}

}  // namespace
}  // namespace berth::server
