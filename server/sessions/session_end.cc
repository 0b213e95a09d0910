// The ends of things: a turn's snapshot, the workspace, the session.
#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/sessions/rows_json.h>
#include <berth/server/sessions/session.h>

#include <utility>

namespace berth::server {

Workspace workspace_of(const SessionRow& row) {
  return {row.key, row.repository, row.directory, row.branch, row.base_commit};
}

namespace {

struct ChangeTotals {
  std::int64_t additions = 0;
  std::int64_t deletions = 0;
};

ChangeTotals totals_of(const std::vector<ChangedFile>& files) {
  ChangeTotals totals;
  for (const ChangedFile& file : files) {
    totals.additions += file.additions;
    totals.deletions += file.deletions;
  }
  return totals;
}

std::string change_json(const ChangeRow& row, std::string_view reason, std::string_view snapshot,
                        ChangeTotals totals, std::int64_t ms) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member_int64("turn_number", row.turn_number)
      .member("outcome", row.outcome)
      .key("reason");
  if (reason.empty()) {
    writer.null();
  } else {
    writer.string(reason);
  }
  writer.member_raw("files", row.summary.empty() ? "[]" : row.summary)
      .member_int64("additions", totals.additions)
      .member_int64("deletions", totals.deletions)
      .member("snapshot", snapshot)
      .member_int64("ms", ms)
      .end_object();
  return out;
}

}  // namespace

Task<void> Session::record_change(TurnRow turn) {
  const TimePoint started = context_.reactor().clock().now();
  const Workspace workspace = workspace_of(row_);
  Result<WorkspaceChange> recorded =
      co_await context_.workspaces.record_turn(workspace, turn.number, row_.base_tree);
  if (down_) co_return;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                      context_.reactor().clock().now() - started)
                      .count();
  // A snapshot that came too late: the next turn has begun to write, so it is no picture of this
  // one.
  const bool late = snapshot_turn_ != turn.number;
  ChangeRow row;
  row.session = row_.no;
  row.turn_number = turn.number;
  row.base = row_.base_tree;
  row.recorded_ms = context_.now_ms();
  ChangeTotals totals;
  std::string reason;
  if (late) {
    row.outcome = "skipped";
    reason = "the next turn did not wait longer (snapshot_wait_max); its change covers both";
  } else if (!recorded.has_value()) {
    row.outcome = "failed";
    reason = recorded.error().message;
  } else {
    row.outcome = "recorded";
    row.tree = recorded->tree;
    row.summary = changed_files_json(recorded->files);
    totals = totals_of(recorded->files);
    turn.snapshot = recorded->snapshot;
    save_turn(turn);
    for (TurnRow& ended : ended_) {
      if (ended.id == turn.id) ended.snapshot = turn.snapshot;
    }
    change_ = row;
    context_.journal.add(row);
  }
  context_.journal.append(*this, {0, {}, "change.recorded", turn.id, turn.agent},
                          change_json(row, reason, turn.snapshot, totals, ms));
  if (late) co_return;
  context_.reactor().disarm(snapshot_timer_);
  snapshot_turn_ = 0;
  snapshot_done_.set();
  advance();
}

void Session::on_snapshot_late() {
  snapshot_turn_ = 0;
  advance();
}

Task<Result<void>> Session::end_workspace(bool force) {
  if (row_.workspace_mode != "worktree" || !row_.workspace_ready) co_return Result<void>();
  Result<void> removed = co_await context_.workspaces.remove(workspace_of(row_), force);
  if (removed.has_value()) row_.workspace_ready = false;
  co_return std::move(removed);
}

Task<Result<void>> Session::close() {
  if (row_.state != SessionState::open) co_return Result<void>();
  if (closing_)
    co_return fail(ErrorKind::conflict, "session_closed", "the session is being closed");
  closing_ = true;
  while (!queue_.empty()) static_cast<void>(cancel(queue_.back().id, "the session was closed"));
  co_await idle_.wait();
  for (auto& [agent, bound] : bindings_) co_await bound->stop(false);
  co_await snapshot_done_.wait();
  if (down_) co_return fail(ErrorKind::unavailable, "draining", "the server is shutting down");
  Result<void> removed = co_await end_workspace(false);
  row_.state = SessionState::closed;
  closing_ = false;
  save();
  std::string data;
  JsonWriter writer(data);
  writer.begin_object().member("workspace", removed.has_value() ? "removed" : "kept").key("reason");
  if (removed.has_value()) {
    writer.null();
  } else {
    writer.string(removed.error().message);
  }
  writer.end_object();
  append("session.closed", {}, data);
  co_return co_await context_.journal.committed();
}

Task<Result<void>> Session::remove(bool force) {
  if (row_.state == SessionState::deleted) co_return Result<void>();
  if (!force && row_.workspace_mode == "worktree" && row_.workspace_ready) {
    // Before anything is stopped: a refusal must change nothing.
    Result<WorkspaceReport> report = co_await context_.workspaces.report(workspace_of(row_));
    if (!report.has_value() || report->unknown || report->dirty || report->untracked > 0 ||
        report->unpushed > 0 || current_) {
      co_return fail(ErrorKind::conflict, "worktree_has_work",
                     "the worktree holds work (or a turn runs); force=1 salvages and deletes it");
    }
  }
  closing_ = true;
  while (!queue_.empty()) static_cast<void>(cancel(queue_.back().id, "the session was deleted"));
  if (current_) static_cast<void>(cancel(current_->id, "the session was deleted"));
  for (auto& [agent, bound] : bindings_) co_await bound->stop(true);
  co_await idle_.wait();
  co_await snapshot_done_.wait();
  if (down_) co_return fail(ErrorKind::unavailable, "draining", "the server is shutting down");
  Result<void> removed = co_await end_workspace(force);
  closing_ = false;
  if (!removed.has_value()) co_return std::move(removed);
  row_.state = SessionState::deleted;
  save();
  append("session.closed", {}, R"({"workspace":"removed","reason":"deleted"})");
  co_return co_await context_.journal.committed();
}

Task<void> Session::shutdown() {
  down_ = true;
  context_.reactor().disarm(grace_);
  context_.reactor().disarm(snapshot_timer_);
  for (auto& [agent, bound] : bindings_) co_await bound->shutdown();
  idle_.set();
  snapshot_done_.set();
  co_await scope_.join();
}

}  // namespace berth::server
