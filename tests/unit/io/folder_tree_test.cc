// Paths that strangers choose, on a real disk with and without openat2, and on a simulated one.
#include <berth/io/folder_tree_linux.h>
#include <berth/io/sim_files.h>

#include <gtest/gtest.h>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace berth::inline v0::io {
namespace {

namespace fs = std::filesystem;

/// A folder "root" with "file", and "outside" beside it.
class Folder {
 public:
  Folder() {
    std::string name = fs::temp_directory_path() / "berth-tree-XXXXXX";
    path = ::mkdtemp(name.data());
    fs::create_directories(path / "root/sub");
    fs::create_directories(path / "outside");
    put("root/file", "inside");
    put("outside/file", "secret");
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { fs::remove_all(path); }
  void put(const std::string& name, const std::string& text) { std::ofstream(path / name) << text; }
  std::string get(const std::string& name) const {
    std::ifstream file(path / name);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }

  fs::path path;
};

class Tree : public testing::TestWithParam<Beneath> {
 protected:
  Tree() : tree(*open_linux_tree(folder.path / "root", GetParam())) {}
  std::string code_of_open(const std::string& path) const {
    Result<std::unique_ptr<TreeFile>> file = tree->open(path);
    return file.has_value() ? "opened " + *(*file)->read(0, 100) : file.error().code;
  }

  Folder folder;
  std::unique_ptr<FolderTree> tree;
};

TEST_P(Tree, AFileIsReadWrittenAndRemoved) {
  EXPECT_EQ(code_of_open("file"), "opened inside");
  ASSERT_TRUE(tree->write("new/deep/file", "text", {}).has_value());
  EXPECT_EQ(folder.get("root/new/deep/file"), "text");
  EXPECT_EQ(tree->stat("new/deep/file")->bytes, 4U);
  EXPECT_STREQ(tree->remove("new/deep", {}).error().code, "folder_not_empty");
  ASSERT_TRUE(tree->remove("new/deep/file", {}).has_value());
  EXPECT_EQ(tree->stat("new/deep/file").error().kind, ErrorKind::not_found);
}

TEST_P(Tree, NoSpellingOfAPathLeadsOut) {
  for (const char* path : {"..", "../outside/file", "sub/../../outside/file", "/etc/passwd",
                           "./file", "sub//x", "file/", "."}) {
    EXPECT_EQ(code_of_open(path), "bad_path") << path;
    EXPECT_STREQ(tree->write(path, "x", {}).error().code, "bad_path") << path;
  }
  EXPECT_EQ(code_of_open(std::string("file\0x", 6)), "bad_path");
}

TEST_P(Tree, NoLinkLeadsOut) {
  fs::create_directory_symlink(folder.path / "outside", folder.path / "root/absolute");
  fs::create_directory_symlink("../outside", folder.path / "root/up");
  fs::create_symlink("../outside/file", folder.path / "root/link");
  fs::create_symlink("/proc/self/root", folder.path / "root/magic");
  for (const char* path : {"absolute/file", "up/file", "magic/etc/passwd"}) {
    EXPECT_FALSE(tree->open(path).has_value()) << path;
    EXPECT_FALSE(tree->write(std::string(path) + "2", "x", {}).has_value()) << path;
    EXPECT_FALSE(tree->remove(path, {}).has_value()) << path;
  }
  EXPECT_FALSE(tree->open("link").has_value());
  EXPECT_STREQ(tree->write("link", "x", {}).error().code, "not_a_file");
  EXPECT_EQ(folder.get("outside/file"), "secret");
  EXPECT_EQ(tree->stat("link")->link, "../outside/file") << "it is shown as what it is";
  ASSERT_TRUE(tree->remove("link", {}).has_value());
  EXPECT_EQ(folder.get("outside/file"), "secret") << "the link went, not what it named";
}

TEST_P(Tree, GitsOwnFilesAreNotThere) {
  fs::create_directories(folder.path / "root/.git");
  folder.put("root/.git/config", "[core]");
  fs::create_directory_symlink(".git", folder.path / "root/alias");
  EXPECT_EQ(code_of_open(".git/config"), "path_is_git");
  EXPECT_EQ(code_of_open("sub/.GIT"), "path_is_git");
  EXPECT_FALSE(tree->open("alias/config").has_value());
  EXPECT_FALSE(tree->write("alias/config", "x", {}).has_value());
  EXPECT_EQ(folder.get("root/.git/config"), "[core]");
  bool more = false;
  const std::vector<TreeEntry> entries = *tree->list("", "", 100, &more);
  EXPECT_EQ(entries.size(), 3U);
  for (const TreeEntry& entry : entries) EXPECT_NE(entry.name, ".git");
}

TEST_P(Tree, AListIsBoundedAndGoesOnBehindAName) {
  for (int i = 0; i < 9; ++i) folder.put("root/sub/" + std::to_string(i), "");
  bool more = false;
  std::vector<TreeEntry> page = *tree->list("sub", "", 4, &more);
  ASSERT_EQ(page.size(), 4U);
  EXPECT_EQ(page.front().name, "0");
  EXPECT_TRUE(more);
  page = *tree->list("sub", "6", 4, &more);
  ASSERT_EQ(page.size(), 2U);
  EXPECT_EQ(page.back().name, "8");
  EXPECT_FALSE(more);
}

TEST_P(Tree, ConditionsAreOfTheFileThatIsReplaced) {
  const std::string version = (*tree->open("file"))->entry().version;
  EXPECT_STREQ(tree->write("file", "x", {.absent = true}).error().code, "precondition_failed");
  EXPECT_STREQ(tree->write("none", "x", {.exists = true}).error().code, "precondition_failed");
  Result<TreeEntry> written = tree->write("file", "other!", {.version = version});
  ASSERT_TRUE(written.has_value());
  EXPECT_NE(written->version, version);
  EXPECT_EQ(tree->stat("file")->version, written->version);
  EXPECT_STREQ(tree->remove("file", {.version = version}).error().code, "precondition_failed");
  EXPECT_EQ(folder.get("root/file"), "other!");
}

TEST_P(Tree, AnotherFolderInItsPlaceChangesNothing) {
  fs::rename(folder.path / "root", folder.path / "moved");
  fs::create_directory_symlink("outside", folder.path / "root");
  EXPECT_EQ(code_of_open("file"), "opened inside");
  EXPECT_FALSE(open_linux_tree(folder.path / "root", GetParam()).has_value()) << "a link is none";
}

INSTANTIATE_TEST_SUITE_P(Ways, Tree, testing::Values(Beneath::kernel, Beneath::by_segment));

TEST(FolderTree, LinksInsideAreFollowedWhereTheKernelKeepsThemIn) {
  const Folder folder;
  fs::create_directory_symlink("sub", folder.path / "root/inner");
  std::ofstream(folder.path / "root/sub/x") << "y";
  const std::unique_ptr<FolderTree> tree = *open_linux_tree(folder.path / "root");
  Result<std::unique_ptr<TreeFile>> file = tree->open("inner/x");
  if (!file.has_value()) GTEST_SKIP() << "this kernel has no openat2";
  EXPECT_EQ(*(*file)->read(0, 10), "y");
}

TEST(FolderTree, ASimulatedDiskKeepsTheSamePromises) {
  SimDisk disk;
  ASSERT_TRUE(disk.make_directories("/root/sub", 0755).has_value());
  SimFiles files(disk);
  const std::unique_ptr<FolderTree> tree = *files.open_tree("/root");
  ASSERT_TRUE(tree->write("a/b/c", "text", {.absent = true}).has_value());
  EXPECT_EQ(*(*tree->open("a/b/c"))->read(1, 2), "ex");
  EXPECT_STREQ(tree->open("../x").error().code, "bad_path");
  EXPECT_STREQ(tree->open(".git/x").error().code, "path_is_git");
  EXPECT_STREQ(tree->open("a").error().code, "not_a_file");
  EXPECT_STREQ(tree->write("a/b/c", "", {.version = "x"}).error().code, "precondition_failed");
  bool more = false;
  EXPECT_EQ(tree->list("", "", 1, &more)->size(), 1U);
  EXPECT_TRUE(more);
  EXPECT_STREQ(tree->remove("a", {}).error().code, "folder_not_empty");
  EXPECT_TRUE(tree->remove("a/b/c", {}).has_value());
}

}  // namespace
}  // namespace berth::inline v0::io
