// server/sessions/turn_time.h — how long a turn may run: what its request says and what its
// agent's profile says.
#pragma once

#include <berth/core/clock.h>

#include <cstdint>
#include <string_view>

namespace berth::server {

/// Seconds that a request may ask for.
inline constexpr double kTurnTimeoutMin = 0.001;
inline constexpr double kTurnTimeoutMax = 366.0 * 24 * 3600;

struct TurnTime {
  Duration most{};          ///< 0 = no end.
  std::string_view reason;  ///< Of the ending when it is over.
};

/// The shorter one, where each may be 0 = none.
inline TurnTime turn_time(Duration turn_time_max, std::int64_t timeout_ms) {
  const Duration timeout = std::chrono::milliseconds(timeout_ms);
  const bool own = timeout.count() > 0 && (turn_time_max.count() <= 0 || timeout < turn_time_max);
  if (own) return {timeout, "the turn's timeout is over"};
  return {turn_time_max, "turn_time_max of the agent's profile is over"};
}

}  // namespace berth::server
