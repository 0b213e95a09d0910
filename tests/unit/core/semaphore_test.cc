#include "manual_executor.h"

#include <berth/core/mutex.h>
#include <berth/core/scope.h>
#include <berth/core/semaphore.h>
#include <berth/core/sync.h>

#include <gtest/gtest.h>

#include <string>

namespace berth {
namespace {

/// Asks for `count`, notes that it has them, keeps them until `done`.
Task<void> hold(Semaphore* semaphore, std::size_t count, StopToken stop, Event* done,
                std::string* notes, char name) {
  Semaphore::Permits permits = co_await semaphore->acquire(count, stop);
  *notes += name;
  *notes += permits ? '+' : '-';
  if (permits) co_await done->wait();
}

TEST(Semaphore, LetsInAsManyAsItHasPermits) {
  ManualExecutor executor;
  Semaphore semaphore(executor, 2);
  Event done(executor);
  Event later(executor);
  std::string notes;
  Scope scope(executor);
  scope.spawn(hold(&semaphore, 1, {}, &done, &notes, 'a'));
  scope.spawn(hold(&semaphore, 1, {}, &later, &notes, 'b'));
  scope.spawn(hold(&semaphore, 1, {}, &later, &notes, 'c'));
  executor.run_all();
  EXPECT_EQ(notes, "a+b+");
  EXPECT_EQ(semaphore.free(), 0U);

  done.set();
  executor.run_all();
  EXPECT_EQ(notes, "a+b+c+");
  later.set();
  executor.run_all();
  EXPECT_EQ(semaphore.free(), 2U);
}

TEST(Semaphore, WhoAsksForMuchIsNotOvertaken) {
  ManualExecutor executor;
  Semaphore semaphore(executor, 3);
  Event done(executor);
  std::string notes;
  Scope scope(executor);
  Semaphore::Permits one = semaphore.try_acquire();
  ASSERT_TRUE(one);
  scope.spawn(hold(&semaphore, 3, {}, &done, &notes, 'a'));
  scope.spawn(hold(&semaphore, 1, {}, &done, &notes, 'b'));
  executor.run_all();
  EXPECT_EQ(notes, "") << "two permits are free, and b is behind a";
  EXPECT_FALSE(semaphore.try_acquire());

  one.release();
  executor.run_all();
  EXPECT_EQ(notes, "a+");
  done.set();
  executor.run_all();
  EXPECT_EQ(notes, "a+b+");
}

TEST(Semaphore, WhoIsBehindAStoppedWaiterIsServed) {
  ManualExecutor executor;
  Semaphore semaphore(executor, 3);
  Event done(executor);
  StopSource stop;
  std::string notes;
  Scope scope(executor);
  Semaphore::Permits one = semaphore.try_acquire();
  scope.spawn(hold(&semaphore, 3, stop.token(), &done, &notes, 'a'));
  scope.spawn(hold(&semaphore, 2, {}, &done, &notes, 'b'));
  stop.request_stop();
  executor.run_all();
  EXPECT_EQ(notes, "a-b+");
  done.set();
  executor.run_all();
}

TEST(Semaphore, APermitThatWasGrantedSurvivesTheStop) {
  ManualExecutor executor;
  Semaphore semaphore(executor, 1);
  Event done(executor);
  StopSource stop;
  std::string notes;
  Scope scope(executor);
  Semaphore::Permits one = semaphore.try_acquire();
  scope.spawn(hold(&semaphore, 1, stop.token(), &done, &notes, 'a'));
  one.release();
  stop.request_stop();
  executor.run_all();
  EXPECT_EQ(notes, "a+");
  EXPECT_EQ(semaphore.free(), 0U);
  done.set();
  executor.run_all();
  EXPECT_EQ(semaphore.free(), 1U);
}

TEST(Semaphore, AStoppedTokenTakesNothing) {
  ManualExecutor executor;
  Semaphore semaphore(executor, 1);
  Event done(executor);
  StopSource stop;
  stop.request_stop();
  std::string notes;
  Scope scope(executor);
  scope.spawn(hold(&semaphore, 1, stop.token(), &done, &notes, 'a'));
  EXPECT_EQ(notes, "a-");
  EXPECT_EQ(semaphore.free(), 1U);
}

TEST(Semaphore, MovedPermitsGoBackOnce) {
  ManualExecutor executor;
  Semaphore semaphore(executor, 2);
  Semaphore::Permits first = semaphore.try_acquire();
  Semaphore::Permits second = std::move(first);
  EXPECT_EQ(semaphore.free(), 1U);
  first = std::move(second);
  EXPECT_EQ(semaphore.free(), 1U);
  first = Semaphore::Permits();
  EXPECT_EQ(semaphore.free(), 2U);
}

TEST(SemaphoreDeathTest, PermitsMustNotOutliveIt) {
  EXPECT_DEATH(
      {
        ManualExecutor executor;
        Semaphore::Permits permits;
        Semaphore semaphore(executor, 1);
        permits = semaphore.try_acquire();
      },
      "free_ == total_");
}

Task<void> twice(Mutex* mutex, Event* between, std::string* notes, char name) {
  const Mutex::Guard guard = co_await mutex->lock();
  *notes += name;
  co_await between->wait();
  *notes += name;
}

TEST(Mutex, KeepsAnExchangeTogetherAcrossItsSuspensions) {
  ManualExecutor executor;
  Mutex mutex(executor);
  Event go(executor);
  std::string notes;
  Scope scope(executor);
  for (const char name : {'a', 'b', 'c'}) scope.spawn(twice(&mutex, &go, &notes, name));
  executor.run_all();
  EXPECT_EQ(notes, "a");
  EXPECT_TRUE(mutex.locked());
  go.set();
  executor.run_all();
  EXPECT_EQ(notes, "aabbcc");
  EXPECT_FALSE(mutex.locked());
}

TEST(Mutex, NobodyBargesInBetweenUnlockAndTheNextInLine) {
  ManualExecutor executor;
  Mutex mutex(executor);
  Event go(executor);
  go.set();
  std::string notes;
  Scope scope(executor);
  Mutex::Guard guard = mutex.try_lock();
  scope.spawn(twice(&mutex, &go, &notes, 'a'));
  guard.release();
  EXPECT_FALSE(mutex.try_lock()) << "it is a's, although a has not run yet";
  executor.run_all();
  EXPECT_EQ(notes, "aa");
  EXPECT_TRUE(mutex.try_lock());
}

TEST(Mutex, StopEndsTheWaitForTheLock) {
  ManualExecutor executor;
  Mutex mutex(executor);
  StopSource stop;
  bool locked = true;
  Scope scope(executor);
  const Mutex::Guard guard = mutex.try_lock();
  scope.spawn([](Mutex* of, StopToken token, bool* out) -> Task<void> {
    const Mutex::Guard inner = co_await of->lock(token);
    *out = static_cast<bool>(inner);
  }(&mutex, stop.token(), &locked));
  stop.request_stop();
  executor.run_all();
  EXPECT_FALSE(locked);
}

}  // namespace
}  // namespace berth
