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

namespace berth::io {

namespace {

constexpr std::size_t kTagMax = 64;
constexpr int kRemoveTriesMax = 100;  // of 1 ms

Result<void> try_groups(Launcher& launcher, const CgroupHome& home, const std::string& instance) {
  const std::string folder =
      home.own + "/" + std::string(kGroupPrefix) + make_marker("probe", instance, 0);
  NewGroup group;  // is removed in any case
  Result<void> made = group.make(folder);
  if (!made.has_value()) return made;
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

NewGroup::~NewGroup() {
  if (folder_.empty()) return;
  kill_cgroup(folder_);
  const timespec one_ms = {0, 1'000'000};
  for (int i = 0; i < kRemoveTriesMax && !remove_cgroup(folder_); ++i) {
    ::nanosleep(&one_ms, nullptr);
  }
}

Result<void> NewGroup::make(const std::string& folder) {
  Result<void> made = make_cgroup(folder);
  if (made.has_value()) folder_ = folder;
  return made;
}

Result<TreePlan> plan_tree_kill(Launcher& launcher, TreeKill wish, const std::string& instance) {
  const std::string by_walk =
      "descendants by /proc and the mark " + std::string(kMarkerName) + " in their environment: ";
  TreePlan plan;
  Result<CgroupHome> home = find_cgroup_home();
  if (home.has_value()) plan.cgroup_mount = home->mount;
  if (wish == TreeKill::proc_walk) {
    plan.description = by_walk + "chosen by option";
    return plan;
  }
  Result<void> works =
      home.has_value() ? try_groups(launcher, *home, instance) : fail(std::move(home.error()));
  if (works.has_value()) {
    plan.group_home = home->own;
    plan.description = "cgroup2 at " + plan.group_home;
    if (!launcher.uses_clone3()) plan.description += " (entered slowly: no clone3 here)";
    return plan;
  }
  if (wish == TreeKill::cgroup) return fail(std::move(works.error()));
  plan.description = by_walk + works.error().message;
  return plan;
}

Result<StartedChild> start_child(Launcher& launcher, const TreePlan& plan, const LaunchSpec& spec,
                                 LaunchExtras extras) {
  StartedChild child;
  if (!plan.group_home.empty()) {
    child.folder = plan.group_home + "/" + std::string(kGroupPrefix) + extras.marker;
    Result<void> made = child.group.make(child.folder);
    if (!made.has_value()) return fail(std::move(made.error()));
  }
  extras.cgroup = child.folder;
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

}  // namespace berth::io
