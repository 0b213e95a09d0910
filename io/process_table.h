// io/process_table.h — memory and processor time of processes, from /proc.
#pragma once

#include <berth/io/platform.h>

namespace berth::inline v0::io {

/// Thread-safe.
class ProcProcessTable final : public ProcessTable {
 public:
  Result<Usage> usage(ProcessId id) override;
  Usage self() override;
  int own_pid() override;
};

}  // namespace berth::inline v0::io
