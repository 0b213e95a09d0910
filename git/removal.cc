#include <berth/git/files.h>
#include <berth/git/names.h>
#include <berth/git/opened.h>
#include <berth/git/refs.h>
#include <berth/git/removal.h>
#include <berth/git/removal_steps.h>
#include <berth/git/scan_memory.h>

#include <filesystem>

namespace berth::git {

using detail::PathKind;
using detail::Refs;

namespace {

constexpr int kSalvageTries = 3;

Result<WorkLoss> look(const RemoveWorktree& request) {
  return worktree_state(
      {.worktree = request.worktree, .base = request.base, .patience = request.patience});
}

Result<void> refuse_unless_safe(const RemoveWorktree& request, const WorkLoss& report) {
  if (report.loses_nothing()) return {};
  if (!request.force) {
    return fail(ErrorKind::conflict, "worktree_has_work",
                request.worktree.path + ": " + report.reason);
  }
  if (!report.nested.empty() && !request.discard_nested) {
    return fail(
        ErrorKind::conflict, "nested_repository",
        request.worktree.path + ": a repository inside would be lost: " + report.nested.front());
  }
  return {};
}

/// Salvages until two salvages in a row have the same tree: then nobody changes the files any more.
Result<void> salvage_until_still(const RemoveWorktree& request, Removal& removal) {
  std::string last_tree;
  SalvageRequest salvage{.worktree = request.worktree,
                         .name = {},
                         .private_index = request.private_index,
                         .time_s = request.time_s,
                         .patience = request.patience};
  for (int i = 0; i <= kSalvageTries; ++i) {
    Result<Salvage> saved = salvage_worktree(salvage);
    if (!saved) return fail(std::move(saved).error());
    removal.salvage_ref = saved->ref;
    removal.salvage_commit = saved->commit;
    if (saved->tree == last_tree) return {};
    last_tree = saved->tree;
    salvage.name = saved->ref.substr(saved->ref.rfind('/') + 1);  // the later one replaces it
  }
  return fail(ErrorKind::busy, "worktree_changing",
              request.worktree.path + ": files keep changing");
}

/// True when the folder is there and is what the key names, whole or half made.
Result<bool> folder_is_ours(const WorktreeRef& worktree) {
  Result<detail::Location> location = detail::verify_links(worktree);
  if (location || location.error().kind == ErrorKind::unavailable) {
    // A half-made one may have been registered before its folder was.
    return detail::kind_of(worktree.path) == PathKind::directory;
  }
  if (location.error().kind == ErrorKind::not_found) return false;
  return fail(std::move(location).error());
}

/// Commits that only the registration of a lost folder holds (a detached HEAD) get a ref.
Result<void> salvage_head(const RemoveWorktree& request, const std::string& head,
                          Removal& removal) {
  Result<Refs> refs = Refs::open(request.worktree, request.patience);
  if (!refs) return fail(std::move(refs).error());
  const std::string& key = request.worktree.key;
  Result<std::string> number = refs->next_number("refs/berth/x/" + key + "/");
  if (!number) return fail(std::move(number).error());
  removal.salvage_ref = salvage_ref_of(key, *number);
  removal.salvage_commit = head;
  return refs->set(removal.salvage_ref, head);
}

class PlainRemover : public detail::FolderRemover {
 public:
  Result<void> remove(const RemoveWorktree& request, Removal& removal) override {
    const std::string path = detail::canonical_parent(request.worktree.path);
    const std::string trash =
        request.trash.empty() ? detail::parent_of(path) + "/.berth-trash" : request.trash;
    Result<std::string> moved = detail::move_to_trash(path, trash);
    if (!moved) return fail(std::move(moved).error());
    removal.removed_folder = true;
    removal.trash = *std::move(moved);
    return {};
  }
};

bool is_checked_out_elsewhere(const std::string& common_dir, const std::string& branch_ref) {
  const std::string head = "ref: " + branch_ref;
  const auto is_on_it = [&](const std::string& folder) {
    Result<std::string> line = detail::read_line_file(folder + "/HEAD");
    return line && *line == head;
  };
  if (is_on_it(common_dir)) return true;
  std::error_code error;
  for (std::filesystem::directory_iterator it(common_dir + "/worktrees", error), end;
       !error && it != end; it.increment(error)) {
    if (is_on_it(it->path().string())) return true;
  }
  return false;
}

Result<void> remove_branch(const RemoveWorktree& request, const Refs& refs, Removal& removal) {
  const std::string& key = request.worktree.key;
  const std::string ref = branch_ref_of(key);
  Result<std::string> tip = refs.target(ref);
  if (!tip) return fail(std::move(tip).error());
  if (tip->empty()) return {};
  std::string base = request.base;
  if (base.empty()) base = refs.target(base_ref_of(key)).value_or("");
  Result<std::uint64_t> beyond = refs.beyond(*tip, base);
  if (!beyond || *beyond != 0) {
    removal.branch_kept = !beyond ? "its commits could not be compared with the base"
                                  : "has " + std::to_string(*beyond) + " commits beyond base";
    return {};
  }
  if (is_checked_out_elsewhere(refs.location().common_dir, ref)) {
    removal.branch_kept = "is checked out in another worktree";
    return {};
  }
  Result<void> deleted = refs.remove(ref, *tip);
  if (!deleted && deleted.error().kind == ErrorKind::conflict) {
    removal.branch_kept = "was moved meanwhile";
    return {};
  }
  removal.branch_deleted = deleted.has_value();
  return deleted;
}

}  // namespace

Result<Removal> remove_worktree(const RemoveWorktree& request, WorkLoss& report) {
  PlainRemover remover;
  return detail::remove_worktree(request, report, remover);
}

Result<Removal> detail::remove_worktree(const RemoveWorktree& request, WorkLoss& report,
                                        FolderRemover& remover) {
  report = WorkLoss{};
  report.unknown = true;
  Result<WorkLoss> seen = look(request);
  if (!seen) return fail(std::move(seen).error());
  report = *seen;
  Result<bool> ours = folder_is_ours(request.worktree);
  if (!ours) return fail(std::move(ours).error());
  if (*ours) {
    if (Result<void> safe = refuse_unless_safe(request, report); !safe) {
      return fail(std::move(safe).error());
    }
  }
  Removal removal;
  if (*ours && !report.loses_nothing()) {
    if (Result<void> saved = salvage_until_still(request, removal); !saved) {
      return fail(std::move(saved).error());
    }
  } else if (*ours) {
    seen = look(request);
    if (!seen) return fail(std::move(seen).error());
    report = *seen;
    if (Result<void> safe = refuse_unless_safe(request, report); !safe) {
      return fail(std::move(safe).error());
    }
  }
  if (!*ours && report.unpushed > 0 && !report.head.empty()) {
    if (Result<void> saved = salvage_head(request, report.head, removal); !saved) {
      return fail(std::move(saved).error());
    }
  }
  if (Result<void> patient = request.patience.check("removing the worktree"); !patient) {
    return fail(std::move(patient).error());
  }
  request.patience.note(Step::remove_folder);
  if (*ours) {
    if (Result<void> gone = remover.remove(request, removal); !gone) {
      return fail(std::move(gone).error());
    }
  }
  // What comes now is brought to its end.
  Result<Refs> refs = Refs::open(request.worktree, {});
  if (!refs) return fail(std::move(refs).error());
  const std::string registration =
      detail::registration_of(refs->location().common_dir, request.worktree.key);
  request.patience.note(Step::remove_registration);
  Result<bool> pruned = detail::delete_tree(registration, {});
  if (!pruned) return fail(std::move(pruned).error());
  request.patience.note(Step::remove_branch);
  if (Result<void> branch = remove_branch(request, *refs, removal); !branch) {
    return fail(std::move(branch).error());
  }
  request.patience.note(Step::remove_private_index);
  if (!request.private_index.empty()) {
    const std::string memory = detail::ScanMemory::file(request.private_index);
    for (const std::string& file : {request.private_index, memory}) {
      if (Result<void> gone = detail::remove_file_if_exists(file); !gone) {
        return fail(std::move(gone).error());
      }
    }
  }
  request.patience.note(Step::remove_trash);
  if (request.delete_now && !removal.trash.empty()) {
    Result<bool> deleted = detail::delete_tree(removal.trash, request.patience);
    if (deleted && *deleted) removal.trash.clear();  // else it stays for empty_trash
  }
  return removal;
}

Result<std::size_t> empty_trash(const std::string& trash, const Patience& patience) {
  std::size_t count = 0;
  std::error_code error;
  for (std::filesystem::directory_iterator it(trash, error), end; !error && it != end;
       it.increment(error)) {
    Result<bool> gone = detail::delete_tree(it->path().string(), patience);
    if (!gone) return fail(std::move(gone).error());
    if (!*gone) return count;
    ++count;
  }
  return count;
}

}  // namespace berth::git
