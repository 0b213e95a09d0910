// io/tree_memory.h — what a whole tree of processes holds in memory, as its control group counts
// it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io {

/// A group that may count memory.
struct MemoryGroup {
  std::string folder;
  bool version1 = false;
  bool operator==(const MemoryGroup&) const = default;
};

/// Texts of the kernel's, as they are read.
struct CgroupTexts {
  std::string_view mountinfo;  ///< /proc/self/mountinfo
  std::string_view self;       ///< /proc/self/cgroup
  std::string_view process;    ///< /proc/PID/cgroup, of the tree's first process
};

/// Where the memory of a tree that this process has started may be counted: the group directly
/// below this process's own whose name begins with `name_prefix`, version 2 before version 1. None
/// for a process that is in no group of its tree's own: the counter of a larger one (which a
/// service manager may have named much the same) would count strangers.
std::vector<MemoryGroup> memory_groups_of(const CgroupTexts& texts, std::string_view name_prefix);

/// From the texts of memory.current and memory.stat (version 1: memory.usage_in_bytes and
/// memory.stat): what is used without the pages of files that nobody has touched for a while. The
/// kernel takes those back without harm, and a tree that has read a large repository is not larger
/// for it. Nothing if `current` holds no number.
std::optional<std::uint64_t> memory_in_use(std::string_view current, std::string_view stat,
                                           bool version1);

/// The same of a group; nothing where it has no counter.
std::optional<std::uint64_t> read_memory(const MemoryGroup& group);

}  // namespace berth::inline v0::io
