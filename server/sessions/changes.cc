#include <berth/server/sessions/changes.h>

#include <berth/core/json_writer.h>
#include <berth/server/sessions/rows_json.h>
#include <berth/server/sessions/session.h>

#include <utility>

namespace berth::server {

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

Changes::Changes(SessionContext& context, Session& session, std::optional<ChangeRow> latest)
    : context_(context),
      session_(session),
      latest_(std::move(latest)),
      settled_(context.reactor()),
      scope_(context.reactor()) {
  settled_.set();
}

void Changes::turn_ended(const TurnRow& turn) {
  if (session_.row().workspace_mode != "worktree" || turn.started_seq == 0 || down_) return;
  recording_ = turn.number;
  settled_.reset();
  scope_.spawn(record(turn));
}

bool Changes::hold_next_turn() {
  if (recording_ == 0) return false;
  if (!started()) {
    context_.reactor().arm(*this,
                           context_.reactor().clock().now() + context_.limits.snapshot_wait_max);
  }
  return true;
}

void Changes::on_timer() {
  recording_ = 0;
  session_.on_changes_settled();
}

void Changes::stop() {
  down_ = true;
  context_.reactor().disarm(*this);
  settled_.set();
}

Task<void> Changes::record(TurnRow turn) {
  const TimePoint started = context_.reactor().clock().now();
  const SessionRow& session = session_.row();
  const Workspace workspace = workspace_of(session);
  Result<WorkspaceChange> recorded =
      co_await context_.workspaces.record_turn(workspace, turn.number, session.base_tree);
  if (down_) co_return;
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                      context_.reactor().clock().now() - started)
                      .count();
  // A snapshot that came too late: the next turn has begun to write, so it is no picture of this
  // one.
  const bool late = recording_ != turn.number;
  ChangeRow row;
  row.session = session.no;
  row.turn_number = turn.number;
  row.base = session.base_tree;
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
    session_.on_turn_recorded(turn);
    latest_ = row;
    context_.journal.add(row);
  }
  context_.journal.append(session_, {0, {}, "change.recorded", turn.id, turn.agent},
                          change_json(row, reason, turn.snapshot, totals, ms));
  if (late) co_return;
  context_.reactor().disarm(*this);
  recording_ = 0;
  settled_.set();
  session_.on_changes_settled();
}

}  // namespace berth::server
