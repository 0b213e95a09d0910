#include "uring_rig.h"

#include <berth/core/scope.h>
#include <berth/io/awaitables.h>
#include <berth/io/deadline.h>

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace berth::inline v0::io {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Task<Result<int>> sleep_then_answer(Reactor* reactor, TimePoint until, StopToken stop) {
  const bool slept = co_await Sleep(*reactor, until, stop);
  if (!slept) co_return fail(ErrorKind::cancelled, "cancelled", "woken");
  co_return 42;
}

/// The answer of work that takes `needs` under a deadline of `allowed`.
std::string run(Duration needs, Duration allowed) {
  UringRig rig;
  Reactor& reactor = rig.reactor();
  std::string result = "pending";
  Scope scope(reactor);
  scope.spawn([](Reactor* loop, Duration work, Duration most, std::string* out) -> Task<void> {
    StopSource group;
    const TimePoint now = loop->clock().now();
    Task<Result<int>> inner = sleep_then_answer(loop, now + work, group.token());
    Result<int> got = co_await with_deadline(*loop, now + most, group, std::move(inner));
    *out = got.has_value() ? std::to_string(*got) : std::string(got.error().code);
    loop->stop();
  }(&reactor, needs, allowed, &result));
  reactor.run();
  return result;
}

TEST(ReactorDeadline, LetsQuickWorkEnd) {
  EXPECT_EQ(run(milliseconds(1), seconds(100)), "42");
}

TEST(ReactorDeadline, StopsSlowWorkInTime) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(run(seconds(100), milliseconds(1)), "deadline");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(50));
}

}  // namespace
}  // namespace berth::inline v0::io
