// tests/unit/git/temp_repository.h — a real repository in a temporary folder, driven by the git
// command.
#pragma once

#include <berth/git/library.h>
#include <berth/git/snapshot.h>
#include <berth/git/worktree.h>

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::git::test {

/// Runs a shell command in `folder` with a clean git environment; what it prints. Fails the test
/// when the command fails.
std::string sh(const std::string& folder, const std::string& command);
/// The same, returning the exit code only.
int sh_code(const std::string& folder, const std::string& command);

void write(const std::string& path, std::string_view content);
std::string read(const std::string& path);
bool exists(const std::string& path);

/// What git-lfs commits in the place of a file.
inline std::string lfs_pointer_of(int size) {
  return "version https://git-lfs.github.com/spec/v1\noid sha256:" + std::string(64, 'a') +
         "\nsize " + std::to_string(size) + "\n";
}

/// key_of(7) is a valid key that ends in 7.
std::string key_of(int n);

/// Where a test's files lie. In memory, if there is room and programs may run there, for suites
/// that wait for the disk without being about it: many processes, many repositories.
enum class Where : std::uint8_t { disk, memory };

/// Each test gets a folder with a repository `repo` (one commit with a few files) and room beside
/// it.
class GitTest : public ::testing::Test {
 protected:
  explicit GitTest(Where where = Where::disk);
  ~GitTest() override;

  std::string repo() const { return root_ + "/repo"; }
  std::string tree() const { return root_ + "/trees/one"; }
  std::string index() const { return root_ + "/data/one.index"; }
  std::string key() const { return key_of(1); }
  virtual WorktreeRef ref() const { return {repo(), tree(), key()}; }
  /// Where a planted command would leave its mark.
  std::string mark() const { return root_ + "/EXECUTED"; }

  std::string git(const std::string& arguments) const { return sh(repo(), "git " + arguments); }
  std::string in_tree(const std::string& arguments) const { return sh(tree(), "git " + arguments); }

  CreatedWorktree create();
  Snapshot snapshot(const std::string& name);

  std::string root_;

 private:
  Library library_{Library::Options{.user_config = false}};
};

}  // namespace berth::git::test
