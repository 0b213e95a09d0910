#include <berth/core/log.h>
#include <berth/core/scope.h>
#include <berth/git/library.h>
#include <berth/io/platform_linux.h>
#include <berth/server/sessions/workspaces_git.h>

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace berth::server {
namespace {

namespace fs = std::filesystem;

class GitOnDemand : public ::testing::Test {
 protected:
  GitOnDemand() {
    std::string pattern = fs::temp_directory_path().string() + "/berth-on-demand-XXXXXX";
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    root_ = fs::canonical(pattern).string();
    platform_ = std::move(*io::make_linux_platform(log_, {}));
    workspaces_.emplace(*platform_, root_, GitWorkspaceLimits{},
                        GitWorkspaceTools{.libgit2 = libgit2_});
    scope_.emplace(platform_->reactor());
  }
  ~GitOnDemand() override {
    scope_.reset();
    workspaces_.reset();
    platform_.reset();
    fs::remove_all(root_);
  }

  template <typename T>
  Result<T> finish(Task<Result<T>> work) {
    std::optional<Result<T>> answer;
    scope_->spawn(then_stop(std::move(work), &answer));
    platform_->reactor().run();
    return std::move(*answer);
  }
  template <typename T>
  Task<void> then_stop(Task<Result<T>> work, std::optional<Result<T>>* answer) {
    answer->emplace(co_await std::move(work));
    platform_->reactor().stop();
  }
  /// What every server does at its start and now and then.
  void start_and_tidy() {
    EXPECT_TRUE(finish(workspaces_->finish_interrupted()).has_value());
    for (const bool worktrees : {false, true}) {
      ReapOrder order;
      order.worktrees = worktrees;
      order.dry_run = false;
      const auto gone = finish(workspaces_->reap(order));
      ASSERT_TRUE(gone.has_value()) << gone.error().message;
    }
  }

  NullLog log_;
  git::LibraryOnDemand libgit2_;
  std::string root_;
  std::unique_ptr<io::Platform> platform_;
  std::optional<GitWorkspaces> workspaces_;
  std::optional<Scope> scope_;
};

TEST_F(GitOnDemand, StaysOffWhereThereAreNoWorkspaces) {
  start_and_tidy();
  for (const char* folder : {"worktrees", "overlay/layers", "overlay/lowers", "clones", "apply"}) {
    fs::create_directories(root_ + "/" + folder);
  }
  start_and_tidy();
  EXPECT_FALSE(libgit2_.is_on());
}

TEST_F(GitOnDemand, ComesOnForAnApplyThatWasInterrupted) {
  fs::create_directories(root_ + "/apply");
  std::ofstream(root_ + "/apply/key") << "damaged";
  const auto unfinished = finish(workspaces_->finish_interrupted());
  ASSERT_TRUE(unfinished.has_value());
  EXPECT_EQ(unfinished->size(), 1U);
  EXPECT_TRUE(libgit2_.is_on());
}

TEST_F(GitOnDemand, ComesOnForWorktreesThatAreLeft) {
  fs::create_directories(root_ + "/worktrees/stray");
  start_and_tidy();
  EXPECT_TRUE(libgit2_.is_on());
}

TEST_F(GitOnDemand, ComesOnForARepository) {
  WorkspaceSpec spec;
  spec.key = "01arz3ndektsv4rrffq69g5fav";
  spec.repository = root_;
  spec.mode = "worktree";
  const auto made = finish(workspaces_->create(spec));
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(std::string_view(made.error().code), "not_a_repository") << made.error().message;
  EXPECT_TRUE(libgit2_.is_on());
}

TEST_F(GitOnDemand, ComesOnForAUrl) {
  WorkspaceSpec spec;
  spec.key = "01arz3ndektsv4rrffq69g5fav";
  spec.repository = "file://" + root_ + "/none";
  const auto made = finish(workspaces_->create(spec));
  ASSERT_FALSE(made.has_value());
  EXPECT_EQ(std::string_view(made.error().code), "remote_not_found") << made.error().message;
  EXPECT_TRUE(libgit2_.is_on());
}

TEST(LibraryOnDemand, ComesOnOnceHoweverManyThreadsNeedIt) {
  git::LibraryOnDemand library;
  EXPECT_FALSE(library.is_on());
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&library] { library.need(); });
  threads.clear();
  EXPECT_TRUE(library.is_on());
  library.need();
}

}  // namespace
}  // namespace berth::server
