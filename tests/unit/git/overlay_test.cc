#include "temp_repository.h"

#include <berth/git/diff.h>
#include <berth/git/overlay.h>
#include <berth/git/removal.h>

#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

class GitOverlay : public GitTest {
 protected:
  void SetUp() override {
    const OverlaySupport support = probe_overlay(store());
    if (!support.usable) GTEST_SKIP() << support.reason;
  }
  void TearDown() override {
    // Also what a failed test left mounted, or the folder could not be removed.
    for (const std::string& name : {"one", "two", "three"}) {
      while (::umount2((root_ + "/trees/" + name).c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
      }
    }
  }

  std::string store() const { return root_ + "/store"; }
  OverlayRef overlay() const { return {ref(), store()}; }
  WorktreeRef ref_of(int n, const std::string& name) const {
    return {repo(), root_ + "/trees/" + name, key_of(n)};
  }
  CreateOverlay request() const {
    return {.worktree = {.worktree = ref(), .base = {}, .private_index = index()},
            .store = store()};
  }
  void create_one() {
    Result<CreatedWorktree> made = create_overlay(request());
    ASSERT_TRUE(made) << made.error().message;
  }
  std::vector<std::string> changed() const {
    Result<ChangedPaths> found = changed_paths(overlay(), {});
    EXPECT_TRUE(found && found->complete);
    return found ? found->paths : std::vector<std::string>{"?"};
  }
  std::string status() const { return in_tree("status --porcelain"); }
  void lose_mount() { ASSERT_EQ(::umount(tree().c_str()), 0); }
  std::string error_of(const Result<OverlayReady>& ready) const {
    return ready ? "" : ready.error().code;
  }
  Result<OverlayReady> ensure() const { return ensure_overlay_ready(overlay(), {}); }
  std::size_t lowers() const {
    std::size_t count = 0;
    for (const auto& entry : fs::directory_iterator(store() + "/lowers")) {
      count += exists(entry.path().string() + "/sealed") ? 1 : 0;
    }
    return count;
  }
  std::string upper() const { return store() + "/layers/" + key() + "/upper"; }
};

using Paths = std::vector<std::string>;

TEST_F(GitOverlay, IsAWorktreeThatPlainGitFindsCleanAtOnce) {
  sh(repo(), "ln -s a.txt link && chmod +x dir/b.txt && git add -A && git commit -q -m more");
  Result<CreatedWorktree> made = create_overlay(request());
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_FALSE(made->existed);
  EXPECT_EQ(made->branch, "berth/" + key());
  EXPECT_EQ(made->base_commit + "\n", git("rev-parse HEAD"));
  EXPECT_EQ(status(), "");
  // By the index alone: no file was read for that answer.
  EXPECT_EQ(in_tree("-c core.checkStat=default diff-files"), "");
  EXPECT_EQ(in_tree("symbolic-ref --short HEAD"), "berth/" + key() + "\n");
  EXPECT_EQ(sh(tree(), "readlink link; test -x dir/b.txt && echo x"), "a.txt\nx\n");
  EXPECT_NE(git("worktree list --porcelain").find("worktree " + tree() + "\n"), std::string::npos);
  EXPECT_EQ(sh(tree(), "echo new > n && git add n && git commit -q -m n && git status --porcelain"),
            "");
  EXPECT_EQ(git("log -1 --format=%s berth/" + key()), "n\n");
}

TEST_F(GitOverlay, CreationIsIdempotentAndMakesTheSharedCheckoutOnce) {
  create_one();
  write(tree() + "/a.txt", "mine\n");
  Result<CreatedWorktree> again = create_overlay(request());
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(again->existed);
  EXPECT_EQ(read(tree() + "/a.txt"), "mine\n");

  ASSERT_TRUE(
      create_overlay({.worktree = {.worktree = ref_of(2, "two"), .base = {}, .private_index = {}},
                      .store = store()}));
  EXPECT_EQ(lowers(), 1U);
  EXPECT_EQ(read(root_ + "/trees/two/a.txt"), "one\ntwo\nthree\n");
  write(repo() + "/later", "x");
  git("add -A && git commit -q -m later");
  ASSERT_TRUE(
      create_overlay({.worktree = {.worktree = ref_of(3, "three"), .base = {}, .private_index = {}},
                      .store = store()}));
  EXPECT_EQ(lowers(), 2U);
}

TEST_F(GitOverlay, NothingWrittenAboveReachesTheSharedCheckout) {
  create_one();
  const std::string lower = fs::directory_iterator(store() + "/lowers")->path().string() + "/tree";
  const std::string before = sh(lower, "find . -type f | sort | xargs sha1sum; find . | sort");
  sh(tree(),
     "echo x >> a.txt; rm -r dir; mkdir dir; echo y > dir/y; chmod 600 .gitignore; git add -A; git "
     "commit -q -m all");
  EXPECT_EQ(sh(lower, "find . -type f | sort | xargs sha1sum; find . | sort"), before);
  EXPECT_EQ(sh(lower, "find . -newer ../sealed"), "");
}

TEST_F(GitOverlay, ALostMountIsMountedAgainWithAllWorkAndTheSameStatus) {
  create_one();
  sh(tree(), "echo x >> a.txt; mv dir moved; echo y > new; git add new");
  const std::string before = status();
  ASSERT_FALSE(before.empty());
  lose_mount();
  EXPECT_FALSE(verify_worktree(ref()));
  Result<WorkLoss> loss = worktree_state({.worktree = ref(), .base = {}, .patience = {}});
  EXPECT_TRUE(!loss || loss->unknown);
  Result<OverlayReady> ready = ensure();
  ASSERT_TRUE(ready) << ready.error().message;
  EXPECT_TRUE(ready->remounted);
  EXPECT_EQ(status(), before);
  EXPECT_EQ(read(tree() + "/moved/deep/c.txt"), "sea\n");
  ready = ensure();
  ASSERT_TRUE(ready);
  EXPECT_FALSE(ready->remounted);
}

TEST_F(GitOverlay, GitDoesNotPruneTheRegistrationOfALostMount) {
  create_one();
  lose_mount();
  git("worktree prune --expire=now && git gc -q --prune=now");
  ASSERT_TRUE(ensure());
  EXPECT_EQ(status(), "");
}

TEST_F(GitOverlay, DoesNotMountOverFilesOrOnSomethingElse) {
  create_one();
  lose_mount();
  write(tree() + "/written meanwhile", "precious\n");
  EXPECT_EQ(error_of(ensure()), "path_occupied");
  EXPECT_EQ(read(tree() + "/written meanwhile"), "precious\n");
  fs::remove(tree() + "/written meanwhile");

  ASSERT_EQ(::mount("none", tree().c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_EQ(error_of(ensure()), "overlay_foreign_mount");
  WorkLoss report;
  EXPECT_FALSE(remove_overlay(
      {.worktree = {.worktree = ref(), .base = {}, .force = true}, .store = store()}, report));
  EXPECT_TRUE(report.unknown);
  ASSERT_EQ(::umount(tree().c_str()), 0);

  fs::remove(tree());
  fs::create_directory_symlink(root_ + "/data", tree());
  EXPECT_EQ(error_of(ensure()), "path_occupied");
  fs::remove(tree());
  EXPECT_TRUE(ensure());
}

TEST_F(GitOverlay, AMountOfAnotherLayerIsNotTakenForOurs) {
  create_one();
  ASSERT_TRUE(
      create_overlay({.worktree = {.worktree = ref_of(2, "two"), .base = {}, .private_index = {}},
                      .store = store()}));
  lose_mount();
  ASSERT_EQ(::mount((root_ + "/trees/two").c_str(), tree().c_str(), nullptr, MS_BIND, nullptr), 0);
  EXPECT_EQ(error_of(ensure()), "overlay_foreign_mount");
}

TEST_F(GitOverlay, WhatIsMissingIsAnErrorAndNeverAnEmptyTree) {
  create_one();
  lose_mount();
  const std::string lower = fs::directory_iterator(store() + "/lowers")->path().string();
  fs::rename(lower + "/sealed", lower + "/unsealed");
  EXPECT_EQ(error_of(ensure()), "overlay_lower_missing");
  fs::rename(lower + "/unsealed", lower + "/sealed");
  fs::rename(store() + "/layers/" + key(), store() + "/elsewhere");
  EXPECT_EQ(error_of(ensure()), "worktree_missing");
  Result<ChangedPaths> found = changed_paths(overlay(), {});
  EXPECT_FALSE(found);
  fs::rename(store() + "/elsewhere", store() + "/layers/" + key());
  EXPECT_TRUE(ensure());
}

TEST_F(GitOverlay, ALayerWhoseRegistrationIsGoneIsNotOverwritten) {
  create_one();
  write(tree() + "/work", "precious\n");
  fs::remove_all(repo() + "/.git/worktrees/" + key());
  Result<CreatedWorktree> again = create_overlay(request());
  ASSERT_FALSE(again);
  EXPECT_EQ(std::string(again.error().code), "overlay_has_layer");
  EXPECT_EQ(read(tree() + "/work"), "precious\n");
  Result<std::vector<ListedOverlay>> listed = list_overlays(store());
  ASSERT_TRUE(listed && listed->size() == 1);
  EXPECT_EQ(listed->front().path, tree());
  EXPECT_TRUE(listed->front().mounted);
}

TEST_F(GitOverlay, ChangedPathsNameEachKindOfChange) {
  create_one();
  EXPECT_EQ(changed(), Paths{});
  sh(tree(), "echo x >> dir/deep/c.txt");
  EXPECT_EQ(changed(), Paths{"dir/deep/c.txt"});
  sh(tree(), "rm dir/b.txt; mkdir -p fresh/in; echo 1 > fresh/in/f");
  EXPECT_EQ(changed(), (Paths{"dir/b.txt", "dir/deep/c.txt", "fresh"}));
  sh(tree(), "rm -r fresh; chmod +x a.txt");
  EXPECT_EQ(changed(), (Paths{"a.txt", "dir/b.txt", "dir/deep/c.txt"}));
  sh(tree(), "rm -r dir; mkdir dir; echo new > dir/only");
  EXPECT_EQ(changed(), (Paths{"a.txt", "dir"}));
  EXPECT_EQ(in_tree("status --porcelain -uall"),
            " M a.txt\n D dir/b.txt\n D dir/deep/c.txt\n?? dir/only\n");
  sh(tree(), "ln -sf nowhere .gitignore; mkfifo pipe");
  EXPECT_EQ(changed(), (Paths{".gitignore", "a.txt", "dir", "pipe"}));
}

TEST_F(GitOverlay, ARenamedFolderIsNamedAtBothEnds) {
  create_one();
  sh(tree(), "mv dir/deep moved; echo x >> moved/c.txt");
  EXPECT_EQ(changed(), (Paths{"dir/deep", "moved"}));
  // Into a new folder, and under a name that was there: still nothing hidden is left out.
  sh(tree(), "mkdir in; mv moved in/there; mv dir other; mkdir dir; echo z > dir/b.txt");
  EXPECT_EQ(changed(), (Paths{"dir", "in", "other"}));
  EXPECT_EQ(read(tree() + "/in/there/c.txt"), "sea\nx\n");
}

/// What git says changed, each file for itself, whether or not it is ignored.
Paths seen_by_git(const std::string& tree) {
  Paths paths;
  std::string all = sh(tree, "git status --porcelain -z --no-renames -uall --ignored=matching");
  while (!all.empty()) {
    const std::size_t end = all.find('\0');
    std::string path = all.substr(3, end - 3);
    if (path.back() == '/') path.pop_back();
    paths.push_back(path);
    all.erase(0, end + 1);
  }
  return paths;
}

bool is_covered(const std::string& path, const Paths& by) {
  return std::any_of(by.begin(), by.end(), [&](const std::string& one) {
    return path == one || path.starts_with(one + "/");
  });
}

/// One random change of a small tree of names, so that they often meet.
std::string random_change(std::mt19937& random) {
  const auto name = [&] {
    static const Paths names{"a.txt", "dir", "dir/b.txt", "dir/deep",   "dir/deep/c.txt", "n",
                             "dir/n", "n/m", "x.log",     "dir/deep/n", "n/m/o"};
    return "\"" + names[random() % names.size()] + "\"";
  };
  switch (random() % 7) {
    case 0:
      return "rm -rf " + name();
    case 1:
      return "mkdir -p " + name();
    case 2:
      return "mv -T " + name() + " " + name();
    case 3:
      return "ln -s there " + name();
    case 4:
      return "chmod +x " + name();
    default:
      return "echo " + std::to_string(random()) + " >> " + name();
  }
}

TEST_F(GitOverlay, EverythingGitSeesIsCoveredByTheChangedPathsAfterRandomChanges) {
  for (unsigned seed = 1; seed <= 25; ++seed) {
    SCOPED_TRACE(seed);
    create_one();
    std::mt19937 random(seed);
    for (int step = 0; step < 4; ++step) {
      std::string script;
      for (int i = 0; i < 5; ++i) script += random_change(random) + " 2>/dev/null; ";
      sh(tree(), script + "true");
      if (step == 2) {
        lose_mount();
        ASSERT_TRUE(ensure());
      }
      const Paths named = changed();
      EXPECT_TRUE(std::is_sorted(named.begin(), named.end()));
      for (const std::string& path : seen_by_git(tree())) {
        EXPECT_TRUE(is_covered(path, named)) << path << " after " << script;
      }
    }
    const Snapshot taken = snapshot("1");
    EXPECT_EQ(taken.tree + "\n", in_tree("add -A && git write-tree"));
    WorkLoss report;
    ASSERT_TRUE(remove_overlay(
        {.worktree = {.worktree = ref(), .base = {}, .force = true, .private_index = index()},
         .store = store()},
        report));
    git("for-each-ref --format=\"delete %(refname)\" refs/berth | git update-ref --stdin");
    git("branch -q -D berth/" + key() + " || true");
  }
}

TEST_F(GitOverlay, AFileWrittenAtTheSameSizeRightAfterCreationIsSeen) {
  for (int i = 0; i < 20; ++i) {
    create_one();
    write(tree() + "/a.txt", "ONE\ntwo\nthree\n");
    EXPECT_EQ(status(), " M a.txt\n");
    EXPECT_EQ(sh(repo(), "git show " + snapshot("1").commit + ":a.txt"), "ONE\ntwo\nthree\n");
    WorkLoss report;
    ASSERT_TRUE(remove_overlay(
        {.worktree = {.worktree = ref(), .base = {}, .force = true, .private_index = index()},
         .store = store()},
        report));
  }
}

TEST_F(GitOverlay, RemovalRefusesWorkKeepsASalvageAndLeavesNothing) {
  create_one();
  WorkLoss report;
  RemoveOverlay remove{.worktree = {.worktree = ref(), .base = {}, .private_index = index()},
                       .store = store()};
  write(tree() + "/new", "precious\n");
  sh(tree(), "mv dir moved");
  Result<Removal> refused = remove_overlay(remove, report);
  ASSERT_FALSE(refused);
  EXPECT_EQ(std::string(refused.error().code), "worktree_has_work");
  EXPECT_EQ(status(), " D dir/b.txt\n D dir/deep/c.txt\n?? moved/\n?? new\n");

  remove.worktree.force = true;
  Result<Removal> removed = remove_overlay(remove, report);
  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_TRUE(removed->removed_folder);
  EXPECT_TRUE(removed->branch_deleted);
  EXPECT_TRUE(removed->trash.empty());
  EXPECT_EQ(git("show " + removed->salvage_ref + ":new"), "precious\n");
  EXPECT_EQ(git("show " + removed->salvage_ref + ":moved/deep/c.txt"), "sea\n");
  EXPECT_FALSE(exists(tree()));
  EXPECT_FALSE(exists(store() + "/layers/" + key()));
  EXPECT_FALSE(exists(repo() + "/.git/worktrees/" + key()));
  EXPECT_TRUE(remove_overlay(remove, report)) << "a second time";
  EXPECT_TRUE(list_overlays(store())->empty());
}

TEST_F(GitOverlay, ACleanOneIsRemovedWithoutForceAlsoWhenItsMountIsLost) {
  create_one();
  lose_mount();
  WorkLoss report;
  Result<Removal> removed =
      remove_overlay({.worktree = {.worktree = ref(), .base = {}}, .store = store()}, report);
  ASSERT_TRUE(removed) << removed.error().message;
  EXPECT_TRUE(report.loses_nothing());
  EXPECT_TRUE(removed->salvage_ref.empty());
  EXPECT_FALSE(exists(tree()));
}

TEST_F(GitOverlay, AMountInUseIsTakenAwayByForceOnly) {
  create_one();
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::chdir(tree().c_str()) != 0 || ::write(ready[1], "x", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  WorkLoss report;
  RemoveOverlay remove{.worktree = {.worktree = ref(), .base = {}}, .store = store()};
  Result<Removal> refused = remove_overlay(remove, report);
  EXPECT_TRUE(!refused && refused.error().code == std::string("overlay_in_use"));
  EXPECT_EQ(status(), "");
  remove.worktree.force = true;
  EXPECT_TRUE(remove_overlay(remove, report));
  EXPECT_FALSE(exists(tree()));
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_F(GitOverlay, ASweepTakesOnlySharedCheckoutsThatNoLayerUses) {
  create_one();
  Result<OverlaySweep> swept = sweep_overlays(store(), {}, {});
  ASSERT_TRUE(swept);
  EXPECT_EQ(swept->lowers_kept, 1U);
  EXPECT_EQ(status(), "");
  const std::string lower = list_overlays(store())->front().lower;
  WorkLoss report;
  ASSERT_TRUE(
      remove_overlay({.worktree = {.worktree = ref(), .base = {}}, .store = store()}, report));
  swept = sweep_overlays(store(), {lower}, {});
  ASSERT_TRUE(swept);
  EXPECT_EQ(swept->lowers_removed, 0U);
  swept = sweep_overlays(store(), {}, {});
  ASSERT_TRUE(swept);
  EXPECT_EQ(swept->lowers_removed, 1U);
  EXPECT_EQ(lowers(), 0U);
  EXPECT_TRUE(fs::is_empty(store() + "/trash"));
  create_one();
  EXPECT_EQ(status(), "");
}

TEST_F(GitOverlay, ManyCreatorsAtOnceShareOneCheckout) {
  constexpr int kCreators = 12;
  std::vector<std::thread> creators;
  std::vector<std::string> errors(kCreators);
  for (int n = 0; n < kCreators; ++n) {
    creators.emplace_back([&, n] {
      Result<CreatedWorktree> made =
          create_overlay({.worktree = {.worktree = ref_of(100 + n, "many" + std::to_string(n)),
                                       .base = {},
                                       .private_index = {}},
                          .store = store()});
      if (!made) errors[static_cast<std::size_t>(n)] = made.error().message;
    });
  }
  for (std::thread& creator : creators) creator.join();
  for (const std::string& error : errors) EXPECT_EQ(error, "");
  EXPECT_EQ(lowers(), 1U);
  for (int n = 0; n < kCreators; ++n) {
    const WorktreeRef one = ref_of(100 + n, "many" + std::to_string(n));
    EXPECT_EQ(sh(one.path, "git status --porcelain; git branch --show-current"),
              "berth/" + one.key + "\n");
    WorkLoss report;
    EXPECT_TRUE(
        remove_overlay({.worktree = {.worktree = one, .base = {}}, .store = store()}, report));
  }
}

TEST_F(GitOverlay, SettingsThatChangeLineEndingsGetACheckoutOfTheirOwn) {
  create_one();
  git("config core.autocrlf true");
  ASSERT_TRUE(
      create_overlay({.worktree = {.worktree = ref_of(2, "two"), .base = {}, .private_index = {}},
                      .store = store()}));
  EXPECT_EQ(read(root_ + "/trees/two/a.txt"), "one\r\ntwo\r\nthree\r\n");
  EXPECT_EQ(sh(root_ + "/trees/two", "git status --porcelain"), "");
  EXPECT_EQ(lowers(), 2U);
}

TEST_F(GitOverlay, PathsThatLookLikeMountOptionsWork) {
  const std::string odd = root_ + "/trees/a,b:c\\d \"e";
  CreateOverlay create{
      .worktree = {.worktree = {repo(), odd + "/one", key()}, .base = {}, .private_index = {}},
      .store = odd + "/store"};
  Result<CreatedWorktree> made = create_overlay(create);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(read(odd + "/one/a.txt"), "one\ntwo\nthree\n");
  WorkLoss report;
  EXPECT_TRUE(remove_overlay(
      {.worktree = {.worktree = create.worktree.worktree, .base = {}}, .store = create.store},
      report));
}

TEST_F(GitOverlay, WithoutTheRightToMountThereIsAReasonAndNothingIsLeft) {
  sh(root_, "chmod 755 . && chown -R 65534:65534 repo trees data store");
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
    const OverlaySupport support = probe_overlay(store());
    Result<CreatedWorktree> made = create_overlay(request());
    const bool right =
        !support.usable && support.reason.find("CAP_SYS_ADMIN") != std::string::npos && !made &&
        made.error().code == std::string("overlay_denied") && !exists(tree()) &&
        !exists(store() + "/layers/" + key()) && !exists(repo() + "/.git/worktrees/" + key());
    ::_exit(right ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(GitOverlay, AnOrdinaryUserWorksInAUserNamespace) {
  sh(root_, "chmod 755 . && rm -rf store && chown -R 65534:65534 . && chmod 755 .");
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setresgid(65534, 65534, 65534) != 0 || ::setresuid(65534, 65534, 65534) != 0) ::_exit(2);
    ::prctl(PR_SET_DUMPABLE, 1);  // as after an exec: else its own /proc files are root's
    if (!enter_overlay_namespace()) ::_exit(77);
    if (!probe_overlay(store()).usable) ::_exit(3);
    if (!create_overlay(request())) ::_exit(4);
    if (sh(tree(), "git status --porcelain") != "") ::_exit(5);
    sh(tree(), "mv dir moved; rm a.txt");
    std::string named;
    for (const std::string& path : changed()) named += path + "\n";
    if (!named.starts_with("a.txt\ndir\nmoved")) {
      std::fprintf(stderr, "%s", named.c_str());
      ::_exit(6);
    }
    if (::umount(tree().c_str()) != 0 || !ensure() || exists(tree() + "/a.txt")) ::_exit(7);
    WorkLoss report;
    Result<Removal> removed = remove_overlay(
        {.worktree = {.worktree = ref(), .base = {}, .force = true}, .store = store()}, report);
    if (!removed || exists(tree())) ::_exit(8);
    ::_exit(sh(repo(), "git show " + removed->salvage_ref + ":moved/b.txt") == "bee\n" ? 0 : 9);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "user namespaces are not allowed here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace berth::git::test
