#include <berth/core/text.h>
#include <berth/io/cgroup.h>
#include <berth/io/fd.h>
#include <berth/io/proc_fs.h>
#include <berth/io/tree_limits.h>

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace berth::inline v0::io {

namespace {

constexpr std::uint64_t kPeriodUs = 100'000;  // what the kernel takes by default

Result<void> write_file(const std::string& path, const std::string& text) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.valid() &&
      ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size())) {
    return {};
  }
  return fail(errno_error(errno, path));
}

bool is_on_in_children(const std::string& group_home, std::string_view controller) {
  const std::string path = group_home + "/cgroup.subtree_control";
  const auto is_on = [&] {
    const std::string words = read_kernel_file(path);
    std::string_view rest = words;
    return has_part(take_line(rest), controller, ' ');
  };
  // EBUSY where this process lives in that very group (a service manager's delegation asks for
  // a group below): then the controller stays off.
  return is_on() || (write_file(path, "+" + std::string(controller)).has_value() && is_on());
}

ControllerHome find_home(const std::string& group_home, std::string_view controller,
                         const std::string& probe_name) {
  if (!group_home.empty() && is_on_in_children(group_home, controller)) {
    return {ControllerHome::Kind::version2, {}, {}};
  }
  Result<CgroupHome> home = find_cgroup_home(controller);
  if (!home.has_value()) return {};
  const std::string probe = home->own + "/" + probe_name;
  if (!make_cgroup(probe).has_value()) return {};
  const bool may_enter = ::access((probe + "/cgroup.procs").c_str(), W_OK) == 0;
  remove_cgroup(probe);
  if (!may_enter) return {};
  return {ControllerHome::Kind::version1, std::move(home->mount), std::move(home->own)};
}

struct Bound {
  const ControllerHome& home;
  std::uint64_t value;
  const char* file1;
  const char* file2;
  std::string text1;
  std::string text2;
  const char* what;
};

}  // namespace

LimitHomes find_limit_homes(const std::string& group_home, const std::string& probe_name) {
  return {find_home(group_home, "memory", probe_name), find_home(group_home, "pids", probe_name),
          find_home(group_home, "cpu", probe_name)};
}

std::string describe(const LimitHomes& homes) {
  const auto by = [](const ControllerHome& home, const char* otherwise) -> std::string {
    switch (home.kind) {
      case ControllerHome::Kind::none:
        return otherwise;
      case ControllerHome::Kind::version1:
        return " by cgroup1";
      case ControllerHome::Kind::version2:
        return " by cgroup2";
    }
    return otherwise;
  };
  return "memory" + by(homes.memory, " by RLIMIT_DATA of each process") + ", processes" +
         by(homes.pids, " not") + ", cpu" + by(homes.cpu, " not") + "; their memory is counted" +
         by(homes.memory, " by /proc");
}

Result<TreeLimits> make_tree_limits(const LimitHomes& homes, const ProcessLimits& limits,
                                    const std::string& group, const std::string& name) {
  const std::string quota = std::to_string(limits.tree_cpu_percent * kPeriodUs / 100);
  const std::string memory = std::to_string(limits.tree_memory);
  const std::string processes = std::to_string(limits.tree_processes);
  const std::array<Bound, 3> bounds = {
      Bound{homes.memory, limits.tree_memory, "memory.limit_in_bytes", "memory.max", memory, memory,
            "memory"},
      Bound{homes.pids, limits.tree_processes, "pids.max", "pids.max", processes, processes,
            "processes"},
      Bound{homes.cpu, limits.tree_cpu_percent, "cpu.cfs_quota_us", "cpu.max", quota,
            quota + " " + std::to_string(kPeriodUs), "cpu"}};
  TreeLimits made;
  const auto enter = [&](const ControllerHome& home, std::string* folder) -> Result<void> {
    *folder = home.own + "/" + name;
    // Two controllers may share one hierarchy.
    if (std::find(made.folders.begin(), made.folders.end(), *folder) != made.folders.end())
      return {};
    Result<void> folder_made = make_cgroup(*folder);
    if (folder_made.has_value()) made.folders.push_back(*folder);
    return folder_made;
  };
  const auto set = [&](const Bound& bound) -> Result<void> {
    if (bound.home.kind == ControllerHome::Kind::version2) {
      return write_file(group + "/" + bound.file2, bound.text2);
    }
    if (bound.home.kind == ControllerHome::Kind::none) {
      if (&bound.home == &homes.memory) {
        made.data_bytes_max = limits.tree_memory;
        return {};
      }
      return fail(ErrorKind::unsupported, "no_limit",
                  std::string(bound.what) + " of a tree cannot be limited here");
    }
    std::string folder;
    Result<void> entered = enter(bound.home, &folder);
    if (!entered.has_value()) return entered;
    return write_file(folder + "/" + bound.file1, bound.text1);
  };
  for (const Bound& bound : bounds) {
    if (bound.value == 0) continue;
    Result<void> done = set(bound);
    if (done.has_value()) continue;
    for (const std::string& folder : made.folders) remove_cgroup(folder);
    return fail(std::move(done.error()));
  }
  if (limits.count_memory && homes.memory.kind == ControllerHome::Kind::version1) {
    std::string folder;
    static_cast<void>(enter(homes.memory, &folder));  // then it is counted by /proc
  }
  return made;
}

}  // namespace berth::inline v0::io
