#include "temp_repository.h"

#include <berth/git/repository.h>

#include <filesystem>

namespace berth::git::test {
namespace {

namespace fs = std::filesystem;

using Repository = GitTest;

TEST_F(Repository, TellsWhereItIsAndWhatItStandsOn) {
  Result<RepositoryInfo> info = inspect_repository(repo());
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->git_dir, repo() + "/.git");
  EXPECT_EQ(info->common_dir, repo() + "/.git");
  EXPECT_EQ(info->work_dir, repo());
  EXPECT_EQ(info->head + "\n", git("rev-parse HEAD"));
  EXPECT_EQ(info->branch, "main");
  EXPECT_FALSE(info->bare || info->empty || info->linked_worktree);

  git("checkout -q --detach");
  EXPECT_EQ(inspect_repository(repo() + "/.git")->branch, "");

  create();
  info = inspect_repository(tree());
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_TRUE(info->linked_worktree);
  EXPECT_EQ(info->common_dir, repo() + "/.git");
  EXPECT_EQ(info->work_dir, tree());
  EXPECT_EQ(info->branch, "berth/" + key());
}

TEST_F(Repository, BareAndEmptyOnesAreSeenAsSuch) {
  sh(root_, "git init -q -b trunk empty && git clone -q --bare repo bare.git");
  Result<RepositoryInfo> empty = inspect_repository(root_ + "/empty");
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->empty);
  EXPECT_EQ(empty->branch, "trunk");
  EXPECT_EQ(empty->head, "");
  Result<RepositoryInfo> bare = inspect_repository(root_ + "/bare.git");
  ASSERT_TRUE(bare);
  EXPECT_TRUE(bare->bare);
  EXPECT_EQ(bare->work_dir, "");
  EXPECT_EQ(bare->branch, "main");
}

TEST_F(Repository, OnlyTheExactPathIsOpenedUnlessSearchIsAskedFor) {
  Result<RepositoryInfo> inside = inspect_repository(repo() + "/dir");
  ASSERT_FALSE(inside);
  EXPECT_STREQ(inside.error().code, "not_a_repository");
  Result<std::string> found = find_repository(repo() + "/dir/deep");
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, repo());
  EXPECT_STREQ(find_repository(root_).error().code, "not_a_repository");
  EXPECT_STREQ(inspect_repository(root_ + "/none").error().code, "path_missing");
}

TEST_F(Repository, WhatThisLibraryCannotReadIsNamed) {
  const auto code = [&](const std::string& path) {
    Result<RepositoryInfo> info = inspect_repository(path);
    return info ? std::string("opened") : std::string(info.error().code);
  };
  sh(root_, "git init -q --object-format=sha256 s256");
  EXPECT_EQ(code(root_ + "/s256"), "git_sha256");
  git("config uploadpack.allowFilter true");
  sh(root_, "git clone -q --filter=blob:none file://$PWD/repo partial");
  EXPECT_EQ(code(root_ + "/partial"), "git_partial_clone");
  sh(root_, "git clone -q repo sparse && cd sparse && git sparse-checkout set --no-cone dir");
  EXPECT_NE(code(root_ + "/sparse"), "opened");
  sh(root_, "git clone -q repo old && cd old && git config core.sparseCheckout true");
  EXPECT_EQ(code(root_ + "/old"), "git_sparse_checkout");
  sh(root_,
     "git clone -q repo ext && cd ext && git config core.repositoryformatversion 1 && "
     "git config extensions.fromTheFuture yes");
  EXPECT_EQ(code(root_ + "/ext"), "git_extension");
  sh(root_, "git clone -q repo v9 && cd v9 && git config core.repositoryformatversion 9");
  EXPECT_EQ(code(root_ + "/v9"), "git_format_version");
  write(root_ + "/v9/.git/config", "[core\n");
  EXPECT_EQ(code(root_ + "/v9"), "git_config_broken");
  write(root_ + "/file/.git", "hello\n");
  EXPECT_EQ(code(root_ + "/file"), "not_a_repository");
}

TEST_F(Repository, ASplitIndexOfTheSourceIsNoObstacle) {
  git("update-index --split-index");
  create();
  EXPECT_EQ(in_tree("status --porcelain"), "");
}

TEST_F(Repository, APlantedWorktreeSettingDoesNotMoveUs) {
  git("config core.worktree " + root_ + "/data");
  const CreatedWorktree made = create();
  EXPECT_EQ(made.path, tree());
  EXPECT_TRUE(exists(tree() + "/a.txt"));
  EXPECT_EQ(snapshot("1").tree, sh(repo(), "git rev-parse HEAD^{tree}").substr(0, 40));
  EXPECT_TRUE(fs::is_empty(root_ + "/data") || !exists(root_ + "/data/a.txt"));
}

TEST_F(Repository, ResolvesRevisions) {
  EXPECT_EQ(*resolve_commit(repo(), "main") + "\n", git("rev-parse HEAD"));
  EXPECT_STREQ(resolve_commit(repo(), "nope").error().code, "rev_not_found");
}

}  // namespace
}  // namespace berth::git::test
