// server/ops/meters.h — what fills the metrics of things that do not know them.
#pragma once

#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/server/sessions/context.h>
#include <berth/server/sessions/journal.h>

namespace berth::server {

/// Counts how long commits take, and tells some of them to the tracer. `context` outlives it.
class CommitMeter final : public CommitWatcher {
 public:
  explicit CommitMeter(SessionContext& context) : context_(context) {}
  void on_commit(const CommitTimes& times) override;

 private:
  SessionContext& context_;
};

/// Once a second, how late a timer runs: what waits for the loop as anything else does.
Task<void> watch_loop_lag(SessionContext* context, StopToken stop);

}  // namespace berth::server
