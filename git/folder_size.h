// git/folder_size.h — what a folder holds on disk. Private to this folder.
#pragma once

#include <berth/git/patience.h>

#include <cstdint>
#include <string>

namespace berth::git::detail {

struct FolderSize {
  std::uint64_t bytes = 0;  ///< Blocks; other file systems mounted inside are not counted.
  std::uint64_t files = 0;
  bool whole = false;  ///< All of it could be seen, within patience.
};

/// Follows no link. Nothing and not `whole` for what is no folder.
FolderSize folder_size(const std::string& path, const Patience& patience);

}  // namespace berth::git::detail
