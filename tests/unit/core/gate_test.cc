#include "manual_executor.h"

#include <berth/core/gate.h>
#include <berth/core/scope.h>

#include <gtest/gtest.h>

#include <optional>

namespace berth {
namespace {

Task<void> close(Gate* gate, StopToken stop, std::optional<bool>* empty) {
  *empty = co_await gate->close(stop);
}

TEST(Gate, CloseWaitsForThoseInsideAndRefusesNewOnes) {
  ManualExecutor executor;
  Gate gate(executor);
  Gate::Pass first = gate.enter();
  Gate::Pass second = gate.enter();
  EXPECT_TRUE(first && second);
  std::optional<bool> empty;
  Scope scope(executor);
  scope.spawn(close(&gate, {}, &empty));
  EXPECT_FALSE(gate.enter());
  first.leave();
  executor.run_all();
  EXPECT_FALSE(empty.has_value());
  EXPECT_EQ(gate.inside(), 1U);

  second = Gate::Pass();
  executor.run_all();
  EXPECT_EQ(empty, true);
  EXPECT_FALSE(gate.enter()) << "for good";
}

TEST(Gate, AnEmptyGateClosesAtOnce) {
  ManualExecutor executor;
  Gate gate(executor);
  std::optional<bool> empty;
  Scope scope(executor);
  scope.spawn(close(&gate, {}, &empty));
  EXPECT_EQ(empty, true);
}

TEST(Gate, StopEndsTheWaitButItStaysClosed) {
  ManualExecutor executor;
  Gate gate(executor);
  StopSource stop;
  Gate::Pass pass = gate.enter();
  std::optional<bool> first;
  std::optional<bool> second;
  Scope scope(executor);
  scope.spawn(close(&gate, stop.token(), &first));
  stop.request_stop();
  executor.run_all();
  EXPECT_EQ(first, false);
  EXPECT_FALSE(gate.enter());

  scope.spawn(close(&gate, {}, &second));
  Gate::Pass moved = std::move(pass);
  pass.leave();
  executor.run_all();
  EXPECT_FALSE(second.has_value()) << "the pass that moved on is still inside";
  moved.leave();
  executor.run_all();
  EXPECT_EQ(second, true);
}

TEST(GateDeathTest, APassMustNotOutliveIt) {
  EXPECT_DEATH(
      {
        ManualExecutor executor;
        Gate::Pass pass;
        Gate gate(executor);
        pass = gate.enter();
      },
      "inside_ == 0");
}

}  // namespace
}  // namespace berth
