#include <berth/server/sessions/changes_json.h>

#include <berth/core/clock.h>
#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>
#include <berth/server/sessions/json_members.h>

#include <algorithm>
#include <set>

namespace berth::server {

namespace {

/// Files that an event names; the whole list is asked for.
constexpr std::size_t kEventFilesMax = 200;

struct Totals {
  std::int64_t additions = 0;
  std::int64_t deletions = 0;
};

Totals totals_of(const std::vector<ChangedFile>& files) {
  Totals totals;
  for (const ChangedFile& file : files) {
    totals.additions += file.additions;
    totals.deletions += file.deletions;
  }
  return totals;
}

void put_file(JsonWriter& writer, const ChangedFile& file) {
  writer.member("path", file.path);
  put_text(writer, "old_path", file.old_path);
  writer.member("status", file.status)
      .member_int64("additions", file.additions)
      .member_int64("deletions", file.deletions)
      .member_bool("binary", file.binary);
  put_text(writer, "kind", file.kind);
}

}  // namespace

std::string changed_files_json(const std::vector<ChangedFile>& files, std::size_t files_max) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_array();
  for (std::size_t i = 0; i < std::min(files.size(), files_max); ++i) {
    writer.begin_object();
    put_file(writer, files[i]);
    writer.end_object();
  }
  writer.end_array();
  return out;
}

std::vector<ChangedFile> changed_files_of(std::string_view json) {
  std::vector<ChangedFile> files;
  if (json.empty()) return files;
  const Result<JsonDoc> doc = JsonDoc::parse(json);
  if (!doc.has_value()) return files;
  for (const JsonView& entry : doc->root().elements()) {
    ChangedFile file;
    file.path = entry.get_string("path").value_or("");
    file.old_path = entry.get_string("old_path").value_or("");
    file.status = entry.get_string("status").value_or("");
    file.additions = entry.get_int64("additions").value_or(0);
    file.deletions = entry.get_int64("deletions").value_or(0);
    file.binary = entry.get_bool("binary").value_or(false);
    file.kind = entry.get_string("kind").value_or("");
    files.push_back(std::move(file));
  }
  return files;
}

std::string badged_files_json(const std::vector<ChangedFile>& files, const Attribution& attribution,
                              std::size_t files_max) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_array();
  for (std::size_t i = 0; i < std::min(files.size(), files_max); ++i) {
    const ChangedFile& file = files[i];
    const std::vector<Toucher> touchers = attribution.of(file.path);
    writer.begin_object();
    put_file(writer, file);
    writer.key("turn");
    if (touchers.empty()) {
      writer.null();
    } else {
      writer.int64(touchers.back().turn);
    }
    put_text(writer, "agent", touchers.empty() ? std::string() : touchers.back().agent);
    writer.member_raw("touched_by", touchers_json(touchers));
    put_text(writer, "note", note_of(touchers));
    writer.end_object();
  }
  writer.end_array();
  return out;
}

std::string compared_json(std::string_view from, std::string_view to, const WorkspaceChange& change,
                          const Attribution& attribution, std::size_t files_max) {
  const Totals totals = totals_of(change.files);
  std::string out;
  JsonWriter(out)
      .begin_object()
      .member("from", from)
      .member("to", to)
      .member_raw("files", badged_files_json(change.files, attribution, files_max))
      .member_uint64("files_total", change.files.size())
      .member_bool("files_truncated", change.truncated || change.files.size() > files_max)
      .member_int64("additions", totals.additions)
      .member_int64("deletions", totals.deletions)
      .end_object();
  return out;
}

std::string open_change_json(const std::optional<ChangeRow>& change, std::string_view base,
                             std::size_t files_max) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().member("base", base);
  if (!change) {
    writer.key("tree").null().member_int64("turn_number", 0).member("outcome", "recorded");
    writer.member_raw("pending_turns", "[]").member_raw("files", "[]");
    writer.member_uint64("files_total", 0).member_bool("files_truncated", false);
    writer.member_int64("additions", 0).member_int64("deletions", 0).key("recorded_at").null();
    writer.end_object();
    return out;
  }
  const std::vector<ChangedFile> files = changed_files_of(change->summary);
  const Attribution attribution = Attribution::parse(change->touched);
  const Totals totals = totals_of(files);
  std::string recorded_at;
  append_rfc3339(recorded_at, WallTime(change->recorded_ms));
  put_text(writer, "tree", change->tree);
  writer.member_int64("turn_number", change->turn_number)
      .member("outcome", change->outcome)
      .member_raw("pending_turns", touchers_json(attribution.owed()))
      .member_raw("files", badged_files_json(files, attribution, files_max))
      .member_uint64("files_total", files.size())
      .member_bool("files_truncated", files.size() > files_max)
      .member_int64("additions", totals.additions)
      .member_int64("deletions", totals.deletions)
      .member("recorded_at", recorded_at)
      .end_object();
  return out;
}

std::string change_recorded_json(const RecordedEvent& event) {
  static const std::vector<ChangedFile> kNone;
  const std::vector<ChangedFile>& files = event.change == nullptr ? kNone : event.change->files;
  const std::vector<ChangedFile>& touched = event.change == nullptr ? kNone : event.change->touched;
  const Totals totals = totals_of(files);
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member_int64("turn_number", event.turn_number)
      .member("outcome", event.outcome);
  put_text(writer, "reason", event.reason);
  writer.member_raw("turns", touchers_json(event.covers))
      .member_raw("files", changed_files_json(files, kEventFilesMax))
      .member_uint64("files_total", files.size())
      .key("touched")
      .begin_array();
  for (std::size_t i = 0; i < std::min(touched.size(), kEventFilesMax); ++i) {
    writer.string(touched[i].path);
  }
  writer.end_array()
      .member_uint64("touched_total", touched.size())
      .member_int64("additions", totals.additions)
      .member_int64("deletions", totals.deletions);
  put_text(writer, "snapshot",
           event.change == nullptr ? std::string_view() : std::string_view(event.change->snapshot));
  if (event.change != nullptr) {
    writer.member("scan", event.change->full_scan ? "full" : "hinted");
    put_text(writer, "scan_reason", event.change->scan_reason);
  }
  writer.member_int64("ms", event.ms).end_object();
  return out;
}

std::string worktree_json(const WorkspaceReport& report, const WorkspaceGaps& gaps,
                          const SessionRow& row, const std::optional<ChangeRow>& change,
                          bool running) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member_bool("exists", report.exists)
      .member_bool("dirty", report.dirty)
      .member_int64("changed", report.changed)
      .member_int64("untracked", report.untracked)
      .member_int64("unpushed", report.unpushed)
      .member_raw("nested", paths_json(report.nested))
      .member_bool("unknown", report.unknown);
  put_text(writer, "reason", report.reason);
  put_text(writer, "head", report.head);
  put_text(writer, "branch", row.branch);
  put_text(writer, "directory", row.directory);
  writer.key("not_there")
      .begin_object()
      .member_raw("submodules", paths_json(gaps.submodules))
      .member_raw("lfs_pointers", paths_json(gaps.lfs_pointers))
      .member_bool("shallow", gaps.shallow)
      .end_object();
  const std::size_t files = change ? changed_files_of(change->summary).size() : 0;
  writer.key("open_change").begin_object().member_uint64("files", files);
  put_text(writer, "outcome", change ? std::string_view(change->outcome) : std::string_view());
  writer.end_object()
      .member_bool("running", running)
      .member_bool("loses_nothing", report.loses_nothing() && !running)
      .end_object();
  return out;
}

std::string conflicts_json(const std::vector<ApplyConflict>& conflicts) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_array();
  for (const ApplyConflict& conflict : conflicts) {
    writer.begin_object()
        .member("path", conflict.path)
        .member("reason", conflict.reason)
        .end_object();
  }
  writer.end_array();
  return out;
}

std::string paths_json(const std::vector<std::string>& paths) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_array();
  for (const std::string& path : paths) writer.string(path);
  writer.end_array();
  return out;
}

std::string applied_json(const ApplyOrder& order, const AppliedChange& applied) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object()
      .member_bool("applied", applied.applied)
      .member_bool("dry_run", order.dry_run)
      .member_bool("unchanged", applied.unchanged)
      .member("to", order.branch.empty() ? "working_files" : "branch");
  put_text(writer, "branch", order.branch);
  put_text(writer, "commit", applied.commit);
  put_text(writer, "before", applied.before);
  put_text(writer, "checkout", applied.checkout);
  writer.member_raw("files", paths_json(applied.files))
      .member_raw("conflicts", conflicts_json(applied.conflicts))
      .end_object();
  return out;
}

std::string restored_json(std::optional<std::int64_t> turn, bool dry_run,
                          const RestoredFiles& restored) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().key("turn");
  if (turn) {
    writer.int64(*turn);
  } else {
    writer.null();
  }
  writer.member_bool("dry_run", dry_run).key("files").begin_array();
  for (const RestoredFile& file : restored.files) {
    writer.begin_object()
        .member("path", file.path)
        .member_bool("removed", file.removed)
        .end_object();
  }
  writer.end_array();
  put_text(writer, "salvage_ref", restored.salvage_ref);
  put_text(writer, "salvage_commit", restored.salvage_commit);
  writer.end_object();
  return out;
}

void add_agents(CommitWords& words, const ChangeRow& change, const std::vector<std::string>& paths,
                std::string_view session_id) {
  const Attribution attribution = Attribution::parse(change.touched);
  std::set<std::string> agents;
  for (const ChangedFile& file : changed_files_of(change.summary)) {
    const bool meant =
        paths.empty() || std::find(paths.begin(), paths.end(), file.path) != paths.end();
    if (!meant) continue;
    for (const Toucher& toucher : attribution.of(file.path)) {
      if (!toucher.agent.empty()) agents.insert(toucher.agent);
    }
  }
  for (const std::string& agent : agents) words.trailers.emplace_back("Berth-Agent", agent);
  words.trailers.emplace_back("Berth-Session", std::string(session_id));
}

}  // namespace berth::server
