#include "kill_at_step.h"
#include "spawned_git.h"
#include "temp_repository.h"

#include <berth/git/cache.h>
#include <berth/git/clone_sweep.h>
#include <berth/git/guard.h>
#include <berth/git/removal.h>
#include <berth/git/repository.h>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

template <typename T>
std::string code_of(const Result<T>& result) {
  return result ? "" : result.error().code;
}

class Cache : public GitTest {
 protected:
  CacheRequest request(const std::string& url) const { return {.url = url, .now_s = 1000}; }
  CachedRepository opened(const CacheRequest& request) {
    Result<CachedRepository> cached = cache_.open(request);
    EXPECT_TRUE(cached) << (cached ? "" : cached.error().code + (": " + cached.error().message));
    return cached.value_or(CachedRepository{});
  }
  std::string in(const CachedRepository& cached, const std::string& arguments) {
    return sh(cached.path, "git " + arguments);
  }
  /// Everything that the cache has written, as one text.
  std::string all_files() { return sh(root_ + "/cache", "cat $(find . -type f)"); }

  RepositoryCache cache_{root_ + "/cache"};
};

TEST_F(Cache, ClonesOnFirstUseAndFetchesLater) {
  git("branch side && git tag -a -m t v1");
  const CachedRepository first = opened(request("file://" + repo()));
  EXPECT_TRUE(first.cloned && first.fetched);
  EXPECT_EQ(first.default_branch, "main");
  EXPECT_EQ(in(first, "rev-parse HEAD"), git("rev-parse main"));
  EXPECT_EQ(in(first, "for-each-ref --format=%\\(refname\\)"),
            "refs/remotes/origin/HEAD\nrefs/remotes/origin/main\nrefs/remotes/origin/side\nrefs/"
            "tags/v1\n");
  EXPECT_EQ(in(first, "fsck"), "");
  git("commit -q --allow-empty -m second && git branch -q -D side && git branch new");
  CacheRequest again = request(repo() + "/");  // the same by another name
  again.now_s = 1050;
  again.age_max_s = 100;
  const CachedRepository fresh = opened(again);
  EXPECT_EQ(fresh.path, first.path);
  EXPECT_FALSE(fresh.cloned || fresh.fetched);
  EXPECT_EQ(fresh.fetched_s, 1000);
  EXPECT_NE(in(first, "rev-parse HEAD"), git("rev-parse main"));
  again.now_s = 1100;
  EXPECT_TRUE(opened(again).fetched);
  EXPECT_EQ(in(first, "rev-parse HEAD"), git("rev-parse main"));
  EXPECT_EQ(in(first, "for-each-ref --format=%\\(refname\\) refs/remotes"),
            "refs/remotes/origin/HEAD\nrefs/remotes/origin/main\nrefs/remotes/origin/new\n");
  again.age_max_s = -1;
  again.now_s = 99'999;
  EXPECT_FALSE(opened(again).fetched);
  EXPECT_EQ(cache_.list(), std::vector<std::string>{first.path});
  EXPECT_EQ(*cache_.path_of(repo()), first.path);
}

TEST_F(Cache, ASessionWorksInItAndAFetchLeavesItsBranchAlone) {
  git("branch -q side && git checkout -q --detach");
  const CachedRepository cached = opened(request(repo()));
  Result<std::string> base = RepositoryCache::resolve(cached, "side");
  ASSERT_TRUE(base) << base.error().message;
  const WorktreeRef worktree{cached.path, tree(), key()};
  Result<CreatedWorktree> made = create_worktree({.worktree = worktree, .base = *base});
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(in_tree("status --porcelain"), "");
  in_tree("commit -q --allow-empty -m work");
  EXPECT_EQ(worktree_state({.worktree = worktree, .base = *base})->unpushed, 1U);
  in_tree("push -q origin HEAD");
  // The remote has a branch of that name now, and somebody moves it there.
  git("branch -q -f berth/" + key() + " side");
  const std::string head = in_tree("rev-parse HEAD");
  EXPECT_TRUE(opened(request(repo())).fetched);
  EXPECT_EQ(in_tree("rev-parse HEAD"), head);
  EXPECT_EQ(worktree_state({.worktree = worktree, .base = *base})->unpushed, 1U);
  EXPECT_TRUE(RepositoryCache::resolve(cached, ""));
  EXPECT_TRUE(RepositoryCache::resolve(cached, *base));
  EXPECT_EQ(code_of(RepositoryCache::resolve(cached, "nope")), "rev_not_found");
}

TEST_F(Cache, ManyFirstUsesAtOnceMakeOneClone) {
  constexpr int kThreads = 8;
  std::atomic<int> clones = 0;
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      CacheRequest first = request(repo());
      first.age_max_s = 1000;
      Result<CachedRepository> cached = cache_.open(first);
      if (!cached) ++failures;
      if (cached && cached->cloned) ++clones;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(clones, 1);
  EXPECT_EQ(cache_.list().size(), 1U);
}

TEST_F(Cache, KilledAnywhereIsMadeWholeByTheNextCall) {
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, 20);
    CacheRequest dying = request(repo());
    dying.patience.on_step = count_down;
    done = ran_to_its_end(step, [&] { return cache_.open(dying).has_value(); });
    const CachedRepository cached = opened(request(repo()));
    EXPECT_EQ(in(cached, "fsck"), "");
    EXPECT_EQ(in(cached, "rev-parse HEAD"), git("rev-parse main"));
    EXPECT_TRUE(!exists(root_ + "/cache/tmp") || fs::is_empty(root_ + "/cache/tmp"));
    fs::remove_all(root_ + "/cache");
  }
}

TEST_F(Cache, AFetchKilledAnywhereIsRepeated) {
  opened(request(repo()));
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, 20);
    git("commit -q --allow-empty -m another");
    CacheRequest dying = request(repo());
    dying.now_s = 1000 + step;
    dying.patience.on_step = count_down;
    done = ran_to_its_end(step, [&] { return cache_.open(dying).has_value(); });
    dying.patience = {};
    const CachedRepository cached = opened(dying);
    EXPECT_EQ(cached.fetched_s, 1000 + step);
    EXPECT_EQ(in(cached, "fsck"), "");
    EXPECT_EQ(in(cached, "rev-parse HEAD"), git("rev-parse main"));
  }
}

/// Clones of three remotes, asked for at 1000, 2000 and 3000.
class CloneSweep : public Cache {
 protected:
  void SetUp() override {
    for (int i = 0; i < 3; ++i) {
      const std::string name = root_ + "/remote" + std::to_string(i);
      sh(root_, "git clone -q --bare repo " + name);
      CacheRequest one = request(name);
      one.now_s = 1000 * (i + 1);
      clones_.push_back(opened(one).path);
    }
  }
  CloneSweepRequest sweep() const {
    return {.folder = root_ + "/cache",
            .now_s = 10'000,
            .idle_min_s = 0,
            .idle_max_s = 1'000'000,
            .dry_run = false};
  }
  /// What is left of the three: "0", "12".
  std::string left(const CloneSweepRequest& request) {
    Result<std::vector<SweptClone>> swept = sweep_clones(request);
    EXPECT_TRUE(swept);
    std::string names;
    for (std::size_t i = 0; i < clones_.size(); ++i) {
      if (exists(clones_[i] + "/objects")) names += std::to_string(i);
    }
    EXPECT_TRUE(!exists(root_ + "/cache/tmp") || fs::is_empty(root_ + "/cache/tmp"));
    return names;
  }
  std::vector<std::string> clones_;
};

TEST_F(CloneSweep, TakesWhatNobodyAskedForInALongTime) {
  CloneSweepRequest request = sweep();
  EXPECT_EQ(left(request), "012");
  request.idle_max_s = 8001;
  request.dry_run = true;
  Result<std::vector<SweptClone>> swept = sweep_clones(request);
  ASSERT_TRUE(swept);
  ASSERT_EQ(swept->size(), 3U);
  EXPECT_TRUE(swept->at(0).goes && !swept->at(1).goes && !swept->at(2).goes);
  EXPECT_EQ(swept->at(0).path, clones_[0]);
  EXPECT_EQ(swept->at(0).url, root_ + "/remote0");
  EXPECT_EQ(swept->at(0).idle_s, 9000);
  EXPECT_GT(swept->at(0).bytes, 4096U);
  EXPECT_EQ(left(request), "012");
  request.dry_run = false;
  EXPECT_EQ(left(request), "12");
  // Asked for again, also without a fetch, it is not idle any more; and one that went comes back.
  CacheRequest again = this->request(root_ + "/remote1");
  again.now_s = 9999;
  again.age_max_s = -1;
  EXPECT_FALSE(opened(again).fetched);
  request.idle_max_s = 100;
  EXPECT_EQ(left(request), "1");
  const CachedRepository back = opened(this->request(root_ + "/remote0"));
  EXPECT_TRUE(back.cloned);
  EXPECT_EQ(in(back, "rev-parse HEAD"), git("rev-parse main"));
}

TEST_F(CloneSweep, TakesThoseLongestNotAskedForUntilTheRestFits) {
  CloneSweepRequest request = sweep();
  Result<std::vector<SweptClone>> swept = sweep_clones(request);
  ASSERT_TRUE(swept);
  request.bytes_max = swept->at(0).bytes + swept->at(1).bytes + swept->at(2).bytes;
  EXPECT_EQ(left(request), "012");
  --request.bytes_max;
  EXPECT_EQ(left(request), "12");
  request.bytes_max = 1;
  request.idle_min_s = 7500;  // younger ones are spared, however much there is
  EXPECT_EQ(left(request), "2");
}

TEST_F(CloneSweep, LeavesWhatAnybodyNeeds) {
  CloneSweepRequest request = sweep();
  request.idle_max_s = 0;
  request.used = {clones_[0]};
  Result<CreatedWorktree> made =
      create_worktree({.worktree = {clones_[1], tree(), key()}, .base = {}});
  ASSERT_TRUE(made) << made.error().message;
  sh(clones_[2], "git branch mine HEAD");
  EXPECT_EQ(left(request), "012");
  sh(clones_[2], "git pack-refs --all");
  EXPECT_EQ(left(request), "012");
  sh(clones_[2], "git branch -q -D mine && git update-ref refs/stash HEAD");
  EXPECT_EQ(left(request), "012");
  sh(clones_[2], "git update-ref -d refs/stash && git pack-refs --all");
  EXPECT_EQ(left(request), "01");
  // Its folder and its branch gone, what berth keeps of the session is still there.
  WorkLoss report;
  ASSERT_TRUE(remove_worktree({.worktree = {clones_[1], tree(), key()}}, report));
  EXPECT_EQ(left(request), "01");
  sh(clones_[1],
     "git for-each-ref --format=\"delete %(refname)\" refs/berth | git update-ref "
     "--stdin");
  EXPECT_EQ(left(request), "0");
  // A fetch under way is not disturbed.
  request.used.clear();
  const std::string lock = clones_[0].substr(0, clones_[0].size() - 4) + ".lock";
  const int fd = ::open(lock.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(fd, LOCK_EX), 0);
  EXPECT_EQ(left(request), "0");
  ::close(fd);
  EXPECT_EQ(left(request), "");
}

TEST_F(CloneSweep, KilledAnywhereIsFinishedByTheNext) {
  CloneSweepRequest request = sweep();
  request.idle_max_s = 0;
  bool done = false;
  for (int step = 1; !done; ++step) {
    ASSERT_LT(step, 20);
    opened(this->request(root_ + "/remote0"));
    CloneSweepRequest dying = request;
    dying.patience.on_step = count_down;
    done = ran_to_its_end(step, [&] { return sweep_clones(dying).has_value(); });
    const CachedRepository cached = opened(this->request(root_ + "/remote0"));
    EXPECT_EQ(in(cached, "fsck"), "");
    EXPECT_EQ(left(request), "");
  }
  // Also what a clone that crashed left, whose URL nobody asks for again.
  fs::create_directories(root_ + "/cache/tmp/" + std::string(40, 'a') + ".XyZ123/objects");
  EXPECT_EQ(left(request), "");
}

TEST_F(Cache, WhatADeadProcessLeftIsCleared) {
  const CachedRepository cached = opened(request(repo()));
  const std::string hash = fs::path(cached.path).stem().string();
  write(root_ + "/cache/tmp/" + hash + ".abcdef/objects/x", "half a clone");
  write(root_ + "/cache/tmp/other.abcdef/x", "of another URL");
  write(cached.path + "/objects/pack/pack_git2_1234", "half a pack");
  write(cached.path + "/refs/remotes/origin/main.lock", "");
  fs::last_write_time(cached.path + "/refs/remotes/origin/main.lock",
                      fs::file_time_type::clock::now() - std::chrono::hours(1));
  git("commit -q --allow-empty -m second");
  CacheRequest later = request(repo());
  later.now_s = ::time(nullptr);
  EXPECT_TRUE(opened(later).fetched);
  EXPECT_EQ(in(cached, "rev-parse HEAD"), git("rev-parse main"));
  EXPECT_FALSE(exists(root_ + "/cache/tmp/" + hash + ".abcdef"));
  EXPECT_TRUE(exists(root_ + "/cache/tmp/other.abcdef/x"));
  EXPECT_FALSE(exists(cached.path + "/objects/pack/pack_git2_1234"));
}

TEST_F(Cache, AFetchThatFailsLeavesWhatWasThere) {
  const CachedRepository cached = opened(request(repo()));
  const std::string head = in(cached, "rev-parse HEAD");
  fs::rename(repo(), root_ + "/away");
  EXPECT_EQ(code_of(cache_.open(request(repo()))), "remote_not_found");
  EXPECT_EQ(in(cached, "rev-parse HEAD"), head);
  EXPECT_EQ(code_of(cache_.open(request(root_ + "/never"))), "remote_not_found");
  EXPECT_EQ(cache_.list().size(), 1U);
  EXPECT_TRUE(fs::is_empty(root_ + "/cache/tmp"));
}

TEST_F(Cache, StopsWhenTold) {
  std::atomic<bool> cancelled = true;
  CacheRequest impatient = request(repo());
  impatient.patience.cancelled = &cancelled;
  Result<CachedRepository> cached = cache_.open(impatient);
  ASSERT_FALSE(cached);
  EXPECT_EQ(cached.error().kind, ErrorKind::cancelled);
  EXPECT_TRUE(cache_.list().empty());
  std::uint64_t objects = 0;
  CacheRequest told = request(repo());
  told.progress = [&](const FetchProgress& progress) { objects = progress.objects; };
  opened(told);
  EXPECT_EQ(std::to_string(objects) + "\n", git("rev-list --objects --all | wc -l"));
}

TEST_F(Cache, DoesNotGoWhereAnAgentPointsIt) {
  const CachedRepository cached = opened(request(repo()));
  sh(root_, "git init -q -b main evil && cd evil && git commit -q --allow-empty -m evil");
  in(cached, "config remote.origin.url " + root_ + "/evil");
  in(cached, "config url." + root_ + "/evil.insteadOf " + repo());
  in(cached, "config remote.origin.fetch +refs/heads/*:refs/heads/berth/*");
  in(cached, "config core.hooksPath " + root_ + "/hooks");
  write(root_ + "/hooks/reference-transaction", "#!/bin/sh\ntouch " + mark() + "\n");
  fs::permissions(root_ + "/hooks/reference-transaction", fs::perms(0755));
  git("commit -q --allow-empty -m second");
  EXPECT_TRUE(opened(request(repo())).fetched);
  EXPECT_EQ(in(cached, "-c core.hooksPath=/dev/null rev-parse HEAD"), git("rev-parse main"));
  EXPECT_EQ(in(cached, "for-each-ref refs/heads"), "");
  EXPECT_FALSE(exists(mark()));
}

TEST_F(Cache, TakesSourcesThatOnlyGitReads) {
  SpawnedGit command(root_ + "/scratch");
  fs::create_directories(root_ + "/scratch");
  git("commit -q --allow-empty -m second && git config uploadpack.allowFilter true");
  sh(root_, "git clone -q --depth 1 file://$PWD/repo shallow");
  sh(root_,
     "git init -q -b trunk --object-format=sha256 s256 && cd s256 && echo x > x && git add "
     "-A && git commit -q -m x");
  EXPECT_EQ(code_of(cache_.open(request(root_ + "/shallow"))), "git_shallow_source");
  EXPECT_EQ(code_of(cache_.open(request(root_ + "/s256"))), "git_sha256");
  for (const char* name : {"/shallow", "/s256"}) {
    CacheRequest by_command = request(root_ + name);
    by_command.command = &command;
    const CachedRepository cached = opened(by_command);
    EXPECT_TRUE(cached.cloned) << name;
    EXPECT_EQ(in(cached, "rev-parse HEAD"), sh(root_ + name, "git rev-parse HEAD"));
    EXPECT_EQ(cached.default_branch, name[2] == 'h' ? "main" : "trunk");
    EXPECT_FALSE(opened(by_command).cloned);
    Result<CreatedWorktree> made = create_worktree(
        {.worktree = {cached.path, root_ + "/trees" + name, key_of(name[2]), &command}});
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(sh(root_ + "/trees" + name, "git status --porcelain"), "");
  }
}

TEST_F(Cache, RefusesWhatIsNoUrlAndShowsNoSecret) {
  for (const char* url :
       {"", "relative/path", "http://host/path", "git://host/path", "ext::sh -c evil",
        "https://host", "https://host/", "file://host/path", "-oProxyCommand=x:y",
        "ssh://-oProxyCommand=evil/path", "https://user:sesame@/path", "a\nb",
        "https://u:sesame@host/p?token=sesame", "ftp://u:sesame@host/path", "https://host/a b",
        "transport::/path"}) {
    Result<CachedRepository> cached = cache_.open(request(url));
    ASSERT_FALSE(cached) << url;
    EXPECT_STREQ(cached.error().code, "bad_url") << url;
    EXPECT_EQ(cached.error().message.find("sesame"), std::string::npos) << cached.error().message;
  }
  EXPECT_FALSE(exists(root_ + "/cache"));
  EXPECT_EQ(redacted("https://u:p@host:1/x?token=t#f"), "https://host:1/x");
  EXPECT_EQ(redacted("ssh://git@host/x"), "ssh://host/x");
  EXPECT_EQ(redacted("https://host/a@b"), "https://host/a@b");
  EXPECT_EQ(redacted("https://a:b/c@host/x"), "https://a:b/c@host/x");
}

}  // namespace
}  // namespace berth::git::test
