// io/sim_faults.h — what can go wrong in a simulated machine, how often, and how often it did.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace berth::io {

/// The kinds of misfortune. All down to `small_pipe` are invisible to correct code; the others it
/// must answer.
enum class Fault : std::uint8_t {
  short_read,     ///< A read gives fewer bytes than are there.
  partial_write,  ///< A write takes fewer bytes than there is room for.
  cancel_race,    ///< What was cancelled still delivers data, or ends as if it had not been
                  ///< cancelled.
  delay,          ///< Bytes, connections, completions and exits arrive later in virtual time.
  small_pipe,     ///< A pipe or socket holds a few bytes only.
  offload_stall,  ///< A blocking job takes seconds.
  reset,          ///< A socket is reset while it is read or written.
  spawn_failure,  ///< A process cannot be started (EAGAIN).
  agent_kill,     ///< A process is killed from outside while it runs.
  orphan,         ///< A process outlives the crash of the server that started it.
};
inline constexpr std::size_t kFaultCount = 10;

std::string_view to_string(Fault fault);

/// Probabilities by kind, in thousandths of the chances that a kind gets.
class FaultPlan {
 public:
  /// Nothing goes wrong; only the order of things is seeded.
  static FaultPlan none() { return {}; }
  /// What every correct program hides: short, partial, late, small, cancel races.
  static FaultPlan gentle();
  /// gentle(), and resets, failed starts, killed processes, orphans.
  static FaultPlan hostile();

  unsigned per_mille(Fault fault) const { return per_mille_[static_cast<std::size_t>(fault)]; }
  FaultPlan& set(Fault fault, unsigned per_mille) {
    per_mille_[static_cast<std::size_t>(fault)] = per_mille;
    return *this;
  }

 private:
  std::array<unsigned, kFaultCount> per_mille_{};
};

}  // namespace berth::io
