// bench/load/histogram.h — counts of durations with an error below 3 %, in constant memory.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace berth::bench {

class Histogram {
 public:
  void add(std::int64_t ns) {
    const auto value = static_cast<std::uint64_t>(ns < 0 ? 0 : ns);
    ++buckets_[bucket_of(value)];
    ++count_;
  }
  void clear() { *this = {}; }
  std::uint64_t count() const { return count_; }

  /// The value below which `share` (0..1) of all lie, in nanoseconds; 0 when there are none.
  double quantile(double share) const {
    const double wanted = share * static_cast<double>(count_);
    double seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += static_cast<double>(buckets_[i]);
      if (buckets_[i] > 0 && seen >= wanted) return middle_of(i);
    }
    return 0;
  }

 private:
  static constexpr unsigned kFineBits = 5;

  static std::size_t bucket_of(std::uint64_t value) {
    if (value < (1U << kFineBits)) return value;
    const auto shift = static_cast<unsigned>(std::bit_width(value)) - kFineBits - 1;
    return (std::size_t{shift + 1} << kFineBits) + ((value >> shift) & ((1U << kFineBits) - 1));
  }
  static double middle_of(std::size_t bucket) {
    if (bucket < (1U << kFineBits)) return static_cast<double>(bucket);
    const auto shift = static_cast<unsigned>(bucket >> kFineBits) - 1;
    const std::uint64_t low = ((bucket & ((1U << kFineBits) - 1)) | (1U << kFineBits)) << shift;
    return static_cast<double>(low) + static_cast<double>(std::uint64_t{1} << shift) / 2;
  }

  std::array<std::uint64_t, (64 - kFineBits + 1) << kFineBits> buckets_ = {};
  std::uint64_t count_ = 0;
};

}  // namespace berth::bench
