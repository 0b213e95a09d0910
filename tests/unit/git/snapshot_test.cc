#include "temp_repository.h"

#include <berth/git/diff.h>

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

class Snapshots : public GitTest {
 protected:
  void SetUp() override { base_ = create().base_commit; }
  /// The tree that the git command makes of all working files, through an index of its own.
  std::string git_tree() {
    const std::string file = root_ + "/data/theirs.index";
    fs::remove(file);
    return sh(tree(),
              "GIT_INDEX_FILE=" + file +
                  " sh -c \"git read-tree HEAD && git add -A 2>/dev/null && git write-tree\"")
        .substr(0, 40);
  }
  std::string names(const std::string& treeish) {
    return git("-c core.quotepath=false ls-tree -r --name-only " + treeish);
  }
  std::string base_;
};

TEST_F(Snapshots, HoldTheWorkingFilesWithUntrackedAndWithoutIgnoredOnes) {
  write(tree() + "/a.txt", "one\nchanged\n");
  write(tree() + "/new/file.txt", "new\n");
  write(tree() + "/x.log", "ignored\n");
  write(tree() + "/build/out", "ignored\n");
  write(tree() + "/dir/.gitignore", "*.tmp\n!keep.tmp\n");
  write(tree() + "/dir/x.tmp", "ignored by the nested file\n");
  write(tree() + "/dir/keep.tmp", "not ignored\n");
  fs::remove(tree() + "/dir/deep/c.txt");
  const Snapshot taken = snapshot("1");
  EXPECT_EQ(taken.tree, git_tree());
  EXPECT_EQ(names(taken.tree),
            ".gitignore\na.txt\ndir/.gitignore\ndir/b.txt\ndir/keep.tmp\nnew/file.txt\n");
  EXPECT_EQ(taken.ref, "refs/berth/s/" + key() + "/1");
  EXPECT_EQ(git("rev-parse " + taken.ref), taken.commit + "\n");
  EXPECT_EQ(git("log -1 --format=%an,%ae,%cn,%at,%P " + taken.ref),
            "berth,berth@localhost,berth,1," + base_ + "\n");
}

TEST_F(Snapshots, LeaveTheUsersIndexAndHeadAsTheyAre) {
  write(tree() + "/staged.txt", "staged\n");
  in_tree("add staged.txt");
  write(tree() + "/staged.txt", "and changed again\n");
  write(tree() + "/untracked.txt", "u\n");
  const std::string registration = repo() + "/.git/worktrees/" + key();
  const std::string index_before = read(registration + "/index");
  const std::string head_before = read(registration + "/HEAD");
  const std::string main_before = read(repo() + "/.git/index");
  const std::string refs_before = git("for-each-ref refs/heads");
  const auto time_before = fs::last_write_time(registration + "/index");
  snapshot("1");
  EXPECT_EQ(read(registration + "/index"), index_before);
  EXPECT_EQ(fs::last_write_time(registration + "/index"), time_before);
  EXPECT_EQ(read(registration + "/HEAD"), head_before);
  EXPECT_EQ(read(repo() + "/.git/index"), main_before);
  EXPECT_EQ(git("for-each-ref refs/heads"), refs_before);
  EXPECT_EQ(in_tree("status --porcelain"), "AM staged.txt\n?? untracked.txt\n");
}

TEST_F(Snapshots, TakeAwayTheLockOfARefWhoseWriterWasKilled) {
  const std::string lock = repo() + "/.git/refs/berth/s/" + key() + "/1.lock";
  write(lock, "");
  fs::last_write_time(lock, fs::file_time_type::clock::now() - std::chrono::minutes(1));
  write(tree() + "/a.txt", "changed\n");
  const Snapshot taken = snapshot("1");
  EXPECT_EQ(git("rev-parse " + taken.ref), taken.commit + "\n");
  EXPECT_FALSE(fs::exists(lock));
}

TEST_F(Snapshots, LookForAWhileBeforeALockCountsAsDead) {
  const std::string lock = repo() + "/.git/refs/berth/s/" + key() + "/1.lock";
  write(lock, "");
  // As a clock that was set back since makes it look.
  fs::last_write_time(lock, fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_EQ(git("rev-parse " + snapshot("1").ref).size(), 41U);
  EXPECT_FALSE(fs::exists(lock));
}

TEST_F(Snapshots, StandOnTheOneBefore) {
  const Snapshot first = snapshot("1");
  write(tree() + "/n", "n\n");
  const Snapshot second = snapshot("2");
  EXPECT_EQ(first.parent, base_);
  EXPECT_EQ(second.parent, first.commit);
  const Snapshot tenth = snapshot("10");
  EXPECT_EQ(snapshot("11").parent, tenth.commit);  // 10 comes after 2, by number
  const Snapshot again = snapshot("11");
  EXPECT_EQ(again.tree, tenth.tree);
  Result<Snapshot> bad = take_snapshot(
      {.worktree = ref(), .name = "12", .private_index = index(), .parent = std::string(40, '1')});
  ASSERT_FALSE(bad);
  EXPECT_STREQ(bad.error().code, "bad_parent");
  for (const char* name : {"", "base", "a/b", "..", "-x", "A", "x.lock"}) {
    EXPECT_FALSE(take_snapshot({.worktree = ref(), .name = name, .private_index = index()}));
  }
}

TEST_F(Snapshots, KeepNamesModesAndLinks) {
  write(tree() + "/\xc3\xbcml\xc3\xa4ut \xe6\x97\xa5.txt", "unicode\n");
  write(tree() + "/with space/tab\there/\"quoted\"", "q\n");
  write(tree() +
            "/bad\xff"
            "utf8",
        "bytes\n");
  write(tree() + "/-dash", "d\n");
  write(tree() + "/[glob]*?", "g\n");
  write(tree() + "/:(top)x", "magic\n");
  fs::create_symlink("../outside", tree() + "/up");
  fs::create_symlink("/etc", tree() + "/etc-link");
  fs::permissions(tree() + "/a.txt", fs::perms(0755));
  EXPECT_EQ(snapshot("1").tree, git_tree());
  fs::remove(tree() + "/up");
  write(tree() + "/up/now-a-folder", "x\n");
  fs::remove_all(tree() + "/dir");
  write(tree() + "/dir", "now a file\n");
  EXPECT_EQ(snapshot("2").tree, git_tree());
  fs::remove(tree() + "/dir");
  fs::create_symlink("a.txt", tree() + "/dir");
  EXPECT_EQ(snapshot("3").tree, git_tree());
}

TEST_F(Snapshots, ConvertLineEndingsAsTheAttributesSay) {
  write(tree() + "/.gitattributes", "*.txt text\n*.bin -text\n");
  write(tree() + "/w.txt", "a\r\nb\r\n");
  write(tree() + "/w.bin", "a\r\nb\r\n");
  EXPECT_EQ(snapshot("1").tree, git_tree());
  // A setting that makes git refuse such a file must not hide it from us.
  git("config core.autocrlf input && git config core.safecrlf true");
  write(tree() + "/mixed", "a\r\nb\n");
  const Snapshot second = snapshot("2");
  EXPECT_NE(names(second.tree).find("mixed"), std::string::npos);
  EXPECT_TRUE(second.skipped.empty());
}

TEST_F(Snapshots, SeeASameSizeRewriteRightAfterTheIndexWasWritten) {
  for (int i = 0; i < 40; ++i) {
    const std::string content = i % 2 == 0 ? "AAAA\n" : "BBBB\n";
    write(tree() + "/racy", content);
    const Snapshot taken = snapshot(std::to_string(i + 1));
    ASSERT_EQ(git("cat-file blob " + taken.tree + ":racy"), content) << i;
  }
}

TEST_F(Snapshots, IncludeIgnoredFilesThatWereForcedIntoTheIndex) {
  write(tree() + "/forced.log", "forced\n");
  write(tree() + "/other.log", "ignored\n");
  in_tree("add -f forced.log && git commit -q -m forced");
  const Snapshot first = snapshot("1");
  EXPECT_NE(names(first.tree).find("forced.log"), std::string::npos);
  EXPECT_EQ(names(first.tree).find("other.log"), std::string::npos);
  fs::remove(tree() + "/forced.log");
  EXPECT_EQ(names(snapshot("2").tree).find("forced.log"), std::string::npos);
}

TEST_F(Snapshots, AreNotFooledByFlagsInTheUsersIndex) {
  in_tree("update-index --assume-unchanged a.txt && git update-index --skip-worktree dir/b.txt");
  in_tree("rm -q --cached dir/deep/c.txt");
  write(tree() + "/a.txt", "hidden change\n");
  fs::remove(tree() + "/dir/b.txt");
  const Snapshot taken = snapshot("1");
  EXPECT_EQ(git("cat-file blob " + taken.tree + ":a.txt"), "hidden change\n");
  EXPECT_EQ(names(taken.tree), ".gitignore\na.txt\ndir/deep/c.txt\n");
  in_tree("update-index --split-index");
  EXPECT_EQ(snapshot("2").tree, taken.tree);
  write(repo() + "/.git/worktrees/" + key() + "/index", "garbage");
  EXPECT_EQ(snapshot("3").tree, taken.tree);
}

TEST_F(Snapshots, NeverWriteThroughAForgedIndexPath) {
  // A forged index may name anything; only what is really a file inside the folder is read.
  fs::create_symlink(root_, tree() + "/out");
  write(root_ + "/secret", "secret\n");
  const std::string blob = sh(tree(), "echo x | git hash-object -w --stdin").substr(0, 40);
  in_tree("update-index --add --cacheinfo 100644," + blob + ",out2/secret");
  in_tree("rm -q --cached -f out2/secret && git update-index --add --cacheinfo 100644," + blob +
          ",out/secret");
  EXPECT_EQ(names(snapshot("1").tree).find("secret"), std::string::npos);
}

TEST_F(Snapshots, NameWhatTheyLeaveOut) {
  write(tree() + "/large", std::string(2000, 'x'));
  write(tree() + "/small", "x");
  ASSERT_EQ(::mkfifo((tree() + "/pipe").c_str(), 0666), 0);
  Result<Snapshot> taken = take_snapshot(
      {.worktree = ref(), .name = "1", .private_index = index(), .file_bytes_max = 1000});
  ASSERT_TRUE(taken) << taken.error().message;
  EXPECT_NE(names(taken->tree).find("small"), std::string::npos);
  EXPECT_EQ(names(taken->tree).find("large"), std::string::npos);
  EXPECT_EQ(taken->skipped_count, taken->skipped.size());
  EXPECT_NE(std::find(taken->skipped.begin(), taken->skipped.end(), "large"), taken->skipped.end());
}

TEST_F(Snapshots, RecordANestedRepositoryAsItsCommit) {
  sh(tree(), "git init -q inner && cd inner && git commit -q --allow-empty -m x");
  sh(tree(), "git init -q unborn");
  write(tree() + "/unborn/file", "x\n");
  sh(tree(),
     "mkdir -p build/clone sub/dir && git clone -q inner build/clone && git clone -q inner "
     "sub/dir/clone");
  const Snapshot taken = snapshot("1");
  EXPECT_EQ(
      git("ls-tree " + taken.tree + " inner"),
      "160000 commit " + sh(tree() + "/inner", "git rev-parse HEAD").substr(0, 40) + "\tinner\n");
  EXPECT_NE(git("ls-tree " + taken.tree + " sub/dir/clone").find("160000"), std::string::npos);
  EXPECT_EQ(git("ls-tree " + taken.tree + " build/clone"), "");
  EXPECT_EQ(taken.skipped, std::vector<std::string>{"unborn/"});
}

TEST_F(Snapshots, MakeTheirIndexAnewWhenItIsBrokenOrMissing) {
  write(tree() + "/n", "n\n");
  const std::string expected = git_tree();
  EXPECT_EQ(snapshot("1").tree, expected);
  write(index(), "garbage that is no index at all");
  EXPECT_EQ(snapshot("2").tree, expected);
  fs::remove(index());
  EXPECT_EQ(snapshot("3").tree, expected);
  EXPECT_TRUE(exists(index()));
}

TEST_F(Snapshots, SurviveObjectsThatWereCollected) {
  write(tree() + "/n", "only in the snapshot\n");
  const Snapshot first = snapshot("1");
  git("update-ref -d " + first.ref + " && git reflog expire --expire=now --all");
  git("gc -q --prune=now");
  write(tree() + "/m", "more\n");
  const Snapshot second = snapshot("2");
  EXPECT_EQ(second.tree, git_tree());
  EXPECT_EQ(git("fsck --no-dangling"), "");
}

TEST_F(Snapshots, StopWhenToldAndShowNothing) {
  write(tree() + "/n", "n\n");
  std::atomic<bool> cancelled = true;
  Result<Snapshot> taken = take_snapshot({.worktree = ref(),
                                          .name = "1",
                                          .private_index = index(),
                                          .patience = {.cancelled = &cancelled}});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().kind, ErrorKind::cancelled);
  EXPECT_EQ(git("for-each-ref refs/berth/s/" + key() + "/1"), "");
}

TEST_F(Snapshots, DoNotWaitForAPipeWhereGitExpectsAFile) {
  const auto code = [&] {
    Result<Snapshot> taken =
        take_snapshot({.worktree = ref(), .name = "1", .private_index = index()});
    return taken ? std::string("taken") : std::string(taken.error().code);
  };
  write(tree() + "/new/deep/file", "x\n");
  const std::string registration = repo() + "/.git/worktrees/" + key();
  for (const std::string& place :
       {tree() + "/dir/.gitignore", tree() + "/new/deep/.gitattributes", registration + "/ORIG"}) {
    ASSERT_EQ(::mkfifo(place.c_str(), 0666), 0);
    EXPECT_EQ(code(), place.ends_with("ORIG") ? "taken" : "special_file") << place;
    fs::remove(place);
  }
  fs::create_symlink("/dev/zero", tree() + "/new/.gitignore");
  EXPECT_EQ(code(), "special_file");
  fs::remove(tree() + "/new/.gitignore");
  // Where git does not look, a pipe is only left out.
  fs::create_directories(tree() + "/build");
  ASSERT_EQ(::mkfifo((tree() + "/build/.gitignore").c_str(), 0666), 0);
  EXPECT_EQ(code(), "taken");
  for (const std::string& file :
       {registration + "/HEAD", repo() + "/.git/info/exclude", registration + "/index"}) {
    fs::rename(file, root_ + "/kept");
    ASSERT_EQ(::mkfifo(file.c_str(), 0666), 0);
    EXPECT_EQ(code(), "special_file") << file;
    fs::rename(root_ + "/kept", file);
  }
  EXPECT_EQ(code(), "taken");
}

TEST_F(Snapshots, ExecuteNothingThatIsPlanted) {
  const std::string plant = "touch " + mark() + "; cat";
  const std::string script = root_ + "/planted.sh";
  write(script, "#!/bin/sh\n" + plant + "\n");
  fs::permissions(script, fs::perms(0755));
  for (const char* hook : {"post-checkout", "pre-commit", "reference-transaction", "post-commit",
                           "post-index-change", "fsmonitor-watchman"}) {
    write(root_ + "/hooks/" + hook, "#!/bin/sh\n" + plant + "\n");
    fs::permissions(root_ + "/hooks/" + hook, fs::perms(0755));
    write(repo() + "/.git/hooks/" + hook, "#!/bin/sh\n" + plant + "\n");
    fs::permissions(repo() + "/.git/hooks/" + hook, fs::perms(0755));
  }
  std::string config = read(repo() + "/.git/config");
  config += "[core]\n fsmonitor = " + script + "\n hooksPath = " + root_ +
            "/hooks\n sshCommand = " + script + "\n editor = " + script + "\n pager = " + script +
            "\n";
  config += "[filter \"evil\"]\n clean = " + script + "\n smudge = " + script + "\n";
  config += "[diff]\n external = " + script + "\n[diff \"evil\"]\n textconv = " + script +
            "\n command = " + script + "\n[merge \"evil\"]\n driver = " + script + "\n";
  write(tree() + "/.gitattributes", "* filter=evil diff=evil merge=evil\n");
  write(tree() + "/a.txt", "changed\n");
  in_tree("commit -q -am attributes");
  // The plants are real: the git command falls for them.
  write(repo() + "/.git/config", config);
  in_tree("status");
  ASSERT_TRUE(exists(mark()));
  fs::remove(mark());

  write(tree() + "/a.txt", "changed again\n");
  const Snapshot taken = snapshot("1");
  EXPECT_EQ(git("cat-file blob " + taken.tree + ":a.txt"), "changed again\n");
  fs::remove(mark());
  Result<Change> change =
      diff({.worktree = ref(), .from = base_, .to = "worktree", .private_index = index()});
  ASSERT_TRUE(change) << change.error().message;
  EXPECT_NE(patch_text(*change).find("+changed again"), std::string::npos);
  Result<CreatedWorktree> other = create_worktree(
      {.worktree = {repo(), root_ + "/trees/two", key_of(2)}, .base = "berth/" + key()});
  ASSERT_TRUE(other) << other.error().message;
  EXPECT_EQ(read(root_ + "/trees/two/a.txt"), "changed\n");
  EXPECT_FALSE(exists(mark()));
}

}  // namespace
}  // namespace berth::git::test
