#include "manual_executor.h"

#include <berth/core/executor.h>

#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <vector>

namespace berth {
namespace {

class Note final : public Runnable {
 public:
  Note(std::vector<int>* notes, int number) : notes_(notes), number_(number) {}
  void run() override {
    notes_->push_back(number_);
    if (then) then();
  }
  std::function<void()> then;

 private:
  std::vector<int>* notes_;
  int number_;
};

TEST(Executor, RunsLaterAndInTheOrderOfPosting) {
  ManualExecutor executor;
  std::vector<int> notes;
  Note one(&notes, 1);
  Note two(&notes, 2);
  Note three(&notes, 3);
  one.then = [&] { executor.post(three); };
  executor.post(one);
  executor.post(two);
  EXPECT_TRUE(notes.empty());
  EXPECT_EQ(executor.run_all(), 3U);
  EXPECT_EQ(notes, (std::vector<int>{1, 2, 3}));
}

TEST(Executor, ARunnableThatIsDestroyedDoesNotRun) {
  ManualExecutor executor;
  std::vector<int> notes;
  std::optional<Note> goes(std::in_place, &notes, 1);
  Note stays(&notes, 2);
  executor.post(*goes);
  executor.post(stays);
  goes.reset();
  executor.run_all();
  EXPECT_EQ(notes, (std::vector<int>{2}));
}

TEST(Executor, ARunnableMayPostItselfAgain) {
  ManualExecutor executor;
  std::vector<int> notes;
  Note again(&notes, 1);
  again.then = [&] {
    if (notes.size() < 3) executor.post(again);
  };
  executor.post(again);
  EXPECT_EQ(executor.run_all(), 3U);
}

}  // namespace
}  // namespace berth
