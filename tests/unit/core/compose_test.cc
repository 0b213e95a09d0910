#include "manual_executor.h"

#include <berth/core/compose.h>
#include <berth/core/scope.h>
#include <berth/core/sync.h>

#include <gtest/gtest.h>

#include <memory>
#include <stdexcept>
#include <string>

namespace berth {
namespace {

/// A child that waits for its event, or for stop, and notes how it ended.
Task<std::string> child(Event* go, StopToken stop, std::string* notes, std::string name) {
  const bool went = co_await go->wait(stop);
  *notes += name + (went ? "+" : "-");
  co_return went ? name : "stopped " + name;
}

Task<int> number(Event* go, StopToken stop) {
  const bool went = co_await go->wait(stop);
  co_return went ? 1 : -1;
}

Task<int> failing(Event* go, StopToken stop, const char* what) {
  co_await go->wait(stop);
  throw std::runtime_error(what);
}

Task<void> nothing() {
  co_return;
}

/// Everything that one test needs: a group, two events, notes.
class Compose : public testing::Test {
 protected:
  ManualExecutor executor_;
  StopSource parent_;
  StopSource group_{parent_.token()};
  Event one_{executor_};
  Event two_{executor_};
  std::string notes_;
  std::string result_ = "pending";
  Scope scope_{executor_};
};

Task<void> all_of_two(Executor* executor, StopSource* group, Event* one, Event* two,
                      std::string* notes, std::string* result) {
  Task<std::string> text = child(one, group->token(), notes, "a");
  Task<int> count = number(two, group->token());
  try {
    auto both = co_await when_all(*executor, *group, std::move(text), std::move(count), nothing());
    *result = std::get<0>(both) + std::to_string(std::get<1>(both));
  } catch (const std::runtime_error& e) {
    *result = e.what();
  }
}

TEST_F(Compose, AllGivesTheValuesInOrderWhenTheLastHasEnded) {
  scope_.spawn(all_of_two(&executor_, &group_, &one_, &two_, &notes_, &result_));
  two_.set();
  executor_.run_all();
  EXPECT_EQ(result_, "pending");
  one_.set();
  executor_.run_all();
  EXPECT_EQ(result_, "a1");
  EXPECT_FALSE(group_.stop_requested());
}

TEST_F(Compose, AllEndsAtOnceWhenAllAreReady) {
  one_.set();
  two_.set();
  scope_.spawn(all_of_two(&executor_, &group_, &one_, &two_, &notes_, &result_));
  EXPECT_EQ(result_, "a1");
}

TEST_F(Compose, AllStopsWithItsParentAndStillJoins) {
  scope_.spawn(all_of_two(&executor_, &group_, &one_, &two_, &notes_, &result_));
  parent_.request_stop();
  EXPECT_EQ(result_, "pending");
  executor_.run_all();
  EXPECT_EQ(result_, "stopped a-1");
}

TEST_F(Compose, AllBegunUnderAStoppedParentStillGivesAValueOfEach) {
  parent_.request_stop();
  scope_.spawn(all_of_two(&executor_, &group_, &one_, &two_, &notes_, &result_));
  EXPECT_EQ(result_, "stopped a-1");
}

Task<void> all_with_failure(Executor* executor, StopSource* group, Event* one, Event* two,
                            std::string* notes, std::string* result) {
  Task<std::string> text = child(one, group->token(), notes, "a");
  Task<int> bad = failing(two, StopToken(), "bad");
  Task<int> worse = failing(two, StopToken(), "worse");
  try {
    co_await when_all(*executor, *group, std::move(text), std::move(bad), std::move(worse));
    *result = "no exception";
  } catch (const std::runtime_error& e) {
    *result = e.what();
  }
}

TEST_F(Compose, AllThrowsTheFirstExceptionAfterTheOthersWereStoppedAndJoined) {
  scope_.spawn(all_with_failure(&executor_, &group_, &one_, &two_, &notes_, &result_));
  two_.set();
  executor_.run_one();
  EXPECT_TRUE(group_.stop_requested());
  EXPECT_EQ(result_, "pending") << "two are still there";
  executor_.run_all();
  EXPECT_EQ(notes_, "a-");
  EXPECT_EQ(result_, "bad");
}

TEST_F(Compose, AllOfAVectorKeepsTheOrderOfTheTasks) {
  std::vector<Task<std::string>> tasks;
  tasks.push_back(child(&one_, group_.token(), &notes_, "a"));
  tasks.push_back(child(&two_, group_.token(), &notes_, "b"));
  scope_.spawn([](Executor* executor, StopSource* group, std::vector<Task<std::string>> both,
                  std::string* result) -> Task<void> {
    std::vector<std::string> values = co_await when_all(*executor, *group, std::move(both));
    *result = values.at(0) + values.at(1);
  }(&executor_, &group_, std::move(tasks), &result_));
  two_.set();
  executor_.run_all();
  one_.set();
  executor_.run_all();
  EXPECT_EQ(notes_, "b+a+");
  EXPECT_EQ(result_, "ab");
}

TEST_F(Compose, AllOfNoTasksIsEmpty) {
  scope_.spawn([](Executor* executor, StopSource* group, std::string* result) -> Task<void> {
    std::vector<std::monostate> none =
        co_await when_all(*executor, *group, std::vector<Task<void>>());
    *result = std::to_string(none.size());
  }(&executor_, &group_, &result_));
  EXPECT_EQ(result_, "0");
}

Task<void> any_of_two(Executor* executor, StopSource* group, Event* one, Event* two,
                      std::string* notes, std::string* result) {
  Task<std::string> text = child(one, group->token(), notes, "a");
  Task<int> count = number(two, group->token());
  auto first = co_await when_any(*executor, *group, std::move(text), std::move(count));
  *result =
      std::to_string(first.index) + ":" +
      (first.index == 0 ? std::get<0>(first.value) : std::to_string(std::get<1>(first.value)));
}

TEST_F(Compose, AnySaysWhoWasFirstAfterTheOthersWereJoined) {
  scope_.spawn(any_of_two(&executor_, &group_, &one_, &two_, &notes_, &result_));
  two_.set();
  ASSERT_TRUE(executor_.run_one());
  EXPECT_TRUE(group_.stop_requested());
  EXPECT_EQ(notes_, "") << "the loser was asked, and has not run";
  EXPECT_EQ(result_, "pending");
  executor_.run_all();
  EXPECT_EQ(notes_, "a-");
  EXPECT_EQ(result_, "1:1");
}

TEST_F(Compose, AnyDoesNotBeginTasksBehindOneThatEndsAtOnce) {
  one_.set();
  int begun = 0;
  std::vector<Task<int>> tasks;
  const auto counted = [](int* count, Event* go, StopToken stop) -> Task<int> {
    ++*count;
    const int value = co_await number(go, stop);
    co_return value;
  };
  for (Event* go : {&two_, &one_, &one_}) tasks.push_back(counted(&begun, go, group_.token()));
  scope_.spawn([](Executor* executor, StopSource* group, std::vector<Task<int>> three,
                  std::string* result) -> Task<void> {
    First<int> first = co_await when_any(*executor, *group, std::move(three));
    *result = std::to_string(first.index);
  }(&executor_, &group_, std::move(tasks), &result_));
  EXPECT_EQ(result_, "pending") << "the one before it is joined first";
  executor_.run_all();
  EXPECT_EQ(result_, "1");
  EXPECT_EQ(begun, 2);
}

TEST_F(Compose, AnyThrowsWhatTheWinnerThrewAndDropsWhatALoserThrows) {
  const auto race = [](Executor* executor, StopSource* group, Event* go, Event* never,
                       std::string* result) -> Task<void> {
    Task<int> bad = failing(go, group->token(), "winner");
    Task<int> loser = failing(never, group->token(), "loser");
    try {
      co_await when_any(*executor, *group, std::move(bad), std::move(loser));
    } catch (const std::runtime_error& e) {
      *result = e.what();
    }
  };
  scope_.spawn(race(&executor_, &group_, &one_, &two_, &result_));
  one_.set();
  executor_.run_all();
  EXPECT_EQ(result_, "winner");
}

TEST_F(Compose, ALosersExceptionDoesNotReplaceTheWinnersValue) {
  const auto race = [](Executor* executor, StopSource* group, Event* go, Event* never,
                       std::string* result) -> Task<void> {
    Task<int> good = number(go, group->token());
    Task<int> loser = failing(never, group->token(), "loser");
    auto first = co_await when_any(*executor, *group, std::move(good), std::move(loser));
    *result = std::to_string(std::get<0>(first.value));
  };
  scope_.spawn(race(&executor_, &group_, &one_, &two_, &result_));
  one_.set();
  executor_.run_all();
  EXPECT_EQ(result_, "1");
}

TEST_F(Compose, NothingOfAChildIsLeftWhenItsValueIsThere) {
  auto held = std::make_shared<int>(1);
  long uses = 0;
  const auto keep = [](std::shared_ptr<int> kept, Event* go, StopToken stop) -> Task<int> {
    co_await go->wait(stop);
    co_return *kept;
  };
  std::vector<Task<int>> tasks;
  tasks.push_back(keep(held, &one_, group_.token()));
  tasks.push_back(keep(held, &two_, group_.token()));
  scope_.spawn([](Executor* executor, StopSource* group, std::vector<Task<int>> both,
                  std::shared_ptr<int>* watched, long* count) -> Task<void> {
    co_await when_any(*executor, *group, std::move(both));
    *count = watched->use_count();
  }(&executor_, &group_, std::move(tasks), &held, &uses));
  one_.set();
  executor_.run_all();
  EXPECT_EQ(uses, 1);
}

TEST_F(Compose, AShieldedTaskDoesNotSeeItsParentsStop) {
  scope_.spawn(
      [](Event* go, std::string* notes, StopToken stop, std::string* result) -> Task<void> {
        std::string value =
            co_await shield([](Event* event, std::string* log,
                               StopToken token) { return child(event, token, log, "s"); },
                            go, notes);
        *result = value + (stop.stop_requested() ? " and stop" : "");
      }(&one_, &notes_, parent_.token(), &result_));
  parent_.request_stop();
  executor_.run_all();
  EXPECT_EQ(result_, "pending") << "it is joined, however long it takes";
  one_.set();
  executor_.run_all();
  EXPECT_EQ(result_, "s and stop");
}

}  // namespace
}  // namespace berth
