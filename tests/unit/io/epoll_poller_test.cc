#include <berth/io/epoll_poller.h>

#include "allocation_count.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

using std::chrono::milliseconds;

namespace {

constexpr unsigned kReading = POLLIN | POLLRDHUP;

struct Ends {
  int near = -1;
  int far = -1;
};

/// A poller, and descriptors that are closed with it.
class EpollPollerTest : public testing::Test {
 protected:
  ~EpollPollerTest() override {
    for (const int fd : open_) ::close(fd);
  }
  /// {reader, writer}, both non-blocking.
  Ends make_pipe() {
    std::array<int, 2> ends = {-1, -1};
    EXPECT_EQ(::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC), 0);
    return keep(ends);
  }
  Ends make_sockets() {
    std::array<int, 2> ends = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    return keep(ends);
  }
  void close(int fd) {
    poller().forget(fd);
    ::close(fd);
    std::erase(open_, fd);
  }
  EpollPoller& poller() { return *poller_; }
  const EpollStats& stats() { return poller_->stats(); }
  /// What one look tells.
  std::vector<Completion> look() {
    poller().enter(Duration::zero());
    std::vector<Completion> all(64);
    all.resize(poller().reap(all));
    return all;
  }
  static void put(int fd) { ASSERT_EQ(::write(fd, "x", 1), 1); }
  static void fill(int fd) {
    const std::vector<char> data(4096, 'x');
    while (::write(fd, data.data(), data.size()) > 0) {
    }
  }
  static void drain(int fd) {
    std::array<char, 65536> into;
    while (::read(fd, into.data(), into.size()) > 0) {
    }
  }

 private:
  Ends keep(const std::array<int, 2>& ends) {
    open_.insert(open_.end(), ends.begin(), ends.end());
    return Ends{ends[0], ends[1]};
  }
  std::unique_ptr<EpollPoller> poller_ = EpollPoller::create().value();
  std::vector<int> open_;
};

}  // namespace

TEST_F(EpollPollerTest, TellsWhatIsThereWhenAskedAndThenEachTimeMoreComes) {
  const Ends pipe = make_pipe();
  put(pipe.far);
  poller().poll_multishot(pipe.near, kReading, 7);
  auto told = look();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].user_data, 7U);
  EXPECT_EQ(told[0].result, POLLIN);
  EXPECT_TRUE(told[0].more);
  EXPECT_TRUE(look().empty()) << "an edge is told once";
  put(pipe.far);
  EXPECT_EQ(look().size(), 1U) << "also when what came before was not read";
}

TEST_F(EpollPollerTest, CostsOneControlForARequestAndNoneForAnEvent) {
  const Ends pipe = make_pipe();
  poller().poll_multishot(pipe.near, kReading, 1);
  for (int i = 0; i < 100; ++i) {
    put(pipe.far);
    ASSERT_EQ(look().size(), 1U);
    drain(pipe.near);
  }
  EXPECT_EQ(stats().controls, 1U);
  EXPECT_EQ(stats().waits, 100U);
  EXPECT_EQ(stats().strays, 0U);
}

TEST_F(EpollPollerTest, TellsOneShotsOnceAlsoOfWhatIsReadyAlready) {
  const Ends pipe = make_pipe();
  poller().poll_once(pipe.far, POLLOUT, 3);
  auto told = look();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].result, POLLOUT);
  EXPECT_FALSE(told[0].more);
  fill(pipe.far);
  poller().poll_once(pipe.far, POLLOUT, 4);
  EXPECT_TRUE(look().empty());
  drain(pipe.near);
  told = look();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].user_data, 4U);
  drain(pipe.near);
  EXPECT_TRUE(look().empty());
}

TEST_F(EpollPollerTest, KeepsTheRequestsOnOneSocketApart) {
  const Ends pair = make_sockets();
  fill(pair.near);
  poller().poll_multishot(pair.near, kReading, 1);
  poller().poll_once(pair.near, POLLOUT, 2);
  poller().poll_once(pair.near, POLLIN, 3);
  EXPECT_TRUE(look().empty());
  put(pair.far);
  auto told = look();
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].user_data + told[1].user_data, 4U) << "the two that wait for input";
  drain(pair.near);
  drain(pair.far);
  told = look();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].user_data, 2U);
  put(pair.far);
  told = look();
  ASSERT_EQ(told.size(), 1U) << "the one-shots are over";
  EXPECT_EQ(told[0].user_data, 1U);
  EXPECT_EQ(told[0].result, POLLIN) << "not of the room that nobody waits for";
}

TEST_F(EpollPollerTest, StopsHearingOfRoomThatNobodyWaitsFor) {
  const Ends pair = make_sockets();
  poller().poll_multishot(pair.near, kReading, 1);
  fill(pair.near);
  poller().poll_once(pair.near, POLLOUT, 2);
  drain(pair.far);
  ASSERT_EQ(look().size(), 1U);
  for (int i = 0; i < 10; ++i) {  // each makes room anew
    fill(pair.near);
    drain(pair.far);
    EXPECT_TRUE(look().empty());
  }
  EXPECT_LE(stats().strays, 1U);
  EXPECT_LE(stats().controls, 3U);
}

TEST_F(EpollPollerTest, TellsEverybodyOfAHangUp) {
  const Ends pair = make_sockets();
  fill(pair.near);
  poller().poll_multishot(pair.near, kReading, 1);
  poller().poll_once(pair.near, POLLOUT, 2);
  close(pair.far);
  const auto told = look();
  ASSERT_EQ(told.size(), 2U);
  for (const Completion& one : told) EXPECT_NE(one.result & POLLHUP, 0);
}

TEST_F(EpollPollerTest, TellsAFileReadyAtOnceAndForTheLastTime) {
  const int file = ::open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  poller().poll_multishot(file, kReading, 9);
  EXPECT_TRUE(poller().has_work());
  const auto told = look();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].result, POLLIN);
  EXPECT_FALSE(told[0].more);
  poller().cancel(9);
  EXPECT_TRUE(look().empty());
  ::close(file);
}

TEST_F(EpollPollerTest, SaysThatABadDescriptorIsBad) {
  for (const int fd : {-1, 987'654, 999}) {
    poller().poll_once(fd, POLLIN, 5);
    const auto told = look();
    ASSERT_EQ(told.size(), 1U) << fd;
    EXPECT_EQ(told[0].result, -EBADF);
    EXPECT_FALSE(told[0].more);
  }
}

TEST_F(EpollPollerTest, EndsACancelledRequestOnceAfterWhatWonTheRace) {
  const Ends pipe = make_pipe();
  poller().poll_multishot(pipe.near, kReading, 1);
  poller().poll_once(pipe.far, POLLOUT, 2);
  poller().enter(Duration::zero());  // 2 is told, not reaped
  put(pipe.far);
  poller().enter(Duration::zero());
  poller().cancel(1);
  poller().cancel(1);
  poller().cancel(2);
  const auto told = look();
  ASSERT_EQ(told.size(), 3U);
  EXPECT_EQ(told[0].user_data, 2U);
  EXPECT_EQ(told[0].result, POLLOUT);
  EXPECT_EQ(told[1].result, POLLIN);
  EXPECT_EQ(told[2].user_data, 1U);
  EXPECT_EQ(told[2].result, -ECANCELED);
  EXPECT_FALSE(told[2].more);
  put(pipe.far);
  EXPECT_TRUE(look().empty());
}

TEST_F(EpollPollerTest, HearsNothingOfADescriptorThatHadTheNumberBefore) {
  const Ends first = make_pipe();
  const int copy = ::dup(first.near);  // keeps the pipe alive, as a child would
  poller().poll_multishot(first.near, kReading, 1);
  poller().cancel(1);
  ASSERT_EQ(look().size(), 1U);
  close(first.near);
  const Ends second = make_pipe();
  ASSERT_EQ(second.near, first.near) << "the number must be used again";
  poller().poll_multishot(second.near, kReading, 2);
  put(first.far);
  EXPECT_TRUE(look().empty());
  put(second.far);
  EXPECT_EQ(look().size(), 1U);
  EXPECT_EQ(stats().strays, 0U) << "it must not even be woken";
  ::close(copy);
}

TEST_F(EpollPollerTest, DropsEventsOfOneThatWasClosedWithoutAWordAndLivesOnElsewhere) {
  const Ends first = make_pipe();
  const int copy = ::dup(first.near);
  poller().poll_multishot(first.near, kReading, 1);
  poller().cancel(1);
  ASSERT_EQ(look().size(), 1U);
  ::close(first.near);
  const Ends second = make_pipe();
  ASSERT_EQ(second.near, first.near) << "the number must be used again";
  poller().poll_multishot(second.near, kReading, 2);
  put(first.far);
  EXPECT_TRUE(look().empty());
  EXPECT_EQ(stats().strays, 1U);
  put(second.far);
  EXPECT_EQ(look().size(), 1U);
  ::close(copy);
}

TEST_F(EpollPollerTest, GoesOnWhenADescriptorWasClosedWithoutAWord) {
  for (int round = 0; round < 3; ++round) {
    const Ends pipe = make_pipe();
    poller().poll_once(pipe.near, POLLIN, 1);
    put(pipe.far);
    ASSERT_EQ(look().size(), 1U) << round;
    ::close(pipe.near);  // the registration goes with it, and the next round has the same number
    ::close(pipe.far);
  }
}

TEST_F(EpollPollerTest, BringsMoreEventsThanOneWaitHolds) {
  rlimit limit = {};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max < 3000) GTEST_SKIP() << "not enough descriptors allowed here";
  std::vector<Ends> pipes;
  for (std::uint64_t i = 0; i < 1100; ++i) {
    pipes.push_back(make_pipe());
    poller().poll_multishot(pipes.back().near, kReading, i + 1);
    put(pipes.back().far);
  }
  poller().enter(Duration::zero());
  std::vector<Completion> all(2000);
  EXPECT_EQ(poller().reap(all), 1100U);
  EXPECT_EQ(stats().waits, 3U);
}

TEST_F(EpollPollerTest, WaitsNoShorterThanItsTimeout) {
  // Rings that earlier tests closed may interrupt a wait, which says so.
  std::uint64_t interrupts = 0;
  std::chrono::nanoseconds waited{};
  do {
    interrupts = stats().interrupts;
    const auto began = std::chrono::steady_clock::now();
    poller().enter(std::chrono::microseconds(1500));
    waited = std::chrono::steady_clock::now() - began;
  } while (stats().interrupts != interrupts);
  EXPECT_GE(waited, std::chrono::microseconds(1500));
}

TEST_F(EpollPollerTest, AWaitThatASignalInterruptsTellsNothingAndSaysSo) {
  struct sigaction ignore = {};
  struct sigaction before = {};
  ignore.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGUSR1, &ignore, &before), 0);
  sigevent event = {};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGUSR1;
  event._sigev_un._tid = ::gettid();
  timer_t timer = {};
  ASSERT_EQ(::timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
  // Again and again: one that comes before the wait has begun interrupts nothing.
  const itimerspec often = {{0, 1'000'000}, {0, 1'000'000}};
  ASSERT_EQ(::timer_settime(timer, 0, &often, nullptr), 0);
  poller().enter(std::nullopt);
  ::timer_delete(timer);
  ::sigaction(SIGUSR1, &before, nullptr);
  EXPECT_EQ(stats().interrupts, 1U);
  EXPECT_TRUE(look().empty());
}

TEST_F(EpollPollerTest, DoesNotWaitWhileSomethingIsToldAndNotReaped) {
  poller().poll_once(-1, POLLIN, 1);
  poller().enter(std::nullopt);
  EXPECT_EQ(look().size(), 1U);
}

TEST_F(EpollPollerTest, IsItselfReadableWhenItHasSomethingToTell) {
  const Ends pipe = make_pipe();
  poller().poll_multishot(pipe.near, kReading, 1);
  pollfd outside = {poller().wait_fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&outside, 1, 0), 0);
  put(pipe.far);
  EXPECT_EQ(::poll(&outside, 1, 0), 1);
  EXPECT_EQ(look().size(), 1U);
  EXPECT_EQ(::poll(&outside, 1, 0), 0);
}

TEST_F(EpollPollerTest, AllocatesNothingInSteadyState) {
  if (!allocation_count().has_value()) GTEST_SKIP() << "a sanitizer counts for itself";
  std::vector<Ends> pipes;
  for (int i = 0; i < 50; ++i) pipes.push_back(make_pipe());
  std::array<Completion, 64> told;
  const auto round = [&] {
    for (std::size_t i = 0; i < pipes.size(); ++i) {
      poller().poll_multishot(pipes[i].near, kReading, 2 * i + 1);
      poller().poll_once(pipes[i].far, POLLOUT, 2 * i + 2);
      put(pipes[i].far);
    }
    poller().enter(Duration::zero());
    for (std::size_t i = 0; i < pipes.size(); ++i) {
      drain(pipes[i].near);
      poller().cancel(2 * i + 1);
    }
    std::size_t all = 0;
    while (const std::size_t count = poller().reap(told)) all += count;
    return all;
  };
  EXPECT_EQ(round(), 150U);
  const std::size_t before = allocation_count().value();
  for (int i = 0; i < 20; ++i) ASSERT_GE(round(), 150U);
  EXPECT_EQ(allocation_count().value(), before);
}

}  // namespace berth::inline v0::io
