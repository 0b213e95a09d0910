// Shards on one thread: a simulated machine takes their turns in an order that the seed chooses, so
// that a test can stop between any two of them. On threads: shard_threads_test.cc.
#include <berth/core/prng.h>
#include <berth/core/sync.h>
#include <berth/io/awaitables.h>
#include <berth/io/shard.h>
#include <berth/io/sim_machine.h>
#include <berth/io/sim_reactor.h>
#include <berth/io/stream.h>

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::inline v0::io {
namespace {

class World {
 public:
  explicit World(std::size_t count, std::uint64_t seed = 1, const ShardLimits& limits = {})
      : machine_(seed, FaultPlan::none()) {
    std::vector<Reactor*> all;
    for (std::size_t i = 0; i < count; ++i) {
      reactors_.push_back(std::make_unique<SimReactor>(machine_, "shard" + std::to_string(i)));
      all.push_back(reactors_.back().get());
    }
    shards_ = std::make_unique<Shards>(all, limits);
  }
  Shard& operator[](std::size_t index) { return (*shards_)[index]; }
  Shards& shards() { return *shards_; }
  SimMachine& machine() { return machine_; }
  /// One turn of one shard.
  void turn(std::size_t index) { machine_.poll(*reactors_[index]); }
  /// False when nothing can happen any more, or an hour of virtual time is over.
  bool run_until(const std::function<bool()>& done) {
    return machine_.run_until(done) == SimMachine::Outcome::reached;
  }
  bool idle() {
    for (std::size_t i = 0; i < reactors_.size(); ++i) {
      if (!(*this)[i].idle()) return false;
    }
    return true;
  }

 private:
  SimMachine machine_;
  std::vector<std::unique_ptr<SimReactor>> reactors_;
  std::unique_ptr<Shards> shards_;
};

std::string text(const Result<int>& result) {
  return result.has_value() ? std::to_string(*result) : result.error().code;
}

/// Adds one on the other shard, and says that it was there.
struct AddOne {
  int number;
  std::vector<int>* order;
  Result<int> operator()(Shard&) const {
    order->push_back(number);
    return number + 1;
  }
};

Task<void> add_one(Shard* here, Shard* there, AddOne job, CallOptions options,
                   std::string* answer) {
  Result<int> got = co_await here->call(*there, job, options);
  *answer = text(got);
}

TEST(Shard, RunsACallThereAndAnswersHere) {
  World world(2);
  std::string answer = "pending";
  std::size_t ran_on = 9;
  world[0].scope().spawn([](World* all, std::size_t* where, std::string* out) -> Task<void> {
    Result<int> got = co_await (*all)[0].call((*all)[1], [where](Shard& there) -> Result<int> {
      *where = there.index();
      return 42;
    });
    *out = text(got);
  }(&world, &ran_on, &answer));
  EXPECT_EQ(world[0].calls_open(world[1]), 1U);

  world.turn(1);
  EXPECT_EQ(ran_on, 9U) << "it has not left";
  world.turn(0);
  EXPECT_EQ(ran_on, 9U);
  world.turn(1);
  EXPECT_EQ(ran_on, 1U);
  EXPECT_EQ(answer, "pending") << "answers come in a turn of the caller's shard";
  world.turn(0);
  EXPECT_EQ(answer, "42");
  EXPECT_TRUE(world.idle());
}

TEST(Shard, CallsBeginInTheOrderOfCallingAndCostOneWakeUp) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World world(2, seed);
    std::vector<int> order;
    std::vector<std::string> answers(100);
    for (int i = 0; i < 100; ++i) {
      world[0].scope().spawn(add_one(&world[0], &world[1], AddOne{i, &order}, {},
                                     &answers[static_cast<std::size_t>(i)]));
    }
    ASSERT_TRUE(world.run_until([&] { return world.idle(); }));
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(order[static_cast<std::size_t>(i)], i);
      ASSERT_EQ(answers[static_cast<std::size_t>(i)], std::to_string(i + 1));
    }
    EXPECT_EQ(world[1].mails_received(), 1U) << "all calls of a turn";
    EXPECT_EQ(world[0].mails_received(), 1U) << "all answers of a turn";
    EXPECT_EQ(world[1].calls_begun(), 100U);
  }
}

TEST(Shard, AFullMailboxSaysWhichLimitAndKeepsAReserve) {
  ShardLimits limits;
  limits.mailbox_max = 2;
  limits.mailbox_reserve = 1;
  World world(2, 1, limits);
  std::vector<int> order;
  std::vector<std::string> answers(5, "pending");
  CallOptions urgent;
  urgent.urgent = true;
  const auto call = [&](std::size_t number, const CallOptions& options) {
    world[0].scope().spawn(add_one(&world[0], &world[1], AddOne{static_cast<int>(number), &order},
                                   options, &answers[number]));
  };
  call(0, {});
  call(1, {});
  call(2, {});
  call(3, urgent);
  call(4, urgent);
  EXPECT_EQ(answers[2], "shard_mailbox_full");
  EXPECT_EQ(answers[3], "pending");
  EXPECT_EQ(answers[4], "shard_mailbox_full");
  ASSERT_TRUE(world.run_until([&] { return world.idle(); }));
  EXPECT_EQ(order, (std::vector<int>{0, 1, 3}));

  call(2, {});
  ASSERT_TRUE(world.run_until([&] { return world.idle(); }));
  EXPECT_EQ(answers[2], "3") << "there is room again";
}

TEST(Shard, TheOverloadErrorNamesShardsAndLimit) {
  ShardLimits limits;
  limits.mailbox_max = 0;
  World world(2, 1, limits);
  std::optional<Error> error;
  world[1].scope().spawn([](World* all, std::optional<Error>* out) -> Task<void> {
    const auto nothing = [](Shard&) -> Result<int> { return 1; };
    Result<int> got = co_await (*all)[1].call((*all)[0], nothing);
    *out = got.error();
  }(&world, &error));
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->kind, ErrorKind::overloaded);
  EXPECT_EQ(error->message, "shard 0 has 0 calls of shard 1 to answer (shard_mailbox_max)");
}

class ShardStop : public testing::Test {
 protected:
  void call() {
    CallOptions options;
    options.stop = stop_.token();
    world_[0].scope().spawn(add_one(&world_[0], &world_[1], AddOne{1, &order_}, options, &answer_));
  }
  World world_{2};
  StopSource stop_;
  std::vector<int> order_;
  std::string answer_ = "pending";
};

TEST_F(ShardStop, ACallThatHasNotLeftIsTakenBack) {
  call();
  stop_.request_stop();
  EXPECT_EQ(world_[0].calls_open(world_[1]), 0U);
  EXPECT_EQ(answer_, "pending") << "nobody resumes inside request_stop()";
  ASSERT_TRUE(world_.run_until([&] { return world_.idle(); }));
  EXPECT_EQ(answer_, "cancelled");
  EXPECT_EQ(world_[1].mails_received(), 0U);
}

TEST_F(ShardStop, ACallOnItsWayNeverBegins) {
  call();
  world_.turn(0);
  stop_.request_stop();
  ASSERT_TRUE(world_.run_until([&] { return world_.idle(); }));
  EXPECT_EQ(answer_, "cancelled");
  EXPECT_TRUE(order_.empty());
  EXPECT_EQ(world_[1].mails_received(), 1U);
  EXPECT_EQ(world_[1].calls_begun(), 0U);
}

TEST_F(ShardStop, ACallThatHasBegunKeepsItsAnswer) {
  call();
  world_.turn(0);
  world_.turn(1);
  EXPECT_EQ(order_.size(), 1U);
  stop_.request_stop();
  ASSERT_TRUE(world_.run_until([&] { return world_.idle(); }));
  EXPECT_EQ(answer_, "2");
}

TEST_F(ShardStop, AStoppedTokenSendsNothing) {
  stop_.request_stop();
  call();
  EXPECT_EQ(answer_, "cancelled");
  EXPECT_TRUE(world_.idle());
}

/// Takes a second on the other shard.
struct Slow {
  Task<Result<int>> operator()(Shard& there) const { return run(&there); }
  static Task<Result<int>> run(Shard* there) {
    Reactor& reactor = there->reactor();
    co_await Sleep(reactor, reactor.clock().now() + std::chrono::seconds(1));
    co_return static_cast<int>(there->index());
  }
};

Task<void> call_slow(Shard* here, Shard* there, CallOptions options, std::string* answer) {
  Result<int> got = co_await here->call(*there, Slow(), options);
  *answer = text(got);
}

TEST(Shard, ATaskIsWaitedForAndOthersGoOnMeanwhile) {
  World world(2);
  std::string slow = "pending";
  std::string quick = "pending";
  std::vector<int> order;
  StopSource stop;
  CallOptions options;
  options.stop = stop.token();
  world[0].scope().spawn(call_slow(&world[0], &world[1], options, &slow));
  world[0].scope().spawn(add_one(&world[0], &world[1], AddOne{7, &order}, {}, &quick));
  ASSERT_TRUE(world.run_until([&] { return quick == "8"; }));
  EXPECT_EQ(slow, "pending");
  EXPECT_FALSE(world[1].idle());
  stop.request_stop();
  ASSERT_TRUE(world.run_until([&] { return world.idle(); }));
  EXPECT_EQ(slow, "1") << "it had begun";
}

struct Throw {
  Task<Result<int>> operator()(Shard&) const { return run(); }
  static Task<Result<int>> run() {
    throw std::runtime_error("from a task");
    co_return 1;
  }
};

template <typename Fn>
Task<void> call_and_catch(Shard* here, Shard* there, Fn fn, std::string* caught) {
  try {
    Result<int> got = co_await here->call(*there, fn);
    *caught = text(got);
  } catch (const std::runtime_error& e) {
    *caught = e.what();
  }
}

TEST(Shard, WhatTheOtherShardThrewIsRethrownHere) {
  World world(2);
  std::string from_function;
  std::string from_task;
  const auto throwing = [](Shard&) -> Result<int> { throw std::runtime_error("from a function"); };
  world[0].scope().spawn(call_and_catch(&world[0], &world[1], throwing, &from_function));
  world[0].scope().spawn(call_and_catch(&world[0], &world[1], Throw(), &from_task));
  ASSERT_TRUE(world.run_until([&] { return world.idle(); }));
  EXPECT_EQ(from_function, "from a function");
  EXPECT_EQ(from_task, "from a task");
}

/// Less than the smallest buffer of a connection: nobody needs to read yet.
constexpr std::size_t kSoon = 400;

Task<void> write_in_two_parts(Shard* here, Handle handle, std::string_view text, Event* half) {
  const std::unique_ptr<ByteStream> stream = make_stream(here->reactor(), handle);
  Result<void> sent = co_await stream->write(text.substr(0, kSoon));
  half->set();
  if (sent.has_value()) sent = co_await stream->write(text.substr(kSoon));
  EXPECT_TRUE(sent.has_value());
  co_await stream->close();
}

Task<Result<std::string>> read_to_the_end(Shard* there, Handle handle) {
  const std::unique_ptr<ByteStream> stream = make_stream(there->reactor(), handle);
  std::string all;
  for (;;) {
    const Result<std::string_view> bytes = co_await stream->read();
    if (!bytes.has_value()) co_return fail(bytes.error());
    if (bytes->empty()) break;
    all += *bytes;
  }
  co_await stream->close();
  co_return all;
}

/// Lets one end of a connection, which has bytes already, be read on the last shard.
Task<void> hand_on(Shards* shards, Handle mine, Event* half, std::string* got) {
  co_await half->wait();
  Shard& last = (*shards)[shards->size() - 1];
  const Handle handle = (*shards)[0].hand_over(mine, last);
  const Result<std::string> text = co_await (*shards)[0].call(
      last, [handle](Shard& there) { return read_to_the_end(&there, handle); });
  EXPECT_TRUE(text.has_value());
  if (text.has_value()) *got = *text;
}

TEST(Shard, AMovedConnectionIsReadOnItsNewShardWhateverTheOrderOfTurns) {
  std::string sent;
  for (int i = 0; sent.size() < 30'000; ++i) sent += std::to_string(i) + " ";
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    World world(2 + seed % 3, seed);
    world.machine().faults() = FaultPlan::gentle();
    const std::pair<Handle, Handle> ends = world.machine().make_connection();
    Reactor& first = world[0].reactor();
    Event half(first);
    std::string got;
    world[0].scope().spawn(
        write_in_two_parts(&world[0], first.adopt(ends.first).value(), sent, &half));
    world[0].scope().spawn(hand_on(&world.shards(), first.adopt(ends.second).value(), &half, &got));
    ASSERT_TRUE(world.run_until([&] { return world.idle(); })) << "seed " << seed;
    EXPECT_TRUE(got == sent) << "seed " << seed << ": " << got.size() << " bytes";
  }
}

TEST(Shard, MayCallItself) {
  World world(1);
  std::string answer;
  std::string slow;
  std::vector<int> order;
  world[0].scope().spawn(add_one(&world[0], &world[0], AddOne{1, &order}, {}, &answer));
  world[0].scope().spawn(call_slow(&world[0], &world[0], {}, &slow));
  ASSERT_TRUE(world.run_until([&] { return world.idle(); }));
  EXPECT_EQ(answer, "2");
  EXPECT_EQ(slow, "0");
}

TEST(Shard, RequestStopReachesTheTasksOfAllShards) {
  World world(3);
  int stopped = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    world[i].scope().spawn([](Shard* shard, int* count) -> Task<void> {
      Event never(shard->reactor());
      const bool set = co_await never.wait(shard->stop_token());
      if (!set) ++*count;
    }(&world[i], &stopped));
  }
  EXPECT_FALSE(world.run_until([&] { return world.idle(); }));
  world.shards().request_stop();
  EXPECT_EQ(stopped, 0);
  ASSERT_TRUE(world.run_until([&] { return world.idle(); }));
  EXPECT_EQ(stopped, 3);
}

/// What became of the calls of one seed.
struct Tally {
  int begun = 0;
  int answered = 0;
  int cancelled = 0;
  int overloaded = 0;
};

/// Asks to stop after some turns: before the call left, on its way, while it runs, or never.
class Stopper final : public Runnable {
 public:
  Stopper(Reactor& reactor, StopSource& stop, std::uint64_t turns)
      : reactor_(reactor), stop_(stop), turns_(turns) {}
  void run() override {
    if (turns_-- == 0) {
      stop_.request_stop();
    } else {
      reactor_.post_remote(*this);
    }
  }

 private:
  Reactor& reactor_;
  StopSource& stop_;
  std::uint64_t turns_;
};

Task<void> wander(World* world, std::size_t at, std::uint64_t seed, Tally* tally) {
  Prng random(seed);
  Shard& here = (*world)[at];
  for (int i = 0; i < 20; ++i) {
    Shard& there = (*world)[random.below(world->shards().size())];
    StopSource stop;
    Stopper stopper(here.reactor(), stop, random.below(6));
    if (random.one_in(2)) here.reactor().post_remote(stopper);
    CallOptions options;
    options.stop = stop.token();
    options.urgent = random.one_in(4);
    const bool slow = random.one_in(3);
    Result<int> got = fail(ErrorKind::internal, "none", "");
    if (slow) {
      got = co_await here.call(there, Slow(), options);
    } else {
      const auto count = [tally](Shard&) -> Result<int> {
        ++tally->begun;
        return 1;
      };
      got = co_await here.call(there, count, options);
      if (got.has_value()) ++tally->answered;
    }
    stopper.unlink();
    if (!got.has_value() && got.error().kind == ErrorKind::cancelled) ++tally->cancelled;
    if (!got.has_value() && got.error().kind == ErrorKind::overloaded) ++tally->overloaded;
  }
}

TEST(Shard, EveryCallIsAnsweredOnceWhateverTheOrderOfTurns) {
  Tally all;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    ShardLimits limits;
    limits.mailbox_max = 3;
    limits.mailbox_reserve = 1;
    World world(3, seed, limits);
    Tally tally;
    for (std::size_t i = 0; i < 30; ++i) {
      world[i % 3].scope().spawn(wander(&world, i % 3, seed * 100 + i, &tally));
    }
    ASSERT_TRUE(world.run_until([&] { return world.idle(); })) << "seed " << seed;
    ASSERT_EQ(tally.begun, tally.answered) << "seed " << seed;
    all.begun += tally.begun;
    all.cancelled += tally.cancelled;
    all.overloaded += tally.overloaded;
  }
  EXPECT_GT(all.begun, 1000);
  EXPECT_GT(all.cancelled, 1000);
  EXPECT_GT(all.overloaded, 1000);
}

}  // namespace
}  // namespace berth::inline v0::io
