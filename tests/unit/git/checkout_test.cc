#include "temp_repository.h"

#include <berth/git/worktree.h>

#include <filesystem>
#include <random>
#include <string>
#include <vector>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

class Checkouts : public GitTest {
 protected:
  Checkouts() : GitTest(Where::memory) {}
  /// Several threads write it: more files than one thread is given.
  static constexpr int kFiles = 1300;

  void make_random_tree(unsigned seed) {
    std::mt19937 random(seed);
    const std::vector<std::string> attributes{
        "*.txt text\n",  "*.txt text eol=crlf\n",         "*.c ident\n*.bin -text\n",
        "* text=auto\n", "d1/** eol=crlf\n*.txt -text\n", "*.c text eol=lf\n*.bin eol=crlf\n"};
    const std::vector<std::string> contents{"one\ntwo\n",
                                            "one\r\ntwo\r\n",
                                            "mixed\r\nends\n",
                                            "$Id$\nident\n",
                                            std::string("bin\0ary\n", 8),
                                            "",
                                            "no end"};
    const std::vector<std::string> endings{".txt", ".c", ".bin", ""};
    for (int i = 0; i < kFiles; ++i) {
      std::string folder = repo();
      for (unsigned depth = random() % 4; depth > 0; --depth) {
        folder += "/d" + std::to_string(random() % 6);
      }
      const std::string path = folder + "/f" + std::to_string(i) + endings[random() % 4];
      if (random() % 12 == 0) {
        fs::create_directories(folder);
        fs::create_symlink("f" + std::to_string(random() % kFiles), path);
        continue;
      }
      write(path, contents[random() % contents.size()] + std::to_string(random() % 50));
      if (random() % 8 == 0) fs::permissions(path, fs::perms::owner_exec, fs::perm_options::add);
      if (random() % 60 == 0) write(folder + "/.gitattributes", attributes[random() % 6]);
    }
    git("add -A && git commit -q -m random");
  }

  /// Names, modes, link targets and contents of everything but `.git`.
  std::string listing(const std::string& folder) const {
    return sh(folder,
              "find . -path ./.git -prune -o -printf \"%p %y %m %l\\n\" | sort; "
              "find . -path ./.git -prune -o -type f -print0 | sort -z | xargs -0 sha1sum");
  }
};

TEST_F(Checkouts, RandomTreesAreWrittenAsGitWritesThem) {
  for (const unsigned seed : {1U, 2U, 3U, 4U}) {
    SCOPED_TRACE(seed);
    for (const auto& entry : fs::directory_iterator(repo())) {
      if (entry.path().filename() != ".git") fs::remove_all(entry.path());
    }
    make_random_tree(seed);
    git(seed == 4 ? "config core.autocrlf true" : "config core.autocrlf false");
    const std::string theirs = root_ + "/trees/git" + std::to_string(seed);
    git("worktree add -q --detach " + theirs);
    const WorktreeRef ours{repo(), root_ + "/trees/ours" + std::to_string(seed),
                           key_of(static_cast<int>(seed))};
    Result<CreatedWorktree> made =
        create_worktree({.worktree = ours, .base = {}, .private_index = {}});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(listing(ours.path), listing(theirs));
    // What a conversion cannot round-trip reads as changed in both.
    EXPECT_EQ(sh(ours.path, "git status --porcelain"), sh(theirs, "git status --porcelain"));
    EXPECT_EQ(sh(ours.path, "git ls-files --stage"), sh(theirs, "git ls-files --stage"));
  }
}

TEST_F(Checkouts, AFileInTheWayEndsAllThreadsAndLeavesNothing) {
  make_random_tree(9);
  // Two names that are one file: git's index holds a file and a folder of one name.
  const std::string blob = sh(repo(), "git hash-object -w a.txt");
  const std::string id = blob.substr(0, 40);
  sh(repo(), "printf \"100644 blob " + id +
                 "\\tx\\n\" | git mktree > inner && "
                 "(git ls-tree HEAD; printf \"100644 blob " +
                 id +
                 "\\ta.clash\\n\"; "
                 "printf \"040000 tree $(cat inner)\\ta.clash\\n\") | git mktree > tree && "
                 "git commit-tree -m clash $(cat tree) > commit");
  const std::string commit = read(repo() + "/commit").substr(0, 40);
  Result<CreatedWorktree> made =
      create_worktree({.worktree = ref(), .base = commit, .private_index = {}});
  ASSERT_FALSE(made);
  EXPECT_EQ(std::string(made.error().code), "path_occupied") << made.error().message;
  EXPECT_FALSE(exists(tree()));
  EXPECT_FALSE(exists(repo() + "/.git/worktrees/" + key()));
}

TEST_F(Checkouts, APastDeadlineEndsAllThreadsAndLeavesNothing) {
  make_random_tree(5);
  Patience patience;
  patience.deadline = std::chrono::steady_clock::now();
  Result<CreatedWorktree> made =
      create_worktree({.worktree = ref(), .base = {}, .private_index = {}, .patience = patience});
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().kind, ErrorKind::timed_out);
  EXPECT_FALSE(exists(tree()));
}

}  // namespace
}  // namespace berth::git::test
