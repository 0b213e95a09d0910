// Posting between reactors on threads of their own: the wake-up travels with the sender's ring.
#include "plain_rig.h"

#include <berth/core/prng.h>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <array>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

namespace berth::inline v0::io {

namespace {

/// Reactors that throw balls at each other: each ball is posted to somebody else when it runs,
/// until it has flown often enough.
class Game {
 public:
  explicit Game(std::vector<std::unique_ptr<FdReactor>> reactors)
      : reactors_(std::move(reactors)) {}

  /// False when the balls had not all landed within 20 seconds.
  bool play(std::size_t balls_each, int flights) {
    for (std::size_t i = 0; i < reactors_.size() * balls_each; ++i) {
      balls_.emplace_back(*this, i % reactors_.size(), flights, i + 1);
    }
    flying_ = balls_.size();
    for (Ball& ball : balls_) reactors_[ball.place]->post_remote(ball);
    std::vector<std::thread> threads;
    for (auto& reactor : reactors_) {
      threads.emplace_back([this, &reactor] {
        Alarm late([&] {
          timed_out_ = true;
          reactor->stop();
        });
        reactor->arm(late, reactor->clock().now() + std::chrono::seconds(20));
        reactor->run();
        reactor->disarm(late);
      });
    }
    for (std::thread& thread : threads) thread.join();
    return !timed_out_;
  }
  std::uint64_t turns() const {
    std::uint64_t sum = 0;
    for (const auto& reactor : reactors_) sum += reactor->stats().turns;
    return sum;
  }

 private:
  struct Ball final : Runnable {
    Ball(Game& game_value, std::size_t place_value, int flights_value, std::uint64_t seed)
        : game(game_value), place(place_value), flights(flights_value), prng(seed) {}
    void run() override { game.landed(*this); }
    Game& game;
    std::size_t place;
    int flights;
    Prng prng;
  };

  void landed(Ball& ball) {
    if (ball.flights-- == 0) {
      if (flying_.fetch_sub(1) == 1) {
        for (auto& reactor : reactors_) reactor->stop();
      }
      return;
    }
    FdReactor& from = *reactors_[ball.place];
    ball.place = (ball.place + 1 + ball.prng.below(reactors_.size() - 1)) % reactors_.size();
    reactors_[ball.place]->post_from(from, ball);
  }

  std::vector<std::unique_ptr<FdReactor>> reactors_;
  std::deque<Ball> balls_;
  std::atomic<std::size_t> flying_ = 0;
  std::atomic<bool> timed_out_ = false;
};

bool eventually(const std::atomic<bool>& happened) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!happened && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  return happened;
}

/// Runs a reactor on a thread of its own, at most ten seconds; takes messages once this exists.
class Running {
 public:
  explicit Running(FdReactor& reactor)
      : late_([&reactor] { reactor.stop(); }), begun_([this] { begins_ = true; }) {
    reactor.arm(late_, reactor.clock().now() + std::chrono::seconds(10));
    reactor.post_remote(begun_);
    thread_ = std::thread([this, &reactor] {
      reactor.run();
      reactor.disarm(late_);
    });
    EXPECT_TRUE(eventually(begins_));
  }
  void join() { thread_.join(); }

 private:
  std::atomic<bool> begins_ = false;
  Alarm late_;
  Job begun_;
  std::thread thread_;
};

std::unique_ptr<FdReactor> ring(const UringSizes& sizes = {}) {
  return make_uring_reactor(sizes).value();
}

template <typename... R>
std::vector<std::unique_ptr<FdReactor>> group(R... reactors) {
  std::vector<std::unique_ptr<FdReactor>> made;
  (made.push_back(std::move(reactors)), ...);
  return made;
}

}  // namespace

// One ball: each landing finds the target asleep or just going to sleep.
TEST(PostFrom, WakesTheOtherEachTime) {
  Game game(group(ring(), ring()));
  EXPECT_TRUE(game.play(1, 20'000));
}

TEST(PostFrom, LosesNothingAmongFour) {
  Game game(group(ring(), ring(), ring(), ring()));
  EXPECT_TRUE(game.play(20, 2'000));
}

// Submission queues of two: most messages leave in the middle of a turn.
TEST(PostFrom, LosesNothingWhenTheSubmissionQueueIsFull) {
  Game game(group(ring({2, 4}), ring({2, 4}), ring({2, 4})));
  EXPECT_TRUE(game.play(20, 2'000));
}

TEST(PostFrom, ReachesAndLeavesEnginesWithoutARing) {
  Game game(group(ring(), make_plain_reactor(), ring()));
  EXPECT_TRUE(game.play(5, 2'000));
}

// The sender stops in the very turn in which it posts.
TEST(PostFrom, DeliversWhatWasPostedInTheLastTurn) {
  for (int i = 0; i < 100; ++i) {
    const std::unique_ptr<FdReactor> target = ring();
    bool received = false;
    Job message([&] {
      received = true;
      target->stop();
    });
    Running other(*target);
    const std::unique_ptr<FdReactor> sender = ring();
    sender->poll();
    Job last([&] {
      target->post_from(*sender, message);
      sender->stop();
    });
    sender->post(last);
    sender->run();
    other.join();
    ASSERT_TRUE(received) << i;
  }
}

// The first message leaves in mid-turn, since the submission queue is full; it wakes nobody for
// what is posted afterwards in the same turn.
TEST(PostFrom, WakesAgainWhenTheMessageOfThisTurnHasLeft) {
  const std::unique_ptr<FdReactor> target = ring();
  const std::unique_ptr<FdReactor> sender = ring({2, 16});
  std::atomic<bool> first_received = false;
  bool second_received = false;
  Job first([&] { first_received = true; });
  Job second([&] {
    second_received = true;
    target->stop();
  });
  Running other(*target);
  std::array<int, 2> pipe = {-1, -1};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  std::array<Waiter, 8> waiters;
  Job post([&] {
    target->post_from(*sender, first);
    for (Waiter& waiter : waiters) {
      waiter.handle = pipe[0];
      sender->start(waiter);
    }
    EXPECT_TRUE(eventually(first_received)) << "the message did not leave in this turn";
    target->post_from(*sender, second);
  });
  sender->post(post);
  sender->poll();
  sender->poll();
  other.join();
  EXPECT_TRUE(second_received);
  for (Waiter& waiter : waiters) sender->cancel(waiter);
  for (int i = 0; i < 1'000 && waiters.back().calls == 0; ++i) sender->poll();
  for (const int end : pipe) ::close(end);
}

// A ring that nobody has entered yet takes no messages.
TEST(PostFrom, WakesOneThatStartsLater) {
  const std::unique_ptr<FdReactor> sender = ring();
  const std::unique_ptr<FdReactor> target = ring();
  bool received = false;
  Job message([&] { received = true; });
  Job post([&] { target->post_from(*sender, message); });
  sender->poll();
  sender->post(post);
  sender->poll();
  for (int i = 0; i < 100 && !received; ++i) {
    sender->poll();
    target->poll();
  }
  EXPECT_TRUE(received);
}

// Descriptors of a peer that is gone come to nothing, and its place is used again.
TEST(PostFrom, OutlivesItsPeers) {
  const std::unique_ptr<FdReactor> sender = ring();
  sender->poll();
  for (int i = 0; i < 300; ++i) {
    const std::unique_ptr<FdReactor> target = ring({8, 16});
    target->poll();
    bool received = false;
    Job message([&] { received = true; });
    Job post([&] { target->post_from(*sender, message); });
    sender->post(post);
    for (int turn = 0; turn < 100 && !received; ++turn) {
      sender->poll();
      target->poll();
    }
    ASSERT_TRUE(received) << i;
  }
}

TEST(PostFrom, SendsOneMessageForASubmissionAndTarget) {
  UringSizes sizes;
  Result<std::unique_ptr<UringRing>> made = UringRing::create(sizes);
  UringRing& senders_ring = **made;
  const std::unique_ptr<FdReactor> sender = FdReactor::create("uring", std::move(*made)).value();
  const std::unique_ptr<FdReactor> target = ring();
  sender->poll();
  target->poll();
  int received = 0;
  std::deque<Job> messages;
  for (int i = 0; i < 1'000; ++i) messages.emplace_back([&] { ++received; });
  Job post([&] {
    for (Job& message : messages) target->post_from(*sender, message);
  });
  sender->post(post);
  sender->poll();
  const std::uint64_t enters = senders_ring.enter_count();
  const std::uint64_t before = target->stats().completions;
  sender->poll();
  EXPECT_EQ(senders_ring.enter_count(), enters + 1);
  target->poll();
  EXPECT_EQ(received, 1'000);
  EXPECT_EQ(target->stats().completions, before + 1);
}

}  // namespace berth::inline v0::io
