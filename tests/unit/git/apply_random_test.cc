// Random changes applied to branches and working files that went on at random too: by libgit2, by
// the git command, and as a merge by git itself.
//
// BERTH_GIT_SEED=n makes one again; BERTH_FULL=1 makes five times as many.

#include "random_tree.h"
#include "spawned_git.h"
#include "temp_repository.h"

#include <berth/git/apply.h>

#include <algorithm>
#include <iostream>

namespace berth::git::test {
namespace {

constexpr unsigned kCases = 40;  // fixed seeds 1 to kCases in every run

class RandomApply : public GitTest, public ::testing::WithParamInterface<unsigned> {
 protected:
  RandomApply() : GitTest(Where::memory) {}
  static void TearDownTestSuite() {
    std::cout << "figure: first seed " << seeds(kCases).front() << " of " << seeds(kCases).size()
              << ", " << cases_ << " random applies: " << applied_ << " done, " << conflicts_
              << " with conflicts, in " << refused_ << " uncommitted work was in the way\n";
  }

  /// A base, a session's change of it, and a branch that went on. Sets `base_` and `change_`.
  void begin(unsigned seed) {
    sh(root_, "git init -q nested && cd nested && echo n > n && git add n && git commit -q -m n");
    RandomTree random(repo(), root_ + "/nested", seed);
    random.grow(20 + static_cast<int>(random.below(20)));
    commit_all(repo());
    base_ = create().base_commit;
    random.move_to(tree());
    random.edit(1 + static_cast<int>(random.below(4)));
    change_ = snapshot("1").commit;
    random.move_to(repo());
    random.settle();
    random.edit(static_cast<int>(random.below(4)));
    commit_all(repo());
    if (seed % 3 == 0) random.edit(2);  // not committed
  }

  static void commit_all(const std::string& folder) {
    sh(folder,
       "git config core.safecrlf false && git add -A 2>/dev/null; "
       "git commit -q --allow-empty -m more");
  }

  Applied apply(const std::string& folder, ApplyTo to, Backend backend) {
    Result<Applied> applied =
        apply_change({.repository = folder,
                      .base = base_,
                      .change = change_,
                      .to = to,
                      .branch = "main",
                      .commit = {.author_name = "A", .author_email = "a@b", .message = "m"},
                      .journal = root_ + "/journal",
                      .command = &command_,
                      .backend = backend});
    EXPECT_TRUE(applied) << applied.error().message;
    EXPECT_FALSE(exists(root_ + "/journal"));
    return applied.value_or(Applied{});
  }

  static std::string paths_of(const Applied& applied) {
    std::string all;
    for (const ApplyConflict& one : applied.conflicts) {
      all += one.path + ":" + std::string(one.reason) + "\n";
    }
    for (const std::string& path : applied.files) all += path + "\n";
    return all;
  }

  static bool names_all_of(const Applied& all, const Applied& some) {
    return std::all_of(some.conflicts.begin(), some.conflicts.end(), [&](const auto& wanted) {
      return std::any_of(all.conflicts.begin(), all.conflicts.end(),
                         [&](const auto& one) { return one.path == wanted.path; });
    });
  }
  static bool is_in_the_way(const Applied& applied) {
    return !applied.conflicts.empty() && applied.conflicts.front().reason == "local_changes";
  }

  /// All that a person sees of a checkout.
  static std::string seen(const std::string& folder) {
    return sh(folder,
              "git rev-parse main HEAD; git write-tree; git status --porcelain -z -uall "
              "--no-renames | tr \"\\0\" \"\\n\"; find . -name .git -prune -o -type l -printf "
              "\"%p %l\\n\" -o -type f -printf \"%p %m \" -exec sha256sum {} \\; | sort");
  }

  /// What differs between two of those, in few lines.
  std::string difference(const std::string& left, const std::string& right) const {
    write(root_ + "/left", left);
    write(root_ + "/right", right);
    return left == right ? "" : sh(root_, "diff left right || true");
  }

  inline static unsigned cases_ = 0;
  inline static unsigned applied_ = 0;
  inline static unsigned conflicts_ = 0;
  inline static unsigned refused_ = 0;
  SpawnedGit command_{root_ + "/data"};
  std::string base_;
  std::string change_;
};

TEST_P(RandomApply, ComesToTheSameByLibraryByCommandAndAsGitMerges) {
  SCOPED_TRACE("make it again with BERTH_GIT_SEED=" + std::to_string(GetParam()));
  begin(GetParam());
  const ApplyTo to = GetParam() % 2 == 0 ? ApplyTo::branch : ApplyTo::working_files;
  const std::string copy = root_ + "/copy";
  sh(root_, "cp -a repo copy");
  const std::string before = seen(repo());
  const std::string merge =
      "git -c merge.directoryRenames=false merge-tree --write-tree --no-messages main " + change_;
  const bool merges = sh_code(repo(), merge) == 0;
  const std::string merged = merges ? sh(repo(), merge) : "";

  const Applied ours = apply(repo(), to, Backend::libgit2);
  const Applied theirs = apply(copy, to, Backend::git_command);
  EXPECT_EQ(ours.applied, theirs.applied);
  EXPECT_EQ(ours.unchanged, theirs.unchanged);
  // libgit2 names both ends of a rename that the other side deleted.
  const bool both_conflict = !ours.conflicts.empty() && !theirs.conflicts.empty();
  if (both_conflict && !is_in_the_way(theirs)) {
    EXPECT_TRUE(names_all_of(ours, theirs)) << paths_of(ours) << "\n" << paths_of(theirs);
  } else {
    EXPECT_EQ(paths_of(ours), paths_of(theirs));
  }
  EXPECT_EQ(difference(seen(repo()), seen(copy)), "");
  if (!ours.applied) EXPECT_EQ(difference(seen(repo()), before), "");
  if (!theirs.applied) EXPECT_EQ(difference(seen(copy), before), "");
  if (to == ApplyTo::branch && !is_in_the_way(theirs)) {
    EXPECT_EQ(theirs.conflicts.empty(), merges);
    if (theirs.applied) EXPECT_EQ(sh(copy, "git rev-parse main^{tree}"), merged);
  }
  ++cases_;
  applied_ += theirs.applied ? 1 : 0;
  refused_ += is_in_the_way(theirs) ? 1 : 0;
  conflicts_ += !theirs.conflicts.empty() && !is_in_the_way(theirs) ? 1 : 0;
}

INSTANTIATE_TEST_SUITE_P(Seed, RandomApply, ::testing::ValuesIn(seeds(kCases)),
                         [](const auto& info) { return std::to_string(info.param); });

}  // namespace
}  // namespace berth::git::test
