#include "temp_repository.h"

#include <berth/git/reaper.h>
#include <berth/git/registration.h>

#include <filesystem>
#include <map>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

TEST(ReapDecision, FollowsTheTable) {
  struct Case {
    ReapFacts facts;
    ReapVerdict verdict;
  };
  const WorktreeCondition gone = WorktreeCondition::folder_gone;
  const WorktreeCondition half = WorktreeCondition::half_made;
  const WorktreeCondition lost = WorktreeCondition::unregistered;
  const Case cases[] = {
      {{.live = true, .age_s = 99, .loses_nothing = true}, ReapVerdict::live},
      {{.age_s = 9, .loses_nothing = true}, ReapVerdict::young},
      {{.age_s = 10, .loses_nothing = true}, ReapVerdict::removable},
      {{.age_s = 10, .loses_nothing = false}, ReapVerdict::has_work},
      {{.age_s = 10, .loses_nothing = std::nullopt}, ReapVerdict::has_work},
      {{.adopted = true, .age_s = 99, .loses_nothing = true}, ReapVerdict::adopted},
      {{.locked = true, .age_s = 99, .loses_nothing = true}, ReapVerdict::locked},
      {{.locked = true, .condition = half, .age_s = 99, .loses_nothing = true},
       ReapVerdict::removable},
      {{.condition = half, .age_s = 9, .loses_nothing = true}, ReapVerdict::young},
      {{.condition = lost, .age_s = 99, .loses_nothing = true}, ReapVerdict::stray},
      {{.condition = gone, .age_s = 99, .loses_nothing = true}, ReapVerdict::removable},
      {{.parent_missing = true, .condition = gone, .age_s = 99, .loses_nothing = true},
       ReapVerdict::unmounted},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(to_string(decide(one.facts, 10)), to_string(one.verdict));
  }
}

class Reaper : public GitTest {
 protected:
  WorktreeRef make(int n) {
    const WorktreeRef worktree{repo(), root_ + "/trees/" + std::to_string(n), key_of(n)};
    Result<CreatedWorktree> made =
        create_worktree({.worktree = worktree, .private_index = root_ + "/data/" + worktree.key});
    EXPECT_TRUE(made);
    return worktree;
  }
  ReapRequest request() const {
    ReapRequest request;
    request.survey.repositories = {repo()};
    request.survey.roots = {root_ + "/trees"};
    request.survey.live_keys = {key_of(1)};
    request.survey.now_s = ::time(nullptr) + 7200;
    request.trash = root_ + "/trash";
    request.private_indexes = root_ + "/data";
    return request;
  }
  std::map<std::string, std::string> verdicts(const SurveyRequest& request) {
    Result<Survey> survey = survey_worktrees(request);
    EXPECT_TRUE(survey) << (survey ? "" : survey.error().message);
    std::map<std::string, std::string> found;
    for (const SurveyedWorktree& one : survey->worktrees) {
      found[one.path.substr(one.path.rfind('/') + 1)] = to_string(one.verdict);
    }
    return found;
  }
  /// One of each kind, named by what shall be said of it.
  void populate() {
    make(1);
    make(2);
    write(make(3).path + "/new", "work\n");
    ASSERT_TRUE(lock_worktree(make(4), "mine"));
    fs::remove_all(make(5).path);
    fs::remove_all(repo() + "/.git/worktrees/" + make(6).key);
    write(repo() + "/.git/worktrees/" + make(7).key + "/locked", "berth: being made\n");
    git("worktree add -q ../trees/8 && git worktree add -q ../elsewhere");
    ASSERT_TRUE(adopt_worktree({repo(), root_ + "/trees/8", key_of(8)}, ""));
    write(root_ + "/trees/9/somebody's", "file\n");
    const WorktreeRef far{repo(), root_ + "/disk/10", key_of(10)};
    ASSERT_TRUE(create_worktree({.worktree = far}));
    fs::remove_all(root_ + "/disk");
  }
};

TEST_F(Reaper, SaysOfEachWorktreeWhatShallBecomeOfIt) {
  populate();
  const std::map<std::string, std::string> expected = {
      {"1", "live"},  {"2", "removable"}, {"3", "has_work"}, {"4", "locked"}, {"5", "removable"},
      {"6", "stray"}, {"7", "removable"}, {"8", "adopted"},  {"9", "stray"},  {"10", "unmounted"}};
  EXPECT_EQ(verdicts(request().survey), expected);
  SurveyRequest now = request().survey;
  now.now_s -= 7200;
  for (const auto& [name, verdict] : verdicts(now)) {
    EXPECT_EQ(verdict, name == "1" ? "live" : "young") << name;
  }
}

TEST_F(Reaper, TakesOnlyWhatLosesNothingAndTellsBeforehand) {
  populate();
  ReapRequest dry = request();
  dry.dry_run = true;
  const std::string before = sh(root_, "find . | sort; cd repo && git for-each-ref");
  Result<Reaped> planned = reap_worktrees(dry);
  ASSERT_TRUE(planned) << planned.error().message;
  EXPECT_EQ(sh(root_, "find . | sort; cd repo && git for-each-ref"), before);
  EXPECT_EQ(planned->removed.size(), 3U);

  Result<Reaped> reaped = reap_worktrees(request());
  ASSERT_TRUE(reaped) << reaped.error().message;
  ASSERT_EQ(reaped->removed.size(), 3U);
  for (const ReapedWorktree& one : reaped->removed) EXPECT_EQ(one.error, "");
  EXPECT_EQ(reaped->bytes, planned->bytes);
  for (int n : {2, 5, 7}) {
    EXPECT_FALSE(exists(root_ + "/trees/" + std::to_string(n))) << n;
    EXPECT_FALSE(exists(repo() + "/.git/worktrees/" + key_of(n))) << n;
    EXPECT_FALSE(exists(root_ + "/data/" + key_of(n))) << n;
  }
  for (int n : {1, 3, 4, 6, 8, 9}) EXPECT_TRUE(exists(root_ + "/trees/" + std::to_string(n))) << n;
  EXPECT_TRUE(exists(root_ + "/elsewhere"));
  EXPECT_TRUE(exists(repo() + "/.git/worktrees/" + key_of(10)));
  EXPECT_TRUE(reap_worktrees(request())->removed.empty());
  EXPECT_EQ(git("fsck --no-dangling"), "");
}

TEST_F(Reaper, SalvagesAbandonedWorkOnlyWhenAsked) {
  const WorktreeRef worktree = make(3);
  write(worktree.path + "/new", "work\n");
  ReapRequest asked = request();
  asked.salvage_after_s = 10'000;
  EXPECT_TRUE(reap_worktrees(asked)->removed.empty());
  asked.survey.now_s += 10'000;
  Result<Reaped> reaped = reap_worktrees(asked);
  ASSERT_TRUE(reaped);
  ASSERT_EQ(reaped->removed.size(), 1U);
  EXPECT_EQ(reaped->removed[0].error, "");
  EXPECT_EQ(git("show " + reaped->removed[0].salvage_ref + ":new"), "work\n");
  EXPECT_FALSE(exists(worktree.path));
}

TEST_F(Reaper, TrustsTheRecordedBaseMoreThanARefThatAnAgentCanMove) {
  const WorktreeRef worktree = make(2);
  const std::string base = git("rev-parse HEAD").substr(0, 40);
  sh(worktree.path, "git commit -q --allow-empty -m work && git update-ref refs/berth/s/" +
                        worktree.key + "/base HEAD");
  ReapRequest careful = request();
  careful.survey.bases[worktree.key] = base;
  EXPECT_EQ(verdicts(careful.survey)["2"], "has_work");
  EXPECT_TRUE(reap_worktrees(careful)->removed.empty());
}

TEST_F(Reaper, MeasuresWhatAWorktreeTakes) {
  const WorktreeRef worktree = make(2);
  write(worktree.path + "/build/big", std::string(1 << 20, 'x'));
  fs::create_symlink("/usr", worktree.path + "/build/link");
  Result<Survey> survey = survey_worktrees(request().survey);
  ASSERT_TRUE(survey);
  ASSERT_EQ(survey->worktrees.size(), 1U);
  const SurveyedWorktree& one = survey->worktrees[0];
  EXPECT_TRUE(one.measured);
  EXPECT_EQ(one.files, 10U);  // 4 files, 2 folders, .git, build, big, link
  EXPECT_GE(one.bytes, std::uint64_t{1} << 20);
  EXPECT_LT(one.bytes, std::uint64_t{2} << 20);
}

TEST_F(Reaper, TakesNothingOfARepositoryThatItCannotSee) {
  make(2);
  ReapRequest blind = request();
  fs::rename(repo(), root_ + "/away");
  Result<Reaped> reaped = reap_worktrees(blind);
  ASSERT_TRUE(reaped);
  EXPECT_EQ(reaped->survey.failures.size(), 1U);
  ASSERT_EQ(reaped->survey.worktrees.size(), 1U);
  EXPECT_EQ(reaped->survey.worktrees[0].verdict, ReapVerdict::stray);
  EXPECT_TRUE(exists(root_ + "/trees/2/a.txt"));
}

}  // namespace
}  // namespace berth::git::test
