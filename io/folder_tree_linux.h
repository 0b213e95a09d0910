// io/folder_tree_linux.h — FolderTree on the real file system.
#pragma once

#include <berth/io/folder_tree.h>

namespace berth::inline v0::io {

/// openat2(2) keeps paths below the folder; old kernels and some seccomp profiles refuse it, then
/// each segment is opened by itself.
enum class Beneath : std::uint8_t { kernel, by_segment };

/// With `kernel` it finds out by itself when the kernel refuses.
Result<std::unique_ptr<FolderTree>> open_linux_tree(const std::string& folder,
                                                    Beneath beneath = Beneath::kernel);

}  // namespace berth::inline v0::io
