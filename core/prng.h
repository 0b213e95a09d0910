// core/prng.h — randomness as something that is handed in, and the seeded generator behind tests.
#pragma once

#include <cstdint>
#include <string>

namespace berth::inline v0 {

/// A source of random bits: the kernel's in production, seeded in simulation.
class Random {
 public:
  virtual ~Random() = default;
  /// 64 uniform bits. Not thread-safe.
  virtual std::uint64_t next() = 0;

  /// Uniform in [0, bound); bound > 0. (The bias of the multiplication is below 2^-32 for bounds
  /// below 2^32.)
  std::uint64_t below(std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }
  /// True once in `n` on average.
  bool one_in(std::uint64_t n) { return below(n) == 0; }
};

/// SplitMix64: small, fast, good enough for schedules and test data; never for secrets.
class Prng final : public Random {
 public:
  explicit Prng(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() override {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }

 private:
  std::uint64_t state_;
};

/// A lower-case ULID: 48 bits of `wall_ms`, 80 bits of `random`, 26 characters of Crockford's
/// base 32.
std::string make_ulid(std::int64_t wall_ms, Random& random);

}  // namespace berth::inline v0
