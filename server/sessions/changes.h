// server/sessions/changes.h — what a session's turns do to its files: the snapshots around each,
// the open change and who touched it, and what a person does with that change.
#pragma once

#include <berth/core/scope.h>
#include <berth/core/semaphore.h>
#include <berth/core/sync.h>
#include <berth/server/sessions/attribution.h>
#include <berth/server/sessions/context.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace berth::server {

class Session;

/// True when git knows the session's folder (modes "worktree" and "overlay").
bool has_worktree(const SessionRow& row);

struct ApplyRequest {
  std::string branch;    ///< A commit on this branch; empty: the working files of `checkout`.
  std::string checkout;  ///< Empty = the session's repository.
  std::vector<std::string> paths;  ///< Empty = all.
  CommitWords commit;              ///< Author and message; trailers that name the agents are added.
  bool dry_run = false;
};

struct RestoreRequest {
  std::string to;                    ///< Commit or tree id.
  std::optional<std::int64_t> turn;  ///< Whose snapshot that is; none = the base: discard.
  std::vector<std::string> paths;    ///< Empty = all.
  bool dry_run = false;
};

/// Belongs to one session, on its shard. A turn's ending never waits for it; the next turn does,
/// for snapshot_wait_max at most, and so does a prompt for the look at what changed before it.
///
/// The open change is measured against SessionRow::base_tree and is as of the last snapshot.
/// Whatever changed between two snapshots belongs to the turn between them, or to nobody's turn: a
/// person's edits. A snapshot that is missing makes the next stretch longer, and all its turns are
/// named.
class Changes final : private io::TimerOp {
 public:
  Changes(SessionContext& context, Session& session, std::optional<ChangeRow> latest);

  /// The open change as of the last snapshot; none before the first.
  const std::optional<ChangeRow>& latest() const { return latest_; }
  /// Who touched what in it.
  Attribution attribution() const;

  /// A turn starts: begins to look at what changed since the last snapshot, unless that was taken
  /// this very moment: then it returns its commit.
  std::string turn_starts(const TurnRow& turn);
  /// True while the prompt of the turn that starts must wait; see Session::on_changes_settled().
  bool hold_prompt() const { return looking_ != 0; }
  /// Begins the snapshot of a turn that has just ended. Nothing without a worktree.
  void turn_ended(const TurnRow& turn);
  /// True while the next turn must wait; the session is told by on_changes_settled().
  bool hold_next_turn();
  /// Commit or tree of the last snapshot; empty before the first.
  std::string last_snapshot() const;
  /// Nothing is looked at, recorded, applied or restored.
  bool at_rest() const {
    return scope_.size() == 0 && settled_.is_set() && looking_ == 0 && !restoring_;
  }
  /// Set while no snapshot of a turn runs.
  Event& settled() { return settled_; }

  /// Takes in what changed outside of turns; nothing while a turn runs.
  Task<Result<void>> refresh();
  /// Brings the open change, refreshed, to a branch or into working files. What was applied is no
  /// part of the open change any more. Errors: see git/apply.h.
  Task<Result<AppliedChange>> apply(ApplyRequest request);
  /// Brings files back. No turn starts meanwhile. Errors: `busy` ("turn_running"); see
  /// git/restore.h.
  Task<Result<RestoredFiles>> restore(RestoreRequest request);
  /// `paths` and the old names of those that were renamed in the open change.
  std::vector<std::string> with_old_names(std::vector<std::string> paths) const;

  /// Held by whoever works on the files, one at a time.
  Semaphore& files() { return files_; }

  /// For the end of the server: writes nothing any more.
  void stop();
  auto join() { return scope_.join(); }

 private:
  void on_timer() override;
  void give_up();
  Task<void> look_before(TurnRow turn);
  Task<void> record(TurnRow turn);
  Task<Result<void>> refresh_files();
  Task<Result<WorkspaceChange>> take_snapshot(std::string name);
  void take_in(const WorkspaceChange& now, const std::vector<Toucher>& by);
  void take_in_outside(const WorkspaceChange& now);
  void owe(const TurnRow& turn, std::string_view outcome);
  void log_record(const TurnRow* turn, std::string_view reason, const WorkspaceChange* now,
                  const std::vector<Toucher>& covers, std::int64_t ms);
  Task<Result<AppliedChange>> apply_files(const ApplyRequest* request);
  Task<Result<void>> move_baseline(const std::vector<std::string>* paths);
  Task<Result<RestoredFiles>> restore_files(const RestoreRequest* request);
  ChangeRow& row();

  SessionContext& context_;
  Session& session_;
  std::optional<ChangeRow> latest_;
  std::string last_commit_;           // the last snapshot; empty: not known since the start
  std::int64_t last_turn_ = 0;        // number of the last one that ended
  std::int64_t looking_ = 0;          // number of the turn whose prompt waits for a look; 0 = none
  std::optional<TurnRow> recording_;  // the turn whose snapshot runs
  std::shared_ptr<std::atomic<bool>> give_up_;  // of the snapshot that runs
  int late_ = 0;                                // snapshots that nobody waits for any more
  bool restoring_ = false;
  bool just_recorded_ = false;  // nothing can have happened since the last snapshot
  bool down_ = false;
  Event settled_;
  Semaphore files_;
  Scope scope_;
};

}  // namespace berth::server
