// The ends of things: the workspace, the session.
#include <berth/core/json_writer.h>
#include <berth/server/sessions/session.h>

#include <utility>

namespace berth::server {

Workspace workspace_of(const SessionRow& row) {
  return {row.key, row.repository, row.directory, row.branch, row.base_commit};
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
  co_await changes_.settled().wait();
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
  co_await changes_.settled().wait();
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
  changes_.stop();
  for (auto& [agent, bound] : bindings_) co_await bound->shutdown();
  idle_.set();
  co_await changes_.join();
  co_await scope_.join();
}

}  // namespace berth::server
