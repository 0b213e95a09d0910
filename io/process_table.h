// io/process_table.h — memory and processor time of processes, from /proc and from control groups.
#pragma once

#include <berth/io/platform.h>
#include <berth/io/tree_memory.h>

namespace berth::inline v0::io {

/// Thread-safe.
class ProcProcessTable final : public ProcessTable {
 public:
  ProcProcessTable();
  Result<Usage> usage(ProcessId id) override;
  Result<VitalSigns> look(ProcessId id, bool whole_tree) override;
  Usage self() override;
  int own_pid() override;

 private:
  const MemoryHomes memory_homes_;
};

}  // namespace berth::inline v0::io
