// io/process_direct.h — the ProcessHost that starts processes as children of this very program.
#pragma once

#include <berth/core/log.h>
#include <berth/core/result.h>
#include <berth/io/process_host.h>

#include <cstdint>
#include <memory>

namespace berth::inline v0::io {

enum class TreeKill : std::uint8_t {
  automatic,  ///< A control group per process where that works, else by /proc.
  cgroup,     ///< Control groups or an error.
  proc_walk,  ///< By /proc even where groups would work.
};

struct DirectOptions {
  TreeKill tree_kill = TreeKill::automatic;
  /// False: enter control groups by writing to them (as where seccomp forbids clone3).
  bool clone3 = true;
  /// The soft limit of open files that children start with; 0 leaves them ours.
  std::uint64_t child_descriptors_soft = 0;
  /// How long on_exit waits for descendants that were sent SIGKILL (in the kernel they may take
  /// their time).
  Duration tree_end_max = std::chrono::seconds(2);
};

/// Good for embedders: it installs no signal handler, is no subreaper, and waits only for children
/// of its own. If somebody else's waitpid(-1) takes a status away, that exit reads "killed".
///
/// What cannot be caught: where control groups do not work, a daemon that left its session, whose
/// parents are gone and that has wiped its environment; where they do work, what an agent moved to
/// another group as root.
///
/// Costs per child: 3 pipes (we read its stderr for the listener) and 1 pidfd, 4 descriptors on our
/// side. Children die with the thread
/// that started them, so spawn() belongs on the threads of reactors. `log` and the reactors outlive
/// the host. Destroy it on the reactor's thread, outside of run(): children that are left are
/// killed, and the reactor is turned until they are reaped.
Result<std::unique_ptr<ProcessHost>> make_direct_process_host(LogSink& log,
                                                              const DirectOptions& options = {});

}  // namespace berth::inline v0::io
