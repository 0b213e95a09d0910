// server/sessions/changes_json.h — a session's change as the JSON that docs/api.md promises.
#pragma once

#include <berth/server/sessions/attribution.h>
#include <berth/server/sessions/workspaces.h>
#include <berth/server/store/records.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// The list of files of a change, as an array; `files_max` cuts it.
std::string changed_files_json(const std::vector<ChangedFile>& files,
                               std::size_t files_max = SIZE_MAX);
/// The same read back; what cannot be read is left out.
std::vector<ChangedFile> changed_files_of(std::string_view json);

/// Files with status and counts, each with who touched it.
std::string badged_files_json(const std::vector<ChangedFile>& files, const Attribution& attribution,
                              std::size_t files_max);

/// The open change: `GET .../changes`. `change` may be absent: before the first snapshot.
std::string open_change_json(const std::optional<ChangeRow>& change, std::string_view base,
                             std::size_t files_max);
/// The files between two snapshots.
std::string compared_json(std::string_view from, std::string_view to, const WorkspaceChange& change,
                          const Attribution& attribution, std::size_t files_max);

/// Data of the event "change.recorded".
struct RecordedEvent {
  std::int64_t turn_number = 0;
  std::string_view outcome;
  std::string_view reason;
  const WorkspaceChange* change = nullptr;  ///< None unless recorded.
  std::vector<Toucher> covers;              ///< Who had a part in the stretch.
  std::int64_t ms = 0;
};
std::string change_recorded_json(const RecordedEvent& event);

/// What the guard says: `GET .../worktree`, and the body of a refusal. `running`: a turn runs.
std::string worktree_json(const WorkspaceReport& report, const WorkspaceGaps& gaps,
                          const SessionRow& row, const std::optional<ChangeRow>& change,
                          bool running);

std::string conflicts_json(const std::vector<ApplyConflict>& conflicts);
std::string paths_json(const std::vector<std::string>& paths);
/// The answer of an apply, and the data of "change.applied".
std::string applied_json(const ApplyOrder& order, const AppliedChange& applied);
/// The answer of a restore or discard, and the data of "change.restored".
std::string restored_json(std::optional<std::int64_t> turn, bool dry_run,
                          const RestoredFiles& restored);

/// Trailers that name the agents which touched what is applied (all files when `paths` is empty),
/// and the session.
void add_agents(CommitWords& words, const ChangeRow& change, const std::vector<std::string>& paths,
                std::string_view session_id);

}  // namespace berth::server
