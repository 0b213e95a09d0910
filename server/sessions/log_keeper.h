// server/sessions/log_keeper.h — goes through all sessions now and then and cuts logs that are
// above their limits.
#pragma once

#include <berth/core/stop.h>
#include <berth/server/sessions/directory.h>
#include <berth/server/sessions/log_retention.h>

#include <cstdint>

namespace berth::server {

/// A cut is one small commit: what lies before it is not given out any more, and is taken out of
/// the database afterwards, in steps between which commits pass. Both go on after a crash.
/// Single-threaded; outlived by context and directory.
class LogKeeper {
 public:
  LogKeeper(SessionContext& context, Directory& directory)
      : context_(context), directory_(directory) {}

  /// A session whose log cannot be read is told in the log, and passed over. Errors: those of the
  /// store; what was cut stays cut.
  Task<Result<void>> pass(StopToken stop);

 private:
  Task<Result<void>> look_at_all(StopToken stop);
  Task<Result<void>> look_at(const SessionRow* row);
  Task<Result<std::uint64_t>> fits_from(SessionNo session, const LogExtent* log);
  Task<Result<void>> cut(const SessionRow* row, const LogExtent* log, LogCutPoint at);
  Task<Result<std::string>> head_of(SessionNo session, std::uint64_t from, std::uint64_t end);
  Task<Result<void>> erase(StopToken stop);

  SessionContext& context_;
  Directory& directory_;
  std::int64_t last_pass_ms_ = 0;  // what has not changed since was within its limits then
};

}  // namespace berth::server
