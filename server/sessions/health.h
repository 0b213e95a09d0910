// server/sessions/health.h — is an agent alive, at work, or stuck? Signs, and what they mean.
#pragma once

#include <berth/core/clock.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace berth::server {

struct HealthFacts {
  bool turn_runs = false;     ///< And waits for nobody but the agent.
  bool reading_held = false;  ///< We do not read what it says: its silence is ours.
  TimePoint heard{};          ///< Last word of it, or last thing that was asked of it.
  TimePoint worked{};         ///< Last look that found processor time used since the one before.
  std::optional<TimePoint> stopped_since;
  /// An idle agent that has answered pings owes an answer to one since then.
  std::optional<TimePoint> unanswered_since;
};

enum class Health : std::uint8_t {
  well,
  quiet,    ///< Says nothing in a turn, but its processes work.
  stalled,  ///< No sign of life: no word, no processor time, or stopped.
};
std::string_view to_string(Health health);

struct Diagnosis {
  Health health = Health::well;
  std::string why;  ///< For people; empty when it is well.
};

/// Only several signs together make `stalled`; it is shown and ends nothing while a turn runs.
/// Death is no matter of signs: the kernel tells it at once. `ping_max`: so long an idle agent may
/// take for an answer.
Diagnosis diagnose(const HealthFacts& facts, TimePoint now, Duration stall_after,
                   Duration ping_max);

/// How often to look, so that `stall_after` is not missed by much.
Duration look_interval(Duration stall_after);

}  // namespace berth::server
