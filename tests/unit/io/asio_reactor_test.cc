#include <berth/io/asio_reactor.h>
#include <berth/io/uring_ring.h>

#include "allocation_count.h"
#include "fd_rig.h"
#include "reactor_conformance.h"

#include <unistd.h>
#include <array>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <chrono>
#include <memory>
#include <thread>

namespace berth::inline v0::io {

namespace {

std::string engine_name_of(const testing::TestParamInfo<EngineUnderTest>& info) {
  return info.param.name;
}
std::unique_ptr<ReactorRig> make_asio_rig() {
  return std::make_unique<FdRig>([] { return make_asio_reactor().value(); });
}
std::unique_ptr<ReactorRig> make_hosted_rig() {
  return std::make_unique<HostedRig>();
}
std::unique_ptr<ReactorRig> make_hosted_uring_rig() {
  return std::make_unique<HostedRig>([] { return make_uring_reactor().value(); });
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Asio, ReactorConformance,
                         testing::Values(EngineUnderTest{"asio", make_asio_rig}), engine_name_of);
INSTANTIATE_TEST_SUITE_P(AsioOnAHostsContext, ReactorConformance,
                         testing::Values(EngineUnderTest{"hosted", make_hosted_rig}),
                         engine_name_of);
INSTANTIATE_TEST_SUITE_P(UringOnAHostsContext, ReactorConformance,
                         testing::Values(EngineUnderTest{"hosted_uring", make_hosted_uring_rig}),
                         engine_name_of);

// --- a guest of a host's context: nobody calls the reactor's run() ---

namespace {

using std::chrono::milliseconds;

/// One of each engine, as a guest of `context`.
class AsioGuest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (GetParam() == "asio") {
      reactor_ = make_asio_reactor(context_).value();
    } else {
      reactor_ = make_uring_reactor().value();
      ASSERT_TRUE(run_in(context_, *reactor_).has_value());
    }
  }
  Reactor& reactor() { return *reactor_; }
  /// Runs the host's loop until it has nothing to do; false after ten seconds.
  bool run_out() {
    context_.restart();
    const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    context_.run_until(late);
    return std::chrono::steady_clock::now() < late;
  }

  asio::io_context context_{1};
  std::unique_ptr<Reactor> reactor_;
};

}  // namespace

INSTANTIATE_TEST_SUITE_P(Engines, AsioGuest, testing::Values("asio", "uring"),
                         [](const auto& info) { return info.param; });

TEST_P(AsioGuest, KeepsTheContextRunningWhileAnythingIsStartedAndNoLonger) {
  ASSERT_TRUE(run_out()) << "an idle reactor is no work";
  int fired = 0;
  Alarm alarm([&] { ++fired; });
  reactor().arm(alarm, reactor().clock().now() + milliseconds(5));
  ASSERT_TRUE(run_out());
  EXPECT_EQ(fired, 1);

  Alarm never([&] { ++fired; });
  reactor().arm(never, reactor().clock().now() + std::chrono::seconds(60));
  context_.restart();
  context_.poll();
  EXPECT_FALSE(context_.stopped());
  reactor().disarm(never);
  ASSERT_TRUE(run_out());
  EXPECT_EQ(fired, 1);
}

TEST_P(AsioGuest, ServesWhatTheHostsHandlersStart) {
  std::array<int, 2> ends = {-1, -1};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const PipeEnds pipe = {reactor().adopt(ends[0]).value(), reactor().adopt(ends[1]).value()};
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  asio::steady_timer later(context_);
  asio::post(context_, [&] {
    sink.begin();
    EXPECT_EQ(sink.reads, 0U);
    later.expires_after(milliseconds(2));
    later.async_wait([&](std::error_code) {
      source.write(pattern(300'000));
      EXPECT_FALSE(source.done) << "never called back inside of the call that starts it";
    });
  });
  source.after_write = [&] {
    later.expires_after(milliseconds(2));
    later.async_wait([&](std::error_code) { reactor().cancel(sink); });
  };
  ASSERT_TRUE(run_out());
  EXPECT_TRUE(sink.text == pattern(300'000));
  EXPECT_EQ(sink.error, ECANCELED);
  reactor().close(pipe.reader);
  reactor().close(pipe.writer);
}

TEST_P(AsioGuest, WakesUpForWhatIsStartedWhileItIsIdle) {
  std::array<int, 2> ends = {-1, -1};
  ASSERT_EQ(::pipe(ends.data()), 0);
  const PipeEnds pipe = {reactor().adopt(ends[0]).value(), reactor().adopt(ends[1]).value()};
  ASSERT_TRUE(run_out());
  Source source(reactor(), pipe.writer);
  asio::post(context_, [&] { source.write("x"); });
  ASSERT_TRUE(run_out());
  EXPECT_TRUE(source.done);
  Waiter waiter;
  waiter.handle = pipe.reader;
  asio::post(context_, [&] { reactor().start(waiter); });
  ASSERT_TRUE(run_out());
  EXPECT_EQ(waiter.calls, 1);
  while (waiter.started()) reactor().poll();
  reactor().close(pipe.reader);
  reactor().close(pipe.writer);
}

TEST_P(AsioGuest, RunsTheHostsHandlersInItsOwnRun) {
  int handled = 0;
  asio::steady_timer timer(context_, milliseconds(2));
  timer.async_wait([&](std::error_code) {
    ++handled;
    asio::post(context_, [&] {
      ++handled;
      reactor().stop();
    });
  });
  reactor().run();
  EXPECT_EQ(handled, 2);
  Job job([&] { reactor().stop(); });
  reactor().post(job);
  reactor().run();
}

TEST_P(AsioGuest, LeavesItsOwnRunWhenTheHostStopsTheContext) {
  asio::post(context_, [&] { context_.stop(); });
  reactor().run();
  EXPECT_TRUE(context_.stopped());
}

TEST_P(AsioGuest, HearsOfOtherThreadsWhileTheContextIsHeldOpenForIt) {
  ASSERT_TRUE(run_out());
  int ran = 0;
  auto guard = asio::make_work_guard(context_);
  Job job([&] {
    ++ran;
    guard.reset();
  });
  std::thread other([&] { reactor().post_remote(job); });
  EXPECT_TRUE(run_out());
  other.join();
  EXPECT_EQ(ran, 1);
}

TEST_P(AsioGuest, MayGoWhileTheContextStillHoldsItsHandlers) {
  Alarm alarm([] {});
  Waiter waiter;
  std::array<int, 2> ends = {-1, -1};
  ASSERT_EQ(::pipe(ends.data()), 0);
  waiter.handle = ends[0];
  reactor().start(waiter);
  reactor().arm(alarm, reactor().clock().now() + std::chrono::seconds(60));
  context_.poll();
  reactor().cancel(waiter);
  reactor().disarm(alarm);
  while (waiter.started()) reactor().poll();
  reactor_.reset();
  EXPECT_TRUE(run_out());
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_P(AsioGuest, MayGoAfterTheContextWasStopped) {
  context_.poll();
  context_.stop();
  reactor_.reset();
  EXPECT_TRUE(run_out());
}

TEST_P(AsioGuest, AllocatesNothingInSteadyState) {
  if (!allocation_count().has_value()) GTEST_SKIP() << "a sanitizer counts for itself";
  class Ticker final : public TimerOp {
   public:
    explicit Ticker(Reactor& reactor) : reactor_(reactor) {}
    void on_timer() override {
      if (++ticks == 100) before = allocation_count().value();
      if (ticks < 300) return reactor_.arm(*this, reactor_.clock().now() + milliseconds(ticks % 2));
      after = allocation_count().value();
    }
    int ticks = 0;
    std::size_t before = 0;
    std::size_t after = 1;

   private:
    Reactor& reactor_;
  } ticker(reactor());
  reactor().arm(ticker, reactor().clock().now());
  ASSERT_TRUE(run_out());
  EXPECT_EQ(ticker.before, ticker.after);
}

TEST(AsioGuestDeathTest, AssertsThatOneThreadRunsIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        asio::io_context context;
        auto reactor = make_asio_reactor(context).value();
        context.poll();
        std::thread([&] { reactor->poll(); }).join();
      },
      "thread");
}

}  // namespace berth::inline v0::io
