// tests/unit/io/fuzz_compare.h — one random program on several engines: do they agree?
#pragma once

#include "fuzz_run.h"

#include <berth/io/sim_faults.h>

#include <cstdint>
#include <string>
#include <vector>

namespace berth::inline v0::io::fuzz {

/// The engines that there are, by name; "sim" is not among them.
std::vector<std::string> real_engines();

struct Verdict {
  std::string wrong;  ///< Empty if the engines agree and each kept every promise.
  std::uint64_t operations = 0;
};

/// Sums over many comparisons.
struct Totals {
  std::uint64_t programs = 0;
  std::uint64_t operations = 0;
  std::uint64_t simulations = 0;
  std::uint64_t races =
      0;  ///< Objects whose end more than one engine's run or seed told otherwise.
  FaultCounts faults;
};

/// Faults that every engine hides; what the simulator explores for a comparison.
FaultPlan explored_faults();

/// Runs the program of `seed` on the engines named and, with "sim" among them, under many
/// simulated schedules. They are equivalent when
///  1. each kept every promise of io/reactor.h that fuzz_run.cc watches, at each moment;
///  2. what the program decides (the bytes of each stream, concatenated; of each file) is the same
///     in all of them;
///  3. what is raced for (whether a connect that was cancelled was made, how the reads and polls of
///     a line ended) is, object by object, one of the ways that the simulator found.
/// Nothing else is compared: not the sizes of reads, not the turns that anything took, and order
/// only where 1. speaks of it (bytes of a stream, posts, timers, the last callback). Whether a
/// handle polls readable beside a read by buffers is not asked: the kernel may have taken the bytes
/// already.
Verdict compare(std::uint64_t seed, const std::vector<std::string>& engines, Totals& totals);

}  // namespace berth::inline v0::io::fuzz
