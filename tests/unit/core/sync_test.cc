#include "manual_executor.h"

#include <berth/core/scope.h>
#include <berth/core/sync.h>

#include <gtest/gtest.h>

#include <string>

namespace berth {
namespace {

Task<void> note_wait(Event* event, StopToken stop, std::string* notes, char name) {
  const bool set = co_await event->wait(stop);
  *notes += name;
  *notes += set ? '+' : '-';
}

TEST(Event, WakesAllWaitersInOrderAndNotInsideSet) {
  ManualExecutor executor;
  Event event(executor);
  std::string notes;
  Scope scope(executor);
  for (const char name : {'a', 'b', 'c'}) scope.spawn(note_wait(&event, {}, &notes, name));
  EXPECT_TRUE(executor.idle());

  event.set();
  EXPECT_EQ(notes, "");
  executor.run_all();
  EXPECT_EQ(notes, "a+b+c+");
}

TEST(Event, StaysSetUntilReset) {
  ManualExecutor executor;
  Event event(executor);
  std::string notes;
  Scope scope(executor);
  event.set();
  scope.spawn(note_wait(&event, {}, &notes, 'a'));
  EXPECT_EQ(notes, "a+") << "no turn of the executor is needed";
  event.reset();
  scope.spawn(note_wait(&event, {}, &notes, 'b'));
  executor.run_all();
  EXPECT_EQ(notes, "a+");
  event.set();
  executor.run_all();
  EXPECT_EQ(notes, "a+b+");
}

TEST(Event, AStoppedWaiterLeavesTheOthersWaiting) {
  ManualExecutor executor;
  Event event(executor);
  StopSource stop;
  std::string notes;
  Scope scope(executor);
  scope.spawn(note_wait(&event, stop.token(), &notes, 'a'));
  scope.spawn(note_wait(&event, {}, &notes, 'b'));
  stop.request_stop();
  EXPECT_EQ(notes, "") << "nobody runs inside request_stop()";
  executor.run_all();
  EXPECT_EQ(notes, "a-");
  event.set();
  executor.run_all();
  EXPECT_EQ(notes, "a-b+");
}

TEST(Event, WhatWasSetBeforeTheStopCounts) {
  ManualExecutor executor;
  Event event(executor);
  StopSource stop;
  std::string notes;
  Scope scope(executor);
  scope.spawn(note_wait(&event, stop.token(), &notes, 'a'));
  scope.spawn(note_wait(&event, {}, &notes, 'b'));
  event.set();
  stop.request_stop();
  EXPECT_EQ(executor.run_all(), 2U);
  EXPECT_EQ(notes, "a+b+") << "and it keeps its place";
}

TEST(Event, TheStopBeforeTheSetCounts) {
  ManualExecutor executor;
  Event event(executor);
  StopSource stop;
  std::string notes;
  Scope scope(executor);
  scope.spawn(note_wait(&event, stop.token(), &notes, 'a'));
  stop.request_stop();
  event.set();
  EXPECT_EQ(executor.run_all(), 1U);
  EXPECT_EQ(notes, "a-");
}

TEST(Event, AStoppedTokenEndsTheWaitAtOnce) {
  ManualExecutor executor;
  Event event(executor);
  StopSource stop;
  stop.request_stop();
  std::string notes;
  Scope scope(executor);
  scope.spawn(note_wait(&event, stop.token(), &notes, 'a'));
  EXPECT_EQ(notes, "a-");
}

TEST(OneShot, TheFirstGiverWins) {
  ManualExecutor executor;
  OneShot<std::string> shot(executor);
  std::string got;
  Scope scope(executor);
  scope.spawn([](OneShot<std::string>* from, std::string* to) -> Task<void> {
    co_await from->wait();
    *to = from->take();
  }(&shot, &got));
  EXPECT_FALSE(shot.given());
  EXPECT_TRUE(shot.give("first"));
  EXPECT_FALSE(shot.give("second"));
  EXPECT_EQ(got, "");
  executor.run_all();
  EXPECT_EQ(got, "first");
}

TEST(OneShot, StopEndsTheWaitForAValue) {
  ManualExecutor executor;
  OneShot<int> shot(executor);
  StopSource stop;
  bool given = true;
  Scope scope(executor);
  scope.spawn([](OneShot<int>* from, StopToken token, bool* out) -> Task<void> {
    *out = co_await from->wait(token);
  }(&shot, stop.token(), &given));
  stop.request_stop();
  executor.run_all();
  EXPECT_FALSE(given);
}

}  // namespace
}  // namespace berth
