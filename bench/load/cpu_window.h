// bench/load/cpu_window.h — the part of a scenario that is measured.
#pragma once

#include "server_process.h"

#include <string>

namespace berth::bench {

/// While one lives, no PerfWindow does anything: for what prepares a measurement.
class PerfPause {
 public:
  PerfPause();
  ~PerfPause();
  PerfPause(const PerfPause&) = delete;
  PerfPause& operator=(const PerfPause&) = delete;
};

/// While one lives, a profiler records that `perf record --delay=-1 --control=fifo:CTL,ACK` started
/// and whose two FIFOs the variable BERTH_BENCH_PERF names ("CTL ACK"); without it, nothing
/// happens. Not to be nested.
class PerfWindow {
 public:
  PerfWindow();
  ~PerfWindow();
  PerfWindow(const PerfWindow&) = delete;
  PerfWindow& operator=(const PerfWindow&) = delete;

 private:
  bool recording_ = false;
};

/// What a server and its children used of the processors while one lived.
struct Spent {
  double server_us = 0;  ///< All threads of the server.
  double helpers_us = 0;
  double agents_us = 0;  ///< Those that still live.
};

/// Begins when it is made. `server` outlives it and goes on running.
class CpuWindow {
 public:
  CpuWindow(const ServerProcess& server, const std::string& agent_program);
  Spent so_far() const;

 private:
  const ServerProcess& server_;
  std::string agent_program_;
  PerfWindow perf_;
  ChildrenCpu children_;
  std::int64_t cpu_ns_;
};

}  // namespace berth::bench
