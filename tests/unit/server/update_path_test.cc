// What stands between an agent's line and its session costs nothing where it has nothing to do.
#include "../io/allocation_count.h"

#include <berth/server/agents/replay_guard.h>
#include <berth/server/agents/update_filter.h>

#include <gtest/gtest.h>

namespace berth::server {
namespace {

constexpr std::string_view kUpdate = R"({"sessionUpdate":"agent_message_chunk",)"
                                     R"("content":{"type":"text","text":"a long word, or two"}})";

std::size_t allocations_of_a_thousand(ReplayGuard& guard) {
  const std::size_t before = io::allocation_count().value();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(guard.take({kUpdate, "agent_message_chunk", {}, false}), ReplayGuard::Fate::show);
  }
  return io::allocation_count().value() - before;
}

TEST(UpdatePath, TheGuardCopiesNothingOutsideOfAReplay) {
  if (!io::allocation_count()) GTEST_SKIP() << "a sanitizer counts for itself";
  ReplayGuard fresh;
  EXPECT_EQ(allocations_of_a_thousand(fresh), 0U);
  ReplayGuard resumed;
  resumed.begin({});
  resumed.answered(false);
  resumed.prompted(R"([{"type":"text","text":"go on"}])");
  EXPECT_EQ(allocations_of_a_thousand(resumed), 0U);
}

TEST(UpdatePath, AProfileWithoutMarkersHasNoFilter) {
  EXPECT_FALSE(UpdateFilter({}).active());
  EXPECT_TRUE(UpdateFilter({{"x"}, {}}).active());
}

}  // namespace
}  // namespace berth::server
