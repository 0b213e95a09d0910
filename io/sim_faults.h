// io/sim_faults.h — what can go wrong in a simulated machine, how often, and how often it did.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace berth::inline v0::io {

/// The kinds of misfortune. All down to `offload_stall` are invisible to correct code; those down
/// to `orphan` it must answer. The last two are no choice of a plan: they always can happen.
enum class Fault : std::uint8_t {
  short_read,      ///< A read gives fewer bytes than are there.
  partial_write,   ///< A write takes fewer bytes than there is room for.
  interrupted,     ///< A system call answers EINTR: the engine tries again in another turn.
  no_buffers,      ///< ENOBUFS: the kernel has none to receive into, and bytes wait for a while.
  accept_starved,  ///< EMFILE: connections wait until there are descriptors again.
  cancel_race,     ///< What was cancelled still delivers data, or ends as if it had not been
                   ///< cancelled.
  delay,           ///< Bytes, connections, completions and exits arrive later in virtual time.
  small_pipe,      ///< A pipe or socket holds a few bytes only.
  offload_stall,   ///< A blocking job takes seconds.

  reset,            ///< A socket is reset while it is read or written.
  half_close,       ///< One direction of a connection ends although nobody shut it down.
  connect_failure,  ///< A connection times out, is refused, reset or finds no way.
  no_descriptor,    ///< EMFILE where something is connected or opened.
  disk_full,        ///< ENOSPC when a file is made or grows.
  spawn_failure,    ///< A process cannot be started (EAGAIN).
  agent_kill,       ///< A process is killed from outside while it runs.
  orphan,           ///< A process outlives the crash of the server that started it.

  reorder,      ///< Completions of one turn run in another order than their operations began.
  cancel_wins,  ///< What was cancelled ends so although it could have gone on.
};
inline constexpr std::size_t kFaultCount = 19;

std::string_view to_string(Fault fault);

/// Probabilities by kind, in thousandths of the chances that a kind gets.
class FaultPlan {
 public:
  /// Nothing goes wrong; only the order of things is seeded.
  static FaultPlan none() { return {}; }
  /// What every correct program hides: short, partial, interrupted, late, small, cancel races.
  static FaultPlan gentle();
  /// gentle(), and resets, half-closes, failed connections and starts, a lack of descriptors and
  /// disk space, killed processes, orphans.
  static FaultPlan hostile();

  unsigned per_mille(Fault fault) const { return per_mille_[static_cast<std::size_t>(fault)]; }
  FaultPlan& set(Fault fault, unsigned per_mille) {
    per_mille_[static_cast<std::size_t>(fault)] = per_mille;
    return *this;
  }

 private:
  std::array<unsigned, kFaultCount> per_mille_{};
};

/// How often each kind struck, of one machine or summed up over many: a suite whose sum says that
/// an enabled fault never fired did not test what it is about.
class FaultCounts {
 public:
  std::uint64_t operator[](Fault fault) const { return counts_[static_cast<std::size_t>(fault)]; }
  void count(Fault fault) { ++counts_[static_cast<std::size_t>(fault)]; }
  void add(const FaultCounts& other);
  /// The names of the kinds that `plan` enables and that never struck, those that need no plan
  /// included; empty if all did.
  std::string never_fired(const FaultPlan& plan) const;
  /// "short_read 12, delay 7": all that struck.
  std::string summary() const;

 private:
  std::array<std::uint64_t, kFaultCount> counts_{};
};

}  // namespace berth::inline v0::io
