#include <berth/git/apply.h>
#include <berth/git/apply_journal.h>
#include <berth/git/checked_out.h>
#include <berth/git/files.h>
#include <berth/git/names.h>
#include <berth/git/opened.h>
#include <berth/git/refs.h>
#include <berth/git/rewrite.h>
#include <berth/git/trees.h>

#include <dirent.h>
#include <git2.h>

#include <cstring>
#include <memory>
#include <optional>
#include <set>

namespace berth::git {

using detail::ApplyJournal;
using detail::CheckedOut;
using detail::Refs;
using detail::Rewriter;
using detail::TreeFile;
using detail::Trees;
using detail::TreeStep;

namespace {

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

/// By libgit2, or by the git command where that cannot read it.
template <typename Work>
auto by_either(WorktreeRef where, Work work) {
  auto done = work(where);
  if (done || !detail::goes_to_command(where, done.error())) return done;
  where.backend = Backend::git_command;
  return work(where);
}

/// Files, index, branch, in this order; what finish_apply() repeats after a crash.
class CarryOut {
 public:
  /// `checkout` is null when no files follow. All outlive it.
  CarryOut(Refs& refs, CheckedOut* checkout, const ApplyJournal& journal,
           const std::vector<TreeStep>& steps)
      : refs_(refs), checkout_(checkout), journal_(journal), steps_(steps) {}

  /// Another process may have come as far as to the index.
  void was_begun_before() { index_differs_ = on_branch(); }

  /// Files that somebody else changed meanwhile, which were left alone.
  Result<std::vector<std::string>> run(const Patience& patience) {
    refs_.go_to_the_end();
    if (checkout_ != nullptr) checkout_->go_to_the_end();
    std::vector<std::string> left;
    if (checkout_ != nullptr) {
      Result<std::vector<std::string>> done =
          Rewriter(*checkout_).perform(file_steps(steps_), patience);
      if (!done) return done;
      left = *std::move(done);
    }
    if (!on_branch()) return left;
    if (checkout_ != nullptr) {
      patience.note(Step::apply_index);
      if (Result<void> indexed = checkout_->update_index(steps_); !indexed) {
        return fail(std::move(indexed).error());
      }
      index_differs_ = true;
    }
    patience.note(Step::apply_branch);
    Result<void> moved =
        refs_.move(journal_.branch_ref, journal_.old_commit, journal_.new_commit, "berth: apply");
    if (!moved) return fail(std::move(moved).error());
    return left;
  }

  /// The same backwards, without the branch, and with a time of its own.
  Result<void> undo() {
    if (checkout_ == nullptr) return {};
    checkout_->go_to_the_end();
    const std::vector<TreeStep> back = detail::reversed(steps_);
    Result<std::vector<std::string>> undone = Rewriter(*checkout_).perform(file_steps(back), {});
    if (!undone) return fail(std::move(undone).error());
    return index_differs_ ? checkout_->update_index(back) : Result<void>();
  }

 private:
  bool on_branch() const { return !journal_.branch_ref.empty(); }

  /// A commit leaves alone what a sparse checkout left out; as an uncommitted change it comes out.
  std::vector<TreeStep> file_steps(std::vector<TreeStep> steps) const {
    if (on_branch()) {
      std::erase_if(steps, [this](const TreeStep& step) { return checkout_->left_out(step.path); });
    }
    return steps;
  }

  Refs& refs_;
  CheckedOut* checkout_;
  const ApplyJournal& journal_;
  const std::vector<TreeStep>& steps_;
  bool index_differs_ = false;  // from what it was before
};

/// One call of apply_change().
class Apply {
 public:
  Apply(const ApplyRequest& request, const WorktreeRef& where) : request_(request), where_(where) {}

  Result<Applied> run() {
    Result<void> step = open();
    if (step) step = find_target();
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

  Result<void> open() {
    Result<Refs> refs = Refs::open(where_, request_.patience);
    if (!refs) return fail(std::move(refs).error());
    refs_.emplace(*std::move(refs));
    where_.backend = refs_->backend();
    trees_ = Trees::of(*refs_);
    return {};
  }

  Result<void> find_target() {
    WorktreeRef folder = where_;
    if (on_branch()) {
      if (Result<void> text = check_commit_text(request_.commit); !text) return text;
      int valid = 0;
      if (git_branch_name_is_valid(&valid, request_.branch.c_str()) != 0 || valid == 0) {
        return fail(ErrorKind::invalid, "bad_branch", "'" + request_.branch + "': no branch name");
      }
      branch_ref_ = "refs/heads/" + request_.branch;
      Result<std::string> tip = refs_->target(branch_ref_);
      if (!tip) return fail(std::move(tip).error());
      if (tip->empty()) {
        return fail(ErrorKind::not_found, "branch_not_found",
                    request_.repository + ": has no branch '" + request_.branch + "'");
      }
      applied_.before = *std::move(tip);
      folder.repository = checkout_of(refs_->location(), branch_ref_);
      if (folder.repository.empty()) return {};
    }
    Result<std::unique_ptr<CheckedOut>> checkout = CheckedOut::open(folder, request_.patience);
    if (!checkout) return fail(std::move(checkout).error());
    checkout_ = *std::move(checkout);
    applied_.checkout = checkout_->folder();
    return {};
  }

  Result<void> find_change() {
    Result<std::string> base = trees_->tree(request_.base);
    if (!base) return fail(std::move(base).error());
    base_ = *std::move(base);
    Result<std::string> theirs = trees_->tree(request_.change);
    if (!theirs) return fail(std::move(theirs).error());
    Result<std::vector<TreeStep>> steps = trees_->steps(base_, *theirs, request_.paths);
    if (!steps) return fail(std::move(steps).error());
    change_ = *std::move(steps);
    if (!request_.paths.empty()) {
      detail::NamedFiles edits;
      for (const TreeStep& step : change_) edits.emplace_back(step.path, step.after);
      theirs = trees_->edited(base_, edits);
      if (!theirs) return fail(std::move(theirs).error());
    }
    theirs_ = *std::move(theirs);
    return {};
  }

  /// The target as a tree: the branch's, or HEAD with the files of the change as they are on disk.
  Result<void> find_ours() {
    std::string from = applied_.before;
    if (!on_branch()) {
      Result<std::string> head = refs_->commit({});
      if (!head) return fail(std::move(head).error());
      from = *std::move(head);
    }
    Result<std::string> ours = trees_->tree(from);
    if (ours && !on_branch()) ours = with_disk(*ours);
    if (!ours) return fail(std::move(ours).error());
    ours_ = *std::move(ours);
    return {};
  }

  Result<std::string> with_disk(const std::string& head) {
    std::vector<std::string> paths;
    for (const TreeStep& step : change_) {
      const bool submodule =
          step.before.mode == detail::kRepositoryMode || step.after.mode == detail::kRepositoryMode;
      if (!submodule) paths.push_back(step.path);
    }
    Result<std::vector<TreeFile>> files = checkout_->stored(paths, true);
    if (!files) return fail(std::move(files).error());
    detail::NamedFiles edits;
    for (std::size_t i = 0; i < paths.size(); ++i) {
      const TreeFile& file = (*files)[i];
      // What cannot be read is found in the way later.
      if (file.mode == detail::kUnreadableMode) continue;
      if (file.mode == 0 && checkout_->left_out(paths[i])) continue;
      edits.emplace_back(paths[i], file);
    }
    return trees_->edited(head, edits);
  }

  Result<void> merge() {
    Result<detail::Merged> merged = trees_->merge(base_, ours_, theirs_);
    if (!merged) return fail(std::move(merged).error());
    applied_.conflicts = std::move(merged->conflicts);
    if (!applied_.conflicts.empty()) return {};
    merged_ = std::move(merged->tree);
    Result<std::vector<TreeStep>> steps = trees_->steps(ours_, merged_, {});
    if (!steps) return fail(std::move(steps).error());
    steps_ = *std::move(steps);
    for (const TreeStep& step : steps_) applied_.files.push_back(step.path);
    return {};
  }

  /// Whether the checkout's files (and, for a branch, what is staged) let the merge in.
  Result<void> check_files() {
    if (checkout_ == nullptr) return {};
    const Rewriter files(*checkout_);
    Result<std::vector<detail::Seen>> seen = files.look(steps_);
    if (!seen) return fail(std::move(seen).error());
    std::set<std::string> blocked;
    for (std::string& path : files.in_the_way(steps_, *seen)) blocked.insert(std::move(path));
    if (on_branch()) {
      if (Result<void> unlocked = checkout_->check_unlocked(); !unlocked) return unlocked;
      for (std::size_t i = 0; i < steps_.size(); ++i) {
        if ((*seen)[i].now == detail::OnDisk::after) blocked.insert(steps_[i].path);
      }
      Result<void> staged = find_staged(blocked);
      if (!staged) return staged;
    }
    for (const std::string& path : blocked) {
      applied_.conflicts.push_back({path, "local_changes"});
    }
    return {};
  }

  Result<void> find_staged(std::set<std::string>& blocked) {
    std::vector<std::string> paths;
    for (const TreeStep& step : steps_) paths.push_back(step.path);
    Result<std::vector<TreeFile>> staged = checkout_->staged(paths);
    if (!staged) return fail(std::move(staged).error());
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (!detail::same((*staged)[i], steps_[i].before)) blocked.insert(steps_[i].path);
    }
    return {};
  }

  Result<void> perform() {
    ApplyJournal journal{.checkout = applied_.checkout, .from = ours_, .to = merged_};
    if (on_branch()) {
      const CommitText& text = request_.commit;
      Result<std::string> commit =
          refs_->write_commit(merged_, {applied_.before}, message_of(text),
                              detail::Author{text.author_name, text.author_email, text.time_s});
      if (!commit) return fail(std::move(commit).error());
      applied_.commit = *std::move(commit);
      journal.branch_ref = branch_ref_;
      journal.old_commit = applied_.before;
      journal.new_commit = applied_.commit;
    }
    request_.patience.note(Step::apply_journal);
    if (Result<void> noted = detail::write_journal(request_.journal, journal); !noted) return noted;
    CarryOut rest(*refs_, checkout_.get(), journal, steps_);
    Result<std::vector<std::string>> done = rest.run(request_.patience);
    // If that cannot be undone either the journal stays: finish_apply() tries again.
    if (!done && !rest.undo()) return fail(std::move(done).error());
    if (done) {
      for (const std::string& path : *done) applied_.conflicts.push_back({path, "local_changes"});
      request_.patience.note(Step::apply_journal_end);
    }
    Result<void> forgotten =
        request_.journal.empty() ? Result<void>() : detail::remove_file_if_exists(request_.journal);
    return done ? forgotten : Result<void>(fail(std::move(done).error()));
  }

  const ApplyRequest& request_;
  WorktreeRef where_;
  std::optional<Refs> refs_;
  std::unique_ptr<Trees> trees_;
  std::unique_ptr<CheckedOut> checkout_;
  std::string branch_ref_;
  std::string base_, theirs_, ours_, merged_;
  std::vector<TreeStep> change_;  // base -> change
  std::vector<TreeStep> steps_;   // target -> merged
  Applied applied_;
};

/// What a journal with a checkout tells of, brought to its end or back.
Result<Applied> finish(ApplyJournal journal, WorktreeRef where) {
  where.repository = journal.checkout;
  Result<Refs> refs = Refs::open(where, {});
  if (!refs) return fail(std::move(refs).error());
  where.backend = refs->backend();
  Result<std::unique_ptr<CheckedOut>> checkout = CheckedOut::open(where, {});
  if (!checkout) return fail(std::move(checkout).error());
  Result<std::vector<TreeStep>> steps = Trees::of(*refs)->steps(journal.from, journal.to, {});
  if (!steps) return fail(std::move(steps).error());
  Applied applied{.before = journal.old_commit, .checkout = journal.checkout};
  for (const TreeStep& step : *steps) applied.files.push_back(step.path);
  std::string tip = journal.old_commit;
  if (!journal.branch_ref.empty()) {
    Result<std::string> now = refs->target(journal.branch_ref);
    if (!now) return fail(std::move(now).error());
    tip = *std::move(now);
  }
  const bool moved_elsewhere = tip != journal.old_commit && tip != journal.new_commit;
  journal.old_commit = tip;
  CarryOut rest(*refs, checkout->get(), journal, *steps);
  rest.was_begun_before();
  if (moved_elsewhere) {
    Result<void> undone = rest.undo();
    return undone ? Result<Applied>(std::move(applied)) : fail(std::move(undone).error());
  }
  Result<std::vector<std::string>> left = rest.run({});
  if (!left) return fail(std::move(left).error());
  for (const std::string& file : *left) applied.conflicts.push_back({file, "local_changes"});
  applied.applied = true;
  applied.commit = journal.new_commit;
  return applied;
}

}  // namespace

Result<Applied> apply_change(const ApplyRequest& request) {
  const WorktreeRef where{
      .repository = request.repository, .command = request.command, .backend = request.backend};
  return by_either(where, [&](const WorktreeRef& way) { return Apply(request, way).run(); });
}

Result<Applied> finish_apply(const std::string& path, GitCommand* command) {
  Result<ApplyJournal> journal = detail::read_journal(path);
  if (!journal && journal.error().kind == ErrorKind::not_found) return Applied{};
  if (!journal) return fail(std::move(journal).error());
  // Without a checkout the branch is all there was: it moved or it did not, either is whole.
  Result<Applied> applied = Applied{.before = journal->old_commit};
  if (!journal->checkout.empty()) {
    applied = by_either({.command = command},
                        [&](const WorktreeRef& way) { return finish(*journal, way); });
  }
  if (!applied) return applied;
  if (Result<void> gone = detail::remove_file_if_exists(path); !gone) {
    return fail(std::move(gone).error());
  }
  return applied;
}

Result<std::vector<std::string>> finish_applies(const std::string& folder, GitCommand* command) {
  std::vector<std::string> unfinished;
  const std::unique_ptr<DIR, int (*)(DIR*)> journals(::opendir(folder.c_str()), ::closedir);
  while (const dirent* entry = journals ? ::readdir(journals.get()) : nullptr) {
    const std::string path = folder + "/" + entry->d_name;
    if (entry->d_name[0] == '.' || detail::kind_of(path) != detail::PathKind::file) continue;
    Result<Applied> finished = finish_apply(path, command);
    if (!finished) unfinished.push_back(path + ": " + finished.error().message);
  }
  return unfinished;
}

Result<std::string> move_baseline(const MoveBaseline& request) {
  if (Result<void> key = check_key(request.key); !key) return fail(std::move(key).error());
  if (!is_ref_name(request.name)) {
    return fail(ErrorKind::invalid, "bad_ref_name", "baseline name '" + request.name + "'");
  }
  Result<Refs> refs = Refs::open(
      {.repository = request.repository, .command = request.command, .backend = request.backend},
      {});
  if (!refs) return fail(std::move(refs).error());
  const std::unique_ptr<Trees> trees = Trees::of(*refs);
  Result<std::string> tree = trees->tree(request.paths.empty() ? request.change : request.base);
  if (tree && !request.paths.empty()) {
    Result<std::vector<TreeStep>> steps = trees->steps(request.base, request.change, request.paths);
    if (!steps) return fail(std::move(steps).error());
    detail::NamedFiles edits;
    for (const TreeStep& step : *steps) edits.emplace_back(step.path, step.after);
    tree = trees->edited(*tree, edits);
  }
  if (!tree) return fail(std::move(tree).error());
  std::vector<std::string> parents;
  if (refs->raw_commit(request.base)) parents.push_back(request.base);
  Result<std::string> commit = refs->write_commit(*tree, parents, "berth baseline", request.time_s);
  if (!commit) return commit;
  Result<void> kept = refs->set(snapshot_ref_of(request.key, request.name), *commit);
  if (!kept) return fail(std::move(kept).error());
  return commit;
}

}  // namespace berth::git
