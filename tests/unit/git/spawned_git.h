// tests/unit/git/spawned_git.h — the git command by posix_spawn, for tests of the git layer alone.
#pragma once

#include <berth/git/git_command.h>

#include <atomic>
#include <string>

namespace berth::git::test {

/// Blocking. `scratch` must exist.
class SpawnedGit : public GitCommand {
 public:
  explicit SpawnedGit(std::string scratch) : scratch_(std::move(scratch)) {}

  Result<GitOutput> run(const GitRun& run) override;
  std::string scratch_folder() const override { return scratch_; }

  std::atomic<int> runs = 0;

 private:
  std::string scratch_;
};

}  // namespace berth::git::test
