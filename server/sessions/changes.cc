#include <berth/server/sessions/changes.h>

#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/sessions/changes_json.h>
#include <berth/server/sessions/session.h>

#include <algorithm>
#include <utility>

namespace berth::server {

namespace {

/// Files whose history is kept; beyond, only those of the open change.
constexpr std::size_t kTouchedFilesMax = 20'000;

/// Last parts of the refs of snapshots that belong to no turn; each is the parent of the next one.
constexpr const char* kBeforeTurn = "before";
constexpr const char* kOutside = "now";

}  // namespace

bool has_worktree(const SessionRow& row) {
  return row.workspace_mode == "worktree" || row.workspace_mode == "overlay";
}

Changes::Changes(SessionContext& context, Session& session, std::optional<ChangeRow> latest)
    : context_(context),
      session_(session),
      latest_(std::move(latest)),
      settled_(context.reactor()),
      files_(context.reactor(), 1),
      scope_(context.reactor()) {
  settled_.set();
  if (latest_) last_turn_ = latest_->turn_number;
}

Attribution Changes::attribution() const {
  return latest_ ? Attribution::parse(latest_->touched) : Attribution();
}

std::string Changes::last_snapshot() const {
  if (!last_commit_.empty()) return last_commit_;
  return latest_ ? latest_->tree : std::string();
}

ChangeRow& Changes::row() {
  if (!latest_) {
    latest_.emplace();
    latest_->session = session_.row().no;
    latest_->base = session_.row().base_tree;
    latest_->outcome = "recorded";
  }
  return *latest_;
}

// --- around a turn ---

std::string Changes::turn_starts(const TurnRow& turn) {
  if (!has_worktree(session_.row()) || down_) return {};
  if (just_recorded_) return last_commit_;
  // Whoever writes late shares the stretch with this turn; there is nothing to be told apart.
  if (late_ > 0) return {};
  looking_ = turn.number;
  give_up_ = std::make_shared<std::atomic<bool>>(false);
  context_.reactor().arm(*this,
                         context_.reactor().clock().now() + context_.limits.snapshot_wait_max);
  scope_.spawn(look_before(turn));
  return {};
}

Task<void> Changes::look_before(TurnRow turn) {
  Semaphore::Permits permit = co_await files_.acquire();
  const bool wanted = looking_ == turn.number && !down_;
  Result<WorkspaceChange> now = fail(ErrorKind::cancelled, "cancelled", "nobody waits for it");
  if (wanted) now = co_await take_snapshot(kBeforeTurn);
  permit.release();
  if (looking_ != turn.number) --late_;
  if (down_ || looking_ != turn.number) co_return;
  context_.reactor().disarm(*this);
  looking_ = 0;
  if (now.has_value()) {
    take_in_outside(*now);
    session_.on_turn_looked_at(turn.number, last_commit_);
  }
  session_.on_changes_settled();
}

void Changes::turn_ended(const TurnRow& turn) {
  if (!has_worktree(session_.row()) || turn.started_seq == 0 || down_) return;
  if (last_commit_.empty()) last_commit_ = turn.snapshot_before;
  if (looking_ != 0) give_up();
  context_.reactor().disarm(*this);
  recording_ = turn;
  recording_->prompt.clear();
  last_turn_ = turn.number;
  settled_.reset();
  give_up_ = std::make_shared<std::atomic<bool>>(false);
  scope_.spawn(record(turn));
}

bool Changes::hold_next_turn() {
  if (restoring_) return true;
  if (!recording_) return false;
  if (!started()) {
    context_.reactor().arm(*this,
                           context_.reactor().clock().now() + context_.limits.snapshot_wait_max);
  }
  return true;
}

/// Nobody waits any more for the snapshot that runs: what the files are when it ends is no picture
/// of what they were to be.
void Changes::give_up() {
  *give_up_ = true;
  ++late_;
  looking_ = 0;
  if (!recording_) return;
  const TurnRow turn = *std::exchange(recording_, std::nullopt);
  owe(turn, "skipped");
  log_record(&turn, "the next turn did not wait longer (snapshot_wait_max); its change covers both",
             nullptr, {}, 0);
}

void Changes::on_timer() {
  if (recording_ || looking_ != 0) give_up();
  session_.on_changes_settled();
}

Task<Result<WorkspaceChange>> Changes::take_snapshot(std::string name) {
  const SessionRow& session = session_.row();
  SnapshotOrder order;
  order.name = std::move(name);
  order.base = session.base_tree;
  order.since = last_snapshot();
  if (order.since.empty()) order.since = session.base_tree;
  order.parent = last_commit_;
  // Who asks outside of turns wants to know, or is about to do something with the files.
  order.thorough = order.name == kOutside;
  order.give_up = give_up_;
  const TimePoint began = context_.reactor().clock().now();
  Result<WorkspaceChange> change =
      co_await context_.workspaces.record(workspace_of(session), std::move(order));
  context_.metrics.snapshot.add(context_.reactor().clock().now() - began);
  co_return change;
}

Task<void> Changes::record(TurnRow turn) {
  const TimePoint started = context_.reactor().clock().now();
  const auto wanted = [this, &turn] { return recording_ && recording_->number == turn.number; };
  Semaphore::Permits permit = co_await files_.acquire();
  Result<WorkspaceChange> now = fail(ErrorKind::cancelled, "cancelled", "nobody waits for it");
  if (wanted() && !down_) now = co_await take_snapshot(std::to_string(turn.number));
  permit.release();
  if (!wanted()) --late_;
  if (!wanted() || down_) co_return;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                      context_.reactor().clock().now() - started)
                      .count();
  if (!now.has_value()) {
    owe(turn, "failed");
    log_record(&turn, now.error().message, nullptr, {}, ms);
  } else {
    turn.snapshot = now->snapshot;
    std::vector<Toucher> covers = attribution().owed();
    covers.push_back({turn.number, turn.agent});
    row().turn_number = turn.number;
    take_in(*now, covers);
    session_.on_turn_recorded(turn);
    log_record(&turn, now->left_out.empty() ? "" : "not in the snapshot: " + now->left_out, &*now,
               covers, ms);
  }
  context_.reactor().disarm(*this);
  recording_.reset();
  settled_.set();
  just_recorded_ = now.has_value();
  session_.on_changes_settled();
  just_recorded_ = false;
}

// --- the row ---

/// The files are `now`; `by` changed what changed since the last snapshot.
void Changes::take_in(const WorkspaceChange& now, const std::vector<Toucher>& by) {
  ChangeRow& change = row();
  Attribution attributed = Attribution::parse(change.touched);
  attributed.note(now.touched, by);
  attributed.settle();
  attributed.bound(now.files, kTouchedFilesMax);
  change.touched = attributed.json();
  change.base = session_.row().base_tree;
  change.tree = now.tree;
  change.summary = changed_files_json(now.files);
  change.outcome = "recorded";
  change.recorded_ms = context_.now_ms();
  last_commit_ = now.snapshot;
  context_.journal.add(change);
}

void Changes::take_in_outside(const WorkspaceChange& now) {
  std::vector<Toucher> by = attribution().owed();
  if (now.touched.empty() && by.empty() && latest_) {
    last_commit_ = now.snapshot;
    return;
  }
  if (by.empty()) by.push_back({last_turn_, {}});
  take_in(now, by);
  if (!now.touched.empty()) log_record(nullptr, {}, &now, by, 0);
}

void Changes::owe(const TurnRow& turn, std::string_view outcome) {
  ChangeRow& change = row();
  Attribution attributed = Attribution::parse(change.touched);
  attributed.owe({turn.number, turn.agent});
  change.touched = attributed.json();
  change.turn_number = std::max(change.turn_number, turn.number);
  change.outcome = outcome;
  change.recorded_ms = context_.now_ms();
  context_.journal.add(change);
}

void Changes::log_record(const TurnRow* turn, std::string_view reason, const WorkspaceChange* now,
                         const std::vector<Toucher>& covers, std::int64_t ms) {
  RecordedEvent event;
  event.turn_number = turn == nullptr ? last_turn_ : turn->number;
  event.outcome = "recorded";
  if (now == nullptr) event.outcome = row().outcome;
  event.reason = reason;
  event.change = now;
  event.covers = covers;
  event.ms = ms;
  const std::string_view id = turn == nullptr ? std::string_view() : std::string_view(turn->id);
  const std::string_view agent =
      turn == nullptr ? std::string_view() : std::string_view(turn->agent);
  context_.journal.append(session_, {0, {}, "change.recorded", id, agent},
                          change_recorded_json(event));
}

// --- what a person does ---

Task<Result<void>> Changes::refresh() {
  co_await settled_.wait();
  Semaphore::Permits permit = co_await files_.acquire();
  co_return co_await refresh_files();
}

/// With the permit held.
Task<Result<void>> Changes::refresh_files() {
  const SessionRow& session = session_.row();
  if (down_) co_return fail(draining());
  if (!has_worktree(session) || !session.workspace_ready || session_.current_turn() != nullptr ||
      recording_) {
    co_return Result<void>();
  }
  give_up_ = nullptr;
  Result<WorkspaceChange> now = co_await take_snapshot(kOutside);
  if (!now.has_value()) co_return fail(std::move(now.error()));
  // A turn may have begun meanwhile; its prompt waits for a look of its own, behind this one.
  if (!down_ && !recording_) take_in_outside(*now);
  co_return Result<void>();
}

std::vector<std::string> Changes::with_old_names(std::vector<std::string> paths) const {
  if (paths.empty() || !latest_) return paths;
  for (const ChangedFile& file : changed_files_of(latest_->summary)) {
    const bool named = std::find(paths.begin(), paths.end(), file.path) != paths.end();
    if (named && !file.old_path.empty()) paths.push_back(file.old_path);
  }
  return paths;
}

Task<Result<AppliedChange>> Changes::apply(ApplyRequest request) {
  co_await settled_.wait();
  Semaphore::Permits permit = co_await files_.acquire();
  co_return co_await apply_files(&request);
}

Task<Result<AppliedChange>> Changes::apply_files(const ApplyRequest* request) {
  Result<void> fresh = co_await refresh_files();
  if (!fresh.has_value()) co_return fail(std::move(fresh.error()));
  AppliedChange applied;
  applied.unchanged = true;
  if (!latest_ || latest_->tree.empty()) co_return applied;
  const SessionRow& session = session_.row();
  ApplyOrder order;
  order.base = session.base_tree;
  order.change = latest_->tree;
  order.paths = with_old_names(request->paths);
  order.branch = request->branch;
  order.checkout = request->checkout;
  order.commit = request->commit;
  order.dry_run = request->dry_run;
  add_agents(order.commit, *latest_, order.paths, session.id);
  Result<AppliedChange> done = co_await context_.workspaces.apply(workspace_of(session), order);
  if (!done.has_value()) co_return done;
  const bool there = (done->applied || done->unchanged) && done->conflicts.empty();
  if (request->dry_run || !there || down_) co_return done;
  Result<void> moved = co_await move_baseline(&order.paths);
  if (!moved.has_value()) co_return fail(std::move(moved.error()));
  context_.journal.append(session_, {0, {}, "change.applied", {}, {}}, applied_json(order, *done));
  co_return done;
}

/// What was applied is in the base from now on.
Task<Result<void>> Changes::move_baseline(const std::vector<std::string>* paths) {
  const Workspace workspace = workspace_of(session_.row());
  BaselineOrder order;
  order.base = session_.row().base_tree;
  order.change = latest_->tree;
  order.paths = *paths;
  order.name = "base-" + std::to_string(last_turn_);
  Result<std::string> base = co_await context_.workspaces.move_baseline(workspace, order);
  if (!base.has_value()) co_return fail(std::move(base.error()));
  Result<WorkspaceChange> left =
      co_await context_.workspaces.compare(workspace, *base, latest_->tree);
  if (!left.has_value()) co_return fail(std::move(left.error()));
  if (down_) co_return fail(draining());
  session_.set_base(*base);
  ChangeRow& change = row();
  Attribution attributed = Attribution::parse(change.touched);
  attributed.forget_after(-1, *paths);
  change.touched = attributed.json();
  change.base = *base;
  change.summary = changed_files_json(left->files);
  context_.journal.add(change);
  co_return Result<void>();
}

Task<Result<RestoredFiles>> Changes::restore(RestoreRequest request) {
  co_await settled_.wait();
  if (session_.current_turn() != nullptr || restoring_) {
    co_return fail(ErrorKind::busy, "turn_running", "files are not restored under a running turn");
  }
  restoring_ = !request.dry_run;
  Semaphore::Permits permit = co_await files_.acquire();
  Result<RestoredFiles> restored = co_await restore_files(&request);
  permit.release();
  if (!request.dry_run) {
    restoring_ = false;
    if (!down_) session_.on_changes_settled();
  }
  co_return restored;
}

Task<Result<RestoredFiles>> Changes::restore_files(const RestoreRequest* request) {
  // What a person did since the last snapshot shall be told apart from what is restored.
  Result<void> fresh = co_await refresh_files();
  if (!fresh.has_value()) co_return fail(std::move(fresh.error()));
  RestoreOrder order;
  order.to = request->to;
  order.paths = with_old_names(request->paths);
  order.dry_run = request->dry_run;
  const Workspace workspace = workspace_of(session_.row());
  Result<RestoredFiles> restored = co_await context_.workspaces.restore(workspace, order);
  if (!restored.has_value() || request->dry_run || down_) co_return restored;
  give_up_ = nullptr;
  Result<WorkspaceChange> now = co_await take_snapshot(kOutside);
  if (!now.has_value()) co_return fail(std::move(now.error()));
  if (down_) co_return restored;
  ChangeRow& change = row();
  Attribution attributed = Attribution::parse(change.touched);
  attributed.forget_after(request->turn.value_or(-1), order.paths);
  change.touched = attributed.json();
  now->touched.clear();
  take_in(*now, {});
  context_.journal.append(session_, {0, {}, "change.restored", {}, {}},
                          restored_json(request->turn, false, *restored));
  co_return restored;
}

// --- the end ---

void Changes::stop() {
  down_ = true;
  if (give_up_ != nullptr) *give_up_ = true;
  context_.reactor().disarm(*this);
  settled_.set();
}

}  // namespace berth::server
