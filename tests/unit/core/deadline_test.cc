#include "manual_executor.h"

#include <berth/core/deadline.h>
#include <berth/core/scope.h>
#include <berth/core/sync.h>

#include <gtest/gtest.h>

#include <stdexcept>
#include <string>

namespace berth {
namespace {

/// A timer that a test fires.
class ManualTimeout final : public Timeout {
 public:
  void begin(StopSource& group) override { group_ = &group; }
  bool end() override {
    group_ = nullptr;
    ++ends;
    return fired_;
  }
  bool running() const { return group_ != nullptr; }
  void fire() {
    if (group_->stop_requested()) return;
    fired_ = true;
    group_->request_stop();
  }
  int ends = 0;

 private:
  StopSource* group_ = nullptr;
  bool fired_ = false;
};

Task<Result<int>> answer(Event* go, StopToken stop, bool heeds_stop) {
  const bool went = co_await go->wait(stop);
  if (!went && heeds_stop) co_return fail(ErrorKind::cancelled, "cancelled", "asked to stop");
  co_return 42;
}

Task<Result<int>> throwing(Event* go) {
  co_await go->wait();
  throw std::runtime_error("thrown");
}

class Deadline : public testing::Test {
 protected:
  void start(Task<Result<int>> work) {
    scope_.spawn([](Timeout* timeout, StopSource* group, Task<Result<int>> inner,
                    std::string* result) -> Task<void> {
      try {
        Result<int> got = co_await with_deadline(*timeout, *group, std::move(inner));
        *result = got.has_value() ? std::to_string(*got) : std::string(to_string(got.error().kind));
      } catch (const std::runtime_error& e) {
        *result = e.what();
      }
    }(&timeout_, &group_, std::move(work), &result_));
  }

  ManualExecutor executor_;
  StopSource parent_;
  StopSource group_{parent_.token()};
  Event go_{executor_};
  ManualTimeout timeout_;
  std::string result_ = "pending";
  Scope scope_{executor_};
};

TEST_F(Deadline, GivesTheValueAndEndsTheTimer) {
  start(answer(&go_, group_.token(), true));
  EXPECT_TRUE(timeout_.running());
  go_.set();
  executor_.run_all();
  EXPECT_EQ(result_, "42");
  EXPECT_FALSE(timeout_.running());
  EXPECT_EQ(timeout_.ends, 1);
}

TEST_F(Deadline, StopsTheWorkAndSaysTimedOut) {
  start(answer(&go_, group_.token(), true));
  timeout_.fire();
  EXPECT_EQ(result_, "pending") << "the work is joined first";
  executor_.run_all();
  EXPECT_EQ(result_, "timed_out");
}

TEST_F(Deadline, WorkThatSucceedsAllTheSameKeepsItsValue) {
  start(answer(&go_, group_.token(), false));
  timeout_.fire();
  executor_.run_all();
  EXPECT_EQ(result_, "42");
}

TEST_F(Deadline, TheParentsStopIsNotATimeout) {
  start(answer(&go_, group_.token(), true));
  parent_.request_stop();
  timeout_.fire();
  executor_.run_all();
  EXPECT_EQ(result_, "cancelled");
}

TEST_F(Deadline, AnExceptionEndsTheTimerToo) {
  start(throwing(&go_));
  go_.set();
  executor_.run_all();
  EXPECT_EQ(result_, "thrown");
  EXPECT_FALSE(timeout_.running());
}

}  // namespace
}  // namespace berth
