// What every engine promises about timers, posts, hooks and stop.
#include "reactor_conformance.h"

#include <berth/core/prng.h>

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

using std::chrono::milliseconds;
using std::chrono::seconds;

// --- timers ---

TEST_P(ReactorConformance, FiresTimersInOrderOfTimeAndThenOfArming) {
  std::vector<int> fired;
  std::deque<Alarm> alarms;
  const TimePoint start = reactor().clock().now();
  const std::vector<int> delays = {5, 1, 3, 1, 4, 2, 3};
  for (std::size_t i = 0; i < delays.size(); ++i) {
    Alarm& alarm = alarms.emplace_back([&fired, i] { fired.push_back(static_cast<int>(i)); });
    reactor().arm(alarm, start + milliseconds(delays[i]));
  }
  ASSERT_TRUE(run_until([&] { return fired.size() == delays.size(); }));
  EXPECT_EQ(fired, (std::vector<int>{1, 3, 5, 2, 6, 4, 0}));
  EXPECT_GE(reactor().clock().now(), start + milliseconds(5));
}

TEST_P(ReactorConformance, FiresATimerOfThePastInTheNextTurnNotInsideArm) {
  int fired = 0;
  Alarm alarm([&] { ++fired; });
  reactor().arm(alarm, reactor().clock().now() - seconds(1));
  EXPECT_EQ(fired, 0);
  EXPECT_TRUE(alarm.started());
  reactor().poll();
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(alarm.started());
}

TEST_P(ReactorConformance, MovesATimerThatIsArmedAgain) {
  std::vector<std::string> fired;
  Alarm moved([&] { fired.emplace_back("moved"); });
  Alarm fixed([&] { fired.emplace_back("fixed"); });
  const TimePoint start = reactor().clock().now();
  reactor().arm(moved, start + milliseconds(1));
  reactor().arm(fixed, start + milliseconds(2));
  reactor().arm(moved, start + milliseconds(3));
  ASSERT_TRUE(run_until([&] { return fired.size() == 2; }));
  EXPECT_EQ(fired, (std::vector<std::string>{"fixed", "moved"}));
}

TEST_P(ReactorConformance, NeverFiresADisarmedTimerNotEvenOneThatIsDue) {
  int first_fired = 0;
  int second_fired = 0;
  Alarm second([&] { ++second_fired; });
  Alarm first([&] {
    ++first_fired;
    reactor().disarm(second);
  });
  const TimePoint past = reactor().clock().now() - seconds(1);
  reactor().arm(first, past);
  reactor().arm(second, past);
  ASSERT_TRUE(run_until([&] { return first_fired == 1; }));
  settle();
  EXPECT_EQ(second_fired, 0);
  EXPECT_FALSE(second.started());
  reactor().disarm(second);  // not armed: nothing to do
}

TEST_P(ReactorConformance, MovesATimerEvenWhenItIsDueInThisVeryTurn) {
  int second_fired = 0;
  Alarm second([&] { ++second_fired; });
  Alarm first([&] { reactor().arm(second, reactor().clock().now() + seconds(5)); });
  const TimePoint past = reactor().clock().now() - seconds(1);
  reactor().arm(first, past);
  reactor().arm(second, past);
  settle();
  EXPECT_EQ(second_fired, 0);
  EXPECT_TRUE(second.started());
  reactor().disarm(second);
}

TEST_P(ReactorConformance, RearmsATimerInItsOwnCallbackForTheNextTurn) {
  int fired = 0;
  Alarm* self = nullptr;
  Alarm alarm([&] {
    if (++fired < 5) reactor().arm(*self, reactor().clock().now());
  });
  self = &alarm;
  reactor().arm(alarm, reactor().clock().now());
  reactor().poll();
  EXPECT_EQ(fired, 1);
  EXPECT_TRUE(run_until([&] { return fired == 5; }));
}

TEST_P(ReactorConformance, KeepsHundredsOfTimersInOrderThroughMovesAndDisarms) {
  Prng random(7);
  struct Entry {
    std::unique_ptr<Alarm> alarm;
    TimePoint when;
    bool expected = false;
  };
  std::vector<Entry> entries(300);
  std::vector<std::size_t> fired;
  const TimePoint start = reactor().clock().now();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    entries[i].alarm = std::make_unique<Alarm>([&fired, i] { fired.push_back(i); });
  }
  for (int step = 0; step < 3'000; ++step) {
    Entry& entry = entries[random.below(entries.size())];
    if (random.one_in(4)) {
      reactor().disarm(*entry.alarm);
      entry.expected = false;
    } else {
      // All in the past: one turn fires them all, in order.
      entry.when = start - milliseconds(random.below(1'000'000));
      reactor().arm(*entry.alarm, entry.when);
      entry.expected = true;
    }
  }
  std::size_t expected = 0;
  for (const Entry& entry : entries) expected += entry.expected ? 1U : 0U;
  ASSERT_TRUE(run_until([&] { return fired.size() >= expected; }));
  settle();
  ASSERT_EQ(fired.size(), expected);
  for (std::size_t i = 0; i + 1 < fired.size(); ++i) {
    EXPECT_LE(entries[fired[i]].when, entries[fired[i + 1]].when);
  }
  for (const std::size_t i : fired) EXPECT_TRUE(entries[i].expected) << i;
}

TEST_P(ReactorConformance, HoldsTimeStillWithinATurn) {
  TimePoint first;
  TimePoint second;
  Job late([&] { second = reactor().clock().now(); });
  Job early([&] {
    first = reactor().clock().now();
    std::string work;
    for (int i = 0; i < 20'000; ++i) work += pattern(10, static_cast<std::uint64_t>(i));
    EXPECT_EQ(work.size(), 200'000U);
  });
  reactor().post(early);
  reactor().post(late);
  ASSERT_TRUE(run_until([&] { return second != TimePoint(); }));
  EXPECT_EQ(first, second);
}

// --- posting, hooks, stop ---

TEST_P(ReactorConformance, RunsPostedRunnablesInOrderAndNeverInsidePost) {
  std::vector<int> ran;
  Job third([&] { ran.push_back(3); });
  Job first([&] {
    ran.push_back(1);
    reactor().post(third);
    ran.push_back(-1);
  });
  Job second([&] { ran.push_back(2); });
  reactor().post(first);
  reactor().post(second);
  EXPECT_TRUE(ran.empty());
  ASSERT_TRUE(run_until([&] { return ran.size() == 4; }));
  EXPECT_EQ(ran, (std::vector<int>{1, -1, 2, 3}));
}

TEST_P(ReactorConformance, ForgetsAPostedRunnableThatUnlinksItself) {
  bool other_ran = false;
  Job never([] { FAIL(); });
  Job other([&] { other_ran = true; });
  reactor().post(never);
  reactor().post(other);
  never.unlink();
  EXPECT_TRUE(run_until([&] { return other_ran; }));
}

TEST_P(ReactorConformance, DeliversBytesAlthoughARunnablePostsItselfForEver) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  bool enough = false;
  Job* self = nullptr;
  Job restless([&] {
    if (!enough) reactor().post(*self);
  });
  self = &restless;
  reactor().post(restless);
  sink.begin();
  source.write("heard");
  int timer_fired = 0;
  Alarm alarm([&] { ++timer_fired; });
  reactor().arm(alarm, reactor().clock().now());
  EXPECT_TRUE(run_until([&] { return sink.text == "heard" && timer_fired == 1; }));
  enough = true;
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over && !restless.linked(); }));
  close(pipe);
}

TEST_P(ReactorConformance, CallsTurnHooksAfterWhatRanAndServesWhatTheyStart) {
  PipeEnds pipe = make_pipe();
  Sink sink(reactor(), pipe.reader);
  Source source(reactor(), pipe.writer);
  class Flusher final : public TurnHook {
   public:
    explicit Flusher(Source& target) : source(target) {}
    void on_turn_end() override {
      if (gathered.empty() || !source.done) return;
      source.write(std::exchange(gathered, ""));
      ++flushes;
    }
    Source& source;
    std::string gathered;
    int flushes = 0;
  } flusher(source);
  reactor().add_turn_hook(flusher);
  sink.begin();
  Job a([&] { flusher.gathered += "a"; });
  Job b([&] { flusher.gathered += "b"; });
  reactor().post(a);
  reactor().post(b);
  EXPECT_TRUE(run_until([&] { return sink.text == "ab"; }));
  EXPECT_EQ(flusher.flushes, 1);
  reactor().cancel(sink);
  ASSERT_TRUE(run_until([&] { return sink.over; }));
  close(pipe);
}

TEST_P(ReactorConformance, RunsWhatOtherThreadsPost) {
  constexpr std::size_t kThreads = 4;
  constexpr std::size_t kPosts = 2'000;
  std::vector<std::vector<std::size_t>> ran(kThreads);
  std::size_t total = 0;
  std::vector<std::deque<Job>> jobs(kThreads);
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    for (std::size_t i = 0; i < kPosts; ++i) {
      jobs[thread].emplace_back([&, thread, i] {
        ran[thread].push_back(i);
        ++total;
      });
    }
  }
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    std::vector<std::function<void()>> steps;
    for (Job& job : jobs[thread]) steps.push_back([this, &job] { reactor().post_remote(job); });
    rig_->elsewhere(std::move(steps));
  }
  EXPECT_TRUE(run_until([&] { return total == kThreads * kPosts; }));
  for (const std::vector<std::size_t>& order : ran) {
    EXPECT_EQ(order.size(), kPosts);
    EXPECT_TRUE(std::is_sorted(order.begin(), order.end())) << "each thread's posts stay in order";
  }
}

TEST_P(ReactorConformance, StopsFromAnotherThread) {
  bool ran = false;
  Job job([&] { ran = true; });
  rig_->elsewhere({[&] { reactor().post_remote(job); }, [&] { reactor().stop(); }});
  reactor().run();
  settle();
  EXPECT_TRUE(ran);
}

}  // namespace berth::inline v0::io
