#include "temp_repository.h"

#include <berth/git/diff.h>

#include <algorithm>
#include <filesystem>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

class Diffs : public GitTest {
 protected:
  void SetUp() override { base_ = create().base_commit; }

  DiffRequest request() const {
    return {.worktree = ref(), .from = base_, .to = "worktree", .private_index = index()};
  }
  Change changes(const DiffRequest& wanted) {
    Result<Change> change = diff(wanted);
    EXPECT_TRUE(change) << (change ? "" : change.error().message);
    return change ? *change : Change{};
  }
  Change changes() { return changes(request()); }

  /// "status path additions deletions" a line.
  static std::string list(const Change& change) {
    std::string out;
    for (const FileChange& file : change.files) {
      out += std::string(to_string(file.status)) + " ";
      if (!file.old_path.empty()) out += file.old_path + " -> ";
      out += file.path + " " + std::to_string(file.additions) + " " +
             std::to_string(file.deletions) + (file.binary ? " binary" : "") + "\n";
    }
    return out;
  }
  std::string base_;
};

TEST_F(Diffs, ListEveryKindOfChange) {
  EXPECT_EQ(list(changes()), "");
  write(tree() + "/a.txt", "one\nTWO\nthree\nfour\n");
  write(tree() + "/new.txt", "n\n");
  write(tree() + "/ignored.log", "i\n");
  fs::remove(tree() + "/dir/b.txt");
  fs::permissions(tree() + "/.gitignore", fs::perms(0755));
  write(tree() + "/bin", std::string("\0\1\2", 3));
  const Change change = changes();
  EXPECT_EQ(list(change),
            "modified .gitignore 0 0\nmodified a.txt 2 1\nadded bin 0 0 binary\n"
            "deleted dir/b.txt 0 1\nadded new.txt 1 0\n");
  EXPECT_EQ(change.additions, 3u);
  EXPECT_EQ(change.deletions, 2u);
  EXPECT_EQ(change.files[0].old_mode, 0100644u);
  EXPECT_EQ(change.files[0].mode, 0100755u);
  EXPECT_EQ(change.files[2].patch, "");
  EXPECT_NE(change.files[1].patch.find("diff --git a/a.txt b/a.txt"), std::string::npos);
  EXPECT_NE(change.files[1].patch.find("-two\n+TWO\n"), std::string::npos);
  EXPECT_FALSE(change.files_truncated || change.patch_truncated || change.renames_limited);
}

TEST_F(Diffs, FindRenames) {
  std::string text;
  for (int i = 0; i < 30; ++i) text += "line " + std::to_string(i) + "\n";
  write(tree() + "/long.txt", text);
  in_tree("add -A && git commit -q -m long");
  base_ = in_tree("rev-parse HEAD").substr(0, 40);
  fs::rename(tree() + "/long.txt", tree() + "/dir/moved name.txt");
  write(tree() + "/dir/moved name.txt", text + "and one more\n");
  const Change change = changes();
  EXPECT_EQ(list(change), "renamed long.txt -> dir/moved name.txt 1 0\n");
  EXPECT_NE(change.files[0].patch.find("rename from long.txt"), std::string::npos);

  // Beyond the bound only exact renames are found, and the answer says so.
  DiffRequest bounded = request();
  bounded.limits.rename_candidates_max = 1;
  write(tree() + "/another", "x\n");
  const Change limited = changes(bounded);
  EXPECT_TRUE(limited.renames_limited);
  EXPECT_EQ(list(limited),
            "added another 1 0\nadded dir/moved name.txt 31 0\ndeleted long.txt 0 30\n");
}

TEST_F(Diffs, ShowAChangeOfTypeAsOneEntryThatGitCanApply) {
  fs::remove(tree() + "/a.txt");
  fs::create_symlink("dir/b.txt", tree() + "/a.txt");
  fs::remove_all(tree() + "/dir/deep");
  write(tree() + "/dir/deep", "file now\n");
  const Change change = changes();
  EXPECT_EQ(list(change), "typechange a.txt 1 3\nadded dir/deep 1 0\ndeleted dir/deep/c.txt 0 1\n");
  write(root_ + "/p.patch", patch_text(change));
  git("checkout -q --detach " + base_ + " && git apply --index " + root_ + "/p.patch");
  EXPECT_EQ(git("write-tree"), change.to_tree + "\n");
}

TEST_F(Diffs, KeepToTheirLimitsAndSaySo) {
  write(tree() + "/one", std::string(500, 'x') + "\n");
  write(tree() + "/two", std::string(500, 'y') + "\n");
  DiffRequest wanted = request();
  wanted.limits.file_patch_bytes_max = 100;
  Change change = changes(wanted);
  EXPECT_EQ(list(change), "added one 1 0\nadded two 1 0\n");
  EXPECT_TRUE(change.patch_truncated && change.files[0].patch_truncated);
  EXPECT_EQ(patch_text(change), "");

  wanted = request();
  wanted.limits.patch_bytes_max = 1000;
  change = changes(wanted);
  EXPECT_FALSE(change.files[0].patch.empty());
  EXPECT_TRUE(change.files[1].patch.empty() && change.files[1].patch_truncated);

  wanted = request();
  wanted.limits.files_max = 1;
  change = changes(wanted);
  EXPECT_EQ(change.files.size(), 1u);
  EXPECT_EQ(change.files_total, 2u);
  EXPECT_TRUE(change.files_truncated);

  wanted = request();
  wanted.limits.file_bytes_max = 100;
  change = changes(wanted);
  EXPECT_FALSE(change.files[0].counted);
  EXPECT_TRUE(change.files[0].patch_truncated);

  wanted = request();
  wanted.with_patches = false;
  change = changes(wanted);
  EXPECT_EQ(list(change), "added one 1 0\nadded two 1 0\n");
  EXPECT_EQ(patch_text(change), "");
  EXPECT_FALSE(change.patch_truncated);

  wanted = request();
  wanted.paths = {"two"};
  EXPECT_EQ(list(changes(wanted)), "added two 1 0\n");
}

TEST_F(Diffs, CompareSnapshotsWithOrWithoutTheWorktree) {
  write(tree() + "/n", "1\n");
  const Snapshot first = snapshot("1");
  write(tree() + "/n", "1\n2\n");
  const Snapshot second = snapshot("2");
  DiffRequest wanted{.worktree = ref(), .from = first.commit, .to = second.tree};
  const Change change = changes(wanted);
  EXPECT_EQ(list(change), "modified n 1 0\n");
  EXPECT_EQ(change.from_tree, first.tree);
  EXPECT_EQ(change.to_tree, second.tree);
  wanted.worktree = {.repository = repo(), .path = {}, .key = {}};
  EXPECT_EQ(list(changes(wanted)), "modified n 1 0\n");
  fs::remove_all(tree());
  wanted.worktree = ref();
  EXPECT_EQ(list(changes(wanted)), "modified n 1 0\n");
  Result<Change> gone = diff(request());
  ASSERT_FALSE(gone);
  EXPECT_STREQ(gone.error().code, "worktree_missing");
}

TEST_F(Diffs, NameBadIds) {
  const auto code = [&](const std::string& from, const std::string& to) {
    Result<Change> change = diff({.worktree = ref(), .from = from, .to = to});
    return change ? std::string("done") : std::string(change.error().code);
  };
  EXPECT_EQ(code("main", base_), "bad_object_id");
  EXPECT_EQ(code(base_, "HEAD"), "bad_object_id");
  EXPECT_EQ(code(base_, std::string(40, '0')), "object_not_found");
  EXPECT_EQ(code(base_, git("rev-parse HEAD:a.txt").substr(0, 40)), "bad_object_id");
  EXPECT_EQ(code(base_, base_), "done");
}

TEST_F(Diffs, HonourTheBinaryAttributeAndCanCarryBinaries) {
  write(tree() + "/.gitattributes", "*.dat binary\n");
  write(tree() + "/x.dat", "text in truth\n");
  write(tree() + "/raw", std::string("a\0b\nc", 5));
  Change change = changes();
  EXPECT_EQ(list(change),
            "added .gitattributes 1 0\nadded raw 0 0 binary\nadded x.dat 0 0 binary\n");
  DiffRequest wanted = request();
  wanted.binary_patches = true;
  change = changes(wanted);
  write(root_ + "/p.patch", patch_text(change));
  git("checkout -q --detach " + base_ + " && git apply --index " + root_ + "/p.patch");
  EXPECT_EQ(git("write-tree"), change.to_tree + "\n");
}

TEST_F(Diffs, OfABinaryFileCarryItsNewNameAndMode) {
  write(tree() + "/.gitattributes", "*.dat binary\n");
  write(tree() + "/mode.dat", "one\n");
  write(tree() + "/name.dat", std::string("\0two", 4) + std::string(100, 'x'));
  in_tree("add -A && git commit -q -m binaries");
  base_ = in_tree("rev-parse HEAD").substr(0, 40);
  fs::permissions(tree() + "/mode.dat", fs::perms(0755));
  fs::rename(tree() + "/name.dat", tree() + "/new.dat");
  const Change change = changes();
  EXPECT_EQ(list(change), "modified mode.dat 0 0 binary\nrenamed name.dat -> new.dat 0 0 binary\n");
  write(root_ + "/p.patch", patch_text(change));
  git("checkout -q --detach " + base_ + " && git apply --index " + root_ + "/p.patch");
  EXPECT_EQ(git("write-tree"), change.to_tree + "\n");
}

TEST_F(Diffs, StopWhenTold) {
  write(tree() + "/n", "n\n");
  DiffRequest wanted = request();
  wanted.patience.deadline = std::chrono::steady_clock::time_point();
  Result<Change> change = diff(wanted);
  ASSERT_FALSE(change);
  EXPECT_EQ(change.error().kind, ErrorKind::timed_out);
}

TEST_F(Diffs, ReadOnlyTheFoldersThatDiffer) {
  write(tree() + "/same/same/f", "f\n");
  write(tree() + "/other/same/g", "g\n");
  write(tree() + "/other/h", "h\n");
  const Snapshot first = snapshot("1");
  write(tree() + "/other/h", "h\ni\n");
  const Snapshot second = snapshot("2");
  for (const char* folder : {"same/same", "same", "other/same"}) {
    const std::string id = git("rev-parse " + first.tree + ":" + folder).substr(0, 40);
    ASSERT_TRUE(fs::remove(repo() + "/.git/objects/" + id.substr(0, 2) + "/" + id.substr(2)));
  }
  const Change change = changes({.worktree = ref(), .from = first.tree, .to = second.tree});
  EXPECT_EQ(list(change), "modified other/h 1 0\n");
  EXPECT_EQ(change.from_tree, first.tree);
  EXPECT_EQ(change.to_tree, second.tree);
}

TEST_F(Diffs, TellFilesFromFoldersWhoseNamesSortAround) {
  for (const char* name : {"a/x", "a-b", "a.b/x", "a0", "ab/x", "b", "b.c", "c/x/y", "c/x-y"}) {
    write(tree() + "/" + name, std::string(name) + "\n");
  }
  const std::string before = snapshot("1").tree;
  for (const char* name : {"a", "b", "b.c", "c/x"}) fs::remove_all(tree() + "/" + name);
  for (const char* name : {"a", "b/x", "b0", "c/x"}) {
    write(tree() + "/" + name, std::string(name) + " is new\nand long\n");
  }
  const std::string after = snapshot("2").tree;
  EXPECT_EQ(list(changes({.worktree = ref(), .from = before, .to = after})),
            "added a 2 0\ndeleted a/x 0 1\ndeleted b 0 1\ndeleted b.c 0 1\nadded b/x 2 0\n"
            "added b0 2 0\nadded c/x 2 0\ndeleted c/x/y 0 1\n");
  EXPECT_EQ(list(changes({.worktree = ref(), .from = after, .to = after})), "");
}

TEST_F(Diffs, LookFarDown) {
  std::string path = tree();
  for (int i = 0; i < 300; ++i) path += "/d";
  fs::create_directories(path);
  write(path + "/f", "1\n");
  write(path + "/same", "1\n");
  const std::string before = snapshot("1").tree;
  write(path + "/f", "1\n2\n");
  const Change change = changes({.worktree = ref(), .from = before, .to = snapshot("2").tree});
  EXPECT_EQ(list(change), "modified " + path.substr(tree().size() + 1) + "/f 1 0\n");
}

TEST_F(Diffs, MarkWhatGitItselfDoesNotHold) {
  write(tree() + "/new.bin", lfs_pointer_of(5));
  write(tree() + "/long.bin", lfs_pointer_of(5) + std::string(1000, 'x'));
  write(tree() + "/word.bin", "version 2, which is not of git-lfs" + std::string(100, '.'));
  sh(tree(), "git init -q inside && git -C inside commit -q --allow-empty -m x");
  const Change change = changes();
  std::string kinds;
  for (const FileChange& file : change.files) {
    kinds += file.path + " " + std::to_string(static_cast<int>(file.kind)) + "\n";
  }
  EXPECT_EQ(kinds, "inside 1\nlong.bin 0\nnew.bin 2\nword.bin 0\n");

  const std::string first = snapshot("1").tree;
  write(tree() + "/new.bin", lfs_pointer_of(6));
  fs::remove_all(tree() + "/inside");
  const std::string second = snapshot("2").tree;
  fs::remove(tree() + "/new.bin");
  const std::string third = snapshot("3").tree;
  const auto kind_of = [&](const std::string& from, const std::string& to, const char* path) {
    for (const FileChange& file :
         changes({.worktree = ref(), .from = from, .to = to, .with_patches = false}).files) {
      if (file.path == path) return file.kind;
    }
    ADD_FAILURE() << path;
    return FileKind::plain;
  };
  EXPECT_EQ(kind_of(first, second, "new.bin"), FileKind::lfs_pointer);
  EXPECT_EQ(kind_of(first, second, "inside"), FileKind::submodule);  // one that is gone
  EXPECT_EQ(kind_of(second, third, "new.bin"), FileKind::lfs_pointer);
}

}  // namespace
}  // namespace berth::git::test
