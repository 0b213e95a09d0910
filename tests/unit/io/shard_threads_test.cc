#include <berth/core/channel.h>
#include <berth/core/prng.h>
#include <berth/core/sync.h>
#include <berth/io/asio_reactor.h>
#include <berth/io/awaitables.h>
#include <berth/io/fd_reactor.h>
#include <berth/io/member_timer.h>
#include <berth/io/shard_threads.h>
#include <berth/io/stream.h>
#include <berth/io/uring_ring.h>

#include <gtest/gtest.h>

#include <signal.h>
#include <unistd.h>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace berth::inline v0::io {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

Result<std::unique_ptr<Reactor>> make_ring(std::size_t) {
  return make_uring_reactor().map([](auto made) -> std::unique_ptr<Reactor> { return made; });
}

/// The same on each engine that threads can have.
class ShardThreadsOn : public testing::TestWithParam<std::string> {
 protected:
  static std::unique_ptr<ShardThreads> start(std::size_t count, const ShardLimits& limits = {}) {
    const ShardThreads::MakeReactor make =
        GetParam() == "asio" ? [](std::size_t) { return make_asio_reactor(); } : make_ring;
    Result<std::unique_ptr<ShardThreads>> started = ShardThreads::start(count, make, limits);
    EXPECT_TRUE(started.has_value());
    return std::move(*started);
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, ShardThreadsOn, testing::Values("uring", "asio"),
                         [](const auto& info) { return info.param; });

/// Starts a task on a shard, from outside.
void spawn(ShardThreads& shards, std::size_t index, std::function<Task<void>(Shard&)> make) {
  shards.ask(index, [&make](Shard& shard) {
    shard.scope().spawn(make(shard));
    return true;
  });
}

/// Waits, from outside, until the tasks of a shard have ended.
void wait_until_empty(ShardThreads& shards, std::size_t index) {
  while (shards.ask(index, [](Shard& shard) { return shard.scope().size(); }) != 0) {
    std::this_thread::yield();
  }
}

TEST_P(ShardThreadsOn, RunsACallOnTheOtherThreadAndAnswersOnTheOwn) {
  auto shards = start(2);
  struct Ids {
    std::thread::id here;
    std::thread::id there;
    std::thread::id after;
  } ids;
  spawn(*shards, 0, [&](Shard& here) {
    return [](Shard* from, Shard* to, Ids* seen) -> Task<void> {
      seen->here = std::this_thread::get_id();
      Result<std::thread::id> there = co_await from->call(
          *to, [](Shard&) -> Result<std::thread::id> { return std::this_thread::get_id(); });
      seen->there = *there;
      seen->after = std::this_thread::get_id();
    }(&here, &(*shards)[1], &ids);
  });
  wait_until_empty(*shards, 0);
  shards->stop();
  EXPECT_EQ(ids.here, ids.after);
  EXPECT_NE(ids.here, ids.there);
  EXPECT_NE(ids.here, std::this_thread::get_id());
}

Task<void> send_many(ShardThreads* shards, Shard* here, std::uint64_t seed, int calls,
                     std::vector<std::uint64_t>* counts) {
  Prng random(seed);
  for (int i = 0; i < calls; ++i) {
    Shard& there = (*shards)[random.below(shards->size())];
    // `counts` is touched by each shard at its own place only: TSan would see another's.
    Result<std::uint64_t> got = co_await here->call(
        there, [counts](Shard& at) -> Result<std::uint64_t> { return ++(*counts)[at.index()]; });
    EXPECT_TRUE(got.has_value());
  }
}

TEST_P(ShardThreadsOn, LoseNoMessageAmongTwoToFourShards) {
  for (std::size_t count = 2; count <= 4; ++count) {
    auto shards = start(count);
    std::vector<std::uint64_t> counts(count);
    constexpr int kTasks = 50;
    constexpr int kCalls = 100;
    for (std::size_t i = 0; i < count; ++i) {
      spawn(*shards, i, [&](Shard& here) -> Task<void> {
        for (std::uint64_t task = 1; task < kTasks; ++task) {
          here.scope().spawn(send_many(shards.get(), &here, task * 10 + i, kCalls, &counts));
        }
        return send_many(shards.get(), &here, i, kCalls, &counts);
      });
    }
    for (std::size_t i = 0; i < count; ++i) wait_until_empty(*shards, i);
    shards->stop();
    std::uint64_t sum = 0;
    for (const std::uint64_t one : counts) sum += one;
    EXPECT_EQ(sum, count * kTasks * kCalls);
    for (std::size_t i = 0; i < count; ++i) EXPECT_TRUE((*shards)[i].idle());
  }
}

struct Traffic {
  std::atomic<std::uint64_t> begun = 0;
  std::atomic<std::uint64_t> answered = 0;
  std::atomic<std::uint64_t> cancelled = 0;
};

/// Calls until the shard is asked to stop; the stop may catch a call anywhere.
Task<void> call_until_stopped(ShardThreads* shards, Shard* here, std::uint64_t seed,
                              Traffic* traffic) {
  Prng random(seed);
  CallOptions options;
  options.stop = here->stop_token();
  while (!here->stop_token().stop_requested()) {
    Shard& there = (*shards)[random.below(shards->size())];
    Result<int> got = co_await here->call(
        there,
        [traffic](Shard&) -> Result<int> {
          traffic->begun.fetch_add(1, std::memory_order_relaxed);
          return 1;
        },
        options);
    if (got.has_value()) {
      traffic->answered.fetch_add(1, std::memory_order_relaxed);
    } else {
      EXPECT_EQ(got.error().kind, ErrorKind::cancelled);
      traffic->cancelled.fetch_add(1, std::memory_order_relaxed);
    }
  }
}

TEST_P(ShardThreadsOn, StopInMidTrafficJoinsEverything) {
  std::uint64_t cancelled = 0;
  for (std::uint64_t round = 0; round < 20; ++round) {
    auto shards = start(3);
    Traffic traffic;
    for (std::size_t i = 0; i < 3; ++i) {
      spawn(*shards, i, [&](Shard& here) -> Task<void> {
        for (std::uint64_t task = 1; task < 20; ++task) {
          here.scope().spawn(call_until_stopped(shards.get(), &here, round * 100 + task, &traffic));
        }
        return call_until_stopped(shards.get(), &here, round, &traffic);
      });
    }
    while (traffic.answered.load() < 2'000) std::this_thread::yield();
    shards->stop();
    EXPECT_EQ(traffic.begun.load(), traffic.answered.load());
    cancelled += traffic.cancelled.load();
    for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE((*shards)[i].idle());
  }
  EXPECT_GT(cancelled, 0U) << "no call was caught on its way in 20 rounds";
}

TEST_P(ShardThreadsOn, AFullMailboxRefusesAndRecovers) {
  ShardLimits limits;
  limits.mailbox_max = 4;
  limits.mailbox_reserve = 2;
  auto shards = start(2, limits);
  struct Seen {
    int good = 0;
    int refused = 0;
  } seen;
  const auto call_once = [](Shard* from, Shard* to, bool urgent, Seen* count) -> Task<void> {
    CallOptions options;
    options.urgent = urgent;
    Result<int> got = co_await from->call(*to, [](Shard&) -> Result<int> { return 1; }, options);
    if (got.has_value()) ++count->good;
    if (!got.has_value() && got.error().kind == ErrorKind::overloaded) ++count->refused;
  };
  for (int round = 1; round <= 200; ++round) {
    // All within one turn, so that none is answered in between.
    spawn(*shards, 0, [&](Shard& here) -> Task<void> {
      for (int i = 1; i < 10; ++i)
        here.scope().spawn(call_once(&here, &(*shards)[1], false, &seen));
      for (int i = 0; i < 3; ++i) here.scope().spawn(call_once(&here, &(*shards)[1], true, &seen));
      return call_once(&here, &(*shards)[1], false, &seen);
    });
    wait_until_empty(*shards, 0);
  }
  shards->stop();
  EXPECT_EQ(seen.good, 200 * 6);
  EXPECT_EQ(seen.refused, 200 * 7);
}

Task<void> withdraw_some(Shard* here, Shard* there, std::uint64_t seed, Traffic* traffic) {
  Prng random(seed);
  for (int i = 0; i < 300; ++i) {
    StopSource stop;
    MemberTimer<&StopSource::request_stop> stopper(stop);
    here->reactor().arm(stopper, here->reactor().clock().now() + microseconds(random.below(60)));
    CallOptions options;
    options.stop = stop.token();
    Result<int> got = co_await here->call(
        *there,
        [traffic](Shard&) -> Result<int> {
          traffic->begun.fetch_add(1, std::memory_order_relaxed);
          return 1;
        },
        options);
    if (stopper.started()) here->reactor().disarm(stopper);
    auto& counter = got.has_value() ? traffic->answered : traffic->cancelled;
    counter.fetch_add(1, std::memory_order_relaxed);
  }
}

TEST_P(ShardThreadsOn, AWithdrawnCallNeverBeganAndAnAnsweredOneDid) {
  auto shards = start(2);
  Traffic traffic;
  for (std::size_t i = 0; i < 2; ++i) {
    spawn(*shards, i, [&](Shard& here) -> Task<void> {
      for (std::uint64_t task = 1; task < 10; ++task) {
        here.scope().spawn(withdraw_some(&here, &(*shards)[1 - i], task, &traffic));
      }
      return withdraw_some(&here, &(*shards)[1 - i], 99, &traffic);
    });
  }
  for (std::size_t i = 0; i < 2; ++i) wait_until_empty(*shards, i);
  shards->stop();
  EXPECT_EQ(traffic.begun.load(), traffic.answered.load());
  EXPECT_EQ(traffic.answered.load() + traffic.cancelled.load(), 2U * 10 * 300);
  EXPECT_GT(traffic.answered.load(), 0U);
  EXPECT_GT(traffic.cancelled.load(), 0U);
}

Task<Result<std::string>> read_all(Shard* there, Handle handle) {
  const std::unique_ptr<ByteStream> stream = make_stream(there->reactor(), handle);
  std::string all;
  for (;;) {
    Result<std::string_view> bytes = co_await stream->read();
    if (!bytes.has_value() || bytes->empty()) break;
    all += *bytes;
  }
  co_await stream->close();
  co_return all;
}

TEST_P(ShardThreadsOn, AMovedDescriptorIsReadOnItsNewShard) {
  auto shards = start(2);
  std::array<int, 2> ends = {-1, -1};
  ASSERT_EQ(::pipe(ends.data()), 0);
  std::string got;
  spawn(*shards, 0, [&](Shard& here) {
    return [](Shard* from, Shard* to, int fd, std::string* out) -> Task<void> {
      const Handle mine = from->reactor().adopt(fd).value();
      const Handle theirs = from->hand_over(mine, *to);
      Result<std::string> text =
          co_await from->call(*to, [theirs](Shard& there) { return read_all(&there, theirs); });
      *out = *text;
    }(&here, &(*shards)[1], ends[0], &got);
  });
  const std::string sent(200'000, 'm');
  std::size_t written = 0;
  while (written < sent.size()) {
    const ssize_t now = ::write(ends[1], sent.data() + written, sent.size() - written);
    ASSERT_GT(now, 0);
    written += static_cast<std::size_t>(now);
  }
  ::close(ends[1]);
  wait_until_empty(*shards, 0);
  shards->stop();
  EXPECT_TRUE(got == sent);
}

TEST_P(ShardThreadsOn, StopWaitsForWhatATaskSpawnsElsewhereAtTheEnd) {
  auto shards = start(2);
  std::atomic<bool> cleaned_up = false;
  spawn(*shards, 0, [&](Shard& here) {
    return [](Shard* from, Shard* to, std::atomic<bool>* done) -> Task<void> {
      Event never(from->reactor());
      co_await never.wait(from->stop_token());
      // Shard 1 has been empty all the time, and has reported so; now it is not.
      co_await Sleep(from->reactor(), from->reactor().clock().now() + milliseconds(20));
      Result<bool> told = co_await from->call(*to, [done](Shard& there) -> Result<bool> {
        const auto clean_up = [](Shard* at, std::atomic<bool>* flag) -> Task<void> {
          co_await Sleep(at->reactor(), at->reactor().clock().now() + milliseconds(20));
          flag->store(true);
        };
        there.scope().spawn(clean_up(&there, done));
        return true;
      });
      EXPECT_TRUE(told.has_value());
    }(&here, &(*shards)[1], &cleaned_up);
  });
  shards->stop();
  EXPECT_TRUE(cleaned_up.load());
}

TEST_P(ShardThreadsOn, StopRethrowsWhatATaskThrew) {
  auto shards = start(2);
  spawn(*shards, 1, [](Shard&) {
    return []() -> Task<void> {
      throw std::runtime_error("left by a task");
      co_return;
    }();
  });
  std::string caught;
  try {
    shards->stop();
  } catch (const std::runtime_error& e) {
    caught = e.what();
  }
  EXPECT_EQ(caught, "left by a task");
  shards->stop();
}

TEST_P(ShardThreadsOn, ADestructorStopsThemToo) {
  std::atomic<bool> ended = false;
  {
    auto shards = start(2);
    spawn(*shards, 0, [&](Shard& here) {
      return [](Shard* shard, std::atomic<bool>* flag) -> Task<void> {
        Event never(shard->reactor());
        co_await never.wait(shard->stop_token());
        flag->store(true);
      }(&here, &ended);
    });
  }
  EXPECT_TRUE(ended.load());
}

TEST(ShardThreads, AnEngineThatCannotBeMadeIsAnError) {
  const auto make = [](std::size_t index) -> Result<std::unique_ptr<Reactor>> {
    if (index == 1) return fail(ErrorKind::unsupported, "no_engine", "not here");
    return make_ring(index);
  };
  Result<std::unique_ptr<ShardThreads>> started = ShardThreads::start(2, make);
  ASSERT_FALSE(started.has_value());
  EXPECT_STREQ(started.error().code, "no_engine");
}

TEST_P(ShardThreadsOn, LeaveSignalsToTheProgram) {
  auto shards = start(1);
  EXPECT_TRUE(shards->ask(0, [](Shard&) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return sigismember(&mask, SIGTERM) == 1;
  }));
}

}  // namespace
}  // namespace berth::inline v0::io
