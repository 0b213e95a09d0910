#include "temp_repository.h"

#include <berth/git/diff.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <map>
#include <random>
#include <set>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

// Random edits; the git command must see the same tree, the same list and the same counts, and our
// patch must carry a checkout of the base to our snapshot. A failure prints its seed.
class Differential : public GitTest {
 protected:
  Differential() : GitTest(Where::memory) {}
  void SetUp() override {
    for (int i = 0; i < 12; ++i) write(repo() + "/" + path(i), lines(10 + i * 3));
    write(repo() + "/.gitattributes", "*.dat binary\n");
    write(repo() + "/p9.dat", std::string("\0\1binary", 8));
    fs::create_symlink("a.txt", repo() + "/link");
    git("add -A && git commit -q -m base");
    base_ = create().base_commit;
    git("worktree add -q --detach ../trees/apply");
  }

  static std::string path(int i) {
    const char* folders[] = {"", "dir/", "dir/deep/", "sp ace/", "\xc3\xbc/\xe6\x97\xa5/"};
    return std::string(folders[i % 5]) + "p" + std::to_string(i % 9) + (i % 7 == 3 ? " x" : "") +
           (i % 11 == 5 ? ".dat" : ".txt");
  }
  std::string lines(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += "line " + std::to_string(random() % 40) + "\n";
    if (random() % 6 == 0 && !text.empty()) text.pop_back();  // no newline at the end
    return text;
  }
  unsigned random() { return static_cast<unsigned>(engine_()); }

  /// Makes `target` writable as a file: folders that are files, and the other way, give way.
  void clear(const std::string& target) {
    for (fs::path parent = fs::path(target).parent_path(); parent != tree();
         parent = parent.parent_path()) {
      if (fs::exists(fs::symlink_status(parent)) && !fs::is_directory(fs::symlink_status(parent))) {
        fs::remove(parent);
      }
    }
    fs::create_directories(fs::path(target).parent_path());
    fs::remove_all(target);
  }

  void edit() {
    const std::string target = tree() + "/" + path(static_cast<int>(random() % 60));
    const bool is_file = fs::is_regular_file(fs::symlink_status(target));
    switch (random() % 10) {
      case 0:
        clear(target);
        write(target, lines(static_cast<int>(random() % 30)));
        break;
      case 1:
        if (is_file) fs::remove(target);
        break;
      case 2:
        if (is_file) fs::permissions(target, fs::perms(random() % 2 ? 0755 : 0644));
        break;
      case 3: {
        if (!is_file) break;
        const std::string to = tree() + "/" + path(static_cast<int>(random() % 60));
        const std::string content = read(target);
        fs::remove(target);
        clear(to);
        write(to, content + (random() % 2 ? "moved\n" : ""));
        break;
      }
      case 4:
        clear(target);
        fs::create_symlink(random() % 2 ? "a.txt" : "no where", target);
        break;
      case 5:
        clear(target);
        write(target + "/inside", lines(3));
        break;
      case 6:
        clear(target);
        write(target, std::string("\0bin", 4) + lines(5));
        break;
      case 7:
        write(tree() + "/noise" + std::to_string(random() % 5) + ".log", "ignored\n");
        break;
      case 8: {
        if (!is_file) break;
        std::string content = read(target);
        const std::size_t at = content.size() / 2;
        content.insert(std::min(content.size(), content.find('\n', at) + 1), "inserted\n");
        write(target, content);
        break;
      }
      default:
        clear(target);
        write(target, "");
        break;
    }
  }

  /// path -> "additions deletions" as `git diff --numstat` has it without renames.
  std::map<std::string, std::string> numstat(const std::string& to) {
    std::map<std::string, std::string> counts;
    const std::string text =
        git("-c core.quotepath=false diff --numstat --no-renames " + base_ + " " + to);
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      const std::string line = text.substr(at, end - at);
      const std::size_t one = line.find('\t');
      const std::size_t two = line.find('\t', one + 1);
      counts[line.substr(two + 1)] =
          line.substr(0, one) + " " + line.substr(one + 1, two - one - 1);
      at = end + 1;
    }
    return counts;
  }

  std::string base_;
  std::mt19937 engine_;
};

TEST_F(Differential, AgreesWithTheGitCommandOverRandomEdits) {
  const std::string apply = root_ + "/trees/apply";
  const std::string theirs = root_ + "/data/theirs.index";
  int renames = 0;
  int type_changes = 0;
  constexpr unsigned kSeeds = 100;  // fixed seeds 1 to kSeeds in every run
  std::cout << "figure: first seed 1 of " << kSeeds << ", a random state each\n";
  for (unsigned seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    engine_.seed(seed);
    // Long enough on top of each other to pile up, short enough that something of the base is left.
    if (seed % 4 == 1) sh(tree(), "git reset -q --hard && git clean -qfd");
    const unsigned edits = 1 + random() % 8;
    for (unsigned i = 0; i < edits; ++i) edit();

    const Snapshot taken = snapshot(std::to_string(seed));
    const std::string add =
        "git read-tree " + base_ + " && git add -A 2>/dev/null && git write-tree";
    ASSERT_EQ(sh(tree(), "GIT_INDEX_FILE=" + theirs + " sh -c \"" + add + "\""), taken.tree + "\n");

    Result<Change> change = diff({.worktree = ref(),
                                  .from = base_,
                                  .to = "worktree",
                                  .binary_patches = true,
                                  .private_index = index()});
    ASSERT_TRUE(change) << change.error().message;
    ASSERT_EQ(change->to_tree, taken.tree);

    std::map<std::string, std::string> expected = numstat(taken.commit);
    std::set<std::string> named;
    for (const FileChange& file : change->files) {
      named.insert(file.path);
      renames += file.status == FileStatus::renamed ? 1 : 0;
      type_changes += file.status == FileStatus::typechange ? 1 : 0;
      if (file.status == FileStatus::renamed) {
        named.insert(file.old_path);
        continue;
      }
      if (!file.binary) {
        EXPECT_EQ(std::to_string(file.additions) + " " + std::to_string(file.deletions),
                  expected[file.path])
            << file.path;
      }
    }
    std::set<std::string> theirs_named;
    for (const auto& [name, counts] : expected) theirs_named.insert(name);
    EXPECT_EQ(named, theirs_named);

    write(root_ + "/p.patch", patch_text(*change));
    const std::string run =
        change->files.empty() ? "true" : "git apply --index " + root_ + "/p.patch";
    ASSERT_EQ(sh(apply, "git reset -q --hard " + base_ + " && git clean -qfdx && " + run +
                            " && git write-tree"),
              taken.tree + "\n")
        << patch_text(*change);
  }
  // The edits must have met the hard cases, or this test proves little.
  EXPECT_GT(renames, 5);
  EXPECT_GT(type_changes, 10);
}

}  // namespace
}  // namespace berth::git::test
