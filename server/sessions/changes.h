// server/sessions/changes.h — what a session's turns do to its files: the snapshot of each, and the
// open change.
#pragma once

#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/server/sessions/context.h>

#include <optional>

namespace berth::server {

class Session;

/// Belongs to one session, on its shard. A turn's ending never waits for it; the next turn does,
/// for snapshot_wait_max at most.
class Changes final : private io::TimerOp {
 public:
  Changes(SessionContext& context, Session& session, std::optional<ChangeRow> latest);

  /// The open change as of the last snapshot; none before the first.
  const std::optional<ChangeRow>& latest() const { return latest_; }

  /// Begins the snapshot of a turn that has just ended. Nothing without a worktree.
  void turn_ended(const TurnRow& turn);
  /// True while the next turn must wait; the session is told by on_changes_settled().
  bool hold_next_turn();
  /// Set while no snapshot runs that somebody should wait for.
  Event& settled() { return settled_; }

  /// For the end of the server: writes nothing any more.
  void stop();
  auto join() { return scope_.join(); }

 private:
  void on_timer() override;
  Task<void> record(TurnRow turn);

  SessionContext& context_;
  Session& session_;
  std::optional<ChangeRow> latest_;
  std::int64_t recording_ = 0;  // number of the turn whose snapshot runs; 0 = none
  bool down_ = false;
  Event settled_;
  Scope scope_;
};

}  // namespace berth::server
