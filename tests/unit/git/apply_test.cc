#include "kill_at_step.h"
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

class GitApply : public GitTest {
 protected:
  GitApply() : GitTest(Where::memory) {}
  void SetUp() override { base_ = create().base_commit; }

  std::string journal() const { return root_ + "/data/apply.journal"; }
  ApplyRequest request(ApplyTo to) {
    ApplyRequest made{.repository = repo(), .base = base_, .to = to, .journal = journal()};
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
    return applied ? *applied : Applied{};
  }
  static std::string named(const Applied& applied) {
    std::string all;
    for (const ApplyConflict& conflict : applied.conflicts) {
      all += conflict.path + ":" + std::string(conflict.reason) + " ";
    }
    return all;
  }

  std::string base_;
  int turns_ = 0;
};

TEST_F(GitApply, CommitsTheChangeOnTheBranchAndItsCheckoutFollows) {
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

TEST_F(GitApply, MergesWithWhatTheBranchGotMeanwhile) {
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

TEST_F(GitApply, NamesAllConflictsAndTouchesNothing) {
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

TEST_F(GitApply, LeavesUncommittedWorkInTheCheckoutAlone) {
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

TEST_F(GitApply, KeepsUncommittedWorkInFilesThatTheChangeDoesNotTouch) {
  write(tree() + "/a.txt", "one\nTWO\nthree\n");
  const ApplyRequest made = request(ApplyTo::branch);
  write(repo() + "/dir/b.txt", "mine\n");
  write(repo() + "/mine.txt", "mine\n");
  const Applied applied = apply(made);
  EXPECT_TRUE(applied.applied) << named(applied);
  EXPECT_EQ(git("status --porcelain"), " M dir/b.txt\n?? mine.txt\n");
}

TEST_F(GitApply, MovesABranchWithoutACheckout) {
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

TEST_F(GitApply, FindsTheLinkedWorktreeThatHasTheBranch) {
  git("worktree add -q -b other ../trees/other");
  write(tree() + "/a.txt", "changed\n");
  ApplyRequest made = request(ApplyTo::branch);
  made.branch = "other";
  const Applied applied = apply(made);
  EXPECT_EQ(applied.checkout, root_ + "/trees/other");
  EXPECT_EQ(read(root_ + "/trees/other/a.txt"), "changed\n");
  EXPECT_EQ(sh(root_ + "/trees/other", "git status --porcelain"), "");
}

TEST_F(GitApply, MergesIntoFilesAsTheyAreOnDisk) {
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

TEST_F(GitApply, AppliesOnlyTheFilesAskedFor) {
  write(tree() + "/a.txt", "A\n");
  write(tree() + "/dir/b.txt", "B\n");
  ApplyRequest made = request(ApplyTo::branch);
  made.paths = {"dir/b.txt"};
  EXPECT_TRUE(apply(made).applied);
  EXPECT_EQ(read(repo() + "/a.txt"), "one\ntwo\nthree\n");
  EXPECT_EQ(read(repo() + "/dir/b.txt"), "B\n");
}

TEST_F(GitApply, SaysInADryRunWhatWouldHappen) {
  write(tree() + "/a.txt", "A\n");
  ApplyRequest made = request(ApplyTo::branch);
  made.dry_run = true;
  const Applied applied = apply(made);
  EXPECT_FALSE(applied.applied);
  EXPECT_EQ(applied.files, std::vector<std::string>{"a.txt"});
  EXPECT_EQ(git("rev-parse main"), base_ + "\n");
  EXPECT_EQ(git("status --porcelain"), "");
}

TEST_F(GitApply, TurnsFoldersIntoFilesAndBack) {
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

TEST_F(GitApply, DoesNotReplaceAFolderThatHoldsSomebodysFiles) {
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

TEST_F(GitApply, WritesThroughNoPlantedLink) {
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

TEST_F(GitApply, RunsNoHookAndNoMergeDriver) {
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

TEST_F(GitApply, RefusesWhatItCannotMean) {
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

class GitApplyKilled : public GitApply, public testing::WithParamInterface<ApplyTo> {};

TEST_P(GitApplyKilled, IsFinishedOrWasNeverBegun) {
  write(tree() + "/a.txt", "one\nTWO\nthree\n");
  write(tree() + "/new/file.txt", "new\n");
  fs::remove_all(tree() + "/dir");
  write(tree() + "/dir", "a file now\n");
  ApplyRequest made = request(GetParam());
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
    Result<Applied> finished = finish_apply(journal());
    ASSERT_TRUE(finished) << step << ": " << finished.error().message;
    EXPECT_TRUE(finished->conflicts.empty()) << step << ": " << named(*finished);
    EXPECT_FALSE(exists(journal()));
    if (!done && !begun) {
      EXPECT_EQ(git("rev-parse main"), base_ + "\n") << step;
      EXPECT_EQ(git("status --porcelain"), "") << step;
      continue;
    }
    EXPECT_EQ(read(repo() + "/a.txt"), "one\nTWO\nthree\n") << step;
    EXPECT_EQ(read(repo() + "/dir"), "a file now\n") << step;
    EXPECT_EQ(read(repo() + "/new/file.txt"), "new\n") << step;
    EXPECT_EQ(sh(repo(), "find . -name .berth-new*"), "") << step;
    if (GetParam() == ApplyTo::branch) {
      EXPECT_EQ(git("status --porcelain"), "") << step;
      EXPECT_EQ(git("rev-list --count " + base_ + "..main"), "1\n") << step;
    } else {
      EXPECT_EQ(git("rev-parse main"), base_ + "\n") << step;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, GitApplyKilled,
                         testing::Values(ApplyTo::branch, ApplyTo::working_files),
                         [](const testing::TestParamInfo<ApplyTo>& info) {
                           return info.param == ApplyTo::branch ? "Branch" : "WorkingFiles";
                         });

TEST_F(GitApply, GoesBackWhenTheBranchMovedAfterACrash) {
  write(tree() + "/a.txt", "changed\n");
  ApplyRequest made = request(ApplyTo::branch);
  made.patience.on_step = count_down;
  ASSERT_FALSE(ran_without(Step::apply_branch, [&] { return apply_change(made).has_value(); }));
  EXPECT_EQ(read(repo() + "/a.txt"), "changed\n");
  const std::string moved = git("commit-tree -m moved -p main main^{tree}");
  git("update-ref refs/heads/main " + moved.substr(0, 40));
  Result<Applied> finished = finish_apply(journal());
  ASSERT_TRUE(finished) << finished.error().message;
  EXPECT_FALSE(finished->applied);
  EXPECT_EQ(git("rev-parse main"), moved);
  EXPECT_EQ(git("status --porcelain"), "");
}

TEST_F(GitApply, BringsFilesBackToATurnAndKeepsWhatTheyWere) {
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
  EXPECT_EQ(snapshot("3").tree, git("rev-parse " + first + "^{tree}").substr(0, 40));
}

TEST_F(GitApply, DiscardsOneFileOfAChange) {
  write(tree() + "/a.txt", "changed\n");
  write(tree() + "/new.txt", "new\n");
  Result<Restored> done = restore_worktree(
      {.worktree = ref(), .to = base_, .paths = {"new.txt"}, .private_index = index()});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_FALSE(exists(tree() + "/new.txt"));
  EXPECT_EQ(read(tree() + "/a.txt"), "changed\n");
}

TEST_F(GitApply, WritesAMailThatGitAmTakes) {
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

TEST_F(GitApply, TheBaselineTakesOverTheFilesThatWereApplied) {
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
                       .time_s = 1700000000};
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

TEST_F(GitApply, JournalsThatCannotBeFinishedAreNamedAndStay) {
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
