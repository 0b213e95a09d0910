// io/tree_limits.h — bounds for whole trees of processes by control groups of either version.
#pragma once

#include <berth/core/result.h>
#include <berth/io/process_host.h>

#include <string>
#include <vector>

namespace berth::inline v0::io {

/// Where the groups of one controller are made.
struct ControllerHome {
  enum class Kind : std::uint8_t {
    none,
    version1,  ///< In a hierarchy of its own, which a child has to enter by itself.
    version2,  ///< In the group that a child has anyway.
  } kind = Kind::none;
  std::string mount;  ///< version1: of the hierarchy.
  std::string own;    ///< version1: the folder of this process's group in it.
};

struct LimitHomes {
  ControllerHome memory;
  ControllerHome pids;
  ControllerHome cpu;
};

/// What can be used here, tried by making and removing a group. `group_home` is where groups of
/// version 2 are made, empty if they are not used; their controllers are switched on for its
/// children where that is allowed.
LimitHomes find_limit_homes(const std::string& group_home, const std::string& probe_name);

/// "memory by cgroup1, processes by cgroup1, cpu not": for doctor.
std::string describe(const LimitHomes& homes);

struct TreeLimits {
  std::vector<std::string> folders;  ///< Of version 1: to be entered; removed by the caller.
  std::uint64_t data_bytes_max = 0;  ///< Instead of a group for memory: RLIMIT_DATA.
};

/// Makes the groups that `limits` need and sets the bounds; `group` is the child's group of version
/// 2 (empty if none), `name` what its groups of version 1 are called. Error `unsupported`
/// ("no_limit") for what cannot be had here. An error leaves nothing.
Result<TreeLimits> make_tree_limits(const LimitHomes& homes, const ProcessLimits& limits,
                                    const std::string& group, const std::string& name);

}  // namespace berth::inline v0::io
