#include "manual_executor.h"

#include <berth/core/scope.h>
#include <berth/core/sync.h>

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>

namespace berth {
namespace {

Task<void> wait_for(Event* event, int* ended) {
  co_await event->wait();
  ++*ended;
}

Task<void> wait_for_stop(Event* never, StopToken stop, int* stopped) {
  const bool set = co_await never->wait(stop);
  if (!set) ++*stopped;
}

Task<void> join(Scope* scope, bool* joined) {
  co_await scope->join();
  *joined = true;
}

TEST(Scope, JoinWaitsForTheLastChild) {
  ManualExecutor executor;
  Event first(executor);
  Event second(executor);
  int ended = 0;
  bool joined = false;
  Scope scope(executor);
  scope.spawn(wait_for(&first, &ended));
  scope.spawn(wait_for(&second, &ended));
  EXPECT_EQ(scope.size(), 2U);
  Scope outer(executor);
  outer.spawn(join(&scope, &joined));

  second.set();
  executor.run_all();
  EXPECT_EQ(ended, 1);
  EXPECT_FALSE(joined);

  first.set();
  executor.run_all();
  EXPECT_EQ(ended, 2);
  EXPECT_TRUE(joined);
}

TEST(Scope, JoinOfAnEmptyScopeDoesNotWait) {
  ManualExecutor executor;
  bool joined = false;
  Scope scope(executor);
  Scope outer(executor);
  outer.spawn(join(&scope, &joined));
  EXPECT_TRUE(joined);
}

TEST(Scope, AChildsExceptionStopsTheOthersAndIsThrownByJoin) {
  ManualExecutor executor;
  Event never(executor);
  Event fail_now(executor);
  int stopped = 0;
  std::string caught;
  Scope scope(executor);
  scope.spawn(wait_for_stop(&never, scope.stop_token(), &stopped));
  scope.spawn([](Event* event) -> Task<void> {
    co_await event->wait();
    throw std::runtime_error("child");
  }(&fail_now));
  Scope outer(executor);
  outer.spawn([](Scope* joined, std::string* text) -> Task<void> {
    try {
      co_await joined->join();
    } catch (const std::runtime_error& e) {
      *text = e.what();
    }
  }(&scope, &caught));
  executor.run_all();
  EXPECT_EQ(caught, "");

  fail_now.set();
  executor.run_all();
  EXPECT_EQ(stopped, 1);
  EXPECT_EQ(caught, "child");
}

TEST(Scope, TheParentsStopReachesTheChildren) {
  ManualExecutor executor;
  Event never(executor);
  StopSource parent;
  int stopped = 0;
  Scope scope(executor, parent.token());
  scope.spawn(wait_for_stop(&never, scope.stop_token(), &stopped));
  executor.run_all();
  EXPECT_EQ(stopped, 0);

  parent.request_stop();
  EXPECT_TRUE(scope.stop_requested());
  executor.run_all();
  EXPECT_EQ(stopped, 1);
  EXPECT_EQ(scope.size(), 0U);
}

TEST(Scope, NothingOfAChildIsLeftWhenItIsJoined) {
  ManualExecutor executor;
  auto held = std::make_shared<int>(1);
  Event go(executor);
  long uses_at_join = 0;
  Scope scope(executor);
  scope.spawn([](std::shared_ptr<int> kept, Event* event) -> Task<void> {
    co_await event->wait();
    EXPECT_EQ(*kept, 1);
  }(held, &go));
  Scope outer(executor);
  outer.spawn([](Scope* joined, std::shared_ptr<int>* watched, long* uses) -> Task<void> {
    co_await joined->join();
    *uses = watched->use_count();
  }(&scope, &held, &uses_at_join));
  go.set();
  executor.run_all();
  EXPECT_EQ(uses_at_join, 1);
}

TEST(ScopeDeathTest, AScopeThatIsNotJoinedEndsTheProgram) {
  EXPECT_DEATH(
      {
        ManualExecutor executor;
        Event never(executor);
        int ended = 0;
        Scope scope(executor);
        scope.spawn(wait_for(&never, &ended));
      },
      "children_ == 0");
}

}  // namespace
}  // namespace berth
