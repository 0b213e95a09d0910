// tests/sim/model_workspaces.h — workspaces on the simulated disk: worktrees, snapshots and
// differences without git.
#pragma once

#include <berth/io/sim_platform.h>
#include <berth/server/sessions/workspaces.h>

#include <map>
#include <string>

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
  Task<Result<server::WorkspaceChange>> record_turn(server::Workspace workspace, std::int64_t turn,
                                                    std::string base) override;
  Task<Result<Patch>> patch(server::Workspace workspace, std::string from, std::string to,
                            std::string path) override;
  Task<Result<server::WorkspaceReport>> report(server::Workspace workspace) override;
  Task<Result<void>> remove(server::Workspace workspace, bool force) override;

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
  Result<server::WorkspaceChange> snapshot(const server::Workspace& workspace,
                                           const std::string& base);

  io::SimPlatform& platform_;
  std::string state_;
};

}  // namespace berth::sim_test
