// The ends of things: close, delete, archive, and the ways back.
#include <berth/core/json_writer.h>
#include <berth/server/sessions/continuation.h>
#include <berth/server/sessions/json_members.h>
#include <berth/server/sessions/session.h>

#include <utility>

namespace berth::server {

Workspace workspace_of(const SessionRow& row) {
  Workspace workspace;
  workspace.key = row.key;
  workspace.repository = row.repository;
  workspace.directory = row.directory;
  workspace.branch = row.branch;
  workspace.base_commit = row.base_commit;
  workspace.mode = row.workspace_mode;
  return workspace;
}

namespace {

std::string closed_json(bool removed, std::string_view reason, const WorkspaceRemoval& removal) {
  std::string data;
  JsonWriter writer(data);
  writer.begin_object().member("workspace", removed ? "removed" : "kept");
  put_text(writer, "reason", reason);
  put_text(writer, "salvage_ref", removal.salvage_ref);
  put_text(writer, "branch_kept", removal.branch_kept);
  writer.end_object();
  return data;
}

bool is_missing(const Error& error) {
  return std::string_view(error.code) == "worktree_missing";
}

}  // namespace

void Session::set_base(std::string base) {
  row_.base_tree = std::move(base);
  save();
}

void Session::set_state(SessionState state) {
  row_.state = state;
  save();
}

// --- close and delete ---
//
// The intent is in the log before anything is removed, and a start after a crash goes on with it.

/// No turn runs or waits, no agent runs, nothing is being recorded.
Task<Result<void>> Session::come_to_rest(std::string_view reason, bool at_once) {
  closing_ = true;
  cancel_unsent(reason);
  if (at_once && current_) static_cast<void>(cancel(current_->id, reason));
  if (!at_once) co_await idle_.wait();
  for (auto& [agent, bound] : bindings_) co_await bound->stop(at_once);
  co_await idle_.wait();
  co_await changes_.settled().wait();
  closing_ = false;
  if (down_) co_return fail(draining());
  co_return Result<void>();
}

/// A rendering of the log, which stays.
Task<void> Session::remove_transcript() {
  io::Files* files = &context_.platform.files();
  const std::string path = transcript_path(context_, row_.key);
  Result<void> removed = co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(), [files, path]() -> Result<void> {
        return files->remove_all(path.substr(0, path.rfind('/')));
      });
  if (!removed.has_value()) {
    context_.log.write(LogLevel::warning, "session", path + ": " + removed.error().message);
  }
}

/// The folder that berth made for a session without a repository. What is in it is nobody's to
/// throw away.
Task<void> Session::remove_empty_folder() {
  io::Files* files = &context_.platform.files();
  const std::string path = row_.directory;
  static_cast<void>(co_await context_.platform.offload().run(
      io::Lane::files, context_.reactor(),
      [files, path]() -> Result<void> { return files->remove_if_exists(path); }));
}

/// What no agent has heard of: the queue, and a turn that waits for a person's decision.
void Session::cancel_unsent(std::string_view why) {
  while (!queue_.empty()) static_cast<void>(cancel(queue_.back().id, why));
  while (!steering_.empty()) static_cast<void>(cancel(steering_.back().turn.id, why));
  if (waits_for_decision()) static_cast<void>(cancel(current_->id, why));
}

Task<Result<void>> Session::close() {
  // Whoever asks again waits for the same end.
  Semaphore::Permits verb = co_await verbs_.acquire();
  if (down_) co_return fail(draining());
  if (row_.state == SessionState::closed || row_.state == SessionState::deleted) {
    co_return co_await context_.journal.committed();
  }
  Result<void> rest = co_await come_to_rest("the session was closed", false);
  if (!rest.has_value()) co_return rest;
  set_state(SessionState::closing);
  Result<void> noted = co_await context_.journal.committed();
  if (!noted.has_value()) co_return noted;
  Result<void> done = co_await finish_close();
  Result<void> told = co_await context_.journal.committed();
  co_return done.has_value() ? told : done;
}

/// The caller waits for the log.
Task<Result<void>> Session::finish_close() {
  WorkspaceRemoval removal;
  kept_.clear();
  if (has_worktree(row_) && row_.workspace_ready) {
    // What a person did since the last turn is in the last snapshot.
    Result<void> fresh = co_await changes_.refresh();
    Semaphore::Permits permit = co_await changes_.files().acquire();
    Result<WorkspaceRemoval> removed = fail(draining());
    // A folder that is gone holds no work: a crash in the middle of this is gone on with.
    const bool gone = !fresh.has_value() && is_missing(fresh.error());
    if (!fresh.has_value() && !gone) {
      removed = fail(std::move(fresh.error()));
    } else if (!down_) {
      removed = co_await context_.workspaces.remove(workspace_of(row_), RemoveOrder());
    }
    if (down_) co_return fail(draining());
    if (removed.has_value()) {
      removal = std::move(*removed);
      row_.workspace_ready = false;
    } else {
      kept_ = removed.error().message;
      // It stays, and yet: what somebody does to the folder later shall not take it away.
      Result<WorkspaceRemoval> salvage = co_await context_.workspaces.salvage(workspace_of(row_));
      if (down_) co_return fail(draining());
      if (salvage.has_value()) removal = std::move(*salvage);
    }
  }
  set_state(SessionState::closed);
  append("session.closed", {}, closed_json(kept_.empty(), kept_, removal));
  co_return Result<void>();
}

std::string_view Session::kept() const {
  if (!kept_.empty()) return kept_;
  const bool there = row_.state == SessionState::closed && has_worktree(row_);
  return there && row_.workspace_ready ? "its last session.closed event says why" : "";
}

Task<Result<void>> Session::remove(RemoveOrder order, bool purge) {
  if (row_.state == SessionState::deleted) co_return co_await remove_again(purge);
  if (!order.force && has_worktree(row_) && row_.workspace_ready) {
    // Before anything is stopped: a refusal must change nothing.
    Result<WorkspaceReport> report = co_await context_.workspaces.report(workspace_of(row_));
    if (!report.has_value() || !report->loses_nothing() || current_ || !queue_.empty()) {
      co_return fail(ErrorKind::conflict, "worktree_has_work",
                     "the worktree holds work (or a turn runs); force=1 "
                     "salvages and deletes it");
    }
  }
  // A close that waits for the turn shall not hold up a forced end.
  if (order.force && current_) static_cast<void>(cancel(current_->id, "the session was deleted"));
  Semaphore::Permits verb = co_await verbs_.acquire();
  if (down_) co_return fail(draining());
  if (row_.state == SessionState::deleted) co_return co_await remove_again(purge);
  const SessionState before = row_.state;
  Result<void> rest = co_await come_to_rest("the session was deleted", true);
  if (!rest.has_value()) co_return rest;
  set_state(purge         ? SessionState::purging
            : order.force ? SessionState::discarding
                          : SessionState::deleting);
  Result<void> noted = co_await context_.journal.committed();
  if (!noted.has_value()) co_return noted;
  Result<void> done = co_await finish_remove(order, before);
  Result<void> told = co_await context_.journal.committed();
  co_return done.has_value() ? told : done;
}

/// Of one that is deleted already only the log may still be there.
Task<Result<void>> Session::remove_again(bool purge) {
  if (purge && !erased()) erase();
  co_return co_await context_.journal.committed();
}

Task<Result<void>> Session::finish_remove(RemoveOrder order, SessionState before) {
  WorkspaceRemoval removal;
  if (has_worktree(row_) && row_.workspace_ready) {
    Semaphore::Permits permit = co_await changes_.files().acquire();
    Result<WorkspaceRemoval> removed = fail(draining());
    if (!down_) removed = co_await context_.workspaces.remove(workspace_of(row_), order);
    if (down_) co_return fail(draining());
    if (!removed.has_value()) {
      set_state(before);  // undone: it is as it was, at rest
      co_return fail(std::move(removed.error()));
    }
    removal = std::move(*removed);
    row_.workspace_ready = false;
  }
  if (row_.workspace_mode == "none") co_await remove_empty_folder();
  co_await remove_transcript();
  const bool purge = row_.state == SessionState::purging;
  set_state(SessionState::deleted);
  append("session.closed", {}, closed_json(true, "deleted", removal));
  if (purge) erase();
  co_return Result<void>();
}

/// In one commit with the end of the session. What is saved of the row later brings nothing back.
void Session::erase() {
  context_.journal.add(Erasure{row_.no});
  for (std::string* text :
       {&row_.title, &row_.options, &row_.rules, &row_.mcp_servers, &row_.additional_directories,
        &row_.repository, &row_.directory, &row_.branch, &row_.client_state, &row_.idempotency_key,
        &row_.body_hash}) {
    text->clear();
  }
}

/// After a crash of the server. Does not wait for the log: a store that refuses must not hold up
/// the server's end.
Task<void> Session::resume_ending() {
  const SessionState state = row_.state;
  Semaphore::Permits verb = co_await verbs_.acquire();
  co_await changes_.settled().wait();
  if (down_) co_return;
  Result<void> done;
  if (state == SessionState::closing) {
    done = co_await finish_close();
  } else {
    RemoveOrder order;
    order.force = state != SessionState::deleting;
    done = co_await finish_remove(order, SessionState::closed);
  }
  if (!done.has_value() && !down_) {
    context_.log.write(LogLevel::warning, "session", row_.id + ": " + done.error().message);
  }
}

// --- put away, and back ---

Task<Result<void>> Session::archive() {
  Semaphore::Permits verb = co_await verbs_.acquire();
  if (down_) co_return fail(draining());
  if (row_.state == SessionState::archived) co_return co_await context_.journal.committed();
  if (row_.state != SessionState::open) {
    co_return fail(ErrorKind::conflict, "session_closed", "only an open session is archived");
  }
  Result<void> rest = co_await come_to_rest("the session was archived", false);
  if (!rest.has_value()) co_return rest;
  set_state(SessionState::archived);
  append("session.archived", {}, "{}");
  co_return co_await context_.journal.committed();
}

Task<Result<void>> Session::unarchive() {
  Semaphore::Permits verb = co_await verbs_.acquire();
  if (down_) co_return fail(draining());
  if (row_.state == SessionState::open) co_return co_await context_.journal.committed();
  if (row_.state != SessionState::archived) {
    co_return fail(ErrorKind::conflict, "not_archived", "the session is not archived");
  }
  set_state(SessionState::open);
  append("session.unarchived", {}, "{}");
  co_return co_await context_.journal.committed();
}

Task<Result<void>> Session::revive() {
  Semaphore::Permits verb = co_await verbs_.acquire();
  if (down_) co_return fail(draining());
  if (row_.state == SessionState::open) co_return co_await context_.journal.committed();
  if (row_.state != SessionState::closed) {
    co_return fail(ErrorKind::conflict, "not_closed", "the session is not closed");
  }
  if (has_worktree(row_)) {
    const std::string snapshot = changes_.last_snapshot();
    Semaphore::Permits permit = co_await changes_.files().acquire();
    Result<void> there = co_await context_.workspaces.revive(workspace_of(row_), snapshot);
    if (!there.has_value()) co_return there;
    if (down_) co_return fail(draining());
    row_.workspace_ready = true;
  }
  kept_.clear();
  set_state(SessionState::open);
  append("session.revived", {}, "{}");
  co_return co_await context_.journal.committed();
}

// --- the end of the server ---

void Session::park(std::string_view why) {
  if (!works()) return;
  // The agent may still store what it has before its process ends.
  if (dispatched_) (*binding(current_->agent))->cancel(current_->id);
  settle(TurnState::interrupted, why, {});
}

bool Session::readers_have_all() {
  bool all = true;
  readers_.for_each([&all](LogReader& reader) { all = all && reader.has_all(); });
  return all;
}

Task<void> Session::shutdown() {
  down_ = true;
  context_.reactor().disarm(grace_);
  context_.reactor().disarm(turn_time_);
  context_.reactor().disarm(queue_time_);
  changes_.stop();
  questions_.stop();
  for (auto& [agent, bound] : bindings_) co_await bound->shutdown();
  idle_.set();
  co_await changes_.join();
  co_await scope_.join();
}

}  // namespace berth::server
