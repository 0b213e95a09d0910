// server/sessions/workspaces.h — the folder that a session's agents work in: git behind it, or a
// model in simulation.
#pragma once

#include <berth/core/result.h>
#include <berth/core/task.h>

#include <cstdint>
#include <string>
#include <vector>

namespace berth::server {

struct WorkspaceSpec {
  std::string key;         ///< The session's key.
  std::string repository;  ///< Absolute path.
  std::string base;        ///< Revision; empty = HEAD.
};

struct Workspace {
  std::string key;          ///< The session's key.
  std::string repository;   ///< Absolute path.
  std::string directory;    ///< Absolute, stays the same for the session's life.
  std::string branch;       ///< "berth/<key>"
  std::string base_commit;  ///< 40 hex.
};

struct ChangedFile {
  std::string path;
  std::string old_path;  ///< Set for renames.
  std::string status;    ///< added | modified | deleted | renamed | typechange
  std::int64_t additions = 0;
  std::int64_t deletions = 0;
  bool binary = false;
};

/// A snapshot of the working files and what it differs in from the base.
struct WorkspaceChange {
  std::string tree;      ///< Tree id.
  std::string snapshot;  ///< Commit id, kept by refs/berth/s/<key>/<turn>.
  std::vector<ChangedFile> files;
};

/// What would be lost if the checkout were removed; `unknown` counts as work.
struct WorkspaceReport {
  bool exists = false;
  bool dirty = false;
  std::int64_t untracked = 0;
  std::int64_t unpushed = 0;
  bool unknown = false;
  std::string reason;
};

/// Every call works on an offload lane and verifies first that the workspace is there: a lost one
/// is an error, never an empty tree. Arguments are copied in; `key` is the session's key, never the
/// caller's id.
class Workspaces {
 public:
  virtual ~Workspaces() = default;

  /// Idempotent by key: a half-made one is finished.
  virtual Task<Result<Workspace>> create(WorkspaceSpec spec) = 0;
  /// Makes the snapshot of a turn and compares it with `base` (a commit or tree id).
  virtual Task<Result<WorkspaceChange>> record_turn(Workspace workspace, std::int64_t turn,
                                                    std::string base) = 0;
  /// The patch between two ids (of one path if `path` is not empty).
  struct Patch {
    std::string text;
    bool truncated = false;
  };
  virtual Task<Result<Patch>> patch(Workspace workspace, std::string from, std::string to,
                                    std::string path) = 0;
  virtual Task<Result<WorkspaceReport>> report(Workspace workspace) = 0;
  /// Refuses with `conflict` ("worktree_has_work") when something would be lost; `force` salvages
  /// first.
  virtual Task<Result<void>> remove(Workspace workspace, bool force) = 0;
};

}  // namespace berth::server
