#include "manual_executor.h"

#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/core/task.h>

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace berth {
namespace {

Task<int> plus_one(int number) {
  co_return number + 1;
}

Task<int> set_and_return(bool* ran) {
  *ran = true;
  co_return 7;
}

Task<std::unique_ptr<int>> boxed(int number) {
  co_return std::make_unique<int>(number);
}

Task<int> throws(std::string what) {
  if (!what.empty()) throw std::runtime_error(what);
  co_return 0;
}

Task<void> throws_nothing_to_return() {
  throw std::runtime_error("void");
  co_return;
}

/// Runs a task that is expected to end at once.
void run(Task<void> task) {
  ManualExecutor executor;
  Scope scope(executor);
  scope.spawn(std::move(task));
  ASSERT_EQ(scope.size(), 0U);
}

TEST(Task, DoesNothingBeforeItIsAwaited) {
  bool ran = false;
  Task<int> task = set_and_return(&ran);
  EXPECT_FALSE(ran);
  run([](Task<int> inner) -> Task<void> {
    const int value = co_await std::move(inner);
    EXPECT_EQ(value, 7);
  }(std::move(task)));
  EXPECT_TRUE(ran);
}

TEST(Task, IsFreeWhenItNeverStarts) {
  bool ran = false;
  auto held = std::make_shared<int>(1);
  {
    Task<int> task = [](std::shared_ptr<int> kept, bool* flag) -> Task<int> {
      *flag = true;
      co_return *kept;
    }(held, &ran);
    EXPECT_EQ(held.use_count(), 2);
  }
  EXPECT_EQ(held.use_count(), 1) << "its parameters went with it";
  EXPECT_FALSE(ran);
}

TEST(Task, GivesAValueThatCanOnlyBeMoved) {
  run([]() -> Task<void> {
    std::unique_ptr<int> value = co_await boxed(5);
    EXPECT_EQ(*value, 5);
  }());
}

TEST(Task, RethrowsWhatItsBodyThrew) {
  run([]() -> Task<void> {
    std::string caught;
    try {
      co_await throws("first");
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "first");
    try {
      co_await throws_nothing_to_return();
    } catch (const std::runtime_error& e) {
      caught = e.what();
    }
    EXPECT_EQ(caught, "void");
    const int fine = co_await throws("");
    EXPECT_EQ(fine, 0);
  }());
}

TEST(Task, AwaitsAMillionReadyChildrenWithoutGrowingTheStack) {
  run([]() -> Task<void> {
    int number = 0;
    while (number < 1'000'000) number = co_await plus_one(number);
    EXPECT_EQ(number, 1'000'000);
  }());
}

Task<void> wait_and_note(Event* go, std::string* notes, std::string name) {
  *notes += name + "+";
  co_await go->wait();
  *notes += name + "-";
}

TEST(Task, GoesOnAfterTheChildThatSuspended) {
  ManualExecutor executor;
  Event go(executor);
  std::string notes;
  Scope scope(executor);
  scope.spawn([](Event* event, std::string* log) -> Task<void> {
    co_await wait_and_note(event, log, "a");
    co_await wait_and_note(event, log, "b");
    *log += "end";
  }(&go, &notes));
  EXPECT_EQ(notes, "a+");
  EXPECT_EQ(executor.run_all(), 0U);

  go.set();
  EXPECT_EQ(notes, "a+") << "set() resumes nobody";
  EXPECT_EQ(executor.run_all(), 1U);
  EXPECT_EQ(notes, "a+a-b+b-end");
}

Task<int> nest(int depth, Event* go) {
  if (depth == 0) {
    co_await go->wait();
    co_return 0;
  }
  const int below = co_await nest(depth - 1, go);
  co_return below + 1;
}

TEST(Task, CarriesAValueUpThroughAHundredSuspendedParents) {
  ManualExecutor executor;
  Event go(executor);
  int depth = 0;
  Scope scope(executor);
  scope.spawn(
      [](Event* event, int* out) -> Task<void> { *out = co_await nest(100, event); }(&go, &depth));
  EXPECT_EQ(depth, 0);
  go.set();
  executor.run_all();
  EXPECT_EQ(depth, 100);
}

TEST(Task, MoveAssignmentDropsTheOneThatItHeld) {
  auto held = std::make_shared<int>(1);
  const auto keep = [](std::shared_ptr<int> kept) -> Task<int> { co_return *kept; };
  Task<int> task = keep(held);
  task = Task<int>();
  EXPECT_EQ(held.use_count(), 1);
}

}  // namespace
}  // namespace berth
