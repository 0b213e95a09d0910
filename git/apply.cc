#include <berth/git/apply.h>
#include <berth/git/apply_journal.h>
#include <berth/git/failure.h>
#include <berth/git/files.h>
#include <berth/git/names.h>
#include <berth/git/objects.h>
#include <berth/git/opened.h>
#include <berth/git/rewrite.h>

#include <dirent.h>
#include <git2.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <set>

namespace berth::git {

using detail::ApplyJournal;
using detail::Handle;
using detail::out;
using detail::RewriteStep;

namespace {

/// A checkout opened with its working files.
struct Checkout {
  Handle<git_repository> repository;
  std::string folder;
};

Result<Checkout> open_checkout(const std::string& path) {
  Result<detail::Location> location = detail::locate(path);
  if (!location) return fail(std::move(location).error());
  if (Result<void> fine = detail::check_supported(*location); !fine) {
    return fail(std::move(fine).error());
  }
  if (location->work_dir.empty()) {
    return fail(ErrorKind::invalid, "bare_repository", path + ": has no working files");
  }
  Checkout checkout;
  checkout.folder = location->work_dir;
  const int rc = git_repository_open_ext(out(checkout.repository), location->work_dir.c_str(),
                                         GIT_REPOSITORY_OPEN_NO_SEARCH, nullptr);
  if (rc != 0) return detail::libgit2_fail(rc, path);
  const char* opened = git_repository_workdir(checkout.repository.get());
  if (opened == nullptr || detail::canonical(opened) != checkout.folder) {
    return fail(ErrorKind::conflict, "worktree_not_linked",
                path + ": its configuration names other working files");
  }
  return checkout;
}

/// The folder whose HEAD is on `branch_ref`; empty when no checkout that exists is.
std::string checkout_of(const detail::Location& location, const std::string& branch_ref) {
  const std::string wanted = "ref: " + branch_ref;
  const auto is_on = [&wanted](const std::string& git_dir) {
    Result<std::string> head = detail::read_line_file(git_dir + "/HEAD");
    return head && *head == wanted;
  };
  const std::string& common = location.common_dir;
  if (is_on(common) && detail::name_of(common) == ".git") return detail::parent_of(common);
  const std::string folder = common + "/worktrees";
  const std::unique_ptr<DIR, int (*)(DIR*)> registered(::opendir(folder.c_str()), ::closedir);
  while (const dirent* entry = registered ? ::readdir(registered.get()) : nullptr) {
    const std::string registration = folder + "/" + entry->d_name;
    if (entry->d_name[0] == '.' || !is_on(registration)) continue;
    Result<std::string> back = detail::read_line_file(registration + "/gitdir");
    if (back && detail::kind_of(*back) == detail::PathKind::file) return detail::parent_of(*back);
  }
  return {};
}

bool fits_header(const std::string& text) {
  return !text.empty() && text.find_first_of(std::string_view("<>\n\0", 4)) == std::string::npos;
}

Result<void> check_commit_text(const CommitText& text) {
  const bool author = fits_header(text.author_name) && fits_header(text.author_email);
  if (!author || text.message.find_first_not_of(" \t\r\n") == std::string::npos ||
      text.message.find('\0') != std::string::npos) {
    return fail(ErrorKind::invalid, "bad_commit_text",
                "a commit needs author_name, author_email (no <, > or line break) and a message");
  }
  for (const auto& [name, value] : text.trailers) {
    if (name.empty() || name.find_first_of(": \n") != std::string::npos ||
        value.find('\n') != std::string::npos) {
      return fail(ErrorKind::invalid, "bad_commit_text", "trailer '" + name + "'");
    }
  }
  return {};
}

std::string message_of(const CommitText& text) {
  std::string message = text.message;
  while (!message.empty() && std::strchr(" \t\r\n", message.back()) != nullptr) message.pop_back();
  message += "\n";
  if (!text.trailers.empty()) message += "\n";
  for (const auto& [name, value] : text.trailers) message += name + ": " + value + "\n";
  return message;
}

git_oid to_oid(const std::string& id) {
  git_oid oid;
  git_oid_fromstr(&oid, id.c_str());
  return oid;
}

Result<std::string> tree_id(git_repository* repository, const std::string& id) {
  Result<Handle<git_tree>> tree = detail::find_tree(repository, id);
  if (!tree) return fail(std::move(tree).error());
  return detail::hex(*git_tree_id(tree->get()));
}

/// `tree` with some entries put in or taken out (mode 0).
Result<std::string> edited_tree(
    git_repository* repository, const std::string& tree,
    const std::vector<std::pair<std::string, detail::TreeFile>>& edits) {
  Result<Handle<git_tree>> from = detail::find_tree(repository, tree);
  if (!from) return fail(std::move(from).error());
  Handle<git_index> index;
  int rc = git_index_new(out(index));
  if (rc == 0) rc = git_index_read_tree(index.get(), from->get());
  for (const auto& [path, file] : edits) {
    if (rc != 0) break;
    git_index_remove(index.get(), path.c_str(), 0);
    if (file.mode == 0) continue;
    git_index_entry entry{};
    entry.path = path.c_str();
    entry.mode = file.mode;
    entry.id = to_oid(file.id);
    rc = git_index_add(index.get(), &entry);
  }
  git_oid id;
  if (rc == 0) rc = git_index_write_tree_to(&id, index.get(), repository);
  if (rc != 0) return detail::libgit2_fail(rc, "tree " + tree);
  return detail::hex(id);
}

/// One call of apply_change().
class Apply {
 public:
  explicit Apply(const ApplyRequest& request) : request_(request) {}

  Result<Applied> run() {
    Result<void> step = find_target();
    if (step) step = find_change();
    if (step) step = find_ours();
    if (step) step = merge();
    if (step && applied_.conflicts.empty()) step = check_files();
    if (step) step = request_.patience.check("applying a change");
    if (!step) return fail(std::move(step).error());
    applied_.unchanged = applied_.conflicts.empty() && merged_ == ours_;
    if (!applied_.conflicts.empty() || applied_.unchanged || request_.dry_run) {
      return std::move(applied_);
    }
    step = perform();
    if (!step) return fail(std::move(step).error());
    applied_.applied = true;
    return std::move(applied_);
  }

 private:
  bool on_branch() const { return request_.to == ApplyTo::branch; }
  git_repository* objects() const { return objects_.repository.get(); }

  Result<void> find_target() {
    Result<detail::Opened> opened = detail::open_objects(request_.repository);
    if (!opened) return fail(std::move(opened).error());
    objects_ = std::move(*opened);
    std::string folder = request_.repository;
    if (on_branch()) {
      if (Result<void> text = check_commit_text(request_.commit); !text) return text;
      int valid = 0;
      if (git_branch_name_is_valid(&valid, request_.branch.c_str()) != 0 || valid == 0) {
        return fail(ErrorKind::invalid, "bad_branch", "'" + request_.branch + "': no branch name");
      }
      branch_ref_ = "refs/heads/" + request_.branch;
      Result<std::string> tip = detail::ref_target(objects(), branch_ref_);
      if (!tip) return fail(std::move(tip).error());
      if (tip->empty()) {
        return fail(ErrorKind::not_found, "branch_not_found",
                    request_.repository + ": has no branch '" + request_.branch + "'");
      }
      applied_.before = *std::move(tip);
      folder = checkout_of(objects_.location, branch_ref_);
      if (folder.empty()) return {};
    }
    Result<Checkout> checkout = open_checkout(folder);
    if (!checkout) return fail(std::move(checkout).error());
    checkout_ = std::move(*checkout);
    applied_.checkout = checkout_.folder;
    return {};
  }

  Result<void> find_change() {
    Result<std::string> base = tree_id(objects(), request_.base);
    if (!base) return fail(std::move(base).error());
    base_ = *std::move(base);
    Result<std::string> theirs = tree_id(objects(), request_.change);
    if (!theirs) return fail(std::move(theirs).error());
    theirs_ = *std::move(theirs);
    Result<std::vector<RewriteStep>> steps =
        detail::rewrite_steps(objects(), base_, theirs_, request_.paths);
    if (!steps) return fail(std::move(steps).error());
    change_ = *std::move(steps);
    if (request_.paths.empty()) return {};
    std::vector<std::pair<std::string, detail::TreeFile>> edits;
    for (const RewriteStep& step : change_) edits.emplace_back(step.path, step.after);
    theirs = edited_tree(objects(), base_, edits);
    if (!theirs) return fail(std::move(theirs).error());
    theirs_ = *std::move(theirs);
    return {};
  }

  /// The target as a tree: the branch's, or HEAD with the files of the change as they are on disk.
  Result<void> find_ours() {
    std::string from = applied_.before;
    if (!on_branch()) {
      Result<std::string> head = detail::ref_target(checkout_.repository.get(), "HEAD");
      if (!head) return fail(std::move(head).error());
      from = *std::move(head);
    }
    if (from.empty()) {
      return fail(ErrorKind::conflict, "repository_empty",
                  request_.repository + ": has no commit yet");
    }
    Result<std::string> ours = tree_id(objects(), from);
    if (ours && !on_branch()) ours = with_disk(*ours);
    if (!ours) return fail(std::move(ours).error());
    ours_ = *std::move(ours);
    return {};
  }

  Result<std::string> with_disk(const std::string& head) {
    std::vector<std::pair<std::string, detail::TreeFile>> edits;
    for (const RewriteStep& step : change_) {
      if (step.before.mode == GIT_FILEMODE_COMMIT || step.after.mode == GIT_FILEMODE_COMMIT) {
        continue;
      }
      detail::TreeFile file;
      const std::string full = checkout_.folder + "/" + step.path;
      struct stat st{};
      git_oid id;
      int rc = 0;
      if (!detail::has_real_parents(checkout_.folder, step.path) ||
          ::lstat(full.c_str(), &st) < 0) {
        file.mode = 0;
      } else if (S_ISREG(st.st_mode)) {
        rc = git_blob_create_from_workdir(&id, checkout_.repository.get(), step.path.c_str());
        file = {detail::hex(id), static_cast<std::uint32_t>((st.st_mode & S_IXUSR) != 0
                                                                ? GIT_FILEMODE_BLOB_EXECUTABLE
                                                                : GIT_FILEMODE_BLOB)};
      } else if (S_ISLNK(st.st_mode)) {
        rc = git_blob_create_from_workdir(&id, checkout_.repository.get(), step.path.c_str());
        file = {detail::hex(id), GIT_FILEMODE_LINK};
      }
      if (rc != 0) return detail::libgit2_fail(rc, full);
      edits.emplace_back(step.path, std::move(file));
    }
    return edited_tree(checkout_.repository.get(), head, edits);
  }

  Result<void> merge() {
    Result<Handle<git_tree>> base = detail::find_tree(objects(), base_);
    Result<Handle<git_tree>> ours = detail::find_tree(objects(), ours_);
    Result<Handle<git_tree>> theirs = detail::find_tree(objects(), theirs_);
    if (!base || !ours || !theirs) {
      return fail(ErrorKind::not_found, "object_not_found", "a tree of the merge is gone");
    }
    git_merge_options options = GIT_MERGE_OPTIONS_INIT;
    Handle<git_index> index;
    int rc =
        git_merge_trees(out(index), objects(), base->get(), ours->get(), theirs->get(), &options);
    if (rc != 0) return detail::libgit2_fail(rc, "merge");
    if (git_index_has_conflicts(index.get()) != 0) return name_conflicts(index.get());
    git_oid id;
    rc = git_index_write_tree_to(&id, index.get(), objects());
    if (rc != 0) return detail::libgit2_fail(rc, "merged tree");
    merged_ = detail::hex(id);
    Result<std::vector<RewriteStep>> steps = detail::rewrite_steps(objects(), ours_, merged_, {});
    if (!steps) return fail(std::move(steps).error());
    steps_ = *std::move(steps);
    for (const RewriteStep& step : steps_) applied_.files.push_back(step.path);
    return {};
  }

  Result<void> name_conflicts(git_index* index) {
    git_index_conflict_iterator* raw = nullptr;
    int rc = git_index_conflict_iterator_new(&raw, index);
    if (rc != 0) return detail::libgit2_fail(rc, "conflicts");
    const std::unique_ptr<git_index_conflict_iterator, void (*)(git_index_conflict_iterator*)>
        conflicts(raw, git_index_conflict_iterator_free);
    const git_index_entry* base = nullptr;
    const git_index_entry* ours = nullptr;
    const git_index_entry* theirs = nullptr;
    while ((rc = git_index_conflict_next(&base, &ours, &theirs, raw)) == 0) {
      const git_index_entry* named = ours != nullptr ? ours : theirs != nullptr ? theirs : base;
      std::string_view reason = "other";
      if (ours != nullptr && theirs != nullptr) {
        reason = base != nullptr ? "content" : "added_by_both";
      } else if (base != nullptr && ours != nullptr) {
        reason = "deleted_there";
      } else if (base != nullptr && theirs != nullptr) {
        reason = "deleted_here";
      }
      applied_.conflicts.push_back({named->path, reason});
    }
    if (rc != GIT_ITEROVER) return detail::libgit2_fail(rc, "conflicts");
    return {};
  }

  /// Whether the checkout's files (and, for a branch, what is staged) let the merge in.
  Result<void> check_files() {
    if (checkout_.folder.empty()) return {};
    const detail::Rewriter files(checkout_.repository.get(), checkout_.folder);
    std::set<std::string> blocked;
    for (std::string& path : files.in_the_way(steps_)) blocked.insert(std::move(path));
    for (const RewriteStep& step : steps_) {
      if (on_branch() && files.look(step) == detail::OnDisk::after) blocked.insert(step.path);
    }
    if (on_branch()) {
      Result<void> staged = find_staged(blocked);
      if (!staged) return staged;
    }
    for (const std::string& path : blocked) {
      applied_.conflicts.push_back({path, "local_changes"});
    }
    return {};
  }

  Result<void> find_staged(std::set<std::string>& blocked) {
    Handle<git_index> index;
    const int rc = git_repository_index(out(index), checkout_.repository.get());
    if (rc != 0) return detail::libgit2_fail(rc, checkout_.folder + ": index");
    for (const RewriteStep& step : steps_) {
      const git_index_entry* entry = git_index_get_bypath(index.get(), step.path.c_str(), 0);
      const bool as_before = entry == nullptr ? step.before.mode == 0
                                              : step.before.mode == entry->mode &&
                                                    step.before.id == detail::hex(entry->id);
      if (!as_before) blocked.insert(step.path);
    }
    return {};
  }

  Result<void> perform();

  const ApplyRequest& request_;
  detail::Opened objects_;
  Checkout checkout_;
  std::string branch_ref_;
  std::string base_, theirs_, ours_, merged_;
  std::vector<RewriteStep> change_;  // base -> change
  std::vector<RewriteStep> steps_;   // target -> merged
  Applied applied_;
};

Result<std::string> commit_on(git_repository* repository, const CommitText& text,
                              const std::string& tree, const std::string& parent) {
  Handle<git_tree> tree_object;
  Handle<git_commit> parent_object;
  Handle<git_signature> author;
  const git_oid tree_oid = to_oid(tree);
  const git_oid parent_oid = to_oid(parent);
  int rc = git_tree_lookup(out(tree_object), repository, &tree_oid);
  if (rc == 0) rc = git_commit_lookup(out(parent_object), repository, &parent_oid);
  if (rc == 0) {
    rc = git_signature_new(out(author), text.author_name.c_str(), text.author_email.c_str(),
                           text.time_s, 0);
  }
  git_oid id;
  const git_commit* parents[] = {parent_object.get()};
  if (rc == 0) {
    rc = git_commit_create(&id, repository, nullptr, author.get(), author.get(), nullptr,
                           message_of(text).c_str(), tree_object.get(), 1, parents);
  }
  if (rc != 0) return detail::libgit2_fail(rc, "commit");
  return detail::hex(id);
}

/// Moves the branch if it still is where it was.
Result<void> move_branch(git_repository* repository, const ApplyJournal& journal) {
  Handle<git_reference> moved;
  const git_oid to = to_oid(journal.new_commit);
  const git_oid from = to_oid(journal.old_commit);
  const int rc = git_reference_create_matching(out(moved), repository, journal.branch_ref.c_str(),
                                               &to, 1, &from, "berth: apply");
  if (rc == GIT_EMODIFIED) {
    return fail(ErrorKind::conflict, "ref_moved", journal.branch_ref + ": somebody moved it");
  }
  if (rc != 0) return detail::libgit2_fail(rc, journal.branch_ref);
  return {};
}

/// Makes the checkout's index agree with what was written, so that `git status` is clean.
Result<void> update_index(const Checkout& checkout, const std::vector<RewriteStep>& steps) {
  Handle<git_index> index;
  int rc = git_repository_index(out(index), checkout.repository.get());
  if (rc == 0) rc = git_index_read(index.get(), 1);
  for (const RewriteStep& step : steps) {
    if (rc != 0) break;
    git_index_remove(index.get(), step.path.c_str(), 0);
    if (step.after.mode == 0) continue;
    git_index_entry entry{};
    entry.path = step.path.c_str();
    entry.mode = step.after.mode;
    entry.id = to_oid(step.after.id);
    struct stat st{};
    if (::lstat((checkout.folder + "/" + step.path).c_str(), &st) == 0) {
      entry.mtime = {static_cast<std::int32_t>(st.st_mtim.tv_sec),
                     static_cast<std::uint32_t>(st.st_mtim.tv_nsec)};
      entry.ctime = {static_cast<std::int32_t>(st.st_ctim.tv_sec),
                     static_cast<std::uint32_t>(st.st_ctim.tv_nsec)};
      entry.dev = static_cast<std::uint32_t>(st.st_dev);
      entry.ino = static_cast<std::uint32_t>(st.st_ino);
      entry.uid = st.st_uid;
      entry.gid = st.st_gid;
      entry.file_size = static_cast<std::uint32_t>(st.st_size);
    }
    rc = git_index_add(index.get(), &entry);
  }
  if (rc == 0) rc = git_index_write(index.get());
  if (rc != 0) return detail::libgit2_fail(rc, checkout.folder + ": index");
  return {};
}

/// Files, index, branch, in this order; what finish_apply() repeats after a crash.
Result<std::vector<std::string>> carry_out(git_repository* objects, const Checkout* checkout,
                                           const ApplyJournal& journal,
                                           const std::vector<RewriteStep>& steps,
                                           const Patience& patience) {
  std::vector<std::string> left;
  if (checkout != nullptr) {
    detail::Rewriter files(checkout->repository.get(), checkout->folder);
    Result<std::vector<std::string>> done = files.perform(steps, patience);
    if (!done) return done;
    left = *std::move(done);
    if (!journal.branch_ref.empty()) {
      patience.note(Step::apply_index);
      if (Result<void> indexed = update_index(*checkout, steps); !indexed) {
        return fail(std::move(indexed).error());
      }
    }
  }
  if (!journal.branch_ref.empty()) {
    patience.note(Step::apply_branch);
    if (Result<void> moved = move_branch(objects, journal); !moved) {
      return fail(std::move(moved).error());
    }
  }
  return left;
}

/// The same backwards, without the branch.
Result<void> undo(const Checkout& checkout, const ApplyJournal& journal,
                  const std::vector<RewriteStep>& steps) {
  const std::vector<RewriteStep> back = detail::reversed(steps);
  detail::Rewriter files(checkout.repository.get(), checkout.folder);
  Result<std::vector<std::string>> undone = files.perform(back, {});
  if (!undone) return fail(std::move(undone).error());
  if (journal.branch_ref.empty()) return {};
  return update_index(checkout, back);
}

Result<void> Apply::perform() {
  ApplyJournal journal{.checkout = checkout_.folder, .from = ours_, .to = merged_};
  if (on_branch()) {
    Result<std::string> commit = commit_on(objects(), request_.commit, merged_, applied_.before);
    if (!commit) return fail(std::move(commit).error());
    applied_.commit = *std::move(commit);
    journal.branch_ref = branch_ref_;
    journal.old_commit = applied_.before;
    journal.new_commit = applied_.commit;
  }
  request_.patience.note(Step::apply_journal);
  if (Result<void> noted = detail::write_journal(request_.journal, journal); !noted) return noted;
  const Checkout* checkout = checkout_.folder.empty() ? nullptr : &checkout_;
  Result<std::vector<std::string>> done =
      carry_out(objects(), checkout, journal, steps_, request_.patience);
  if (!done) {
    if (checkout != nullptr && !undo(*checkout, journal, steps_)) {
      return fail(std::move(done).error());  // the journal stays: finish_apply() tries again
    }
    static_cast<void>(detail::remove_file_if_exists(request_.journal));
    return fail(std::move(done).error());
  }
  for (const std::string& path : *done) applied_.conflicts.push_back({path, "local_changes"});
  request_.patience.note(Step::apply_journal_end);
  if (request_.journal.empty()) return {};
  return detail::remove_file_if_exists(request_.journal);
}

}  // namespace

Result<Applied> apply_change(const ApplyRequest& request) {
  return Apply(request).run();
}

Result<Applied> finish_apply(const std::string& path) {
  Result<ApplyJournal> journal = detail::read_journal(path);
  if (!journal && journal.error().kind == ErrorKind::not_found) return Applied{};
  if (!journal) return fail(std::move(journal).error());
  Applied applied;
  applied.checkout = journal->checkout;
  applied.before = journal->old_commit;
  if (!journal->checkout.empty()) {
    Result<Checkout> checkout = open_checkout(journal->checkout);
    if (!checkout) return fail(std::move(checkout).error());
    git_repository* repository = checkout->repository.get();
    Result<std::vector<RewriteStep>> steps =
        detail::rewrite_steps(repository, journal->from, journal->to, {});
    if (!steps) return fail(std::move(steps).error());
    for (const RewriteStep& step : *steps) applied.files.push_back(step.path);
    std::string tip = journal->old_commit;
    if (!journal->branch_ref.empty()) {
      Result<std::string> now = detail::ref_target(repository, journal->branch_ref);
      if (!now) return fail(std::move(now).error());
      tip = *std::move(now);
    }
    if (tip != journal->old_commit && tip != journal->new_commit) {
      if (Result<void> undone = undo(*checkout, *journal, *steps); !undone) {
        return fail(std::move(undone).error());
      }
    } else {
      ApplyJournal rest = *journal;
      if (tip == journal->new_commit) rest.old_commit = tip;
      Result<std::vector<std::string>> left = carry_out(repository, &*checkout, rest, *steps, {});
      if (!left) return fail(std::move(left).error());
      for (const std::string& file : *left) applied.conflicts.push_back({file, "local_changes"});
      applied.applied = true;
      applied.commit = journal->new_commit;
    }
  }
  // Without a checkout the branch is all there was: it moved or it did not, either is whole.
  if (Result<void> gone = detail::remove_file_if_exists(path); !gone) {
    return fail(std::move(gone).error());
  }
  return applied;
}

Result<std::vector<std::string>> finish_applies(const std::string& folder) {
  std::vector<std::string> unfinished;
  const std::unique_ptr<DIR, int (*)(DIR*)> journals(::opendir(folder.c_str()), ::closedir);
  while (const dirent* entry = journals ? ::readdir(journals.get()) : nullptr) {
    const std::string path = folder + "/" + entry->d_name;
    if (entry->d_name[0] == '.' || detail::kind_of(path) != detail::PathKind::file) continue;
    Result<Applied> finished = finish_apply(path);
    if (!finished) unfinished.push_back(path + ": " + finished.error().message);
  }
  return unfinished;
}

Result<std::string> move_baseline(const MoveBaseline& request) {
  if (Result<void> key = check_key(request.key); !key) return fail(std::move(key).error());
  if (!is_ref_name(request.name)) {
    return fail(ErrorKind::invalid, "bad_ref_name", "baseline name '" + request.name + "'");
  }
  Result<detail::Opened> opened = detail::open_objects(request.repository);
  if (!opened) return fail(std::move(opened).error());
  git_repository* repository = opened->repository.get();
  Result<std::string> tree =
      tree_id(repository, request.paths.empty() ? request.change : request.base);
  if (tree && !request.paths.empty()) {
    Result<std::vector<RewriteStep>> steps =
        detail::rewrite_steps(repository, request.base, request.change, request.paths);
    if (!steps) return fail(std::move(steps).error());
    std::vector<std::pair<std::string, detail::TreeFile>> edits;
    for (const RewriteStep& step : *steps) edits.emplace_back(step.path, step.after);
    tree = edited_tree(repository, *tree, edits);
  }
  if (!tree) return fail(std::move(tree).error());
  std::vector<std::string> parents;
  Handle<git_commit> base;
  const git_oid base_id = to_oid(request.base);
  if (git_commit_lookup(out(base), repository, &base_id) == 0) parents.push_back(request.base);
  Result<std::string> commit =
      detail::write_commit(repository, to_oid(*tree), parents, "berth baseline", request.time_s);
  if (!commit) return commit;
  Result<void> kept =
      detail::set_ref(repository, snapshot_ref_of(request.key, request.name), *commit);
  if (!kept) return fail(std::move(kept).error());
  return commit;
}

}  // namespace berth::git
