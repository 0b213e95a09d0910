// git/lfs_pointer.h — files that git-lfs keeps elsewhere: what is in the repository is a pointer.
// Private to this folder.
#pragma once

#include <cstdint>
#include <string_view>

namespace berth::git::detail {

/// Whether a blob of that size may be one at all, so that others need not be read.
constexpr bool may_be_lfs_pointer(std::uint64_t bytes) {
  return bytes >= 100 && bytes <= 1024;
}

/// Source: docs/spec.md of git-lfs, "The Pointer".
constexpr bool is_lfs_pointer(std::string_view content) {
  return may_be_lfs_pointer(content.size()) &&
         content.starts_with("version https://git-lfs.github.com/spec/");
}

}  // namespace berth::git::detail
