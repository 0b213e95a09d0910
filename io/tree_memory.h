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

/// Where the groups lie that this process makes for its trees, and that may count their memory.
class MemoryHomes {
 public:
  /// From the texts of /proc/self/mountinfo and /proc/self/cgroup.
  MemoryHomes(std::string_view mountinfo, std::string_view self_cgroup);

  /// Where the memory of a tree that this process has started may be counted, from the text of
  /// /proc/PID/cgroup of one of its processes: the group directly below this process's own whose
  /// name begins with `name_prefix`, version 2 before version 1. None for a process that is in no
  /// group of its tree's own: the counter of a larger one (which a service manager may have named
  /// much the same) would count strangers.
  std::vector<MemoryGroup> groups_of(std::string_view process_cgroup,
                                     std::string_view name_prefix) const;

 private:
  struct Home {
    std::string_view controller;  // empty: version 2
    std::string path;    // of this process's group in its hierarchy, without a '/' at the end
    std::string folder;  // the same in the file system
  };
  std::vector<Home> homes_;
};

/// From the texts of memory.current and memory.stat (version 1: memory.usage_in_bytes and
/// memory.stat): what is used without the pages of files that nobody has touched for a while. The
/// kernel takes those back without harm, and a tree that has read a large repository is not larger
/// for it. Nothing if `current` holds no number.
std::optional<std::uint64_t> memory_in_use(std::string_view current, std::string_view stat,
                                           bool version1);

/// The same of a group; nothing where it has no counter.
std::optional<std::uint64_t> read_memory(const MemoryGroup& group);

}  // namespace berth::inline v0::io
