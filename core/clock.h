// core/clock.h — time as something that is handed in: real, or moved by a test.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace berth::inline v0 {

using Duration = std::chrono::nanoseconds;
/// Monotonic time since an arbitrary start; for timers and measuring.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;
/// Milliseconds since 1970 UTC; for people and records. May jump.
using WallTime = std::chrono::milliseconds;

/// Where time comes from: the machine, a reactor (whose time stands still within a turn), or a test
/// that moves it. For the thread that it was handed to.
class Clock {
 public:
  virtual ~Clock() = default;
  /// For deadlines and measuring; never goes back.
  virtual TimePoint now() const = 0;
  /// For people and records.
  virtual WallTime wall() const = 0;
};

/// Appends `time` as RFC 3339 in UTC with milliseconds: 2026-11-21T05:04:57.123Z.
void append_rfc3339(std::string& out, WallTime time);

}  // namespace berth::inline v0
