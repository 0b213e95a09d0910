#include "loop.h"

#include <berth/core/scope.h>
#include <berth/io/offload_threads.h>

#include <gtest/gtest.h>

#include <signal.h>
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace berth::inline v0::io {
namespace {

/// Lets a test hold a lane's thread at a known place.
class Gate {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    wake_.notify_all();
  }
  void pass() {
    std::unique_lock lock(mutex_);
    inside_ = true;
    wake_.notify_all();
    wake_.wait(lock, [this] { return open_; });
  }
  void wait_until_somebody_is_inside() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return inside_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool open_ = false;
  bool inside_ = false;
};

class TestJob final : public OffloadJob {
 public:
  void work() override {
    worker = std::this_thread::get_id();
    if (gate != nullptr) gate->pass();
    if (worked_in_order != nullptr) worked_in_order->push_back(number);
    worked = true;
  }
  void on_done() override {
    home_thread = std::this_thread::get_id();
    done = true;
    if (done_in_order != nullptr) done_in_order->push_back(number);
  }

  int number = 0;
  Gate* gate = nullptr;
  std::vector<int>* worked_in_order = nullptr;
  std::vector<int>* done_in_order = nullptr;
  bool worked = false;
  bool done = false;
  std::thread::id worker;
  std::thread::id home_thread;
};

std::unique_ptr<OffloadThreads> start_lanes(OffloadOptions options = {}) {
  auto started = OffloadThreads::start(options);
  EXPECT_TRUE(started.has_value());
  return std::move(*started);
}

TEST(Offload, WorksOnAThreadOfTheLaneAndTellsItOnTheHomeThread) {
  Loop loop;
  auto lanes = start_lanes();
  TestJob job;

  ASSERT_TRUE(lanes->submit(Lane::git, loop.reactor(), job).has_value());
  ASSERT_TRUE(loop.run_until([&] { return job.done; }));

  EXPECT_NE(job.worker, std::this_thread::get_id());
  EXPECT_EQ(job.home_thread, std::this_thread::get_id());
}

TEST(Offload, KeepsTheOrderOfJobsOnTheStoreLane) {
  Loop loop;
  auto lanes = start_lanes();
  std::vector<int> worked;
  std::vector<int> done;
  std::vector<std::unique_ptr<TestJob>> jobs;
  for (int i = 0; i < 1000; ++i) {
    jobs.push_back(std::make_unique<TestJob>());
    jobs.back()->number = i;
    jobs.back()->worked_in_order = &worked;
    jobs.back()->done_in_order = &done;
    ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), *jobs.back()).has_value());
  }

  ASSERT_TRUE(loop.run_until([&] { return done.size() == jobs.size(); }));

  EXPECT_TRUE(std::is_sorted(worked.begin(), worked.end()));
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
}

TEST(Offload, ASlowLaneDoesNotHoldTheOthers) {
  Loop loop;
  auto lanes = start_lanes();
  Gate gate;
  TestJob slow;
  slow.gate = &gate;
  TestJob quick;
  ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), slow).has_value());
  ASSERT_TRUE(lanes->submit(Lane::files, loop.reactor(), quick).has_value());

  ASSERT_TRUE(loop.run_until([&] { return quick.done; }));
  EXPECT_FALSE(slow.done);

  gate.open();
  ASSERT_TRUE(loop.run_until([&] { return slow.done; }));
}

TEST(Offload, TheGitLaneHasTwoThreads) {
  Loop loop;
  auto lanes = start_lanes();
  Gate gate;
  TestJob slow;
  slow.gate = &gate;
  TestJob quick;
  ASSERT_TRUE(lanes->submit(Lane::git, loop.reactor(), slow).has_value());
  gate.wait_until_somebody_is_inside();
  ASSERT_TRUE(lanes->submit(Lane::git, loop.reactor(), quick).has_value());

  ASSERT_TRUE(loop.run_until([&] { return quick.done; }));

  gate.open();
  ASSERT_TRUE(loop.run_until([&] { return slow.done; }));
}

TEST(Offload, AFullLaneSaysWhichLimitAndLeavesTheJobAlone) {
  Loop loop;
  OffloadOptions options;
  options.queue_max = 2;
  auto lanes = start_lanes(options);
  Gate gate;
  TestJob running;
  running.gate = &gate;
  ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), running).has_value());
  gate.wait_until_somebody_is_inside();
  TestJob first;
  TestJob second;
  TestJob third;
  ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), first).has_value());
  ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), second).has_value());

  const Result<void> refused = lanes->submit(Lane::store, loop.reactor(), third);

  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, ErrorKind::overloaded);
  EXPECT_EQ(refused.error().message, "offload_queue_max: lane store has 2 jobs waiting");
  EXPECT_FALSE(third.linked());
  EXPECT_EQ(lanes->stats(Lane::store).queued, 2U);
  EXPECT_EQ(lanes->stats(Lane::store).running, 1U);
  gate.open();
  ASSERT_TRUE(loop.run_until([&] { return second.done; }));
  EXPECT_TRUE(lanes->submit(Lane::store, loop.reactor(), third).has_value());
  ASSERT_TRUE(loop.run_until([&] { return third.done; }));
}

TEST(Offload, TellsHowLongJobsWaited) {
  Loop loop;
  auto lanes = start_lanes();
  Gate gate;
  TestJob running;
  running.gate = &gate;
  TestJob waiting;
  TestJob withdrawn;
  ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), running).has_value());
  gate.wait_until_somebody_is_inside();
  ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), waiting).has_value());
  ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), withdrawn).has_value());
  const auto submitted = std::chrono::steady_clock::now();
  ASSERT_TRUE(lanes->withdraw(Lane::store, withdrawn));
  const std::chrono::duration<double> at_least = std::chrono::steady_clock::now() - submitted;

  EXPECT_EQ(lanes->stats(Lane::store).waited.total(), 1U) << "it is told when they begin";
  gate.open();
  ASSERT_TRUE(loop.run_until([&] { return waiting.done; }));

  const LaneStats stats = lanes->stats(Lane::store);
  EXPECT_EQ(stats.waited.total(), 2U);
  EXPECT_GE(stats.waited.sum_seconds(), at_least.count());
  EXPECT_EQ(stats.queued, 0U);
  EXPECT_EQ(lanes->stats(Lane::git).waited.total(), 0U);
}

TEST(Offload, StopRunsWhatIsQueuedAndRefusesWhatComesLater) {
  Loop loop;
  auto lanes = start_lanes();
  Gate gate;
  TestJob running;
  running.gate = &gate;
  TestJob queued;
  TestJob late;
  ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), running).has_value());
  ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), queued).has_value());
  gate.wait_until_somebody_is_inside();
  gate.open();

  lanes->stop();

  EXPECT_TRUE(queued.worked);
  EXPECT_FALSE(queued.done);
  const Result<void> refused = lanes->submit(Lane::store, loop.reactor(), late);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().kind, ErrorKind::cancelled);
  ASSERT_TRUE(loop.run_until([&] { return queued.done; }));
}

TEST(Offload, CanGoWhileFinishedJobsAreOnTheirWayHome) {
  Loop loop;
  TestJob job;
  {
    auto lanes = start_lanes();
    ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), job).has_value());
  }
  loop.turn();
  EXPECT_TRUE(job.worked);
  EXPECT_FALSE(job.done);
  EXPECT_FALSE(job.linked());
}

Task<void> ask(Offload* lanes, Reactor* reactor, int question, std::optional<Result<int>>* answer) {
  Result<int> got = co_await lanes->run(Lane::files, *reactor, [question]() -> Result<int> {
    if (question < 0) return fail(ErrorKind::invalid, "bad_question", "negative");
    return question * 2;
  });
  answer->emplace(std::move(got));
}

TEST(Offload, ACoroutineGetsTheAnswerOrTheError) {
  Loop loop;
  auto lanes = start_lanes();
  Scope scope(loop.reactor());
  std::optional<Result<int>> good;
  std::optional<Result<int>> bad;
  scope.spawn(ask(lanes.get(), &loop.reactor(), 21, &good));
  scope.spawn(ask(lanes.get(), &loop.reactor(), -1, &bad));

  ASSERT_TRUE(loop.run_until([&] { return scope.size() == 0; }));

  ASSERT_TRUE(good->has_value());
  EXPECT_EQ(**good, 42);
  ASSERT_FALSE(bad->has_value());
  EXPECT_STREQ(bad->error().code, "bad_question");
}

TEST(Offload, AJobThatHasNotBegunCanBeWithdrawn) {
  Loop loop;
  OffloadOptions options;
  options.queue_max = 2;
  auto lanes = start_lanes(options);
  Gate gate;
  TestJob running;
  running.gate = &gate;
  TestJob first;
  TestJob second;
  TestJob third;
  ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), running).has_value());
  gate.wait_until_somebody_is_inside();
  ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), first).has_value());
  ASSERT_TRUE(lanes->submit(Lane::store, loop.reactor(), second).has_value());

  EXPECT_FALSE(lanes->withdraw(Lane::store, running)) << "it has begun";
  EXPECT_TRUE(lanes->withdraw(Lane::store, first));
  EXPECT_FALSE(lanes->withdraw(Lane::store, first)) << "twice is once";
  EXPECT_TRUE(lanes->submit(Lane::store, loop.reactor(), third).has_value()) << "its place is free";

  gate.open();
  ASSERT_TRUE(loop.run_until([&] { return third.done; }));
  EXPECT_TRUE(running.done);
  EXPECT_TRUE(second.done);
  EXPECT_FALSE(first.worked);
  EXPECT_FALSE(first.done);
  EXPECT_FALSE(lanes->withdraw(Lane::store, third)) << "it is long done";
}

Task<void> work_until_stopped(Offload* lanes, Reactor* reactor, TestJob* job, StopToken stop,
                              std::string* answer) {
  Result<int> got = co_await lanes->run(
      Lane::store, *reactor,
      [job]() -> Result<int> {
        job->work();
        return 1;
      },
      stop);
  *answer = got.has_value() ? "done" : std::string(to_string(got.error().kind));
}

TEST(Offload, StopWithdrawsWhatWaitsAndLetsWhatRunsEnd) {
  Loop loop;
  auto lanes = start_lanes();
  Gate gate;
  TestJob running;
  running.gate = &gate;
  TestJob waiting;
  TestJob late;
  std::string first = "pending";
  std::string second = "pending";
  std::string third = "pending";
  StopSource stop;
  Scope scope(loop.reactor());
  scope.spawn(work_until_stopped(lanes.get(), &loop.reactor(), &running, stop.token(), &first));
  gate.wait_until_somebody_is_inside();
  scope.spawn(work_until_stopped(lanes.get(), &loop.reactor(), &waiting, stop.token(), &second));
  stop.request_stop();
  EXPECT_EQ(second, "pending") << "nobody resumes inside request_stop()";
  scope.spawn(work_until_stopped(lanes.get(), &loop.reactor(), &late, stop.token(), &third));
  EXPECT_EQ(third, "cancelled");

  ASSERT_TRUE(loop.run_until([&] { return second != "pending"; }));
  EXPECT_EQ(second, "cancelled");
  EXPECT_EQ(first, "pending");
  EXPECT_EQ(lanes->stats(Lane::store).queued, 0U);
  gate.open();
  ASSERT_TRUE(loop.run_until([&] { return scope.size() == 0; }));
  EXPECT_EQ(first, "done");
  EXPECT_FALSE(waiting.worked);
  EXPECT_FALSE(late.worked);
}

/// Counts on the lanes, is stopped at any moment.
Task<void> race(Offload* lanes, Reactor* reactor, StopToken stop, std::atomic<int>* worked,
                int* answered, int* cancelled) {
  Result<int> got = co_await lanes->run(
      Lane::git, *reactor, [worked]() -> Result<int> { return ++*worked; }, stop);
  ++(got.has_value() ? *answered : *cancelled);
}

TEST(Offload, StopInMidWorkLosesAndDoublesNoJob) {
  Loop loop;
  auto lanes = start_lanes();
  std::atomic<int> worked = 0;
  int answered = 0;
  int cancelled = 0;
  for (int round = 0; round < 200; ++round) {
    StopSource stop;
    Scope scope(loop.reactor());
    const int before = worked.load();
    for (int i = 0; i < 20; ++i) {
      scope.spawn(race(lanes.get(), &loop.reactor(), stop.token(), &worked, &answered, &cancelled));
    }
    // The stop comes before, while, or after the lanes work on them.
    while (worked.load() < before + round % 21) std::this_thread::yield();
    stop.request_stop();
    ASSERT_TRUE(loop.run_until([&] { return scope.size() == 0; }));
  }
  EXPECT_EQ(worked.load(), answered);
  EXPECT_EQ(answered + cancelled, 200 * 20);
  EXPECT_GT(answered, 0);
  EXPECT_GT(cancelled, 0);
}

TEST(Offload, LaneThreadsLeaveSignalsToTheProgram) {
  Loop loop;
  auto lanes = start_lanes();
  struct Look final : OffloadJob {
    void work() override {
      sigset_t mask;
      pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      term_blocked = sigismember(&mask, SIGTERM) == 1;
    }
    void on_done() override { done = true; }
    bool term_blocked = false;
    bool done = false;
  } look;
  ASSERT_TRUE(lanes->submit(Lane::files, loop.reactor(), look).has_value());
  ASSERT_TRUE(loop.run_until([&] { return look.done; }));
  EXPECT_TRUE(look.term_blocked);
}

}  // namespace
}  // namespace berth::inline v0::io
