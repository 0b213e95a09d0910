#include <berth/io/cgroup.h>
#include <berth/io/child_start.h>
#include <berth/io/orphans.h>
#include <berth/io/process_tree.h>

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace berth::inline v0::io {

namespace {

constexpr std::size_t kTagMax = 64;
constexpr int kRemoveTriesMax = 100;  // of 1 ms

Result<void> try_groups(Launcher& launcher, const CgroupHome& home, const std::string& instance) {
  const std::string folder =
      home.own + "/" + std::string(kGroupPrefix) + make_marker("probe", instance, 0);
  Result<void> made = make_cgroup(folder);
  if (!made.has_value()) return made;
  NewGroups probe;  // is removed in any case
  probe.groups.kill = folder;
  Result<void> entered = launcher.try_cgroup(folder);
  if (!entered.has_value() && launcher.uses_clone3()) {
    launcher.avoid_clone3();  // seccomp filters of older containers answer ENOSYS
    entered = launcher.try_cgroup(folder);
  }
  if (!entered.has_value()) return entered;
  if (!kill_cgroup(folder)) {
    return fail(ErrorKind::unsupported, "no_cgroup_kill",
                "this kernel has no cgroup.kill (Linux 5.14)");
  }
  return {};
}

}  // namespace

Result<void> check_tag(std::string_view tag) {
  const bool good =
      !tag.empty() && tag.size() <= kTagMax && std::all_of(tag.begin(), tag.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
      });
  if (good) return {};
  return fail(ErrorKind::invalid, "bad_launch",
              "tag '" + std::string(tag) + "' is not [a-z0-9-]{1,64}");
}

void TreeGroups::remove_limits() {
  for (const std::string& folder : std::exchange(limits, {})) remove_cgroup(folder);
}

NewGroups::~NewGroups() {
  const timespec one_ms = {0, 1'000'000};
  if (!groups.kill.empty()) {
    kill_cgroup(groups.kill);
    for (int i = 0; i < kRemoveTriesMax && !remove_cgroup(groups.kill); ++i) {
      ::nanosleep(&one_ms, nullptr);
    }
  }
  groups.remove_limits();
}

Result<TreePlan> plan_tree_kill(Launcher& launcher, TreeKill wish, const std::string& instance) {
  const std::string by_walk =
      "descendants by /proc and the mark " + std::string(kMarkerName) + " in their environment: ";
  TreePlan plan;
  const std::string probe = std::string(kGroupPrefix) + make_marker("probe", instance, 1);
  Result<CgroupHome> home = find_cgroup_home();
  if (home.has_value()) plan.cgroup_mount = home->mount;
  Result<void> works = home.has_value() ? Result<void>() : fail(std::move(home.error()));
  if (wish == TreeKill::proc_walk) {
    plan.description = by_walk + "chosen by option";
  } else {
    if (works.has_value()) works = try_groups(launcher, *home, instance);
    if (works.has_value()) {
      plan.group_home = home->own;
      plan.description = "cgroup2 at " + plan.group_home;
      if (!launcher.uses_clone3()) plan.description += " (entered slowly: no clone3 here)";
    } else {
      if (wish == TreeKill::cgroup) return fail(std::move(works.error()));
      plan.description = by_walk + works.error().message;
    }
  }
  plan.limit_homes = find_limit_homes(plan.group_home, probe);
  plan.description += "; trees are limited: " + describe(plan.limit_homes);
  return plan;
}

Result<StartedChild> start_child(Launcher& launcher, const TreePlan& plan, const LaunchSpec& spec,
                                 LaunchExtras extras) {
  StartedChild child;
  const std::string name = std::string(kGroupPrefix) + extras.marker;
  TreeGroups& groups = child.groups.groups;
  if (!plan.group_home.empty()) {
    const std::string folder = plan.group_home + "/" + name;
    Result<void> made = make_cgroup(folder);
    if (!made.has_value()) return fail(std::move(made.error()));
    groups.kill = folder;
  }
  if (spec.limits.any_of_tree()) {
    Result<TreeLimits> limits = make_tree_limits(plan.limit_homes, spec.limits, groups.kill, name);
    if (!limits.has_value()) return fail(std::move(limits.error()));
    groups.limits = std::move(limits->folders);
    extras.data_bytes_max = limits->data_bytes_max;
  }
  extras.cgroup = groups.kill;
  extras.more_cgroups = groups.limits;
  Result<Launched> launched = launcher.launch(spec, extras);
  if (!launched.has_value()) return fail(std::move(launched.error()));
  child.launched = std::move(*launched);
  return child;
}

void end_at_once(const Launched& launched) {
  ::syscall(SYS_pidfd_send_signal, launched.pidfd.get(), SIGKILL, nullptr, 0);
  siginfo_t info;
  while (::waitid(P_PIDFD, static_cast<id_t>(launched.pidfd.get()), &info, WEXITED) != 0 &&
         errno == EINTR) {
  }
}

Reaped reap_child(int pidfd, ExitStatus& status) {
  siginfo_t info = {};
  rusage used = {};
  // The kernel's own call fills in the usage; the one of libc has no place for it.
  if (::syscall(SYS_waitid, P_PIDFD, pidfd, &info, WEXITED | WNOHANG, &used) != 0) {
    // EAGAIN: how a non-blocking pidfd says "not yet".
    return errno == EAGAIN ? Reaped::not_yet : Reaped::lost;
  }
  if (info.si_pid == 0) return Reaped::not_yet;
  const auto microseconds = [](const timeval& time) {
    return std::chrono::seconds(time.tv_sec) + std::chrono::microseconds(time.tv_usec);
  };
  status.kind = info.si_code == CLD_EXITED ? ExitStatus::Kind::exited : ExitStatus::Kind::killed;
  status.value = info.si_status;
  status.usage.user = microseconds(used.ru_utime);
  status.usage.system = microseconds(used.ru_stime);
  status.usage.resident_max = static_cast<std::uint64_t>(used.ru_maxrss) * 1024;  // it is in KiB
  return Reaped::yes;
}

}  // namespace berth::inline v0::io
