// server/ops/metrics.h — how long things take, for /metrics; counts are where they happen.
#pragma once

#include <berth/core/histogram.h>

#include <array>

namespace berth::server {

namespace detail {
inline constexpr std::array kFastBounds = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                           0.01,   0.025,   0.05,   0.1,   0.5,    2.5};
inline constexpr std::array kMiddleBounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                             0.1,   0.25,   1.0,   2.5,  10.0,  60.0};
inline constexpr std::array kSlowBounds = {0.1,  0.5,  1.0,   2.5,   5.0,    15.0,
                                           30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0};
}  // namespace detail

/// Of one shard; single-threaded.
struct Metrics {
  Histogram turn{detail::kSlowBounds};  ///< From accepting a turn to its end.
  Histogram agent_start{
      detail::kMiddleBounds};             ///< From the start to a session that takes prompts.
  Histogram commit{detail::kFastBounds};  ///< Of the store, from handing it over to its answer.
  Histogram shown{detail::kFastBounds};   ///< From the first event of a batch to its being visible.
  Histogram snapshot{detail::kMiddleBounds};  ///< Of a worktree.
  Histogram loop_lag{detail::kFastBounds};    ///< How late a timer runs, once a second.
};

}  // namespace berth::server
