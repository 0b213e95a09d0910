#include <berth/git/by_command.h>
#include <berth/git/files.h>
#include <berth/git/names.h>

#include <algorithm>
#include <charconv>

namespace berth::git::detail {
namespace {

/// What status says: submodules and repositories inside are looked for elsewhere, for it would run
/// git in them.
Result<void> read_status(const HardenedGit& git, const Location& worktree, WorkLoss& loss) {
  Result<BorrowedObjects> objects = BorrowedObjects::make(git, worktree.work_dir, {});
  if (!objects) return fail(std::move(objects).error());
  Result<void> ready = objects->take_index(worktree.git_dir);
  if (ready && !loss.head.empty()) ready = objects->set_head(loss.head);
  if (!ready) return ready;
  Result<std::string> status =
      objects->run({"status", "--porcelain=v2", "-z", "--untracked-files=all", "--no-renames",
                    "--ignore-submodules=all"});
  if (!status) return fail(std::move(status).error());
  // The line above leaves out a submodule that is staged at another commit.
  std::size_t staged = 0;
  if (!loss.head.empty()) {
    Result<std::string> cached =
        objects->run({"diff-index", "--cached", "-z", "--name-only", "--no-renames",
                      "--ignore-submodules=none", loss.head});
    if (!cached) return fail(std::move(cached).error());
    staged = split_at_zero(*cached).size();
  }
  for (const std::string& line : split_at_zero(*status)) {
    if (line.starts_with("? ")) {
      ++loss.untracked;
      if (line.ends_with("/")) loss.nested.push_back(line.substr(2, line.size() - 3));
    } else if (!line.starts_with("! ") && !line.starts_with("# ")) {
      ++loss.changed;
    }
  }
  loss.changed = std::max<std::uint64_t>(loss.changed, staged);
  return {};
}

Result<void> look_into_index(const HardenedGit& git, const Location& worktree, WorkLoss& loss) {
  Result<std::vector<ListedEntry>> entries = user_index(git, worktree);
  if (!entries) return fail(std::move(entries).error());
  bool hidden = false;
  for (const ListedEntry& entry : *entries) {
    if (!is_safe_relative(entry.path)) continue;
    const std::string full = worktree.work_dir + "/" + entry.path;
    // A file that a sparse checkout left out is no work; one that is there is compared by nobody.
    const bool there = kind_of(full) != PathKind::missing;
    hidden = hidden || (entry.tag >= 'a' && entry.tag <= 'z') || (entry.tag == 'S' && there);
    if (entry.mode == "160000" && kind_of(full + "/.git") != PathKind::missing) {
      loss.nested.push_back(entry.path);
    }
  }
  if (hidden) unknown(loss, "the index hides changes (assume-unchanged or skip-worktree)");
  return {};
}

void look_at_operations(const Location& worktree, WorkLoss& loss) {
  for (const char* name : {"MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG",
                           "rebase-merge", "rebase-apply", "sequencer"}) {
    if (kind_of(worktree.git_dir + "/" + name) == PathKind::missing) continue;
    loss.dirty = true;
    add_reason(loss, "a merge, rebase or the like is under way");
    break;
  }
  if (kind_of(worktree.git_dir + "/locked") != PathKind::missing) {
    unknown(loss, "locked by somebody: " +
                      read_line_file(worktree.git_dir + "/locked").value_or("no reason"));
  }
}

void look_at_files(const HardenedGit& git, const Location& worktree, WorkLoss& loss) {
  Result<void> seen = read_status(git, worktree, loss);
  if (seen) seen = look_into_index(git, worktree, loss);
  if (!seen) unknown(loss, seen.error().message);
  name_files(loss);
  look_at_operations(worktree, loss);
}

void look_at_head(const HardenedGit& git, const Location& worktree, WorkLoss& loss) {
  Result<std::string> line = read_line_file(worktree.git_dir + "/HEAD");
  if (!line) return unknown(loss, line.error().message);
  constexpr std::string_view kBranch = "ref: refs/heads/";
  if (line->starts_with(kBranch)) loss.branch = line->substr(kBranch.size());
  Result<std::string> head = git.run({"rev-parse", "--quiet", "--verify", "HEAD^{commit}"});
  if (head) {
    loss.head = without_newline(*std::move(head));
  } else if (head.error().kind != ErrorKind::internal || loss.branch.empty()) {
    unknown(loss, head.error().message);
  }
}

void count_unpushed(const HardenedGit& git, const std::string& base, const std::string& tip,
                    WorkLoss& loss) {
  std::vector<std::string> arguments = {"rev-list", "--count", "--max-count=10000"};
  for (const std::string& one : {tip, loss.head}) {
    if (!one.empty()) arguments.push_back(one);
  }
  if (arguments.size() == 3) return;
  if (!base.empty()) arguments.push_back("^" + base);
  arguments.emplace_back("--not");
  arguments.emplace_back("--remotes");
  arguments.emplace_back("--");
  Result<std::string> count = git.run(std::move(arguments));
  if (!count) return unknown(loss, count.error().message);
  std::from_chars(count->data(), count->data() + count->size(), loss.unpushed);
  if (loss.unpushed > 0) {
    add_reason(loss, std::to_string(loss.unpushed) + " commits beyond base on no remote");
  }
}

}  // namespace

Result<WorkLoss> command_state(const StateRequest& request) {
  const std::string& key = request.worktree.key;
  if (Result<void> ok = check_key(key); !ok) return fail(std::move(ok).error());
  if (Result<void> patient = request.patience.check("worktree state"); !patient) {
    return fail(std::move(patient).error());
  }
  Result<Refs> refs = Refs::open(request.worktree, request.patience);
  if (!refs) return fail(std::move(refs).error());
  WorkLoss loss;
  Result<Location> worktree = verify_links(request.worktree);
  if (worktree) {
    loss.exists = true;
    const HardenedGit git(*request.worktree.command, *worktree, request.patience);
    look_at_head(git, *worktree, loss);
    look_at_files(git, *worktree, loss);
  } else if (worktree.error().kind == ErrorKind::unavailable) {
    loss.exists = true;  // half made: nobody has worked in it yet
  } else if (worktree.error().kind != ErrorKind::not_found) {
    unknown(loss, worktree.error().message);
  } else {
    Result<std::string> head =
        read_line_file(registration_of(refs->location().common_dir, key) + "/HEAD");
    if (head && is_object_id(*head)) loss.head = *head;
  }
  if (Result<void> patient = request.patience.check("worktree state"); !patient) {
    return fail(std::move(patient).error());
  }
  std::string base = request.base;
  if (base.empty()) base = refs->target(base_ref_of(key)).value_or("");
  Result<std::string> tip = refs->target(branch_ref_of(key));
  if (!tip) unknown(loss, tip.error().message);
  const std::string branch_tip = tip.value_or("");
  if (base.empty() && !(branch_tip.empty() && loss.head.empty())) {
    unknown(loss, "the base is not recorded");
  }
  const HardenedGit git(*request.worktree.command, refs->location(), request.patience);
  count_unpushed(git, base, branch_tip, loss);
  return loss;
}

}  // namespace berth::git::detail
