// server/agents/git_folders.h — what of a repository an agent's git needs besides the worktree.
#pragma once

#include <string>
#include <vector>

namespace berth::server {

/// Absolute paths; empty where nobody knows: git then fails if the agent is confined.
struct GitFolders {
  std::string read;                  ///< The repository's own folder: `.git`, or bare.
  std::vector<std::string> written;  ///< By a commit on the workspace's branch; each ends in '/'.
};

}  // namespace berth::server
