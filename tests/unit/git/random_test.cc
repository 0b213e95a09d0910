// Random repositories and random edits: the git command must see the same tree, the same status,
// the same counts, and must be able to apply our patch.
//
// BERTH_GIT_SEED=n makes the one repository again that a failure names (BERTH_GIT_KEEP=folder
// copies it there as it was then); BERTH_FULL=1 makes five times as many.

#include "random_tree.h"
#include "temp_repository.h"

#include <berth/git/diff.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kRepositories = 25;  // fixed seeds 1 to kRepositories in every run
constexpr unsigned kSteps = 20;

/// path -> what happened to it ("A", "M", "D", "T", "R").
using Statuses = std::map<std::string, std::string>;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find(separator, at), text.size());
    parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

std::string octal(std::uint32_t mode) {
  char text[8];
  std::snprintf(text, sizeof text, "%06o", mode);
  return text;
}

/// What the git command said of one state, each in a file of its own.
class Theirs {
 public:
  explicit Theirs(std::string folder) : folder_(std::move(folder)) {}

  std::string file(const char* name) const { return folder_ + "/" + name; }
  std::string line(const char* name) const {
    const std::string text = read(file(name));
    return text.substr(0, text.find('\n'));
  }
  /// "old mode, new mode, letter" by path, of `git diff --raw -z`.
  Statuses raw() const {
    Statuses found;
    const std::vector<std::string> parts = split(read(file("raw")), '\0');
    for (std::size_t i = 0; i + 1 < parts.size(); i += 2) {
      const std::vector<std::string> words = split(parts[i].substr(1), ' ');
      found[parts[i + 1]] = words[0] + " " + words[1] + " " + words[4];
    }
    return found;
  }
  /// "additions deletions" by path, of `git diff --numstat -z`.
  Statuses counts() const {
    Statuses found;
    for (const std::string& line : split(read(file("numstat")), '\0')) {
      const std::vector<std::string> words = split(line, '\t');
      const std::size_t name = words[0].size() + words[1].size() + 2;
      found[line.substr(name)] = words[0] + " " + words[1];
    }
    return found;
  }
  /// Letter by path, of `git status --porcelain -z`; HEAD and index are the base.
  Statuses status() const {
    Statuses found;
    for (const std::string& line : split(read(file("status")), '\0')) {
      std::string path = line.substr(3);
      if (path.back() == '/') path.pop_back();
      found[path] = line[0] == '?' ? "A" : line.substr(1, 1);
    }
    return found;
  }

 private:
  std::string folder_;
};

/// Our list in the words of theirs: renames taken apart.
struct Ours {
  Statuses raw;
  Statuses counts;
  Statuses status;

  explicit Ours(const Change& change) {
    for (const FileChange& file : change.files) {
      const char* letter = file.status == FileStatus::added        ? "A"
                           : file.status == FileStatus::deleted    ? "D"
                           : file.status == FileStatus::typechange ? "T"
                                                                   : "M";
      if (file.status == FileStatus::renamed) {
        raw[file.old_path] = octal(file.old_mode) + " 000000 D";
        raw[file.path] = "000000 " + octal(file.mode) + " A";
        status[file.old_path] = "D";
        status[file.path] = "A";
        continue;
      }
      raw[file.path] = octal(file.old_mode) + " " + octal(file.mode) + " " + letter;
      status[file.path] = letter;
      counts[file.path] =
          file.binary ? "- -"
                      : std::to_string(file.additions) + " " + std::to_string(file.deletions);
    }
  }
};

class RandomRepositories : public GitTest {
 protected:
  RandomRepositories() : GitTest(Where::memory) {}
  static void TearDownTestSuite() {
    std::cout << "figure: first seed " << seeds(kRepositories).front() << " of "
              << seeds(kRepositories).size() << ", " << cases_
              << " random states compared with the git command, " << hinted_
              << " of them by hints\n";
    for (const auto& [name, count] : met_) std::cout << name << " " << count << ", ";
    std::cout << "\n";
  }

  void make_nested() {
    sh(root_, "git init -q nested && cd nested && echo n > n && git add n && git commit -q -m n");
  }

  /// A repository of its own for `seed` and a worktree of it; the folder is the test's.
  void begin(unsigned seed) {
    random_.emplace(repo(), root_ + "/nested", seed);
    const char* const endings[] = {"", "git config core.autocrlf input && ", "",
                                   "git config core.autocrlf true && "};
    random_->grow(20 + static_cast<int>(random_->below(40)));
    sh(repo(), std::string(endings[seed % 4]) + "git config core.safecrlf false && git add -A 2>" +
                   root_ + "/warnings; git commit -q --allow-empty -m base");
    // What is excluded by the repository itself, in no file of the tree.
    if (seed % 5 == 0) write(repo() + "/.git/info/exclude", "*.tmp\n!y.tmp\n/dir/deep/er\n");
    base_ = create().base_commit;
    random_->move_to(tree());
    before_ = base_;
    ever_touched_.clear();
  }

  void ask_git(const std::string& patch) {
    // Output files lie beside the worktree. What git refuses to add is no failure of ours; the
    // trees tell.
    const std::string out = root_ + "/theirs";
    sh(tree(), "o=" + out + "; git status --porcelain -z -uall --no-renames > $o/status; " +
                   "cp -p " + repo() + "/.git/worktrees/" + key() + "/index $o/index; " +
                   "export GIT_INDEX_FILE=$o/index; git add -A 2> $o/warnings; " +
                   "t=$(git write-tree); echo $t > $o/tree; " +
                   "git diff --raw -z --no-renames --no-abbrev " + base_ + " $t > $o/raw; " +
                   "env -u GIT_INDEX_FILE git diff --numstat -z --no-renames " + base_ +
                   " $t > $o/numstat; " + "export GIT_INDEX_FILE=$o/applied; git read-tree " +
                   base_ + "; " +
                   (patch.empty()
                        ? ""
                        : "git apply --cached --whitespace=nowarn " + patch + " 2> $o/refused; ") +
                   "git write-tree > $o/after");
  }

  /// A snapshot by one of the three ways: of all files, of what was touched since the last one, of
  /// what was ever touched since the base.
  Snapshot look(unsigned step) {
    SnapshotRequest request{
        .worktree = ref(), .name = std::to_string(step), .private_index = index(), .time_s = 1};
    const std::vector<std::string> touched = random_->take_touched();
    ever_touched_.insert(ever_touched_.end(), touched.begin(), touched.end());
    if (step % 5 == 2) {
      request.hints = {.complete = true, .since = base_, .paths = ever_touched_};
    } else if (step % 5 != 4) {
      // A return to the base touches what was ever touched.
      request.hints = {
          .complete = true, .since = before_, .paths = step % 5 == 0 ? ever_touched_ : touched};
    }
    Result<Snapshot> taken = take_snapshot(request);
    EXPECT_TRUE(taken) << taken.error().message;
    if (!taken) return {};
    if (request.hints.complete && taken->scan.full) {
      EXPECT_EQ(taken->scan.reason, "rules_changed");
    }
    hinted_ += taken->scan.full ? 0 : 1;
    before_ = taken->commit;
    return *taken;
  }

  void compare(unsigned step) {
    const Snapshot taken = look(step);
    Result<Change> change = diff({.worktree = ref(),
                                  .from = base_,
                                  .to = "worktree",
                                  .binary_patches = true,
                                  .private_index = index()});
    ASSERT_TRUE(change) << change.error().message;
    EXPECT_TRUE(change->scan.full);
    EXPECT_EQ(change->to_tree, taken.tree)
        << "after a " << (taken.scan.full ? "full" : "hinted") << " snapshot\n"
        << sh(repo(), "git diff --raw " + taken.tree + " " + base_);
    const std::string patch = patch_text(*change);
    write(root_ + "/p.patch", patch);
    ask_git(patch.empty() ? "" : root_ + "/p.patch");

    EXPECT_EQ(theirs_.line("tree"), taken.tree)
        << sh(repo(), "git diff --raw " + theirs_.line("tree") + " " + taken.tree);
    const Ours ours(*change);
    EXPECT_EQ(theirs_.raw(), ours.raw);
    EXPECT_EQ(theirs_.status(), ours.status);
    const Statuses counts = theirs_.counts();
    for (const auto& [path, count] : ours.counts) {
      const auto theirs = counts.find(path);
      if (theirs != counts.end() && ours.status.at(path) != "T") {
        EXPECT_EQ(theirs->second, count) << path;
      }
    }
    EXPECT_EQ(theirs_.line("after"), taken.tree) << read(theirs_.file("refused")) << patch;
  }

  void run(unsigned seed) {
    SCOPED_TRACE("make it again with BERTH_GIT_SEED=" + std::to_string(seed));
    fs::create_directories(root_ + "/theirs");
    begin(seed);
    for (unsigned step = 1; step <= kSteps && !HasFailure(); ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      // Long enough on top of each other to pile up, short enough that some of the base is left.
      if (step % 5 == 0) {
        sh(tree(), "git reset -q --hard && git clean -qffdx");
        random_->settle();
      }
      random_->edit(1 + static_cast<int>(random_->below(8)));
      compare(step);
      ++cases_;
    }
    for (const auto& [name, count] : random_->met()) met_[name] += count;
    const char* keep = std::getenv("BERTH_GIT_KEEP");
    if (HasFailure() && keep != nullptr) sh(root_, "cp -a . " + std::string(keep));
  }

  inline static unsigned cases_ = 0;
  inline static unsigned hinted_ = 0;
  inline static std::map<std::string, int> met_;
  Theirs theirs_{root_ + "/theirs"};
  std::optional<RandomTree> random_;
  std::string base_;
  std::string before_;
  std::vector<std::string> ever_touched_;
};

class RandomRepository : public RandomRepositories,
                         public ::testing::WithParamInterface<unsigned> {};

TEST_P(RandomRepository, LooksToUsAsItLooksToTheGitCommand) {
  make_nested();
  run(GetParam());
}

INSTANTIATE_TEST_SUITE_P(Seed, RandomRepository, ::testing::ValuesIn(seeds(kRepositories)),
                         [](const auto& info) { return std::to_string(info.param); });

}  // namespace
}  // namespace berth::git::test
