// server/auth/rate.h — so many a second for each name, with a burst: pure, time is handed in.
#pragma once

#include <berth/core/clock.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace berth::server {

struct Rate {
  double per_second = 1;
  double burst = 1;  ///< So many at once after a pause.
};

/// A bucket for each key. When there are `keys_max` of them that are in use, further keys share
/// one: who comes under ever new names gains nothing.
class RateLimiter {
 public:
  explicit RateLimiter(Rate rate, std::size_t keys_max = 4096) : rate_(rate), keys_max_(keys_max) {}

  /// True: it is within the rate, and counted. `now` never goes back.
  bool take(std::string_view key, TimePoint now);
  std::uint64_t refused() const { return refused_; }
  std::size_t keys() const { return buckets_.size(); }

 private:
  struct Bucket {
    double left = 0;
    TimePoint at{};
  };
  Bucket& bucket_of(std::string_view key, TimePoint now);
  double left_at(const Bucket& bucket, TimePoint now) const;

  Rate rate_;
  std::size_t keys_max_;
  std::unordered_map<std::string, Bucket> buckets_;
  TimePoint swept_{};
  std::uint64_t refused_ = 0;
};

/// Whom an address stands for when it is counted: without the port, and of IPv6 the first half,
/// because one machine has all addresses that begin so.
std::string peer_key(std::string_view address);

}  // namespace berth::server
