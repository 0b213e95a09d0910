// io/cgroup.h — control groups (version 2) as a way to name a process with all that descends from
// it.
#pragma once

#include <berth/core/result.h>

#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io {

/// Where the unified hierarchy is, and where in it this process lives. Both are folders.
struct CgroupHome {
  std::string mount;
  std::string own;
};

/// From the texts of /proc/self/mountinfo and /proc/self/cgroup; hybrid hosts mount version 2
/// beside the old ones.
Result<CgroupHome> parse_cgroup_home(std::string_view mountinfo, std::string_view self_cgroup);
Result<CgroupHome> find_cgroup_home();

Result<void> make_cgroup(const std::string& folder);
/// Kills every process in the group and in all groups below it, at once (Linux 5.14). False if that
/// failed.
bool kill_cgroup(const std::string& folder);
/// Removes the group and the groups below it. False while a process (a zombie is none) lives in it;
/// true when it is gone, also if it was before.
bool remove_cgroup(const std::string& folder);
/// The pids in the group and in all groups below it.
std::vector<int> cgroup_processes(const std::string& folder);
/// All groups below `mount` whose name begins with `name_prefix`; not those below one that was
/// found.
std::vector<std::string> find_cgroups(const std::string& mount, std::string_view name_prefix);

}  // namespace berth::inline v0::io
