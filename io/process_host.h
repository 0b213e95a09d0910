// io/process_host.h — the only place that spawns, waits for and kills processes.
#pragma once

#include <berth/core/result.h>
#include <berth/io/reactor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace berth::io {

/// A process for all time: pids are reused, pairs with the start time (clock ticks since boot,
/// field 22 of /proc/PID/stat) are not.
struct ProcessId {
  int pid = 0;
  std::uint64_t start_time = 0;
  bool operator==(const ProcessId&) const = default;
};

/// What a process and those of its descendants that it waited for have used.
struct ResourceUsage {
  std::chrono::microseconds user{0};
  std::chrono::microseconds system{0};
  std::uint64_t resident_max = 0;  ///< Bytes; of the largest one process, not the sum.
  bool operator==(const ResourceUsage&) const = default;
};

/// How a process ended. `killed` also stands for every end without a recorded status: never 0 by
/// default.
struct ExitStatus {
  enum class Kind : std::uint8_t { exited, killed } kind = Kind::killed;
  int value = 0;        ///< Exit code, or the signal's number (0 when unknown).
  ResourceUsage usage;  ///< Zeros when no status was recorded.
};

/// "exit code 3", "killed by signal 9".
std::string describe(const ExitStatus& status);

struct LaunchSpec {
  std::string command;  ///< Absolute path, or a name looked up in PATH of `environment`.
  std::vector<std::string> arguments;                            ///< Without argv[0].
  std::vector<std::pair<std::string, std::string>> environment;  ///< The whole environment.
  std::string working_directory;
  /// Marks the whole tree, so that it can be found again after a crash of its starter:
  /// [a-z0-9-]{1,64}.
  std::string tag;
};

/// Told, once, on the reactor's thread, when a process has ended and its tree is gone.
class ExitListener {
 public:
  virtual void on_exit(ExitStatus status) = 0;

 protected:
  ~ExitListener() = default;
};

/// A running child with its three pipes. Its handles belong to the holder, who closes them (after
/// cancelling what runs on them). Dropping a Process kills its tree; the host reaps it and the
/// listener is not called any more.
class Process {
 public:
  virtual ~Process() = default;
  virtual ProcessId id() const = 0;
  Handle stdin_handle = kNoHandle;   ///< We write.
  Handle stdout_handle = kNoHandle;  ///< We read.
  Handle stderr_handle = kNoHandle;  ///< We read.

  /// Sends SIGKILL to the process and all of its descendants, those in sessions of their own
  /// included.
  virtual void kill_tree() = 0;
  /// Sends a signal to the process's group only (SIGTERM before kill_tree).
  virtual void signal(int number) = 0;
};

class ProcessHost {
 public:
  virtual ~ProcessHost() = default;

  /// Starts a child in a session of its own. What fails up to exec (no such command, EACCES, a
  /// missing working directory, no descriptors) is this call's error, and nothing is left behind.
  /// `listener` outlives the Process.
  virtual Result<std::unique_ptr<Process>> spawn(Reactor& reactor, const LaunchSpec& spec,
                                                 ExitListener& listener) = 0;

  /// Kills every process that carries a tag beginning with `tag_prefix` and is no child of this
  /// host: what a crashed predecessor left. Returns how many were killed.
  virtual Result<int> reap_orphans(const std::string& tag_prefix) = 0;

  /// How trees are killed here and why ("cgroup2 at ...", "descendants by /proc: no cgroup2
  /// mounted"): for doctor.
  virtual std::string describe() const = 0;
};

}  // namespace berth::io
