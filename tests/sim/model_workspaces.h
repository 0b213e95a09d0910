// tests/sim/model_workspaces.h — workspaces on the simulated disk: worktrees, snapshots and
// differences without git.
#pragma once

#include <berth/io/sim_platform.h>
#include <berth/server/sessions/workspaces.h>

#include <map>
#include <string>
#include <vector>

namespace berth::sim_test {

/// Does on the git lane what the real one does, on whole files: a tree is a list of paths and
/// contents that is kept under its id beside the repository. Dies with the platform, which outlives
/// it; what it wrote stays on the machine's disk.
class ModelWorkspaces final : public server::Workspaces {
 public:
  /// Worktrees are made in `<state>/worktrees`.
  ModelWorkspaces(io::SimPlatform& platform, std::string state_directory)
      : platform_(platform), state_(std::move(state_directory)) {}

  Task<Result<server::Workspace>> create(server::WorkspaceSpec spec) override;
  Task<Result<void>> revive(server::Workspace workspace, std::string snapshot) override;
  Task<Result<void>> ensure_ready(server::Workspace workspace) override;
  Task<server::GitFolders> git_folders(server::Workspace workspace) override;
  Task<Result<server::WorkspaceChange>> record(server::Workspace workspace,
                                               server::SnapshotOrder order) override;
  Task<Result<server::WorkspaceChange>> compare(server::Workspace workspace, std::string from,
                                                std::string to) override;
  Task<Result<server::Patch>> patch(server::Workspace workspace, server::PatchOrder order) override;
  Task<Result<server::Patch>> mail(server::Workspace workspace, server::PatchOrder order,
                                   server::CommitWords words) override;
  /// Into the repository's folder; a file that is neither as before nor as after is a conflict.
  Task<Result<server::AppliedChange>> apply(server::Workspace workspace,
                                            server::ApplyOrder order) override;
  Task<Result<std::string>> move_baseline(server::Workspace workspace,
                                          server::BaselineOrder order) override;
  Task<Result<server::RestoredFiles>> restore(server::Workspace workspace,
                                              server::RestoreOrder order) override;
  Task<Result<server::WorkspaceReport>> report(server::Workspace workspace) override;
  Task<server::WorkspaceGaps> gaps(server::Workspace workspace) override;
  Task<Result<server::WorkspaceRemoval>> salvage(server::Workspace workspace) override;
  Task<Result<server::WorkspaceRemoval>> remove(server::Workspace workspace,
                                                server::RemoveOrder order) override;
  Task<Result<std::vector<std::string>>> finish_interrupted() override;
  Task<Result<std::vector<server::ReapedItem>>> reap(server::ReapOrder order) override;

 private:
  using Tree = std::map<std::string, std::string>;  // path below the folder to content

  template <typename Fn>
  auto on_lane(Fn work) {
    return platform_.offload().run(io::Lane::git, platform_.reactor(), std::move(work));
  }
  Result<Tree> read_folder(const std::string& folder);
  Result<Tree> load_tree(const std::string& repository, const std::string& id);
  /// The tree's id.
  Result<std::string> save_tree(const std::string& repository, const Tree& tree);
  Result<server::Workspace> make(const server::WorkspaceSpec& spec);
  Result<void> write_tree(const std::string& folder, const Tree& from, const Tree& to);
  Result<server::WorkspaceChange> between(const std::string& repository, const std::string& from,
                                          const std::string& to);
  Result<server::WorkspaceChange> snapshot(const server::Workspace& workspace,
                                           const std::string& base, const std::string& since);
  Result<server::Patch> patch_of(const server::Workspace& workspace,
                                 const server::PatchOrder& order);
  Result<server::AppliedChange> apply_files(const server::Workspace& workspace,
                                            const server::ApplyOrder& order);
  Result<server::RestoredFiles> restore_files(const server::Workspace& workspace,
                                              const server::RestoreOrder& order);

  io::SimPlatform& platform_;
  std::string state_;
};

}  // namespace berth::sim_test
