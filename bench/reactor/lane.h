// bench/reactor/lane.h — one contestant doing one job, round by round.
#pragma once

#include "scenarios.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace berth::bench {

/// What one round came to. Travels between processes as it is. Only what the contestant itself does
/// is in it: what feeds and drains it runs while the clocks stand.
struct Sample {
  std::uint64_t messages = 0;
  std::uint64_t allocations = 0;  ///< Calls of operator new.
  double cpu_ns = 0;              ///< Of the whole process, its kernel workers included.
  double wall_ns = 0;
  double p50_ns = 0;  ///< Of one round trip, where the job has round trips.
  double p99_ns = 0;
};

/// Lives in a process of its own, so that no contestant pays for another's descriptors.
class Lane {
 public:
  virtual ~Lane() = default;
  /// Does the job once: every message must have arrived when this returns.
  virtual Sample round() = 0;
};

/// The lane of `contestant` in `scenario`, or null if it has none. Each program of this folder
/// brings its own.
std::unique_ptr<Lane> make_lane(const Scenario& scenario, std::string_view contestant);

/// Adds up what lies between start() and stop().
class Meter {
 public:
  void start();
  void stop(std::uint64_t messages);
  const Sample& sample() const { return sample_; }

 private:
  Sample sample_;
  double cpu_at_start_ = 0;
  double wall_at_start_ = 0;
  std::uint64_t allocations_at_start_ = 0;
};

/// Monotonic time in nanoseconds.
double now_ns();

/// Puts p50 and p99 of `round_trips` into `sample`.
void add_quantiles(Sample& sample, std::vector<double>& round_trips);

/// Keeps this thread on the core of that number, where there is one: whether two threads share a
/// core makes a difference of six times in what waking costs, and is otherwise up to chance.
void pin_to_core(unsigned core);

/// Ends the program with the reason, errno included, when `fine` is false.
void check(bool fine, const char* what);

/// Called in the program that --lane has started: answers each byte on descriptor 3 with the Sample
/// of one round, until its end. Returns the exit code.
int serve_lane(std::string_view scenario, std::string_view contestant);

/// The descriptor on which a lane is asked.
inline constexpr int kLaneFd = 3;

}  // namespace berth::bench
