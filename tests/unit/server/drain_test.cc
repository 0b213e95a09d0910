// The steps of an orderly end as a table.
#include <berth/server/sessions/drain.h>

#include <gtest/gtest.h>

namespace berth::server {
namespace {

using std::chrono::milliseconds;

TEST(Draining, TurnsHaveUntilTheDeadlineAndReadersASecondMore) {
  constexpr Duration kDeadline = std::chrono::seconds(30);
  struct Row {
    const char* name;
    DrainFacts facts;  // turns, unsettled, behind, forced
    int now_ms;
    int quiet_ms;
    DrainStep step;
  };
  const Row rows[] = {
      {"nothing runs", {0, 0, 0, false}, 0, 0, DrainStep::done},
      {"a turn runs", {1, 0, 0, false}, 29'999, 0, DrainStep::wait},
      {"at the deadline it is parked", {1, 0, 0, false}, 30'000, 0, DrainStep::park},
      {"or when somebody insists", {2, 0, 0, true}, 10, 0, DrainStep::park},
      {"who insists waits for nothing else", {0, 3, 3, true}, 10, 0, DrainStep::done},
      {"a commit or a snapshot is waited for", {0, 1, 0, false}, 29'000, 5'000, DrainStep::wait},
      {"a reader is waited for", {0, 0, 1, false}, 5'999, 5'000, DrainStep::wait},
      {"but no longer than a second", {0, 0, 1, false}, 6'000, 5'000, DrainStep::done},
      {"what was parked is committed", {0, 1, 0, false}, 30'500, 30'000, DrainStep::wait},
      {"unless the store refuses it", {0, 1, 0, false}, 31'000, 30'000, DrainStep::done},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(next_drain_step(row.facts, TimePoint(milliseconds(row.now_ms)), TimePoint(),
                              TimePoint(milliseconds(row.quiet_ms)), kDeadline),
              row.step)
        << row.name;
  }
}

}  // namespace
}  // namespace berth::server
