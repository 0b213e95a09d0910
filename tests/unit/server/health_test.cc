// What signs of life mean, as a table.
#include <berth/server/sessions/health.h>

#include <gtest/gtest.h>

namespace berth::server {
namespace {

using std::chrono::seconds;

TimePoint at(int second) {
  return TimePoint(seconds(second));
}

TEST(Health, OnlySeveralSignsTogetherMakeAStall) {
  struct Row {
    const char* name;
    bool turn_runs;
    bool reading_held;
    int heard;
    int worked;
    int stopped_since;  // -1: it is not stopped
    int now;
    Health health;
    int unanswered_since = -1;  // -1: no ping is open
  };
  const Row rows[] = {
      {"it spoke just now", true, false, 95, 0, -1, 100, Health::well},
      {"silent for less than the limit", true, false, 71, 0, -1, 100, Health::well},
      {"silent, but at work", true, false, 60, 80, -1, 100, Health::quiet},
      {"silent and at rest", true, false, 60, 60, -1, 100, Health::stalled},
      {"silent, its work was long ago", true, false, 40, 70, -1, 100, Health::stalled},
      {"it was asked after its last work", true, false, 69, 10, -1, 98, Health::well},
      {"silent and stopped, whatever it did before", true, false, 60, 99, 90, 100, Health::stalled},
      {"stopped, but it spoke just now", true, false, 95, 0, 96, 100, Health::well},
      {"it speaks, but we do not read", true, true, 0, 0, 10, 100, Health::well},
      {"no turn: silence is right", false, false, 0, 0, -1, 100, Health::well},
      {"no turn, stopped a moment ago", false, false, 0, 0, 90, 100, Health::well},
      {"no turn, stopped for long", false, false, 0, 0, 70, 100, Health::stalled},
      {"no turn, pinged a moment ago", false, false, 0, 0, -1, 100, Health::well, 91},
      {"no turn, and no answer to a ping", false, false, 0, 0, -1, 100, Health::stalled, 90},
      {"no answer, but we do not read", false, true, 0, 0, -1, 100, Health::well, 50},
      {"a ping is no matter in a turn", true, false, 95, 0, -1, 100, Health::well, 50},
  };
  for (const Row& row : rows) {
    HealthFacts facts;
    facts.turn_runs = row.turn_runs;
    facts.reading_held = row.reading_held;
    facts.heard = at(row.heard);
    facts.worked = at(row.worked);
    if (row.stopped_since >= 0) facts.stopped_since = at(row.stopped_since);
    if (row.unanswered_since >= 0) facts.unanswered_since = at(row.unanswered_since);
    const Diagnosis diagnosis = diagnose(facts, at(row.now), seconds(30), seconds(10));
    EXPECT_EQ(diagnosis.health, row.health) << row.name;
    EXPECT_EQ(diagnosis.why.empty(), row.health == Health::well) << row.name;
  }
}

TEST(Health, AProcessIsLookedAtOftenEnoughToSeeAStallInTime) {
  EXPECT_EQ(look_interval(seconds(4)), seconds(1));
  EXPECT_EQ(look_interval(std::chrono::hours(1)), seconds(15));
  EXPECT_EQ(look_interval(std::chrono::milliseconds(1)), std::chrono::milliseconds(50));
}

}  // namespace
}  // namespace berth::server
