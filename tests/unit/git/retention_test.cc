#include "command_kinds.h"
#include "spawned_git.h"
#include "temp_repository.h"

#include <berth/git/removal.h>
#include <berth/git/retention.h>

#include <filesystem>
#include <string>

namespace berth::git::test {
namespace {

constexpr std::int64_t kDay = 24 * 3600;
constexpr std::int64_t kStart = 1'700'000'000;  // git takes no dates near 1970

/// By libgit2, and by the git command where that cannot read the repository.
class GitRetention : public GitTest, public testing::WithParamInterface<Kind> {
 protected:
  WorktreeRef ref() const override { return {repo(), tree(), key(), &command_}; }
  void SetUp() override {
    sh(repo(), GetParam().commands);
    std::filesystem::create_directories(root_ + "/scratch");
  }
  void set_ref(const std::string& name, std::int64_t time_s) {
    const std::string date = std::to_string(kStart + time_s) + " +0000";
    const std::string commit =
        sh(repo(), "GIT_COMMITTER_DATE=\"" + date + "\" git commit-tree -m x HEAD^{tree}");
    git("update-ref " + name + " " + commit.substr(0, commit.size() - 1));
  }
  std::string snapshot_ref(int key, const std::string& name) {
    return "refs/berth/s/" + key_of(key) + "/" + name;
  }
  std::string salvage_ref(int key, const std::string& name) {
    return "refs/berth/x/" + key_of(key) + "/" + name;
  }
  std::string names() {
    return git("for-each-ref --format=\"%(refname:lstrip=2)\" refs/berth | cut -c1,29-");
  }
  Retention expire(RetentionPolicy policy, std::int64_t now_s, bool dry_run = false) {
    Result<Retention> done = expire_refs({.repository = repo(),
                                          .policy = std::move(policy),
                                          .now_s = kStart + now_s,
                                          .dry_run = dry_run,
                                          .command = &command_});
    EXPECT_TRUE(done) << (done ? "" : done.error().message);
    return done ? *done : Retention{};
  }

  mutable SpawnedGit command_{root_ + "/scratch"};
};
INSTANTIATE_TEST_SUITE_P(Kinds, GitRetention,
                         testing::Values(Kind{"Library", "", "true"}, kSha256, kPartialClone),
                         [](const auto& info) { return info.param.name; });

TEST_P(GitRetention, KeepsTheBaseAndTheNewestSnapshotsOfASessionThatExists) {
  set_ref(snapshot_ref(1, "base"), 1);
  for (int turn : {2, 9, 10, 11}) set_ref(snapshot_ref(1, std::to_string(turn)), 1);
  set_ref(salvage_ref(1, "1"), 1);
  const RetentionPolicy policy{.live_keys = {key_of(1)}, .snapshots_max = 2};
  const Retention planned = expire(policy, 1000 * kDay, true);
  EXPECT_EQ(names(), "s/10\ns/11\ns/2\ns/9\ns/base\nx/1\n");
  ASSERT_EQ(planned.expired.size(), 2U);
  EXPECT_EQ(planned.expired[0].ref, snapshot_ref(1, "2"));
  EXPECT_EQ(planned.expired[0].reason, "over_snapshots_max");
  EXPECT_EQ(planned.kept, 4U);
  EXPECT_EQ(expire(policy, 1000 * kDay).expired.size(), 2U);
  EXPECT_EQ(names(), "s/10\ns/11\ns/base\nx/1\n");
}

TEST_P(GitRetention, LetsWhatAGoneSessionLeftGoWithAge) {
  set_ref(snapshot_ref(1, "base"), 0);
  set_ref(snapshot_ref(1, "1"), 0);
  set_ref(snapshot_ref(1, "2"), 5 * kDay);
  set_ref(salvage_ref(1, "1"), 0);
  EXPECT_EQ(expire({}, 7 * kDay).expired.size(), 0U);
  EXPECT_EQ(expire({}, 8 * kDay).expired.size(), 1U);
  EXPECT_EQ(names(), "s/2\ns/base\nx/1\n") << "the base stays while a snapshot does";
  EXPECT_EQ(expire({}, 13 * kDay).expired.size(), 2U);
  EXPECT_EQ(names(), "x/1\n");
  EXPECT_EQ(expire({}, 90 * kDay).expired.size(), 0U);
  const Retention last = expire({}, 91 * kDay);
  ASSERT_EQ(last.expired.size(), 1U);
  EXPECT_EQ(last.expired[0].reason, "salvage_old");
  EXPECT_EQ(last.expired[0].age_s, 91 * kDay);
}

TEST_P(GitRetention, NeverTakesTheBaseOfARegisteredWorktreeNorAnythingThatIsNotBerths) {
  create();
  git("update-ref refs/berth/other HEAD && git update-ref refs/berth/s/Not-A-Key/1 HEAD");
  const Retention done = expire({}, 1'000'000 * kDay);
  EXPECT_TRUE(done.expired.empty());
  EXPECT_EQ(git("for-each-ref --format=\"%(refname)\" refs/berth"),
            "refs/berth/other\nrefs/berth/s/" + key() + "/base\nrefs/berth/s/Not-A-Key/1\n");
  EXPECT_EQ(git("branch --list \"berth/*\" --format=\"%(refname:short)\""),
            "berth/" + key() + "\n");
}

TEST_P(GitRetention, ARefToALargeFileHoldsNothingUp) {
  set_ref(snapshot_ref(1, "1"), 0);
  set_ref(snapshot_ref(1, "2"), 5 * kDay);
  git("update-ref " + snapshot_ref(2, "1") +
      " $(head -c 68157440 /dev/zero | git -c core.compression=1 hash-object -w --stdin)");
  EXPECT_EQ(expire({}, 8 * kDay).expired.size(), 2U);
  EXPECT_EQ(names(), "s/2\n");
}

TEST_P(GitRetention, ManyRefsAreReadInParts) {
  set_ref(snapshot_ref(1, "1"), 0);
  set_ref(snapshot_ref(2, "1"), 90 * kDay);
  std::string refs;
  for (int i = 2; i <= 1200; ++i) {
    refs += "create " + snapshot_ref(2, std::to_string(i)) + " " + snapshot_ref(2, "1") + "\n";
  }
  write(root_ + "/refs", refs);
  git("update-ref --stdin < " + root_ + "/refs");
  const Retention planned = expire({}, 90 * kDay, true);
  ASSERT_EQ(planned.expired.size(), 1U);
  EXPECT_EQ(planned.expired[0].ref, snapshot_ref(1, "1"));
  EXPECT_EQ(planned.kept, 1200U);
}

TEST_P(GitRetention, WhatASessionMeasuresAgainstStaysHoweverOld) {
  set_ref(snapshot_ref(1, "base"), 1);
  for (int turn : {1, 2, 3}) set_ref(snapshot_ref(1, std::to_string(turn)), turn);
  std::string wanted = git("rev-parse " + snapshot_ref(1, "1"));
  wanted.pop_back();
  expire({.live_keys = {key_of(1)}, .keep_commits = {wanted}, .snapshots_max = 1}, 10);
  EXPECT_EQ(names(), "s/1\ns/3\ns/base\n");
}

}  // namespace
}  // namespace berth::git::test
