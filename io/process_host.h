// io/process_host.h — the only place that spawns, waits for and kills processes.
#pragma once

#include <berth/core/result.h>
#include <berth/io/confinement.h>
#include <berth/io/reactor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

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

/// Bounds for a child; 0 sets none. Where a bound for the tree cannot be had, a spawn that asks for
/// it fails with `unsupported` ("no_limit"); ProcessHost::describe() says what there is.
struct ProcessLimits {
  // Of each process by itself (setrlimit(2), soft and hard). They can only lower ours.
  std::uint64_t address_space = 0;  ///< Bytes. Node, Go and Java reserve far more than they use.
  std::uint64_t open_files = 0;
  std::uint64_t user_processes = 0;  ///< Counts all of the user's, not the tree's; not for root.
  std::uint64_t cpu_seconds = 0;     ///< Then SIGXCPU, a second later SIGKILL.
  // Of the whole tree (control groups).
  std::uint64_t tree_memory = 0;  ///< Bytes. Without groups: of data of each process (RLIMIT_DATA).
  std::uint64_t tree_processes = 0;    ///< Threads count.
  std::uint64_t tree_cpu_percent = 0;  ///< Of one processor: 150 is one and a half.
  /// Its memory is to be counted (ProcessTable::look) also where that takes a group more, which
  /// costs a start half a millisecond: with control groups of version 1. No error where it cannot.
  bool count_memory = false;
  bool any_of_tree() const {
    return count_memory || (tree_memory | tree_processes | tree_cpu_percent) != 0;
  }
  bool operator==(const ProcessLimits&) const = default;
};

struct LaunchSpec {
  std::string command;  ///< Absolute path, or a name looked up in PATH of `environment`.
  std::vector<std::string> arguments;                            ///< Without argv[0].
  std::vector<std::pair<std::string, std::string>> environment;  ///< The whole environment.
  std::string working_directory;
  /// Marks the whole tree, so that it can be found again after a crash of its starter:
  /// [a-z0-9-]{1,64}.
  std::string tag;
  ProcessLimits limits;
  Confinement confinement;
};

/// Told on the reactor's thread what becomes of a process, never from within spawn(): that it has
/// started, what it says on stderr, and that it has ended; or else, once and alone, that it could
/// not be started.
class ProcessListener {
 public:
  /// It runs its program; from now on Process::id() is known.
  virtual void on_started() {}
  /// There is no process: no such command, EACCES, a missing working directory, a limit that cannot
  /// be had, or `unavailable` ("keeper_lost"). Nothing comes after it.
  virtual void on_start_failed(Error error) = 0;
  /// The next bytes of its stderr, valid during the call. The host reads all of them, so nobody has
  /// to: a process waits for us only while the reactor is not turned.
  virtual void on_stderr(std::string_view /*bytes*/) {}
  /// Told once and last: it has ended and its tree is gone. What they wrote to stderr was told
  /// before; if somebody out of reach holds it open, he writes to nobody from now on.
  virtual void on_exit(ExitStatus status) = 0;

 protected:
  ~ProcessListener() = default;
};

/// A child with its pipes, from when it was asked for. Its handles belong to the holder, who closes
/// them (after cancelling what runs on them). What is written before it runs waits in the pipe for
/// it; where no process came to be, writing fails and reading ends. Dropping a Process kills its
/// tree; the host reaps it and the listener is not called any more.
class Process {
 public:
  virtual ~Process() = default;
  /// Zeros until on_started().
  virtual ProcessId id() const = 0;
  Handle stdin_handle = kNoHandle;   ///< We write.
  Handle stdout_handle = kNoHandle;  ///< We read.

  /// Sends SIGKILL to the process and all of its descendants, those in sessions of their own
  /// included. One that has not started yet dies as soon as it has.
  virtual void kill_tree() = 0;
  /// Sends a signal to the process's group only (SIGTERM before kill_tree).
  virtual void signal(int number) = 0;
};

class ProcessHost {
 public:
  virtual ~ProcessHost() = default;

  /// Asks for a child in a session of its own, and does not wait for it: `listener` hears whether
  /// it has started. Errors, of what is known at once: no descriptors for its pipes (`overloaded`),
  /// `invalid` ("bad_launch": a bad tag, a spec too long). `listener` outlives the Process.
  virtual Result<std::unique_ptr<Process>> spawn(Reactor& reactor, const LaunchSpec& spec,
                                                 ProcessListener& listener) = 0;

  /// Kills every process that carries a tag beginning with `tag_prefix` and is no child of this
  /// host: what a crashed predecessor left. Returns how many were killed.
  virtual Result<int> reap_orphans(const std::string& tag_prefix) = 0;

  /// How trees are killed here and why ("cgroup2 at ...", "descendants by /proc: no cgroup2
  /// mounted"): for doctor.
  virtual std::string describe() const = 0;
  /// Whether a Confinement of kind `landlock` can be had.
  virtual LandlockSupport landlock() const = 0;
};

}  // namespace berth::inline v0::io
