// server/agents/generation.h — when a process that serves many sessions takes no more of them: a
// pure decision.
#pragma once

#include <berth/core/clock.h>

#include <cstdint>

namespace berth::server {

/// Bounds of one generation, which is one process; 0 = no such limit. Their names are those of the
/// configuration, with `server_` before them.
struct GenerationLimits {
  std::uint64_t memory_max = std::uint64_t{2} << 30;  ///< Resident bytes.
  Duration age_max{};                                 ///< Since it was started.
  std::uint64_t sessions_max = 0;                     ///< That it has served, with those that left.
};

struct GenerationFacts {
  std::uint64_t memory_bytes = 0;  ///< As of the last look; 0: nobody knows.
  Duration age{};
  std::uint64_t sessions = 0;
};

/// The configuration's name of the limit for which the next session gets a process of the next
/// generation; null: it may join this one. Those that it serves stay, and it ends with the last.
const char* generation_over(const GenerationFacts& facts, const GenerationLimits& limits);

}  // namespace berth::server
