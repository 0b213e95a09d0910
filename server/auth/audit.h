// server/auth/audit.h — who did what: a line of JSON for each request that changes something, and
// for each that was refused.
#pragma once

#include <berth/core/log.h>
#include <berth/core/stop.h>
#include <berth/core/sync.h>
#include <berth/core/task.h>
#include <berth/io/platform.h>
#include <berth/server/auth/caller.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

struct AuditLimits {
  std::size_t audit_bytes_max = std::size_t{16} << 20;   ///< Of one file; then it is put aside.
  std::size_t audit_files_max = 5;                       ///< The newest and those put aside.
  std::size_t audit_pending_max = std::size_t{1} << 20;  ///< Bytes that wait to be written.
};

/// Nothing of a body, a query or a header is in it, so no secret either.
struct AuditEntry {
  const Caller* caller = nullptr;  ///< Without token_id: nobody.
  std::string_view peer;
  std::string_view method;
  std::string_view route;                               ///< The pattern; empty: no route was found.
  const std::vector<std::string>* arguments = nullptr;  ///< What stood at its `{}`.
  int status = 0;
  std::string_view code;  ///< Why it was refused; empty when it was not.
  std::string_view trace_id;
};

/// One line, with its end.
std::string audit_line(const AuditEntry& entry, WallTime now);

struct AuditStats {
  std::uint64_t written = 0;
  std::uint64_t dropped = 0;  ///< audit_pending_max was reached, or the disk refused.
};

/// Lines are written soon after the answer, in order, off the reactor's thread; what is lost (a
/// full disk, a kill) is lost without the request being refused. The file has mode 0600.
/// Single-threaded.
class Audit {
 public:
  Audit(io::Platform& platform, LogSink& log, std::string path, AuditLimits limits)
      : platform_(platform),
        log_(log),
        path_(std::move(path)),
        limits_(limits),
        wake_(platform.reactor()) {}

  void add(const AuditEntry& entry);
  /// Writes what is added until `stop`.
  Task<void> run(StopToken stop);
  /// Writes what is left, once run() has ended.
  Task<void> flush();
  const AuditStats& stats() const { return stats_; }

 private:
  Task<void> write_pending();

  io::Platform& platform_;
  LogSink& log_;
  std::string path_;
  AuditLimits limits_;
  Event wake_;
  std::string pending_;
  std::uint64_t pending_lines_ = 0;
  std::optional<std::uint64_t> size_;  // of the file, while nobody writes
  bool failing_ = false;
  AuditStats stats_;
};

}  // namespace berth::server
