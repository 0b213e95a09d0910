#include "command_kinds.h"
#include "kill_at_step.h"
#include "spawned_git.h"
#include "temp_repository.h"

#include <berth/git/apply.h>
#include <berth/git/archive.h>
#include <berth/git/diff.h>
#include <berth/git/guard.h>
#include <berth/git/names.h>
#include <berth/git/registration.h>
#include <berth/git/removal.h>
#include <berth/git/repository.h>
#include <berth/git/restore.h>

#include <algorithm>
#include <filesystem>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

template <typename T>
std::string code_of(const Result<T>& result) {
  return result ? "" : std::string(result.error().code) + ": " + result.error().message;
}

constexpr Kind kKinds[] = {kSha256, kPartialClone, kWorktreeConfig, kSparseCheckout, kSparseIndex};

class ByCommand : public GitTest, public ::testing::WithParamInterface<Kind> {
 protected:
  ByCommand() : GitTest(Where::memory) {}
  void SetUp() override {
    git("--version");
    sh(repo(), GetParam().commands);
    fs::create_directories(root_ + "/scratch");
  }
  WorktreeRef there() { return {repo(), tree(), key(), &command_}; }
  CreatedWorktree make() {
    Result<CreatedWorktree> made =
        create_worktree({.worktree = there(), .base = {}, .private_index = index()});
    EXPECT_EQ(code_of(made), "");
    return made.value_or(CreatedWorktree{});
  }
  Snapshot take(const std::string& name) {
    Result<Snapshot> taken =
        take_snapshot({.worktree = there(), .name = name, .private_index = index(), .time_s = 1});
    EXPECT_EQ(code_of(taken), "");
    return taken.value_or(Snapshot{});
  }
  void edit() {
    write(tree() + "/a.txt", "one\nTWO\nthree\n");
    write(tree() + "/new \xc3\xbc.txt", "new\n");
    write(tree() + "/x.log", "ignored\n");
    write(tree() + "/bin", std::string("\0\1\2", 3));
    fs::rename(tree() + "/dir/b.txt", tree() + "/dir/moved.txt");
    fs::remove(tree() + "/dir/deep/c.txt");
    fs::create_symlink("a.txt", tree() + "/dir/deep/link");
    write(tree() + "/run.sh", "#!/bin/sh\n");
    fs::permissions(tree() + "/run.sh", fs::perms(0755));
  }
  /// The tree that git itself would make of the files.
  std::string tree_by_git() {
    const std::string with = "export GIT_INDEX_FILE=" + root_ + "/theirs && git -c ";
    return sh(tree(), with +
                          "core.sparseCheckout=false read-tree HEAD && git -c "
                          "core.sparseCheckout=false add -A && git write-tree")
        .substr(0, take_id_);
  }

  std::size_t take_id_ = GetParam().name == std::string("Sha256") ? 64 : 40;
  SpawnedGit command_{root_ + "/scratch"};
};

INSTANTIATE_TEST_SUITE_P(Kinds, ByCommand, ::testing::ValuesIn(kKinds),
                         [](const auto& info) { return info.param.name; });

TEST_P(ByCommand, IsChosenWhenTheRepositoryIsOpenedAndSaysWhy) {
  Result<RepositoryInfo> info = inspect_repository(repo());
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().kind, ErrorKind::unsupported);
  info = inspect_repository(repo(), &command_);
  ASSERT_EQ(code_of(info), "");
  EXPECT_EQ(info->backend, Backend::git_command);
  EXPECT_EQ(info->backend_reason, GetParam().reason);
  EXPECT_EQ(info->head + "\n", git("rev-parse HEAD"));
  EXPECT_EQ(info->branch, "main");
  EXPECT_EQ(info->sha256, take_id_ == 64);
  EXPECT_FALSE(info->bare || info->empty || info->linked_worktree);
  // The recorded choice holds: without the command, or by libgit2, it is refused.
  WorktreeRef refused = there();
  refused.backend = Backend::libgit2;
  EXPECT_NE(code_of(create_worktree({.worktree = refused})), "");
  EXPECT_FALSE(exists(tree()));
  EXPECT_EQ(code_of(resolve_commit(repo(), "nope", &command_)).substr(0, 13), "rev_not_found");
  EXPECT_EQ(code_of(resolve_commit(repo(), "HEAD^{tree}", &command_)).substr(0, 12),
            "not_a_commit");
}

TEST_P(ByCommand, AWorktreeIsMadeWholeAndKnownToGit) {
  const CreatedWorktree made = make();
  EXPECT_EQ(made.base_commit + "\n", git("rev-parse HEAD"));
  EXPECT_EQ(in_tree("status --porcelain"), "");
  EXPECT_EQ(read(tree() + "/dir/deep/c.txt"), "sea\n");
  EXPECT_TRUE(exists(tree() + "/a.txt"));  // a sparse checkout of the source is not ours
  EXPECT_NE(git("worktree list").find(tree()), std::string::npos);
  EXPECT_TRUE(make().existed);
  EXPECT_TRUE(fs::is_empty(root_ + "/scratch"));
  write(tree() + "/more", "m\n");
  in_tree("add more && git commit -q -m more");
  EXPECT_EQ(in_tree("rev-list --count HEAD"), "2\n");
  Result<std::vector<ListedWorktree>> listed =
      list_worktrees(repo(), {root_ + "/trees"}, &command_);
  ASSERT_EQ(code_of(listed), "");
  ASSERT_EQ(listed->size(), 1U);
  EXPECT_EQ(listed->front().condition, WorktreeCondition::whole);
}

TEST_P(ByCommand, ASnapshotIsTheTreeThatGitWouldMake) {
  make();
  const std::string user_index = read(repo() + "/.git/worktrees/" + key() + "/index");
  edit();
  const Snapshot first = take("1");
  EXPECT_EQ(first.tree, tree_by_git());
  EXPECT_EQ(first.skipped_count, 0U);
  EXPECT_EQ(read(repo() + "/.git/worktrees/" + key() + "/index"), user_index);
  EXPECT_EQ(take("2").tree, first.tree);
  EXPECT_EQ(take("3").parent + "\n", git("rev-parse refs/berth/s/" + key() + "/2"));
  // A file in place of a folder, and the other way round.
  fs::remove_all(tree() + "/dir");
  write(tree() + "/dir", "a file now\n");
  fs::remove(tree() + "/a.txt");
  write(tree() + "/a.txt/inside", "a folder now\n");
  EXPECT_EQ(take("4").tree, tree_by_git());
  write(index(), "broken");
  EXPECT_EQ(take("5").tree, tree_by_git());
  // Forced into the user's index although it is ignored.
  in_tree("add -f x.log");
  const Snapshot forced = take("6");
  EXPECT_EQ(git("show " + forced.commit + ":x.log"), "ignored\n");
  EXPECT_EQ(git("fsck --no-dangling 2>&1 | grep -v promisor || true"), "");
  EXPECT_TRUE(fs::is_empty(root_ + "/scratch"));
}

TEST_P(ByCommand, ADiffAppliesToWhereItCameFrom) {
  const CreatedWorktree made = make();
  edit();
  const Snapshot taken = take("1");
  Result<Change> change = diff(
      {.worktree = there(), .from = made.base_commit, .to = taken.tree, .binary_patches = true});
  ASSERT_EQ(code_of(change), "");
  std::string seen;
  for (const FileChange& file : change->files) {
    seen += std::string(to_string(file.status)) + " " + file.path +
            (file.binary
                 ? " binary"
                 : " +" + std::to_string(file.additions) + " -" + std::to_string(file.deletions)) +
            "\n";
  }
  EXPECT_EQ(seen,
            "modified a.txt +1 -1\nadded bin binary\ndeleted dir/deep/c.txt +0 -1\nadded "
            "dir/deep/link +1 -0\nrenamed dir/moved.txt +0 -0\nadded new \xc3\xbc.txt +1 "
            "-0\nadded run.sh +1 -0\n");
  EXPECT_EQ(change->files_total, 7U);
  write(root_ + "/patch", patch_text(*change));
  EXPECT_EQ(git("--version; GIT_INDEX_FILE=" + root_ + "/i git read-tree " + made.base_commit +
                " && GIT_INDEX_FILE=" + root_ + "/i git apply --cached " + root_ +
                "/patch && GIT_INDEX_FILE=" + root_ + "/i git write-tree | tail -1")
                .substr(git("--version").size()),
            taken.tree + "\n");
  change = diff({.worktree = there(),
                 .from = made.base_commit,
                 .to = "worktree",
                 .paths = {"a.txt"},
                 .private_index = index()});
  ASSERT_EQ(code_of(change), "");
  ASSERT_EQ(change->files.size(), 1U);
  EXPECT_NE(change->files[0].patch.find("\n-two\n+TWO\n"), std::string::npos);
  change = diff({.worktree = there(),
                 .from = made.base_commit,
                 .to = taken.tree,
                 .limits = {.files_max = 2, .patch_bytes_max = 10}});
  ASSERT_EQ(code_of(change), "");
  EXPECT_TRUE(change->files_truncated && change->patch_truncated);
  EXPECT_EQ(change->files.size(), 2U);
  EXPECT_EQ(
      code_of(diff({.worktree = there(), .from = std::string(take_id_, '0'), .to = taken.tree}))
          .substr(0, 16),
      "object_not_found");
}

TEST_P(ByCommand, TheGuardSeesWorkAndARemovalKeepsIt) {
  const CreatedWorktree made = make();
  const auto state = [&] {
    Result<WorkLoss> loss = worktree_state({.worktree = there(), .base = made.base_commit});
    EXPECT_EQ(code_of(loss), "");
    return loss.value_or(WorkLoss{});
  };
  EXPECT_TRUE(state().loses_nothing()) << state().reason;
  write(tree() + "/x.log", "ignored\n");
  EXPECT_TRUE(state().loses_nothing());
  edit();
  EXPECT_TRUE(state().dirty);
  EXPECT_EQ(state().changed, 3U);
  EXPECT_EQ(state().untracked, 5U);
  in_tree("-c core.sparseCheckout=false add --sparse -A");
  EXPECT_EQ(state().untracked, 0U);
  in_tree("commit -q -m work");
  EXPECT_EQ(state().unpushed, 1U);
  EXPECT_FALSE(state().dirty);
  write(tree() + "/a.txt", "edited once more\n");
  WorkLoss report;
  Result<Removal> removed = remove_worktree(
      {.worktree = there(), .base = made.base_commit, .private_index = index()}, report);
  EXPECT_EQ(code_of(removed).substr(0, 17), "worktree_has_work");
  const std::string before = tree_by_git();
  removed = remove_worktree(
      {.worktree = there(), .base = made.base_commit, .force = true, .private_index = index()},
      report);
  ASSERT_EQ(code_of(removed), "");
  EXPECT_FALSE(exists(tree()));
  EXPECT_EQ(git("rev-parse " + removed->salvage_ref + "^{tree}"), before + "\n");
  EXPECT_EQ(removed->branch_kept, "has 1 commits beyond base");
  EXPECT_EQ(git("worktree list | wc -l"), "1\n");
}

TEST_P(ByCommand, AnArchiveComesBackBitForBit) {
  const CreatedWorktree made = make();
  edit();
  in_tree("-c core.sparseCheckout=false add --sparse a.txt");
  write(tree() + "/a.txt", "on disk\n");
  const std::string before = in_tree(
      "status --porcelain=v2 && find . -path ./.git -prune -o -not -name x.log -type f "
      "-print0 | sort -z | xargs -0 sha256sum");
  Result<Archived> archived = archive_worktree(
      {.worktree = there(), .base = made.base_commit, .private_index = index(), .time_s = 3});
  ASSERT_EQ(code_of(archived), "");
  EXPECT_FALSE(exists(tree()));
  Result<CreatedWorktree> back = restore_archive({.worktree = there(),
                                                  .commit = archived->commit,
                                                  .base = made.base_commit,
                                                  .private_index = index()});
  ASSERT_EQ(code_of(back), "");
  EXPECT_EQ(in_tree("status --porcelain=v2 && find . -path ./.git -prune -o -not -name x.log -type "
                    "f -print0 | sort -z | xargs -0 sha256sum"),
            before);
}

TEST_P(ByCommand, NothingThatAnAgentPlantsIsExecuted) {
  const CreatedWorktree made = make();
  edit();
  const std::string planted = root_ + "/planted.sh";
  write(planted, "#!/bin/sh\ntouch " + mark() + "\ncat\n");
  fs::permissions(planted, fs::perms(0755));
  for (const char* setting : {"core.fsmonitor",
                              "core.sshCommand",
                              "core.pager",
                              "core.editor",
                              "core.askPass",
                              "core.gitProxy",
                              "core.alternateRefsCommand",
                              "diff.external",
                              "diff.evil.command",
                              "diff.evil.textconv",
                              "filter.evil.clean",
                              "filter.evil.smudge",
                              "filter.evil.process",
                              "merge.evil.driver",
                              "gpg.program",
                              "credential.helper",
                              "uploadpack.packObjectsHook",
                              "remote.origin.uploadpack",
                              "sequence.editor",
                              "interactive.diffFilter"}) {
    git(std::string("config ") + setting + " " + planted);
  }
  git("config core.hooksPath " + root_ +
      "/hooks && git config commit.gpgSign true && git config "
      "protocol.allow always && git config log.showSignature true");
  for (const char* hook :
       {"post-checkout", "post-index-change", "pre-commit", "reference-transaction",
        "fsmonitor-watchman", "post-commit", "pre-auto-gc", "query-watchman"}) {
    fs::create_directories(root_ + "/hooks");
    fs::copy_file(planted, root_ + "/hooks/" + hook);
    fs::copy_file(planted, repo() + "/.git/hooks/" + hook, fs::copy_options::overwrite_existing);
  }
  write(tree() + "/.gitattributes", "* filter=evil diff=evil merge=evil\n");
  write(repo() + "/.git/info/attributes", "* filter=evil diff=evil\n");
  const Snapshot taken = take("1");
  EXPECT_EQ(code_of(diff({.worktree = there(), .from = made.base_commit, .to = taken.tree})), "");
  EXPECT_EQ(code_of(diff({.worktree = there(),
                          .from = made.base_commit,
                          .to = "worktree",
                          .private_index = index()})),
            "");
  EXPECT_EQ(code_of(worktree_state({.worktree = there()})), "");
  EXPECT_EQ(
      code_of(create_worktree({.worktree = {repo(), root_ + "/trees/two", key_of(2), &command_}})),
      "");
  for (const ApplyTo to : {ApplyTo::branch, ApplyTo::working_files}) {
    ApplyRequest request{.repository = repo(),
                         .base = made.base_commit,
                         .change = taken.commit,
                         .to = to,
                         .branch = "main",
                         .commit = {.author_name = "A", .author_email = "a@b", .message = "m"},
                         .command = &command_};
    EXPECT_EQ(code_of(apply_change(request)), "");
  }
  write(tree() + "/a.txt", "once more\n");
  EXPECT_EQ(code_of(restore_worktree(
                {.worktree = there(), .to = made.base_commit, .private_index = index()})),
            "");
  Result<Archived> archived =
      archive_worktree({.worktree = there(), .base = made.base_commit, .private_index = index()});
  EXPECT_EQ(code_of(archived), "");
  EXPECT_EQ(code_of(restore_archive(
                {.worktree = there(), .commit = archived->commit, .base = made.base_commit})),
            "");
  WorkLoss report;
  EXPECT_EQ(code_of(remove_worktree({.worktree = there(), .force = true}, report)), "");
  EXPECT_FALSE(exists(mark()));
}

/// What of its files a checkout leaves out is neither a change of somebody nor written out by a
/// commit, but an uncommitted change shows.
class SparseCheckouts : public ByCommand {
 protected:
  Applied apply(ApplyTo to) {
    make();
    write(tree() + "/a.txt", "one\nTWO\nthree\n");
    write(tree() + "/dir/b.txt", "BEE\n");
    Result<Applied> applied =
        apply_change({.repository = repo(),
                      .base = make().base_commit,
                      .change = take("1").commit,
                      .to = to,
                      .branch = "main",
                      .commit = {.author_name = "A", .author_email = "a@b", .message = "m"},
                      .command = &command_});
    EXPECT_EQ(code_of(applied), "");
    return applied.value_or(Applied{});
  }
};
INSTANTIATE_TEST_SUITE_P(Kinds, SparseCheckouts, ::testing::Values(kSparseCheckout, kSparseIndex),
                         [](const auto& info) { return info.param.name; });

TEST_P(SparseCheckouts, ACommitChangesWhatIsLeftOutInTheIndexAlone) {
  const bool left_out = !exists(repo() + "/a.txt");  // a cone has the files at the top
  EXPECT_TRUE(apply(ApplyTo::branch).applied);
  EXPECT_EQ(git("show main:a.txt"), "one\nTWO\nthree\n");
  EXPECT_EQ(exists(repo() + "/a.txt"), !left_out);
  EXPECT_EQ(git("status --porcelain"), "");
  EXPECT_EQ(git("ls-files -v a.txt"), left_out ? "S a.txt\n" : "H a.txt\n");
}

TEST_P(SparseCheckouts, AnUncommittedChangeBringsWhatIsLeftOut) {
  EXPECT_TRUE(apply(ApplyTo::working_files).applied);
  EXPECT_EQ(read(repo() + "/a.txt"), "one\nTWO\nthree\n");
  EXPECT_EQ(read(repo() + "/dir/b.txt"), "BEE\n");
  EXPECT_EQ(git("status --porcelain"), " M a.txt\n M dir/b.txt\n");
}

TEST_F(GitTest, ASplitIndexOfTheTargetIsReadByTheCommandAlthoughTheRepositoryIsNot) {
  SpawnedGit command(root_ + "/data");
  const std::string base = create().base_commit;
  write(tree() + "/a.txt", "one\nTWO\nthree\n");
  const std::string change = snapshot("1").commit;
  git("update-index --split-index && git update-index --force-write-index");
  ApplyRequest request{.repository = repo(),
                       .base = base,
                       .change = change,
                       .to = ApplyTo::branch,
                       .branch = "main",
                       .commit = {.author_name = "A", .author_email = "a@b", .message = "m"}};
  EXPECT_EQ(code_of(apply_change(request)).substr(0, 21), "git_index_unsupported");
  request.command = &command;
  Result<Applied> applied = apply_change(request);
  ASSERT_EQ(code_of(applied), "");
  EXPECT_TRUE(applied->applied);
  EXPECT_EQ(git("status --porcelain"), "");
  EXPECT_EQ(git("show main:a.txt"), read(repo() + "/a.txt"));
}

TEST_P(ByCommand, TheGuardSeesWhatIsHiddenStagedOrUnderWay) {
  const CreatedWorktree made = make();
  const auto state = [&] {
    Result<WorkLoss> loss = worktree_state({.worktree = there(), .base = made.base_commit});
    EXPECT_EQ(code_of(loss), "");
    return loss.value_or(WorkLoss{});
  };
  const std::string original = read(tree() + "/dir/b.txt");
  in_tree("update-index --assume-unchanged dir/b.txt");
  write(tree() + "/dir/b.txt", "hidden\n");
  EXPECT_TRUE(state().unknown);
  in_tree("update-index --no-assume-unchanged dir/b.txt");
  write(tree() + "/dir/b.txt", original);
  EXPECT_TRUE(state().loses_nothing()) << state().reason;
  const std::string merge = repo() + "/.git/worktrees/" + key() + "/MERGE_HEAD";
  write(merge, made.base_commit + "\n");
  EXPECT_TRUE(state().dirty);
  fs::remove(merge);
  in_tree("update-index --add --cacheinfo 160000," + made.base_commit + ",module");
  EXPECT_EQ(state().changed, 1U);
}

TEST_P(ByCommand, StopsWhenItsTimeIsUp) {
  std::atomic<bool> cancelled = true;
  Result<CreatedWorktree> made =
      create_worktree({.worktree = there(), .patience = {.cancelled = &cancelled}});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, ErrorKind::cancelled);
  EXPECT_FALSE(exists(tree()));
  EXPECT_TRUE(fs::is_empty(root_ + "/scratch"));
}

TEST_P(ByCommand, ADiffMarksWhatGitItselfDoesNotHold) {
  const CreatedWorktree made = make();
  write(tree() + "/new.bin", lfs_pointer_of(5));
  write(tree() + "/plain.bin", std::string(130, 'v'));
  const std::string format = take_id_ == 64 ? " --object-format=sha256" : "";
  sh(tree(), "git init -q" + format + " inside && git -C inside commit -q --allow-empty -m x");
  const Snapshot with = take("1");
  fs::remove(tree() + "/new.bin");
  fs::remove_all(tree() + "/inside");
  const Snapshot without = take("2");
  const std::pair<std::string, std::string> ways[] = {{made.base_commit, with.tree},
                                                      {with.tree, without.tree}};
  for (const auto& [from, to] : ways) {
    Result<Change> change =
        diff({.worktree = there(), .from = from, .to = to, .with_patches = false});
    ASSERT_EQ(code_of(change), "");
    std::string kinds;
    for (const FileChange& file : change->files) {
      kinds += file.path + " " + std::to_string(static_cast<int>(file.kind)) + "\n";
    }
    EXPECT_EQ(kinds,
              from == with.tree ? "inside 1\nnew.bin 2\n" : "inside 1\nnew.bin 2\nplain.bin 0\n");
  }
}

TEST_P(ByCommand, PointersAreFoundByTheSameFewRunsHoweverManyFilesThereAre) {
  const CreatedWorktree made = make();
  int runs_of_few = 0;
  std::string snapshot;
  for (const int files : {3, 300}) {
    for (int i = 0; i < files; ++i) {
      const std::string name = tree() + "/few/" + std::to_string(i);
      write(name + ".bin", lfs_pointer_of(i));
      write(name + ".txt", "no pointer, but of its size" + std::string(100, '.'));
    }
    snapshot = take(std::to_string(files)).commit;
    command_.runs = 0;
    Result<Change> change = diff({.worktree = there(), .from = made.base_commit, .to = snapshot});
    ASSERT_EQ(code_of(change), "");
    Result<RepositoryContents> contents = inspect_contents(repo(), snapshot, 1000, &command_);
    ASSERT_EQ(code_of(contents), "");
    const auto pointers = static_cast<std::size_t>(files);
    EXPECT_EQ(contents->lfs_pointers.size(), pointers);
    EXPECT_EQ(std::count_if(change->files.begin(), change->files.end(),
                            [](const FileChange& file) {
                              return file.kind == FileKind::lfs_pointer &&
                                     file.path.ends_with(".bin");
                            }),
              files);
    if (runs_of_few == 0) runs_of_few = command_.runs;
    EXPECT_EQ(command_.runs, runs_of_few);
  }
  EXPECT_TRUE(fs::is_empty(root_ + "/scratch"));
}

TEST_P(ByCommand, ContentsAreToldAlthoughObjectsAreMissing) {
  make();
  write(tree() + "/new.bin", lfs_pointer_of(5));
  write(tree() + "/old.bin", lfs_pointer_of(6));
  const std::string snapshot = take("1").commit;
  const std::string id = git("rev-parse " + snapshot + ":old.bin");
  ASSERT_TRUE(
      fs::remove(repo() + "/.git/objects/" + id.substr(0, 2) + "/" + id.substr(2, take_id_ - 2)));
  Result<RepositoryContents> contents = inspect_contents(repo(), snapshot, 100, &command_);
  ASSERT_EQ(code_of(contents), "");
  EXPECT_EQ(contents->lfs_pointers, std::vector<std::string>{"new.bin"});
}

/// The same with a process that dies before each step; the git command itself is not interrupted.
class ByCommandKilled : public ByCommand {
 protected:
  static constexpr int kStepsMax = 60;
};

INSTANTIATE_TEST_SUITE_P(Kinds, ByCommandKilled, ::testing::Values(kSha256, kSparseCheckout),
                         [](const auto& info) { return info.param.name; });

TEST_P(ByCommandKilled, ACreationIsMadeAgain) {
  CreateWorktree request{.worktree = there(), .base = {}, .private_index = index()};
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, kStepsMax);
    request.patience.on_step = count_down;
    done = ran_to_its_end(step, [&] { return create_worktree(request).has_value(); });
    if (!done) EXPECT_FALSE(verify_worktree(there())) << step;
    request.patience = {};
    Result<CreatedWorktree> created = create_worktree(request);
    ASSERT_EQ(code_of(created), "") << step;
    EXPECT_EQ(created->existed, done) << step;
    EXPECT_EQ(in_tree("status --porcelain"), "") << step;
    EXPECT_EQ(git("worktree list --porcelain | grep -c ^worktree"), "2\n");
    git("worktree remove --force " + tree() + " && git branch -q -D berth/" + key());
    fs::remove(index());
  }
}

TEST_P(ByCommandKilled, ASnapshotIsThereOrNot) {
  make();
  edit();
  SnapshotRequest request{.worktree = there(), .name = "1", .private_index = index(), .time_s = 1};
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, kStepsMax);
    request.patience.on_step = count_down;
    done = ran_to_its_end(step, [&] { return take_snapshot(request).has_value(); });
    const std::string ref = "refs/berth/s/" + key() + "/1";
    EXPECT_EQ(git("for-each-ref --format=%\\(tree\\) " + ref), done ? tree_by_git() + "\n" : "");
    EXPECT_EQ(take("1").tree, tree_by_git()) << step;
    git("update-ref -d " + ref);
    fs::remove(index());
  }
}

TEST_P(ByCommandKilled, ARemovalLosesNothing) {
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, kStepsMax);
    make();
    edit();
    const std::string all = tree_by_git();
    RemoveWorktree request{.worktree = there(), .force = true, .private_index = index()};
    request.patience.on_step = count_down;
    WorkLoss report;
    done = ran_to_its_end(step, [&] { return remove_worktree(request, report).has_value(); });
    const std::string salvage = "for-each-ref --count=1 --format=%\\(tree\\) refs/berth/x/" + key();
    EXPECT_EQ(exists(tree()) ? tree_by_git() + "\n" : git(salvage), all + "\n") << step;
    request.patience = {};
    ASSERT_EQ(code_of(remove_worktree(request, report)), "") << step;
    EXPECT_EQ(git(salvage), all + "\n") << step;
    EXPECT_FALSE(exists(tree()));
    EXPECT_EQ(git("worktree list --porcelain | grep -c ^worktree"), "1\n");
    git("for-each-ref --format=\"delete %(refname)\" refs/berth | git update-ref --stdin");
    fs::remove_all(root_ + "/trees/.berth-trash");
  }
}

}  // namespace
}  // namespace berth::git::test
