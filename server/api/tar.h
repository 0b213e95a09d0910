// server/api/tar.h — heads of entries of a tar archive (POSIX.1-2001, "pax").
#pragma once

#include <berth/io/folder_tree.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::server {

inline constexpr std::size_t kTarBlock = 512;

/// The head of a file, folder or link; of a file its `bytes` follow, and then tar_padding(). What
/// does not fit into the old fields stands in an extended head before it. Owner and group are 0.
std::string tar_head(std::string_view path, const io::TreeEntry& entry);
/// Zeros up to the next block.
std::string tar_padding(std::uint64_t bytes);
/// What an archive ends with.
std::string tar_end();

}  // namespace berth::server
