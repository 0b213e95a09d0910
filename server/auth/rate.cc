#include <berth/server/auth/rate.h>

#include <algorithm>

namespace berth::server {

namespace {

constexpr Duration kSweepEvery = std::chrono::seconds(1);
constexpr int kGroupsOfHalf = 4;
constexpr const char* kShared = "";

}  // namespace

double RateLimiter::left_at(const Bucket& bucket, TimePoint now) const {
  const double passed = std::chrono::duration<double>(now - bucket.at).count();
  return std::min(rate_.burst, bucket.left + passed * rate_.per_second);
}

RateLimiter::Bucket& RateLimiter::bucket_of(std::string_view key, TimePoint now) {
  const auto found = buckets_.find(std::string(key));
  if (found != buckets_.end()) return found->second;
  if (buckets_.size() >= keys_max_ && now - swept_ >= kSweepEvery) {
    swept_ = now;
    std::erase_if(buckets_, [&](const auto& entry) {
      return left_at(entry.second, now) >= rate_.burst;  // as good as none
    });
  }
  const std::string name(buckets_.size() < keys_max_ ? key : std::string_view(kShared));
  return buckets_.try_emplace(name, Bucket{rate_.burst, now}).first->second;
}

bool RateLimiter::take(std::string_view key, TimePoint now) {
  Bucket& bucket = bucket_of(key, now);
  bucket.left = left_at(bucket, now);
  bucket.at = now;
  if (bucket.left < 1) {
    ++refused_;
    return false;
  }
  bucket.left -= 1;
  return true;
}

std::string peer_key(std::string_view address) {
  const std::size_t port = address.rfind(':');
  if (!address.starts_with('[')) return std::string(address.substr(0, port));
  std::string_view groups = address.substr(1, address.find(']') - 1);
  groups = groups.substr(0, groups.find("::"));
  std::size_t end = 0;
  for (int group = 0; group < kGroupsOfHalf && end != std::string_view::npos; ++group) {
    end = groups.find(':', end == 0 ? 0 : end + 1);
  }
  return "[" + std::string(groups.substr(0, end)) + "::]";
}

}  // namespace berth::server
