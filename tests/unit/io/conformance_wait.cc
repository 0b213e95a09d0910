// What every engine promises about waiting for child processes.
#include "reactor_conformance.h"

#include <algorithm>
#include <cerrno>

namespace berth::inline v0::io {

namespace {

class ChildWait final : public WaitOp {
 public:
  explicit ChildWait(int child) { pid = child; }
  void on_ended(int error_value) override {
    EXPECT_FALSE(started());
    error = error_value;
    ++calls;
  }
  int error = -1;
  int calls = 0;
};

}  // namespace

TEST_P(ReactorConformance, TellsThatAChildEndedAndLeavesItsStatus) {
  const int pid = rig_->start_child();
  ASSERT_GT(pid, 0);
  ChildWait wait(pid);
  reactor().start(wait);
  settle();
  EXPECT_EQ(wait.calls, 0) << "it still runs";
  rig_->end_child(pid);
  ASSERT_TRUE(run_until([&] { return wait.calls == 1; }));
  EXPECT_EQ(wait.error, 0);
  reactor().start(wait);  // it was not reaped: asking again gives the same answer
  EXPECT_EQ(wait.calls, 1) << "called back inside start()";
  ASSERT_TRUE(run_until([&] { return wait.calls == 2; }));
  EXPECT_EQ(wait.error, 0);
  EXPECT_EQ(rig_->reap_child(pid), 0);
  reactor().start(wait);
  ASSERT_TRUE(run_until([&] { return wait.calls == 3; }));
  EXPECT_EQ(wait.error, ECHILD) << "it is reaped now";
}

TEST_P(ReactorConformance, AnswersEchildForAStranger) {
  ChildWait wait(rig_->stranger());
  reactor().start(wait);
  ASSERT_TRUE(run_until([&] { return wait.calls == 1; }));
  EXPECT_EQ(wait.error, ECHILD);
}

TEST_P(ReactorConformance, EndsACancelledWaitOnceAndTheChildIsLeftAlone) {
  const int pid = rig_->start_child();
  ASSERT_GT(pid, 0);
  for (int turns_before = 0; turns_before < 3; ++turns_before) {
    ChildWait wait(pid);
    reactor().start(wait);
    for (int i = 0; i < turns_before; ++i) reactor().poll();
    reactor().cancel(wait);
    reactor().cancel(wait);
    ASSERT_TRUE(run_until([&] { return wait.calls == 1; }));
    settle();
    EXPECT_EQ(wait.calls, 1);
    EXPECT_EQ(wait.error, ECANCELED);
  }
  ChildWait wait(pid);
  reactor().start(wait);
  rig_->end_child(pid);
  ASSERT_TRUE(run_until([&] { return wait.calls == 1; }));
  EXPECT_EQ(wait.error, 0);
  EXPECT_EQ(rig_->reap_child(pid), 0);
}

TEST_P(ReactorConformance, CancelsAWaitForAChildThatHasEndedEitherWay) {
  const int pid = rig_->start_child();
  ASSERT_GT(pid, 0);
  rig_->end_child(pid);
  ChildWait first(pid);
  reactor().start(first);
  ASSERT_TRUE(run_until([&] { return first.calls == 1; }));
  ChildWait wait(pid);
  reactor().start(wait);
  reactor().cancel(wait);
  ASSERT_TRUE(run_until([&] { return wait.calls == 1; }));
  settle();
  EXPECT_EQ(wait.calls, 1);
  EXPECT_TRUE(wait.error == 0 || wait.error == ECANCELED) << wait.error;
  EXPECT_EQ(rig_->reap_child(pid), 0);
}

TEST_P(ReactorConformance, WaitsForTwentyChildrenAtOnce) {
  std::deque<ChildWait> waits;
  for (int i = 0; i < 20; ++i) {
    const int pid = rig_->start_child();
    ASSERT_GT(pid, 0);
    reactor().start(waits.emplace_back(pid));
  }
  for (std::size_t i = waits.size(); i-- > 0;) {
    EXPECT_EQ(waits[i].calls, 0);
    rig_->end_child(waits[i].pid);
    ASSERT_TRUE(run_until([&] { return waits[i].calls == 1; })) << i;
    EXPECT_EQ(waits[i].error, 0);
    EXPECT_EQ(rig_->reap_child(waits[i].pid), 0);
  }
}

}  // namespace berth::inline v0::io
