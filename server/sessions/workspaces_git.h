// server/sessions/workspaces_git.h — workspaces as linked git worktrees.
#pragma once

#include <berth/io/platform.h>
#include <berth/server/sessions/workspaces.h>

#include <string>

namespace berth::server {

struct GitWorkspaceLimits {
  Duration create_max = std::chrono::minutes(10);
  Duration snapshot_max = std::chrono::minutes(2);
  std::size_t patch_bytes_max = std::size_t{8} << 20;
};

/// Worktrees live in `<state>/worktrees/<key>`, their private indexes in `<state>/index/<key>`,
/// what is being deleted in `<state>/trash`. All work is done on the git lane. `platform` and
/// `git::Library` outlive it.
class GitWorkspaces final : public Workspaces {
 public:
  GitWorkspaces(io::Platform& platform, std::string state_directory,
                GitWorkspaceLimits limits = {});

  Task<Result<Workspace>> create(WorkspaceSpec spec) override;
  Task<Result<WorkspaceChange>> record_turn(Workspace workspace, std::int64_t turn,
                                            std::string base) override;
  Task<Result<Patch>> patch(Workspace workspace, std::string from, std::string to,
                            std::string path) override;
  Task<Result<WorkspaceReport>> report(Workspace workspace) override;
  Task<Result<void>> remove(Workspace workspace, bool force) override;

 private:
  std::string private_index(const std::string& key) const { return state_ + "/index/" + key; }

  io::Platform& platform_;
  std::string state_;
  GitWorkspaceLimits limits_;
};

}  // namespace berth::server
