// io/cgroup.h — control groups as a way to name a process with all that descends from it.
#pragma once

#include <berth/core/result.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io {

/// Where a hierarchy is, and where in it this process lives. Both are folders.
struct CgroupHome {
  std::string mount;
  std::string own;
};

/// From the text of /proc/PID/cgroup: the path of its group in the hierarchy of version 1 with that
/// controller, or of version 2 (empty). It points into the text. A path is no folder: see
/// CgroupHome.
std::optional<std::string_view> cgroup_path(std::string_view cgroup_text,
                                            std::string_view controller = {});

/// From the texts of /proc/self/mountinfo and /proc/self/cgroup, of the hierarchy that
/// cgroup_path() speaks of; hybrid hosts mount version 2 beside the old ones. Error `unsupported`
/// ("no_cgroup") says why there is none.
Result<CgroupHome> parse_cgroup_home(std::string_view mountinfo, std::string_view self_cgroup,
                                     std::string_view controller = {});
Result<CgroupHome> find_cgroup_home(std::string_view controller = {});

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
