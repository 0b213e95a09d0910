// server/agents/native_sessions.h — when agents made their native sessions, for those that lose a
// session that is loaded too early.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace berth::server {

/// Of one shard, in memory. What it was not told of was made before it began, at the latest: that
/// is all that an early load needs to know.
class NativeSessionAges {
 public:
  /// `began_ms` is now, in milliseconds since 1970, as all times here.
  explicit NativeSessionAges(std::int64_t began_ms) : began_ms_(began_ms) {}

  void made(std::string_view native_session_id, std::int64_t now_ms) {
    std::erase_if(made_, [&](const auto& entry) { return now_ms - entry.second > kKeptMs; });
    made_.insert_or_assign(std::string(native_session_id), now_ms);
  }
  /// It is not younger than this says.
  std::int64_t made_before_ms(std::string_view native_session_id) const {
    const auto found = made_.find(native_session_id);
    return found == made_.end() ? began_ms_ : found->second;
  }

 private:
  static constexpr std::int64_t kKeptMs = 120'000;  // whatever is older is old enough

  std::int64_t began_ms_;
  std::map<std::string, std::int64_t, std::less<>> made_;
};

}  // namespace berth::server
