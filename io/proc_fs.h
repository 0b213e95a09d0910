// io/proc_fs.h — what /proc says of processes, and signals that cannot hit the wrong one.
#pragma once

#include <berth/io/process_host.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::inline v0::io {

/// Reads a whole file of /proc or of a control group (its size is unknown before), up to about
/// `bytes_max`; nothing, and errno, when it cannot be opened.
std::optional<std::string> read_kernel_file(const std::string& path, std::size_t bytes_max);
/// The same of one that says a few lines; empty when it cannot be opened.
std::string read_kernel_file(const std::string& path);

/// The fields of /proc/PID/stat that we use (proc(5)).
struct ProcStat {
  ProcessId id;
  int parent = 0;
  int session = 0;
  char state = '?';
  std::uint64_t cpu_ticks =
      0;  ///< User and system together; sysconf(_SC_CLK_TCK) of them are a second.
  std::uint64_t resident_pages = 0;
  /// Where its environment ends in its memory: 0 in the middle of an exec, for kernel threads, and
  /// for processes that we may not look into.
  std::uint64_t environment_end = 0;

  bool is_kernel_thread() const { return id.pid == 2 || parent == 2; }
  /// A zombie has ended already; it only waits for its parent.
  bool ended() const { return state == 'Z' || state == 'X'; }
};

/// Reads the one line of /proc/PID/stat; the command's name in it may hold spaces and parentheses.
std::optional<ProcStat> parse_proc_stat(std::string_view line);

/// Nothing if there is no such process (any more).
std::optional<ProcStat> read_proc_stat(int pid);

struct ProcessList {
  std::vector<ProcStat> processes;  ///< In the order of their pids.
  /// Some ended between our reading their names and reading about them: what they may have started
  /// in between is not in the list.
  bool some_vanished = false;
};

/// All processes that we may see; no snapshot, they go on while we read. Nothing if we could not
/// look (no descriptor was free): "I do not know" must not read "none".
std::optional<ProcessList> list_processes();

enum class Lookup : std::uint8_t {
  found,
  /// It is not there, the process belongs to another user, or the program has overwritten that
  /// memory (some set their title so).
  absent,
  /// The process is in the middle of an exec or of its end: look again.
  unsettled,
};

struct Variable {
  Lookup lookup = Lookup::absent;
  std::string value;
};

/// A variable of the environment that a process was started with.
Variable read_environment_of(int pid, std::string_view name);

/// True while that very process runs (a zombie does not).
bool is_running(ProcessId id);

/// Sends a signal to that very process. Returns 0 or an errno: ESRCH if it is gone or its pid
/// belongs to another one by now, EPERM if we may not, EMFILE if we could not look.
int send_signal(ProcessId id, int number);

}  // namespace berth::inline v0::io
