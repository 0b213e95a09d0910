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
  virtual void write(LogLevel level, std::string_view component, std::string_view message) = 0;
};

/// Drops everything.
class NullLog final : public LogSink {
 public:
  void write(LogLevel, std::string_view, std::string_view) override {}
};

}  // namespace berth::inline v0
