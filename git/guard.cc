#include <berth/git/by_command.h>
#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/guard.h>
#include <berth/git/names.h>
#include <berth/git/objects.h>
#include <berth/git/opened.h>
#include <berth/git/special_files.h>

#include <git2.h>

#include <deque>
#include <set>

namespace berth::git {

using detail::Handle;
using detail::OpenedWorktree;
using detail::out;

namespace detail {

void add_reason(WorkLoss& loss, const std::string& why) {
  if (!loss.reason.empty()) loss.reason += "; ";
  loss.reason += why;
}

void unknown(WorkLoss& loss, const std::string& why) {
  loss.unknown = true;
  add_reason(loss, why);
}

void name_files(WorkLoss& loss) {
  loss.dirty = loss.changed > 0;
  if (loss.changed > 0) add_reason(loss, std::to_string(loss.changed) + " files changed");
  if (loss.untracked > 0) add_reason(loss, std::to_string(loss.untracked) + " files untracked");
  for (const std::string& path : loss.nested) add_reason(loss, "a repository inside: " + path);
}

}  // namespace detail

using detail::add_reason;
using detail::name_files;
using detail::unknown;

namespace {

constexpr std::size_t kCountMax = 10'000;  // beyond this the exact number helps nobody

/// Commits that are safe elsewhere: base and all remote-tracking refs.
Result<std::set<std::string>> safe_tips(git_repository* repository, const std::string& base) {
  std::set<std::string> tips;
  if (!base.empty()) tips.insert(base);
  Handle<git_reference_iterator> iterator;
  int rc = git_reference_iterator_glob_new(out(iterator), repository, "refs/remotes/*");
  const char* name = nullptr;
  while (rc == 0 && (rc = git_reference_next_name(&name, iterator.get())) == 0) {
    git_oid id;
    // A dangling symbolic ref (origin/HEAD of a deleted branch) protects nothing.
    if (git_reference_name_to_id(&id, repository, name) == 0) tips.insert(detail::hex(id));
  }
  if (rc != GIT_ITEROVER) return detail::libgit2_fail(rc, "refs/remotes");
  return tips;
}

git_oid to_oid(const std::string& id) {
  git_oid oid;
  git_oid_fromstr(&oid, id.c_str());
  return oid;
}

int walk_count(git_repository* repository, const std::set<std::string>& tips,
               const std::set<std::string>& safe, std::uint64_t& count) {
  Handle<git_revwalk> walk;
  int rc = git_revwalk_new(out(walk), repository);
  for (const std::string& tip : tips) {
    const git_oid id = to_oid(tip);
    if (rc == 0) rc = git_revwalk_push(walk.get(), &id);
  }
  for (const std::string& tip : safe) {
    const git_oid id = to_oid(tip);
    if (rc == 0) rc = git_revwalk_hide(walk.get(), &id);
  }
  git_oid id;
  while (rc == 0 && count < kCountMax && (rc = git_revwalk_next(&id, walk.get())) == 0) ++count;
  return rc == GIT_ITEROVER ? 0 : rc;
}

/// A shallow clone has commits whose parents are missing, which libgit2 1.5 takes for damage. This
/// walk stops at them and at the safe tips themselves, so it counts too many rather than too few.
int shallow_count(git_repository* repository, const std::set<std::string>& tips,
                  const std::set<std::string>& safe, std::uint64_t& count) {
  std::set<std::string> seen(safe);
  std::deque<std::string> queue(tips.begin(), tips.end());
  while (!queue.empty() && count < kCountMax) {
    const std::string id = queue.front();
    queue.pop_front();
    if (!seen.insert(id).second) continue;
    const git_oid oid = to_oid(id);
    Handle<git_commit> commit;
    const int rc = git_commit_lookup(out(commit), repository, &oid);
    if (rc == GIT_ENOTFOUND) continue;
    if (rc != 0) return rc;
    ++count;
    for (unsigned i = 0; i < git_commit_parentcount(commit.get()); ++i) {
      queue.push_back(detail::hex(*git_commit_parent_id(commit.get(), i)));
    }
  }
  return 0;
}

void count_unpushed(git_repository* repository, const std::string& base, std::set<std::string> tips,
                    WorkLoss& loss) {
  tips.erase("");
  Result<std::set<std::string>> safe = safe_tips(repository, base);
  if (!safe) return unknown(loss, safe.error().message);
  for (const std::string& tip : *safe) tips.erase(tip);
  if (tips.empty()) return;
  const bool shallow = git_repository_is_shallow(repository) == 1;
  const int rc = shallow ? shallow_count(repository, tips, *safe, loss.unpushed)
                         : walk_count(repository, tips, *safe, loss.unpushed);
  if (rc != 0) return unknown(loss, detail::libgit2_error(rc, "counting commits").message);
  if (loss.unpushed > 0) {
    add_reason(loss, std::to_string(loss.unpushed) + " commits beyond base on no remote");
  }
}

/// Flags of the user's index that hide changes, and submodules that are populated.
void look_into_index(const OpenedWorktree& worktree, git_index* index, WorkLoss& loss) {
  bool hidden = false;
  for (std::size_t i = 0; i < git_index_entrycount(index); ++i) {
    const git_index_entry* entry = git_index_get_byindex(index, i);
    hidden = hidden || (entry->flags & GIT_INDEX_ENTRY_VALID) != 0 ||
             (entry->flags_extended & GIT_INDEX_ENTRY_SKIP_WORKTREE) != 0;
    if (entry->mode != GIT_FILEMODE_COMMIT || !detail::is_safe_relative(entry->path)) continue;
    const std::string inside = worktree.path + "/" + entry->path + "/.git";
    if (detail::kind_of(inside) != detail::PathKind::missing) loss.nested.emplace_back(entry->path);
  }
  if (hidden) unknown(loss, "the index hides changes (assume-unchanged or skip-worktree)");
}

void read_status(const OpenedWorktree& worktree, git_index* index, WorkLoss& loss) {
  git_status_options options = GIT_STATUS_OPTIONS_INIT;
  options.show = GIT_STATUS_SHOW_INDEX_AND_WORKDIR;
  options.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_RECURSE_UNTRACKED_DIRS |
                  GIT_STATUS_OPT_INCLUDE_IGNORED | GIT_STATUS_OPT_INCLUDE_UNREADABLE |
                  GIT_STATUS_OPT_INCLUDE_UNREADABLE_AS_UNTRACKED;
  Handle<git_status_list> list;
  const int rc = git_status_list_new(out(list), worktree.repository.get(), &options);
  if (rc != 0) return unknown(loss, detail::libgit2_error(rc, worktree.path + ": status").message);
  for (std::size_t i = 0; i < git_status_list_entrycount(list.get()); ++i) {
    const git_status_entry* entry = git_status_byindex(list.get(), i);
    if (entry->status == GIT_STATUS_CURRENT) continue;
    if (entry->status != GIT_STATUS_WT_NEW && entry->status != GIT_STATUS_IGNORED) {
      ++loss.changed;
      continue;
    }
    std::string path = entry->index_to_workdir->new_file.path;
    const bool folder = path.ends_with("/");
    if (entry->status == GIT_STATUS_IGNORED) {
      // libgit2 files repositories inside that are no submodules under "ignored".
      int really = 0;
      const std::string inside = worktree.path + "/" + path + ".git";
      if (!folder || detail::kind_of(inside) == detail::PathKind::missing) continue;
      git_ignore_path_is_ignored(&really, worktree.repository.get(), path.c_str());
      if (really != 0) continue;
    }
    ++loss.untracked;
    if (folder) {
      path.pop_back();
      loss.nested.push_back(std::move(path));
    }
  }
  look_into_index(worktree, index, loss);
}

/// A submodule may be staged at another commit, which the status above leaves out.
void compare_index_with_head(git_repository* repository, git_index* index, WorkLoss& loss) {
  Handle<git_object> head;
  if (git_revparse_single(out(head), repository, "HEAD^{tree}") != 0) return;
  Handle<git_diff> diff;
  const int rc = git_diff_tree_to_index(out(diff), repository,
                                        reinterpret_cast<git_tree*>(head.get()), index, nullptr);
  if (rc != 0) return unknown(loss, detail::libgit2_error(rc, "index").message);
  const std::size_t staged = git_diff_num_deltas(diff.get());
  if (staged > loss.changed) loss.changed = staged;
}

/// An index of a kind that only git reads is for the git command, if there is one.
bool is_for_command(const WorktreeRef& worktree, const OpenedWorktree& opened) {
  if (worktree.command == nullptr) return false;
  Handle<git_index> index;
  const int rc = git_repository_index(out(index), opened.repository.get());
  return rc != 0 && detail::goes_to_command(worktree, detail::libgit2_error(rc, opened.path));
}

void look_at_files(const OpenedWorktree& worktree, const Patience& patience, WorkLoss& loss) {
  git_repository* repository = worktree.repository.get();
  Handle<git_index> index;
  const int rc = git_repository_index(out(index), repository);
  if (rc != 0) return unknown(loss, detail::libgit2_error(rc, worktree.path + ": index").message);
  Result<void> rules = detail::check_rule_files(repository, index.get(), worktree.path, patience);
  if (!rules) return unknown(loss, rules.error().message);
  read_status(worktree, index.get(), loss);
  compare_index_with_head(repository, index.get(), loss);
  name_files(loss);
  if (git_repository_state(repository) != GIT_REPOSITORY_STATE_NONE) {
    loss.dirty = true;
    add_reason(loss, "a merge, rebase or the like is under way");
  }
  Result<std::string> locked = detail::read_line_file(worktree.registration + "/locked");
  if (locked && *locked != detail::kOverlayMark) unknown(loss, "locked by somebody: " + *locked);
}

/// Commits of `loss.head`.
void look_at_head(git_repository* repository, WorkLoss& loss) {
  Handle<git_reference> head;
  const int rc = git_repository_head(out(head), repository);
  if (rc == GIT_EUNBORNBRANCH) return;
  if (rc != 0) return unknown(loss, detail::libgit2_error(rc, "HEAD").message);
  loss.head = detail::hex(*git_reference_target(head.get()));
  if (git_repository_head_detached(repository) == 0)
    loss.branch = git_reference_shorthand(head.get());
}

}  // namespace

Result<WorkLoss> worktree_state(const StateRequest& request) {
  const std::string& key = request.worktree.key;
  if (Result<void> ok = check_key(key); !ok) return fail(std::move(ok).error());
  if (Result<void> patient = request.patience.check("worktree state"); !patient) {
    return fail(std::move(patient).error());
  }
  if (detail::uses_command(request.worktree)) return detail::command_state(request);
  Result<detail::Opened> opened = detail::open_objects(request.worktree.repository);
  if (!opened) return fail(std::move(opened).error());
  git_repository* repository = opened->repository.get();

  WorkLoss loss;
  Result<OpenedWorktree> worktree = detail::open_worktree(request.worktree);
  if (worktree && is_for_command(request.worktree, *worktree)) {
    return detail::command_state(request);
  }
  if (worktree) {
    loss.exists = true;
    look_at_head(worktree->repository.get(), loss);
    look_at_files(*worktree, request.patience, loss);
  } else if (worktree.error().kind == ErrorKind::unavailable) {
    loss.exists = true;  // half made: nobody has worked in it yet
  } else if (worktree.error().kind != ErrorKind::not_found) {
    unknown(loss, worktree.error().message);
  } else {
    // The registration of a lost folder may still be the only thing that holds the commits of a
    // detached HEAD.
    Result<std::string> head =
        detail::read_line_file(detail::registration_of(opened->location.common_dir, key) + "/HEAD");
    if (head && is_object_id(*head)) loss.head = *head;
  }
  if (Result<void> patient = request.patience.check("worktree state"); !patient) {
    return fail(std::move(patient).error());
  }

  std::string base = request.base;
  if (base.empty()) {
    Result<std::string> recorded = detail::ref_target(repository, base_ref_of(key));
    if (recorded) base = *recorded;
  }
  Result<std::string> tip = detail::ref_target(repository, branch_ref_of(key));
  if (!tip) {
    unknown(loss, tip.error().message);
    tip = std::string();
  }
  if (base.empty() && !(tip->empty() && loss.head.empty()))
    unknown(loss, "the base is not recorded");
  count_unpushed(repository, base, {*tip, loss.head}, loss);
  return loss;
}

}  // namespace berth::git
