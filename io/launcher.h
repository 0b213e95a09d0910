// io/launcher.h — from a LaunchSpec to a running process: the one place that clones.
#pragma once

#include <berth/core/result.h>
#include <berth/io/fd.h>
#include <berth/io/landlock.h>
#include <berth/io/process_host.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

namespace berth::inline v0::io {

/// What the child gets besides its spec.
struct LaunchExtras {
  /// The child's ends of stdin, stdout and stderr, blocking.
  std::array<int, 3> stdio = {-1, -1, -1};
  /// Value of kMarkerName in its environment.
  std::string marker;
  /// Its soft limit of open files; 0 leaves it ours.
  std::uint64_t descriptors_soft = 0;
  /// It is not killed with the thread that launches it.
  bool outlives_us = false;
  /// The control group that it is in from its first instruction on; empty for none.
  std::string cgroup;
  /// Groups that it enters by itself before its exec, each of which costs an RCU grace period:
  /// those of the old hierarchies (version 1), for limits.
  std::vector<std::string> more_cgroups;
  /// What RLIMIT_DATA is to be; 0 leaves it.
  std::uint64_t data_bytes_max = 0;
};

struct Launched {
  int pid = 0;
  Fd pidfd;
};

/// Starts processes the cheap way: the child borrows our memory until it execs (so the price does
/// not grow with the size of the parent) and copies only the first few entries of our descriptor
/// table (so neither with the number of open files). The calling thread waits until the exec is
/// done: about 0.1 ms with warm caches.
///
/// Thread-safe. The child dies with the *thread* that launched it (PR_SET_PDEATHSIG), so launch
/// from threads that live as long as the program.
class Launcher {
 public:
  Launcher() = default;
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;
  ~Launcher();

  /// Error when the few descriptors and pages that every launch uses cannot be had.
  Result<void> init();

  /// The child runs its program when this returns; else there is no child, and the error names the
  /// culprit: codes "command_not_found", "command_not_executable", "bad_working_directory",
  /// "bad_launch" (an impossible spec), or "os_error".
  Result<Launched> launch(const LaunchSpec& spec, const LaunchExtras& extras);

  /// Whether a child can enter `cgroup`, tried with one that ends at once.
  Result<void> try_cgroup(const std::string& cgroup);

  /// True if children are made inside of their group (clone3); else they enter it by themselves,
  /// which makes the caller wait for an RCU grace period (0.5 ms). For tests it can be switched
  /// off.
  bool uses_clone3() const { return clone3_works_; }
  void avoid_clone3() { clone3_works_ = false; }

 private:
  struct Child;
  Result<Launched> run(Child& child, const std::string& cgroup,
                       const std::vector<std::string>& more_cgroups);
  static void set_limits(const ProcessLimits& wanted, const LaunchExtras& extras, Child& child);
  Result<void> park_stdio(const std::array<int, 3>& stdio);
  static bool confine(int rules);
  static void child_main(Child& child);
  static int child_entry(void* argument);

  LandlockRules landlock_;
  std::mutex mutex_;
  /// Low descriptors of ours that hold the child's ends for the moment of the launch.
  std::array<Fd, 3> parking_;
  Fd null_;
  void* stack_ = nullptr;
  bool clone3_works_ = true;
};

}  // namespace berth::inline v0::io
