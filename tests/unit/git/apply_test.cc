#include "command_kinds.h"
#include "kill_at_step.h"
#include "spawned_git.h"
#include "temp_repository.h"

#include <berth/git/apply.h>
#include <berth/git/diff.h>
#include <berth/git/mail.h>
#include <berth/git/names.h>
#include <berth/git/restore.h>

#include <filesystem>
#include <string>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

CommitText text() {
  return {.author_name = "Ada",
          .author_email = "ada@example.org",
          .message = "Do the thing\n\nBecause.",
          .trailers = {{"Session", "one"}, {"Turn", "3"}},
          .time_s = 1700000000};
}

/// Who performs the calls, on a repository of which kind.
struct Way {
  Kind kind;
  Backend backend = Backend::automatic;
};
constexpr Way kWays[] = {{{"Library", "", "true"}, Backend::libgit2},
                         {{"Command", "", "true"}, Backend::git_command},
                         {kSha256},
                         {kPartialClone},
                         {kWorktreeConfig}};

class GitApply : public GitTest, public testing::WithParamInterface<Way> {
 protected:
  GitApply() : GitTest(Where::memory) {}
  void SetUp() override {
    sh(repo(), GetParam().kind.commands);
    fs::create_directories(root_ + "/scratch");
    base_ = create().base_commit;
  }
  void TearDown() override { EXPECT_EQ(command_.runs > 0, GetParam().backend != Backend::libgit2); }
  WorktreeRef ref() const override {
    return {repo(), tree(), key(), &command_, GetParam().backend};
  }
  std::string id(const std::string& rev) const {
    const std::string line = git("rev-parse " + rev);
    return line.substr(0, line.find('\n'));
  }

  std::string journal() const { return root_ + "/data/apply.journal"; }
  ApplyRequest request(ApplyTo to) {
    ApplyRequest made{.repository = repo(),
                      .base = base_,
                      .to = to,
                      .journal = journal(),
                      .command = &command_,
                      .backend = GetParam().backend};
    made.change = snapshot(std::to_string(++turns_)).commit;
    if (to == ApplyTo::branch) {
      made.branch = "main";
      made.commit = text();
    }
    return made;
  }
  Applied apply(const ApplyRequest& made) {
    Result<Applied> applied = apply_change(made);
    EXPECT_TRUE(applied) << (applied ? "" : applied.error().message);
    EXPECT_FALSE(exists(journal()));
    EXPECT_TRUE(fs::is_empty(root_ + "/scratch"));
    return applied ? *applied : Applied{};
  }
  static std::string named(const Applied& applied) {
    std::string all;
    for (const ApplyConflict& conflict : applied.conflicts) {
      all += conflict.path + ":" + std::string(conflict.reason) + " ";
    }
    return all;
  }

  mutable SpawnedGit command_{root_ + "/scratch"};
  std::string base_;
  int turns_ = 0;
};

std::string name_of_way(const testing::TestParamInfo<Way>& info) {
  return info.param.kind.name;
}
INSTANTIATE_TEST_SUITE_P(Ways, GitApply, testing::ValuesIn(kWays), name_of_way);

TEST_P(GitApply, CommitsTheChangeOnTheBranchAndItsCheckoutFollows) {
  write(tree() + "/a.txt", "one\nTWO\nthree\n");
  write(tree() + "/new/file.txt", "new\n");
  fs::remove(tree() + "/dir/b.txt");
  fs::permissions(tree() + "/dir/deep/c.txt", fs::perms(0755));
  fs::create_symlink("a.txt", tree() + "/link");
  const Applied applied = apply(request(ApplyTo::branch));
  EXPECT_TRUE(applied.applied) << named(applied);
  EXPECT_EQ(applied.files.size(), 5U);
  EXPECT_EQ(applied.before, base_);
  EXPECT_EQ(git("rev-parse main"), applied.commit + "\n");
  EXPECT_EQ(git("status --porcelain"), "");
  EXPECT_EQ(read(repo() + "/a.txt"), "one\nTWO\nthree\n");
  EXPECT_FALSE(exists(repo() + "/dir/b.txt"));
  EXPECT_TRUE(fs::is_symlink(repo() + "/link"));
  EXPECT_EQ(git("log -1 --format=%an:%ae:%s:%b main"),
            "Ada:ada@example.org:Do the thing:Because.\n\nSession: one\nTurn: 3\n\n");
  EXPECT_EQ(git("diff --name-only main berth/" + key() + "^{tree}"),
            git("diff --name-only main " + base_));
}

TEST_P(GitApply, MergesWithWhatTheBranchGotMeanwhile) {
  write(tree() + "/a.txt", "one\ntwo\nTHREE\n");
  const ApplyRequest made = request(ApplyTo::branch);
  write(repo() + "/a.txt", "zero\none\ntwo\nthree\n");
  write(repo() + "/other.txt", "other\n");
  git("add -A && git commit -q -m meanwhile");
  const Applied applied = apply(made);
  EXPECT_TRUE(applied.applied) << named(applied);
  EXPECT_EQ(read(repo() + "/a.txt"), "zero\none\ntwo\nTHREE\n");
  EXPECT_EQ(git("status --porcelain"), "");
  EXPECT_EQ(git("rev-list --count main"), "3\n");
}

TEST_P(GitApply, NamesAllConflictsAndTouchesNothing) {
  write(tree() + "/a.txt", "one\nours\nthree\n");
  fs::remove(tree() + "/dir/b.txt");
  write(tree() + "/dir/deep/c.txt", "changed\n");
  write(tree() + "/both.txt", "here\n");
  write(tree() + "/fine.txt", "fine\n");
  const ApplyRequest made = request(ApplyTo::branch);
  write(repo() + "/a.txt", "one\ntheirs\nthree\n");
  write(repo() + "/dir/b.txt", "bee bee\n");
  fs::remove(repo() + "/dir/deep/c.txt");
  write(repo() + "/both.txt", "there\n");
  git("add -A && git commit -q -m meanwhile");
  const std::string tip = git("rev-parse main");
  const Applied applied = apply(made);
  EXPECT_FALSE(applied.applied);
  EXPECT_EQ(named(applied),
            "a.txt:content both.txt:added_by_both dir/b.txt:deleted_there "
            "dir/deep/c.txt:deleted_here ");
  EXPECT_EQ(git("rev-parse main"), tip);
  EXPECT_EQ(git("status --porcelain"), "");
  EXPECT_FALSE(exists(repo() + "/fine.txt"));
}

TEST_P(GitApply, LeavesUncommittedWorkInTheCheckoutAlone) {
  write(tree() + "/a.txt", "one\nTWO\nthree\n");
  write(tree() + "/fresh.txt", "fresh\n");
  write(tree() + "/dir/b.txt", "BEE\n");
  const ApplyRequest made = request(ApplyTo::branch);
  write(repo() + "/a.txt", "mine\n");                          // not staged
  write(repo() + "/fresh.txt", "mine too\n");                  // untracked
  sh(repo(), "echo staged > dir/b.txt && git add dir/b.txt");  // staged
  const Applied applied = apply(made);
  EXPECT_EQ(named(applied), "a.txt:local_changes dir/b.txt:local_changes fresh.txt:local_changes ");
  EXPECT_EQ(git("rev-parse main"), base_ + "\n");
  EXPECT_EQ(read(repo() + "/a.txt"), "mine\n");
  EXPECT_EQ(read(repo() + "/fresh.txt"), "mine too\n");
}

TEST_P(GitApply, KeepsUncommittedWorkInFilesThatTheChangeDoesNotTouch) {
  write(tree() + "/a.txt", "one\nTWO\nthree\n");
  const ApplyRequest made = request(ApplyTo::branch);
  write(repo() + "/dir/b.txt", "mine\n");
  write(repo() + "/mine.txt", "mine\n");
  const Applied applied = apply(made);
  EXPECT_TRUE(applied.applied) << named(applied);
  EXPECT_EQ(git("status --porcelain"), " M dir/b.txt\n?? mine.txt\n");
}

TEST_P(GitApply, MovesABranchWithoutACheckout) {
  git("branch side");
  write(tree() + "/a.txt", "side\n");
  ApplyRequest made = request(ApplyTo::branch);
  made.branch = "side";
  const Applied applied = apply(made);
  EXPECT_TRUE(applied.applied);
  EXPECT_EQ(applied.checkout, "");
  EXPECT_EQ(git("show side:a.txt"), "side\n");
  EXPECT_EQ(git("status --porcelain"), "");
  EXPECT_EQ(git("rev-parse main"), base_ + "\n");
}

TEST_P(GitApply, FindsTheLinkedWorktreeThatHasTheBranch) {
  git("worktree add -q -b other ../trees/other");
  write(tree() + "/a.txt", "changed\n");
  ApplyRequest made = request(ApplyTo::branch);
  made.branch = "other";
  const Applied applied = apply(made);
  EXPECT_EQ(applied.checkout, root_ + "/trees/other");
  EXPECT_EQ(read(root_ + "/trees/other/a.txt"), "changed\n");
  EXPECT_EQ(sh(root_ + "/trees/other", "git status --porcelain"), "");
}

TEST_P(GitApply, MergesIntoFilesAsTheyAreOnDisk) {
  write(tree() + "/a.txt", "one\ntwo\nTHREE\n");
  write(tree() + "/new.txt", "new\n");
  const ApplyRequest made = request(ApplyTo::working_files);
  write(repo() + "/a.txt", "zero\none\ntwo\nthree\n");
  const Applied applied = apply(made);
  EXPECT_TRUE(applied.applied) << named(applied);
  EXPECT_EQ(read(repo() + "/a.txt"), "zero\none\ntwo\nTHREE\n");
  EXPECT_EQ(git("status --porcelain"), " M a.txt\n?? new.txt\n");
  EXPECT_EQ(git("rev-parse HEAD"), base_ + "\n");
  EXPECT_TRUE(apply(made).unchanged);
}

TEST_P(GitApply, AppliesOnlyTheFilesAskedFor) {
  write(tree() + "/a.txt", "A\n");
  write(tree() + "/dir/b.txt", "B\n");
  ApplyRequest made = request(ApplyTo::branch);
  made.paths = {"dir/b.txt"};
  EXPECT_TRUE(apply(made).applied);
  EXPECT_EQ(read(repo() + "/a.txt"), "one\ntwo\nthree\n");
  EXPECT_EQ(read(repo() + "/dir/b.txt"), "B\n");
}

TEST_P(GitApply, SaysInADryRunWhatWouldHappen) {
  write(tree() + "/a.txt", "A\n");
  ApplyRequest made = request(ApplyTo::branch);
  made.dry_run = true;
  const Applied applied = apply(made);
  EXPECT_FALSE(applied.applied);
  EXPECT_EQ(applied.files, std::vector<std::string>{"a.txt"});
  EXPECT_EQ(git("rev-parse main"), base_ + "\n");
  EXPECT_EQ(git("status --porcelain"), "");
}

TEST_P(GitApply, TurnsFoldersIntoFilesAndBack) {
  fs::remove_all(tree() + "/dir");
  write(tree() + "/dir", "a file now\n");
  fs::remove(tree() + "/a.txt");
  write(tree() + "/a.txt/inner.txt", "a folder now\n");
  const Applied applied = apply(request(ApplyTo::branch));
  EXPECT_TRUE(applied.applied) << named(applied);
  EXPECT_EQ(read(repo() + "/dir"), "a file now\n");
  EXPECT_EQ(read(repo() + "/a.txt/inner.txt"), "a folder now\n");
  EXPECT_EQ(git("status --porcelain"), "");
}

TEST_P(GitApply, DoesNotReplaceAFolderThatHoldsSomebodysFiles) {
  fs::remove_all(tree() + "/dir");
  write(tree() + "/dir", "a file now\n");
  const ApplyRequest made = request(ApplyTo::branch);
  write(repo() + "/dir/mine.txt", "mine\n");
  const Applied applied = apply(made);
  EXPECT_FALSE(applied.applied);
  EXPECT_EQ(named(applied), "dir:local_changes ");
  EXPECT_EQ(read(repo() + "/dir/mine.txt"), "mine\n");
  EXPECT_EQ(read(repo() + "/dir/b.txt"), "bee\n");
}

TEST_P(GitApply, WritesThroughNoPlantedLink) {
  write(tree() + "/dir/b.txt", "changed\n");
  const ApplyRequest made = request(ApplyTo::working_files);
  fs::create_directories(root_ + "/outside");
  write(root_ + "/outside/b.txt", "bee\n");
  fs::remove_all(repo() + "/dir");
  fs::create_directory_symlink(root_ + "/outside", repo() + "/dir");
  const Applied applied = apply(made);
  EXPECT_FALSE(applied.applied);
  EXPECT_EQ(read(root_ + "/outside/b.txt"), "bee\n");
}

TEST_P(GitApply, RunsNoHookAndNoMergeDriver) {
  write(repo() + "/.gitattributes", "*.txt merge=evil filter=evil diff=evil\n");
  git("add -A && git commit -q -m attributes");
  sh(repo(), "git config merge.evil.driver \"touch " + mark() +
                 "\" && git config filter.evil.smudge \"touch " + mark() +
                 "\" && git config filter.evil.clean \"touch " + mark() + "\"");
  for (const char* hook : {"pre-commit", "post-commit", "reference-transaction", "post-checkout",
                           "post-merge", "pre-merge-commit", "commit-msg"}) {
    write(repo() + "/.git/hooks/" + hook, "#!/bin/sh\ntouch " + mark() + "\n");
    fs::permissions(repo() + "/.git/hooks/" + hook, fs::perms(0755));
  }
  write(tree() + "/a.txt", "one\ntwo\nTHREE\n");
  const ApplyRequest made = request(ApplyTo::branch);
  EXPECT_TRUE(apply(made).applied);
  EXPECT_FALSE(exists(mark()));
}

TEST_P(GitApply, SaysThatTheIndexIsLockedBeforeItTouchesAnything) {
  write(tree() + "/a.txt", "one\nTWO\nthree\n");
  ApplyRequest made = request(ApplyTo::branch);
  write(repo() + "/.git/index.lock", "");
  Result<Applied> applied = apply_change(made);
  ASSERT_FALSE(applied);
  EXPECT_STREQ(applied.error().code, "git_locked");
  EXPECT_EQ(read(repo() + "/a.txt"), "one\ntwo\nthree\n");
  EXPECT_FALSE(exists(journal()));
  // Working files have nothing to do with it.
  EXPECT_TRUE(apply(request(ApplyTo::working_files)).applied);
}

TEST_P(GitApply, WritesLineEndingsAsTheAttributesSayThatTheChangeBrings) {
  write(tree() + "/.gitattributes", "*.txt text eol=crlf\n");
  write(tree() + "/a.txt", "one\r\ntwo\r\nTHREE\r\n");
  const ApplyRequest made = request(ApplyTo::branch);
  const Applied applied = apply(made);
  EXPECT_TRUE(applied.applied) << named(applied);
  EXPECT_EQ(git("show main:a.txt"), "one\ntwo\nTHREE\n");
  EXPECT_EQ(read(repo() + "/a.txt"), "one\r\ntwo\r\nTHREE\r\n");
  EXPECT_EQ(git("status --porcelain"), "");
}

TEST_P(GitApply, KnowsAFileThatWasCommittedWithItsCarriageReturns) {
  write(tree() + "/crlf.txt", "one\r\ntwo\r\n");
  in_tree("add crlf.txt && git commit -q -m crlf");
  base_ = id("berth/" + key());
  git("merge -q --ff-only berth/" + key() + " && git config core.autocrlf input");
  write(tree() + "/crlf.txt", "one\r\nTWO\r\n");
  const Applied applied = apply(request(ApplyTo::working_files));
  EXPECT_TRUE(applied.applied) << named(applied);
  EXPECT_EQ(read(repo() + "/crlf.txt"), "one\r\nTWO\r\n");
}

TEST_P(GitApply, RefusesWhatItCannotMean) {
  ApplyRequest made = request(ApplyTo::branch);
  made.branch = "no/such";
  EXPECT_STREQ(apply_change(made).error().code, "branch_not_found");
  made.branch = "../../evil";
  EXPECT_STREQ(apply_change(made).error().code, "bad_branch");
  made.branch = "main";
  made.commit.author_name = "A <b@c>\nauthor evil";
  EXPECT_STREQ(apply_change(made).error().code, "bad_commit_text");
  made.commit = text();
  made.commit.message = " \n";
  EXPECT_STREQ(apply_change(made).error().code, "bad_commit_text");
  made.commit = text();
  made.base = "main";
  EXPECT_STREQ(apply_change(made).error().code, "bad_object_id");
  git("clone -q --bare . ../bare");
  made = request(ApplyTo::working_files);
  made.repository = root_ + "/bare";
  EXPECT_STREQ(apply_change(made).error().code, "bare_repository");
}

class GitApplyKilled : public GitApply {
 protected:
  /// `changed` looks at the files after it.
  void finished_or_never_begun(ApplyRequest made, void (*changed)(const std::string& repo));
  void commits_or_changes_files(ApplyTo to);
  void swaps_a_submodule_and_a_file(ApplyTo to);
};
INSTANTIATE_TEST_SUITE_P(Ways, GitApplyKilled, testing::Values(kWays[0], kWays[1], Way{kSha256}),
                         name_of_way);

void GitApplyKilled::finished_or_never_begun(ApplyRequest made,
                                             void (*changed)(const std::string& repo)) {
  made.patience.on_step = count_down;
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, 50);
    git("reset -q --hard " + base_ + " && git clean -qfdx");
    done = ran_to_its_end(step, [&] {
      Result<Applied> applied = apply_change(made);
      return applied && applied->applied;
    });
    const bool begun = exists(journal());
    Result<Applied> finished = finish_apply(journal(), &command_);
    ASSERT_TRUE(finished) << step << ": " << finished.error().message;
    EXPECT_TRUE(finished->conflicts.empty()) << step << ": " << named(*finished);
    EXPECT_FALSE(exists(journal()));
    if (!done && !begun) {
      EXPECT_EQ(git("rev-parse main"), base_ + "\n") << step;
      EXPECT_EQ(git("status --porcelain"), "") << step;
      continue;
    }
    SCOPED_TRACE(step);
    changed(repo());
    EXPECT_EQ(sh(repo(), "find . -name .berth-new*"), "") << step;
    if (made.to == ApplyTo::branch) {
      EXPECT_EQ(git("status --porcelain"), "") << step;
      EXPECT_EQ(git("rev-list --count " + base_ + "..main"), "1\n") << step;
    } else {
      EXPECT_EQ(git("rev-parse main"), base_ + "\n") << step;
    }
  }
}

void GitApplyKilled::commits_or_changes_files(ApplyTo to) {
  write(tree() + "/a.txt", "one\nTWO\nthree\n");
  write(tree() + "/new/file.txt", "new\n");
  fs::remove_all(tree() + "/dir");
  write(tree() + "/dir", "a file now\n");
  finished_or_never_begun(request(to), [](const std::string& repo) {
    EXPECT_EQ(read(repo + "/a.txt"), "one\nTWO\nthree\n");
    EXPECT_EQ(read(repo + "/dir"), "a file now\n");
    EXPECT_EQ(read(repo + "/new/file.txt"), "new\n");
  });
}

void GitApplyKilled::swaps_a_submodule_and_a_file(ApplyTo to) {
  const std::string submodule = "git update-index --add --cacheinfo 160000," + base_ + ",";
  sh(repo(), submodule + "sub && mkdir sub && git commit -q -m submodule");
  ApplyRequest made = request(to);
  made.base = base_ = id("main");
  const std::string change =
      sh(repo(), "export GIT_INDEX_FILE=" + root_ + "/other && git read-tree main && " + submodule +
                     "a.txt && git update-index --cacheinfo 100644,$(git rev-parse main:a.txt),sub "
                     "&& git write-tree");
  made.change = change.substr(0, change.size() - 1);
  finished_or_never_begun(std::move(made), [](const std::string& repo) {
    EXPECT_TRUE(fs::is_directory(repo + "/a.txt"));
    EXPECT_TRUE(fs::is_regular_file(repo + "/sub"));
    EXPECT_EQ(read(repo + "/sub"), "one\ntwo\nthree\n");
  });
}

TEST_P(GitApplyKilled, ACommitIsFinishedOrWasNeverBegun) {
  commits_or_changes_files(ApplyTo::branch);
}

TEST_P(GitApplyKilled, AChangeOfFilesIsFinishedOrWasNeverBegun) {
  commits_or_changes_files(ApplyTo::working_files);
}

TEST_P(GitApplyKilled, ACommitThatSwapsASubmoduleAndAFileIsFinishedOrWasNeverBegun) {
  swaps_a_submodule_and_a_file(ApplyTo::branch);
}

TEST_P(GitApplyKilled, AChangeThatSwapsASubmoduleAndAFileIsFinishedOrWasNeverBegun) {
  swaps_a_submodule_and_a_file(ApplyTo::working_files);
}

TEST_P(GitApply, GoesBackWhenTheBranchMovedAfterACrash) {
  write(tree() + "/a.txt", "changed\n");
  ApplyRequest made = request(ApplyTo::branch);
  made.patience.on_step = count_down;
  ASSERT_FALSE(ran_without(Step::apply_branch, [&] { return apply_change(made).has_value(); }));
  EXPECT_EQ(read(repo() + "/a.txt"), "changed\n");
  const std::string moved = git("commit-tree -m moved -p main main^{tree}");
  git("update-ref refs/heads/main " + moved.substr(0, moved.size() - 1));
  Result<Applied> finished = finish_apply(journal(), &command_);
  ASSERT_TRUE(finished) << finished.error().message;
  EXPECT_FALSE(finished->applied);
  EXPECT_EQ(git("rev-parse main"), moved);
  EXPECT_EQ(git("status --porcelain"), "");
}

TEST_P(GitApply, BringsFilesBackToATurnAndKeepsWhatTheyWere) {
  write(tree() + "/a.txt", "first\n");
  const std::string first = snapshot("1").commit;
  write(tree() + "/a.txt", "second\n");
  write(tree() + "/dir/b.txt", "second\n");
  write(tree() + "/late.txt", "late\n");
  write(tree() + "/note.log", "ignored\n");
  snapshot("2");
  write(tree() + "/dir/b.txt", "third, in no snapshot\n");
  RestoreRequest back{.worktree = ref(), .to = first, .dry_run = true, .private_index = index()};
  Result<Restored> planned = restore_worktree(back);
  ASSERT_TRUE(planned) << planned.error().message;
  ASSERT_EQ(planned->files.size(), 3U);
  EXPECT_TRUE(planned->files[2].removed);
  EXPECT_EQ(read(tree() + "/a.txt"), "second\n");
  EXPECT_TRUE(planned->salvage_ref.empty());

  back.dry_run = false;
  Result<Restored> done = restore_worktree(back);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(read(tree() + "/a.txt"), "first\n");
  EXPECT_EQ(read(tree() + "/dir/b.txt"), "bee\n");
  EXPECT_FALSE(exists(tree() + "/late.txt"));
  EXPECT_EQ(read(tree() + "/note.log"), "ignored\n");
  EXPECT_EQ(git("show " + done->salvage_ref + ":dir/b.txt"), "third, in no snapshot\n");
  EXPECT_EQ(snapshot("3").tree, id(first + "^{tree}"));
}

TEST_P(GitApplyKilled, ARestoreIsFinishedByTheNextOneAndKeepsWhatWasThere) {
  const std::string first = snapshot("1").tree;
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, 60);
    write(tree() + "/a.txt", "changed\n");
    write(tree() + "/new file", "untracked\n");
    fs::remove(tree() + "/dir/b.txt");
    RestoreRequest request{.worktree = ref(), .to = first, .private_index = index(), .time_s = 1};
    request.patience.on_step = count_down;
    done = ran_to_its_end(step, [&] { return restore_worktree(request).has_value(); });
    const std::string salvage = git("for-each-ref --format=%\\(refname\\) refs/berth/x/" + key());
    const bool touched =
        in_tree("status --porcelain") != " M a.txt\n D dir/b.txt\n?? \"new file\"\n";
    if (touched) {
      const std::string kept = salvage.substr(0, salvage.find('\n'));
      EXPECT_EQ(git("show " + kept + ":a.txt"), "changed\n") << step;
      EXPECT_EQ(git("show \"" + kept + ":new file\""), "untracked\n") << step;
    }
    EXPECT_TRUE(touched || !done) << step;
    request.patience = {};
    Result<Restored> again = restore_worktree(request);
    ASSERT_TRUE(again) << step << ": " << again.error().message;
    EXPECT_EQ(in_tree("status --porcelain"), "") << step;
    EXPECT_EQ(sh(tree(), "find . -name .berth-new*"), "") << step;
    git("for-each-ref --format=\"delete %(refname)\" refs/berth/x | git update-ref --stdin");
  }
}

TEST_P(GitApply, DiscardsOneFileOfAChange) {
  write(tree() + "/a.txt", "changed\n");
  write(tree() + "/new.txt", "new\n");
  Result<Restored> done = restore_worktree(
      {.worktree = ref(), .to = base_, .paths = {"new.txt"}, .private_index = index()});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_FALSE(exists(tree() + "/new.txt"));
  EXPECT_EQ(read(tree() + "/a.txt"), "changed\n");
}

TEST_P(GitApply, WritesAMailThatGitAmTakes) {
  write(tree() + "/a.txt", "one\nTWO\nthree\n");
  write(tree() + "/pic.bin", std::string("\0\1\2", 3));
  fs::create_symlink("a.txt", tree() + "/link");
  const Snapshot taken = snapshot("1");
  Result<Change> change = diff({.worktree = ref(),
                                .from = base_,
                                .to = taken.commit,
                                .binary_patches = true,
                                .private_index = index()});
  ASSERT_TRUE(change);
  CommitText mail = text();
  mail.author_name = "Zo\xc3\xab \xe6\x97\xa5\xe6\x9c\xac";
  mail.message =
      "\xc3\x9c"
      "ber-change that is rather long so that its subject must be folded over lines: "
      "\xe6\x97\xa5\n\n"
      "From here on\n---\nit is body.";
  write(root_ + "/data/one.mail", as_mail(mail, *change));
  git("am -q ../data/one.mail");
  EXPECT_EQ(git("rev-parse HEAD^{tree}"), taken.tree + "\n");
  EXPECT_EQ(git("log -1 --format=%an:%ae:%at"),
            "Zo\xc3\xab \xe6\x97\xa5\xe6\x9c\xac:ada@example.org:1700000000\n");
  EXPECT_EQ(git("log -1 --format=%s"), mail.message.substr(0, mail.message.find('\n')) + "\n");
  EXPECT_EQ(git("log -1 --format=%b"),
            " From here on\n ---\nit is body.\n\nSession: one\nTurn: 3\n\n");
}

TEST_P(GitApply, TheBaselineTakesOverTheFilesThatWereApplied) {
  write(tree() + "/a.txt", "changed\n");
  write(tree() + "/new.txt", "new\n");
  fs::remove(tree() + "/dir/b.txt");
  const Snapshot after = snapshot("1");
  MoveBaseline request{.repository = repo(),
                       .key = key(),
                       .base = base_,
                       .change = after.commit,
                       .paths = {"a.txt", "dir/b.txt"},
                       .name = "base-1",
                       .time_s = 1700000000,
                       .command = &command_,
                       .backend = GetParam().backend};
  Result<std::string> some = move_baseline(request);
  ASSERT_TRUE(some) << some.error().message;
  EXPECT_EQ(git("diff --name-status " + *some + " " + after.commit), "A\tnew.txt\n");
  EXPECT_EQ(git("rev-parse " + snapshot_ref_of(key(), "base-1")), *some + "\n");
  EXPECT_EQ(git("rev-parse " + *some + "^"), base_ + "\n");
  request.base = *some;
  request.paths.clear();
  Result<std::string> all = move_baseline(request);
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ(git("rev-parse " + *all + "^{tree}"), after.tree + "\n");
  EXPECT_EQ(git("rev-parse " + *all + "^"), *some + "\n") << "the ref moved, the old base stays";
  request.name = "../x";
  EXPECT_EQ(std::string(move_baseline(request).error().code), "bad_ref_name");
}

TEST_P(GitApply, JournalsThatCannotBeFinishedAreNamedAndStay) {
  EXPECT_TRUE(finish_applies(root_ + "/nowhere")->empty());
  fs::create_directories(root_ + "/journals");
  write(root_ + "/journals/broken", "no journal\n");
  Result<std::vector<std::string>> left = finish_applies(root_ + "/journals");
  ASSERT_TRUE(left);
  ASSERT_EQ(left->size(), 1U);
  EXPECT_NE(left->front().find("/journals/broken"), std::string::npos);
  EXPECT_TRUE(exists(root_ + "/journals/broken"));
}

}  // namespace
}  // namespace berth::git::test
