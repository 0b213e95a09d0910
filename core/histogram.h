// core/histogram.h — how often something took how long, in a few fixed buckets.
#pragma once

#include <berth/core/clock.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace berth::inline v0 {

/// Counts durations by upper bounds that the caller chooses. add() allocates nothing and looks at
/// a dozen numbers at most. Not thread-safe.
class Histogram {
 public:
  static constexpr std::size_t kBoundsMax = 12;

  /// `bounds` are seconds, ascending, at most kBoundsMax of them; they outlive the histogram.
  constexpr explicit Histogram(std::span<const double> bounds) : bounds_(bounds) {}

  void add(Duration time) {
    const double seconds = std::chrono::duration<double>(time).count();
    std::size_t at = 0;
    while (at < bounds_.size() && seconds > bounds_[at]) ++at;
    ++counts_[at];
    sum_ += seconds;
  }

  std::span<const double> bounds() const { return bounds_; }
  /// Those in the bucket itself; the one behind the last bound has what is above all of them.
  std::uint64_t count(std::size_t bucket) const { return counts_[bucket]; }
  std::uint64_t total() const {
    std::uint64_t all = 0;
    for (const std::uint64_t one : counts_) all += one;
    return all;
  }
  double sum_seconds() const { return sum_; }

 private:
  std::span<const double> bounds_;
  std::array<std::uint64_t, kBoundsMax + 1> counts_{};
  double sum_ = 0;
};

}  // namespace berth::inline v0
