#include <berth/git/archive.h>
#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/index_file.h>
#include <berth/git/names.h>
#include <berth/git/refs.h>
#include <berth/git/registration.h>
#include <berth/git/rewrite.h>

#include <git2.h>

#include <sstream>

namespace berth::git {

using detail::Location;
using detail::PathKind;
using detail::Refs;

namespace {

constexpr std::string_view kTitle = "berth archive";

/// What the message of an archive says.
struct Record {
  std::string tree;    ///< Of the working files.
  std::string index;   ///< Tree of what was staged.
  std::string head;    ///< "refs/heads/main", or "detached".
  std::string commit;  ///< What HEAD was on.
};

std::string message_of(const Record& record) {
  return std::string(kTitle) + "\n\nhead " + record.head + "\ncommit " + record.commit +
         "\nindex " + record.index + "\n";
}

Result<Record> read_record(const Refs& refs, const std::string& commit) {
  Result<std::string> raw = refs.raw_commit(commit);
  if (!raw) return fail(std::move(raw).error());
  Record record;
  std::istringstream lines(*raw);
  bool in_message = false;
  bool titled = false;
  for (std::string line; std::getline(lines, line);) {
    if (!in_message && line.starts_with("tree ")) record.tree = line.substr(5);
    in_message = in_message || line.empty();
    if (!in_message) continue;
    titled = titled || line == kTitle;
    if (line.starts_with("head ")) record.head = line.substr(5);
    if (line.starts_with("commit ")) record.commit = line.substr(7);
    if (line.starts_with("index ")) record.index = line.substr(6);
  }
  if (!titled || record.head.empty() || !is_object_id(record.commit) ||
      !is_object_id(record.index) || !is_object_id(record.tree)) {
    return fail(ErrorKind::invalid, "bad_archive", commit + ": is no archived worktree");
  }
  return record;
}

Result<void> refuse_what_no_commit_holds(const Location& location) {
  for (const char* name : {"MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG",
                           "rebase-merge", "rebase-apply", "sequencer"}) {
    if (detail::kind_of(location.git_dir + "/" + name) != PathKind::missing) {
      return fail(ErrorKind::conflict, "operation_under_way",
                  location.work_dir + ": finish or abort it first: " + name);
    }
  }
  if (detail::kind_of(location.git_dir + "/locked") != PathKind::missing) {
    return fail(ErrorKind::conflict, "worktree_locked", location.work_dir + ": is locked");
  }
  return {};
}

/// HEAD as its file says it.
Result<Record> read_head(const Refs& refs, const Location& location) {
  Record record;
  Result<std::string> line = detail::read_line_file(location.git_dir + "/HEAD");
  if (!line) return fail(std::move(line).error());
  record.head = line->starts_with("ref: ") ? line->substr(5) : "detached";
  record.commit = *line;
  if (record.head != "detached") {
    Result<std::string> tip = refs.target(record.head);
    if (!tip) return fail(std::move(tip).error());
    record.commit = *std::move(tip);
  }
  if (!is_object_id(record.commit)) {
    return fail(ErrorKind::conflict, "repository_empty", location.work_dir + ": has no commit");
  }
  return record;
}

Result<std::string> keep(const Refs& refs, const Record& record, const Salvage& salvage,
                         const ArchiveRequest& request) {
  Result<std::string> commit =
      refs.write_commit(salvage.tree, {salvage.commit}, message_of(record), request.time_s);
  if (!commit) return commit;
  Result<void> set = refs.set(salvage_ref_of(request.worktree.key, "archive"), *commit);
  if (!set) return fail(std::move(set).error());
  return commit;
}

/// What the guard cannot put into a commit.
Result<void> refuse_nested(const ArchiveRequest& request) {
  Result<WorkLoss> loss = worktree_state(
      {.worktree = request.worktree, .base = request.base, .patience = request.patience});
  if (!loss) return fail(std::move(loss).error());
  if (loss->nested.empty()) return {};
  return fail(
      ErrorKind::conflict, "nested_repository",
      request.worktree.path + ": a repository inside would be lost: " + loss->nested.front());
}

}  // namespace

Result<Archived> archive_worktree(const ArchiveRequest& request) {
  Result<Location> location = detail::verify_links(request.worktree);
  if (!location) return fail(std::move(location).error());
  Result<void> plain = refuse_what_no_commit_holds(*location);
  if (plain) plain = refuse_nested(request);
  if (!plain) return fail(std::move(plain).error());
  Result<Refs> refs = Refs::open(request.worktree, request.patience);
  if (!refs) return fail(std::move(refs).error());
  Result<Record> record = read_head(*refs, *location);
  if (!record) return fail(std::move(record).error());
  Result<std::string> index = detail::index_tree(request.worktree);
  if (!index) return fail(std::move(index).error());
  record->index = *std::move(index);

  request.patience.note(Step::archive_salvage);
  Result<Salvage> salvage = salvage_worktree({.worktree = request.worktree,
                                              .name = "archive",
                                              .private_index = request.private_index,
                                              .time_s = request.time_s,
                                              .patience = request.patience});
  if (!salvage) return fail(std::move(salvage).error());
  request.patience.note(Step::archive_ref);
  Result<std::string> commit = keep(*refs, *record, *salvage, request);
  if (!commit) return fail(std::move(commit).error());

  WorkLoss report;
  Result<Removal> removal = remove_worktree({.worktree = request.worktree,
                                             .base = request.base,
                                             .force = true,
                                             .private_index = request.private_index,
                                             .trash = request.trash,
                                             .delete_now = request.delete_now,
                                             .time_s = request.time_s,
                                             .patience = request.patience},
                                            report);
  if (!removal) return fail(std::move(removal).error());
  Archived archived{.commit = *std::move(commit),
                    .ref = salvage_ref_of(request.worktree.key, "archive"),
                    .trash = removal->trash};
  if (removal->salvage_commit.empty()) return archived;
  // Somebody may have written a file since: the removal looked last.
  Result<std::string> last = refs->raw_commit(removal->salvage_commit);
  if (!last) return fail(std::move(last).error());
  if (!last->starts_with("tree " + salvage->tree + "\n")) {
    salvage->tree = last->substr(5, salvage->tree.size());
    salvage->commit = removal->salvage_commit;
    commit = keep(*refs, *record, *salvage, request);
    if (!commit) return fail(std::move(commit).error());
    archived.commit = *std::move(commit);
  }
  static_cast<void>(refs->remove(removal->salvage_ref, removal->salvage_commit));
  return archived;
}

namespace {

/// From the files of commit `from` to those of tree `to`; what is neither stays and is an error.
Result<void> bring_files(const WorktreeRef& worktree, const Refs& refs, const std::string& from,
                         const std::string& to, const Patience& patience) {
  Result<std::vector<detail::TreeStep>> steps = detail::Trees::of(refs)->steps(from, to, {});
  if (!steps) return fail(std::move(steps).error());
  return detail::rewrite_worktree(worktree, refs.backend(), *steps, patience);
}

/// The HEAD to set up: the branch if it is still there, on that commit and free, else detached.
Result<std::string> head_line(const Refs& refs, const WorktreeRef& worktree, const Record& record) {
  if (record.head == "detached") return record.commit;
  Result<std::string> tip = refs.target(record.head);
  if (!tip) return tip;
  if (*tip != record.commit) return record.commit;
  Result<std::vector<RegisteredWorktree>> all =
      list_registrations(worktree.repository, worktree.command);
  if (!all) return fail(std::move(all).error());
  for (const RegisteredWorktree& other : *all) {
    if (other.name != worktree.key && "refs/heads/" + other.branch == record.head) {
      return record.commit;
    }
  }
  return "ref: " + record.head;
}

}  // namespace

Result<CreatedWorktree> restore_archive(const RestoreArchive& request) {
  Result<Refs> refs = Refs::open(request.worktree, request.patience);
  if (!refs) return fail(std::move(refs).error());
  Result<Record> record = read_record(*refs, request.commit);
  if (!record) return fail(std::move(record).error());
  const std::string& key = request.worktree.key;
  const std::string archive_ref = salvage_ref_of(key, "archive");
  Result<std::string> waiting = refs->target(archive_ref);
  if (!waiting) return fail(std::move(waiting).error());
  Result<CreatedWorktree> made = create_worktree({.worktree = request.worktree,
                                                  .base = request.base,
                                                  .private_index = request.private_index,
                                                  .keep_branch = true,
                                                  .patience = request.patience});
  if (!made) return made;
  // The ref goes at the end of a restore: without it this worktree has been set up before.
  if (made->existed && waiting->empty()) return made;
  request.patience.note(Step::unarchive_files);
  const std::string at = made->head_commit.empty() ? record->commit : made->head_commit;
  Result<void> done = bring_files(request.worktree, *refs, at, record->tree, request.patience);
  request.patience.note(Step::unarchive_index);
  if (done) done = detail::reset_index(request.worktree, record->index);
  if (!done) return fail(std::move(done).error());
  Result<std::string> head = head_line(*refs, request.worktree, *record);
  if (!head) return fail(std::move(head).error());
  request.patience.note(Step::unarchive_head);
  done = detail::write_file(detail::registration_of(refs->location().common_dir, key) + "/HEAD",
                            *head + "\n");
  // It stays under a number: only then is the worktree the only place that holds it.
  Result<std::string> number = refs->next_number("refs/berth/x/" + key + "/");
  if (!number) return fail(std::move(number).error());
  request.patience.note(Step::unarchive_ref);
  if (done) done = refs->set(salvage_ref_of(key, *number), request.commit);
  if (done && !waiting->empty()) done = refs->remove(archive_ref, *waiting);
  if (!done) return fail(std::move(done).error());
  made->existed = false;
  made->head_commit = record->commit;
  made->branch = head->starts_with("ref: refs/heads/") ? head->substr(16) : "";
  return made;
}

}  // namespace berth::git
