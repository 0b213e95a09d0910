// core/log.h — where the library's own messages go; the library itself never prints.
#pragma once

#include <string_view>

namespace berth::inline v0 {

enum class LogLevel : unsigned char { debug, info, warning, error };

/// Takes finished messages; may be called from any thread. Never given a secret. Texts are valid
/// during the call. Outlives whoever was given it.
class LogSink {
 public:
  virtual ~LogSink() = default;
  /// `trace_id`: of the trace that the message belongs to (core/trace.h); empty for none.
  virtual void write(LogLevel level, std::string_view component, std::string_view message,
                     std::string_view trace_id) = 0;
  void write(LogLevel level, std::string_view component, std::string_view message) {
    write(level, component, message, {});
  }
};

/// Drops everything.
class NullLog final : public LogSink {
 public:
  void write(LogLevel, std::string_view, std::string_view, std::string_view) override {}
};

}  // namespace berth::inline v0
