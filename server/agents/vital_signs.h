// server/agents/vital_signs.h — what the kernel says of a process and of what it started.
#pragma once

#include <berth/io/platform.h>

#include <cstdint>
#include <optional>

namespace berth::server {

/// What one look at a process and its descendants gave.
struct VitalSigns {
  bool stopped = false;  ///< By SIGSTOP or a debugger; of the process itself.
  std::uint64_t cpu_microseconds = 0;
  std::uint64_t resident_bytes = 0;  ///< Pages that they share count for each.
};

/// From /proc; blocking. Nothing when that very process is gone. `whole_tree` takes in what it
/// started and has not let go of.
std::optional<VitalSigns> look_at_process(io::Platform& platform, io::ProcessId id,
                                          bool whole_tree);

}  // namespace berth::server
