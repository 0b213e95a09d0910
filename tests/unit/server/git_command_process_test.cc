#include <berth/core/log.h>
#include <berth/core/scope.h>
#include <berth/git/library.h>
#include <berth/git/repository.h>
#include <berth/git/snapshot.h>
#include <berth/git/worktree.h>
#include <berth/io/platform_linux.h>
#include <berth/server/sessions/git_command_process.h>

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <optional>

namespace berth::server {
namespace {

namespace fs = std::filesystem;

class GitProcesses : public ::testing::Test {
 protected:
  GitProcesses() {
    std::string pattern = fs::temp_directory_path().string() + "/berth-git-process-XXXXXX";
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = fs::canonical(pattern).string();
    fs::create_directories(root_ + "/scratch");
    platform_ = std::move(*io::make_linux_platform(log_, {}));
    command_.emplace(*platform_, root_ + "/scratch");
    scope_.emplace(platform_->reactor());
  }
  ~GitProcesses() override {
    finish(command_->close());
    scope_.reset();
    command_.reset();
    platform_.reset();
    fs::remove_all(root_);
  }

  /// Runs `work` on the reactor to its end.
  void finish(Task<void> work) {
    scope_->spawn(then_stop(std::move(work)));
    platform_->reactor().run();
  }
  Task<void> then_stop(Task<void> work) {
    co_await std::move(work);
    platform_->reactor().stop();
  }
  /// On a lane, as the git layer is called.
  template <typename T>
  Result<T> on_lane(std::function<Result<T>()> work) {
    std::optional<Result<T>> answer;
    finish(ask<T>(std::move(work), &answer));
    return std::move(*answer);
  }
  template <typename T>
  Task<void> ask(std::function<Result<T>()> work, std::optional<Result<T>>* answer) {
    answer->emplace(co_await platform_->offload().run(io::Lane::git, platform_->reactor(), work));
  }
  Result<git::GitOutput> run(std::vector<std::string> arguments, std::string input = {},
                             git::Patience patience = {}, std::size_t output_max = 1 << 24) {
    return on_lane<git::GitOutput>([&]() -> Result<git::GitOutput> {
      return command_->run({.arguments = std::move(arguments),
                            .environment = {{"HOME", root_}, {"LC_ALL", "C"}},
                            .directory = root_,
                            .input = std::move(input),
                            .output_max = output_max,
                            .patience = patience});
    });
  }
  /// Whether a program with this argument runs.
  static bool is_running(const std::string& argument) {
    for (const fs::directory_entry& entry : fs::directory_iterator("/proc")) {
      std::ifstream file(entry.path() / "cmdline");
      std::string line((std::istreambuf_iterator<char>(file)), {});
      if (line == std::string("sleep") + '\0' + argument + '\0') return true;
    }
    return false;
  }
  static git::Patience until(std::chrono::milliseconds time) {
    git::Patience patience;
    patience.deadline = std::chrono::steady_clock::now() + time;
    return patience;
  }

  std::string root_;
  NullLog log_;
  git::Library library_{git::Library::Options{.user_config = false}};
  std::unique_ptr<io::Platform> platform_;
  std::optional<GitCommandProcess> command_;
  std::optional<Scope> scope_;
};

TEST_F(GitProcesses, GiveGitItsInputAndTakeWhatItPrints) {
  Result<git::GitOutput> done = run({"hash-object", "--stdin"}, std::string(3 << 20, 'x'));
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->exit_code, 0);
  EXPECT_EQ(done->output, "18c1c3070c50aba268be62a059a5d66e0922c0e9\n");
  done = run({"rev-parse", "HEAD"}, std::string(3 << 20, 'x'));  // does not read it
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->exit_code, 128);
  EXPECT_NE(done->error.find("not a git repository"), std::string::npos);
  done = run({"-c", "alias.big=!head -c 5000000 /dev/zero", "big"});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->output.size(), 5'000'000U);
  done = run({"-c", "alias.die=!kill -9 $$", "die"});
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_NE(done->exit_code, 0);
}

TEST_F(GitProcesses, EndWithAllTheyStartedWhenTheTimeIsUp) {
  Result<git::GitOutput> late = run({"-c", "alias.wait=!sleep 98761 & sleep 98762", "wait"}, {},
                                    until(std::chrono::milliseconds(200)));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().kind, ErrorKind::timed_out);
  EXPECT_FALSE(is_running("98761"));
  EXPECT_FALSE(is_running("98762"));
  std::atomic<bool> cancelled = true;
  Result<git::GitOutput> never = run({"version"}, {}, {.cancelled = &cancelled});
  ASSERT_FALSE(never);
  EXPECT_EQ(never.error().kind, ErrorKind::cancelled);
}

TEST_F(GitProcesses, EndWhenTheyPrintTooMuch) {
  Result<git::GitOutput> loud = run({"-c", "alias.loud=!yes", "loud"}, {}, {}, 1 << 20);
  ASSERT_FALSE(loud);
  EXPECT_STREQ(loud.error().code, "git_output_too_large");
}

TEST_F(GitProcesses, AreKilledByAShutdownAndNoneFollows) {
  std::optional<Result<git::GitOutput>> answer;
  scope_->spawn(ask<git::GitOutput>(
      [this] {
        return command_->run({.arguments = {"-c", "alias.wait=!sleep 98763", "wait"},
                              .environment = {},
                              .directory = root_});
      },
      &answer));
  while (!is_running("98763")) platform_->reactor().poll();
  finish(command_->close());
  while (!answer.has_value()) platform_->reactor().poll();
  ASSERT_TRUE(answer.has_value());
  ASSERT_FALSE(answer->has_value());
  EXPECT_EQ(answer->error().kind, ErrorKind::cancelled);
  EXPECT_FALSE(is_running("98763"));
  Result<git::GitOutput> after = run({"version"});
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().kind, ErrorKind::cancelled);
}

TEST_F(GitProcesses, CarryAWholeWorktreeOfARepositoryThatTheLibraryCannotRead) {
  const std::string repo = root_ + "/repo";
  ASSERT_EQ(run({"init", "-q", "--object-format=sha256", repo})->exit_code, 0);
  std::ofstream(repo + "/file") << "content\n";
  ASSERT_EQ(run({"-C", repo, "add", "-A"})->exit_code, 0);
  ASSERT_EQ(run({"-C", repo, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "1"})
                ->exit_code,
            0);
  const git::WorktreeRef worktree{repo, root_ + "/tree", "01hzzzzzzzzzzzzzzzzzzzzzz1", &*command_};
  Result<git::CreatedWorktree> made =
      on_lane<git::CreatedWorktree>([&] { return git::create_worktree({.worktree = worktree}); });
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(made->base_commit.size(), 64U);
  std::ofstream(root_ + "/tree/new") << "new\n";
  Result<git::Snapshot> taken = on_lane<git::Snapshot>(
      [&] { return git::take_snapshot({.worktree = worktree, .name = "1"}); });
  ASSERT_TRUE(taken) << taken.error().message;
  EXPECT_EQ(run({"-C", repo, "show", taken->commit + ":new"})->output, "new\n");
  EXPECT_TRUE(fs::is_empty(root_ + "/scratch"));
}

}  // namespace
}  // namespace berth::server
