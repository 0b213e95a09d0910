#include <berth/core/scope.h>
#include <berth/io/sim_offload.h>
#include <berth/io/sim_reactor.h>

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace berth::inline v0::io {
namespace {

Task<void> work(Offload* lanes, Reactor* reactor, StopToken stop, int number,
                std::vector<int>* worked, std::vector<std::string>* answers) {
  Result<int> got = co_await lanes->run(
      Lane::git, *reactor,
      [number, worked]() -> Result<int> {
        worked->push_back(number);
        return number;
      },
      stop);
  answers->push_back(got.has_value() ? std::to_string(*got) : got.error().code);
}

TEST(SimOffloadStop, WithdrawsAllThatHasNotBegun) {
  SimMachine machine(1);
  SimReactor reactor(machine, "server");
  SimOffload lanes(machine);
  std::vector<int> worked;
  std::vector<std::string> answers;
  StopSource stop;
  Scope scope(reactor);
  for (int i = 0; i < 3; ++i) {
    scope.spawn(work(&lanes, &reactor, stop.token(), i, &worked, &answers));
  }
  EXPECT_EQ(lanes.busy(), 3U);
  stop.request_stop();
  EXPECT_EQ(lanes.busy(), 0U);
  EXPECT_TRUE(answers.empty()) << "nobody resumes inside request_stop()";
  machine.run_until([&] { return scope.size() == 0; });
  EXPECT_EQ(answers, (std::vector<std::string>(3, "cancelled")));

  // The lane goes on with what comes afterwards, the moment that it had planned included.
  scope.spawn(work(&lanes, &reactor, {}, 7, &worked, &answers));
  machine.run_until([&] { return scope.size() == 0; });
  EXPECT_EQ(worked, (std::vector<int>{7}));
}

TEST(SimOffloadStop, AnswersEachJobOnceWheneverTheStopComes) {
  int cancelled = 0;
  int answered = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SimMachine machine(seed);
    SimReactor reactor(machine, "server");
    SimOffload lanes(machine);
    std::vector<int> worked;
    std::vector<std::string> answers;
    StopSource stop;
    Scope scope(reactor);
    for (int i = 0; i < 5; ++i) {
      scope.spawn(work(&lanes, &reactor, stop.token(), i, &worked, &answers));
    }
    for (std::uint64_t step = 0; step < seed % 40; ++step) machine.step();
    stop.request_stop();
    ASSERT_EQ(machine.run_until([&] { return scope.size() == 0; }), SimMachine::Outcome::reached);
    ASSERT_EQ(answers.size(), 5U);
    std::size_t good = 0;
    for (const std::string& answer : answers) {
      if (answer != "cancelled") ++good;
    }
    ASSERT_EQ(good, worked.size()) << "seed " << seed;
    answered += static_cast<int>(good);
    cancelled += static_cast<int>(answers.size() - good);
    ASSERT_EQ(lanes.busy(), 0U);
  }
  EXPECT_GT(answered, 100);
  EXPECT_GT(cancelled, 100);
}

}  // namespace
}  // namespace berth::inline v0::io
