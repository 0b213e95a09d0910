#include "temp_repository.h"

#include <berth/git/guard.h>
#include <berth/git/registration.h>
#include <berth/git/removal.h>

#include <sys/stat.h>

#include <filesystem>
#include <ostream>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

struct Case {
  const char* name;
  /// What is done to the fresh worktree, in its folder; $repo, $root and $key are set.
  const char* commands;
  /// What the guard says: of e(xists) d(irty) ?(unknown) u(ntracked) p (unpushed).
  const char* seen;
  /// What a removal answers: "" when it removes.
  const char* unforced;
  const char* forced;
};

// The promised answers, one line each.
constexpr Case kCases[] = {
    {"Clean", "true", "e", "", ""},
    {"Dirty", "echo x >> a.txt; rm dir/b.txt", "ed", "worktree_has_work", ""},
    {"Staged", "echo x >> a.txt; git add a.txt; git checkout -q HEAD -- dir", "ed",
     "worktree_has_work", ""},
    {"UntrackedOnly", "mkdir n; echo x > n/f; chmod 755 n/f; ln -s nowhere l; echo > \"sp ace\"",
     "eu", "worktree_has_work", ""},
    {"IgnoredOnly", "mkdir build; echo x > build/f; echo x > x.log", "e", "", ""},
    {"UnpushedWithoutUpstream", "git commit -q --allow-empty -m w", "ep", "worktree_has_work", ""},
    {"AheadOfBaseButPushed",
     "git init -q --bare $root/remote; git remote add origin $root/remote; git commit -q "
     "--allow-empty -m w; git push -q origin HEAD",
     "e", "", ""},
    {"DetachedAhead", "git checkout -q --detach; git commit -q --allow-empty -m w", "ep",
     "worktree_has_work", ""},
    {"OnAnotherBranch", "git checkout -q -b other; git commit -q --allow-empty -m w", "ep",
     "worktree_has_work", ""},
    {"Everything",
     "git commit -q --allow-empty -m w; echo s > s; git add s; echo t > s; echo x >> a.txt; echo u "
     "> u; echo i > x.log",
     "edup", "worktree_has_work", ""},
    {"CarriageReturns", "printf \"w text eol=crlf\\n\" > .gitattributes; printf \"a\\r\\n\" > w",
     "eu", "worktree_has_work", ""},
    {"Locked", "git worktree lock --reason mine .", "e?", "worktree_has_work", ""},
    {"MissingDirectory", "mv $PWD $root/gone", "", "", ""},
    {"MissingDirectoryWithDetachedWork",
     "git checkout -q --detach; git commit -q --allow-empty -m w; mv $PWD $root/gone", "p", "", ""},
    {"MissingRegistration", "echo u > u; rm -r $repo/.git/worktrees/$key", "?",
     "worktree_not_linked", "worktree_not_linked"},
    {"Symlinked", "echo u > u; mv $PWD $root/there; ln -s $root/there $PWD", "?",
     "worktree_not_linked", "worktree_not_linked"},
    {"SymlinkedGitFile", "echo u > u; mv .git $root/g; ln -s $root/g .git", "?",
     "worktree_not_linked", "worktree_not_linked"},
    {"ForeignRepository", "echo u > u; rm .git; git init -q", "?", "worktree_not_linked",
     "worktree_not_linked"},
    {"HiddenChanges", "git update-index --assume-unchanged a.txt; echo x > a.txt", "e?",
     "worktree_has_work", ""},
    {"CheckFails", "mkfifo dir/.gitignore; echo u > u", "e?", "worktree_has_work", "special_file"},
    {"BrokenIndex", "echo broken > $repo/.git/worktrees/$key/index; echo u > u", "e?",
     "worktree_has_work", "index_broken"},
    {"SplitIndexOfAnIgnoredFile",
     "echo x > x.log; git add -f x.log; git update-index --split-index", "e?", "worktree_has_work",
     "git_index_unsupported"},
    {"MergeUnderWay",
     "git checkout -q -b o; echo o > a.txt; git commit -qam o; git checkout -q -; echo x > a.txt; "
     "git commit -qam x; git merge o > /dev/null || true",
     "edp", "worktree_has_work", ""},
};
void PrintTo(const Case& one, std::ostream* out) {
  *out << one.name;
}

class WorkLossMatrix : public GitTest, public ::testing::WithParamInterface<Case> {
 protected:
  WorkLossMatrix() : GitTest(Where::memory) {}
  /// Every file that git does not ignore, bit for bit, with modes and links.
  static std::string files_of(const std::string& folder) {
    return sh(
        folder,
        "find . -name .git -prune -o -name build -prune -o -name \"*.log\" -prune -o -type f "
        "-printf \"%m %p \" -exec sha256sum {} \\; -o -type l -printf \"%p -> %l\\n\" | sort");
  }
  WorkLoss seen() {
    Result<WorkLoss> loss = worktree_state({.worktree = ref(), .base = base_});
    EXPECT_TRUE(loss) << (loss ? "" : loss.error().message);
    return loss.value_or(WorkLoss{});
  }
  std::string remove(bool force) {
    WorkLoss report;
    removal_ =
        remove_worktree({.worktree = ref(), .base = base_, .force = force, .time_s = 1}, report);
    return removal_ ? "" : removal_.error().code;
  }

  std::string base_;
  Result<Removal> removal_;
};

INSTANTIATE_TEST_SUITE_P(Cases, WorkLossMatrix, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

TEST_P(WorkLossMatrix, GivesThePromisedAnswerAndLosesNothing) {
  const Case& one = GetParam();
  base_ = create().base_commit;
  sh(tree(), "root=" + root_ + "; repo=" + repo() + "; key=" + key() + "; " + one.commands);
  const WorkLoss loss = seen();
  EXPECT_EQ(std::string(loss.exists ? "e" : "") + (loss.dirty ? "d" : "") +
                (loss.unknown ? "?" : "") + (loss.untracked > 0 ? "u" : "") +
                (loss.unpushed > 0 ? "p" : ""),
            one.seen)
      << loss.reason;
  const bool there = exists(tree());
  const std::string files = there ? files_of(tree()) : "";
  const std::string head =
      there && loss.exists ? in_tree("rev-parse HEAD").substr(0, 40) : loss.head;
  const std::string refused = remove(false);
  EXPECT_EQ(refused, one.unforced);
  if (!refused.empty()) {
    EXPECT_EQ(files_of(tree()), files);  // nothing was touched
    EXPECT_EQ(remove(true), one.forced) << (removal_ ? "" : removal_.error().message);
  }
  if (!removal_) {
    EXPECT_EQ(files_of(tree()), files);
    return;
  }
  EXPECT_FALSE(exists(tree()));
  EXPECT_FALSE(exists(repo() + "/.git/worktrees/" + key()));
  if (!head.empty()) {
    // Whatever HEAD was on is held by a branch, a remote or a salvage.
    EXPECT_NE(git("for-each-ref --contains " + head), "");
  }
  if (refused.empty()) return;
  ASSERT_NE(removal_->salvage_commit, "");
  git("worktree prune && git gc -q --prune=now");
  git("worktree add -q --detach " + root_ + "/restored " + removal_->salvage_commit);
  EXPECT_EQ(files_of(root_ + "/restored"), files);
  EXPECT_EQ(
      sh_code(repo(), "git merge-base --is-ancestor " + head + " " + removal_->salvage_commit), 0);
}

class WorkLossGuard : public GitTest {};

TEST_F(WorkLossGuard, NeverTakesTheMainWorktree) {
  create();
  write(repo() + "/work", "w\n");
  for (const bool force : {false, true}) {
    WorkLoss report;
    Result<Removal> removal =
        remove_worktree({.worktree = {repo(), repo(), key()}, .force = force}, report);
    ASSERT_FALSE(removal);
    EXPECT_STREQ(removal.error().code, "worktree_not_linked");
  }
  EXPECT_EQ(git("status --porcelain"), "?? work\n");
}

std::string agents_file;
int agents_writes = 0;
/// An agent that writes between every two looks.
void write_on(Step step) {
  if (step != Step::salvage_ref) return;
  write(agents_file, "version " + std::to_string(++agents_writes) + "\n");
}

TEST_F(WorkLossGuard, DoesNotRemoveUnderAnAgentThatGoesOnWriting) {
  create();
  agents_file = tree() + "/a.txt";
  write(agents_file, "work\n");
  WorkLoss report;
  RemoveWorktree request{.worktree = ref(), .force = true, .time_s = 1};
  request.patience.on_step = write_on;
  Result<Removal> removal = remove_worktree(request, report);
  ASSERT_FALSE(removal);
  EXPECT_STREQ(removal.error().code, "worktree_changing");
  EXPECT_EQ(read(agents_file), "version " + std::to_string(agents_writes) + "\n");
  EXPECT_TRUE(verify_worktree(ref()));
}

TEST_F(WorkLossGuard, WorkWithoutARegistrationIsSavedAfterARepair) {
  const std::string base = create().base_commit;
  write(tree() + "/work", "w\n");
  fs::remove_all(repo() + "/.git/worktrees/" + key());
  ASSERT_TRUE(repair_worktree(ref(), true));
  WorkLoss report;
  Result<Removal> removal =
      remove_worktree({.worktree = ref(), .base = base, .force = true, .time_s = 1}, report);
  ASSERT_TRUE(removal) << removal.error().message;
  EXPECT_EQ(git("show " + removal->salvage_ref + ":work"), "w\n");
}

}  // namespace
}  // namespace berth::git::test
