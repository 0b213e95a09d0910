// server/agents/native_sessions.h — what a shard remembers of its agents' native sessions from one
// process of the agent to the next.
#pragma once

#include <berth/server/agents/said.h>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace berth::server {

/// In memory: after a restart of berth less is known, and nothing may depend on it but how well old
/// is told from new (what was said last is then read from the log: AttachSpec::last_said). Some
/// agents lose a session that is loaded too early, hence the ages; what was not told of was made
/// before this began, at the latest.
class NativeSessions {
 public:
  /// `began_ms` is now, in milliseconds since 1970, as all times here.
  explicit NativeSessions(std::int64_t began_ms) : began_ms_(began_ms) {}

  void made(std::string_view native_session_id, std::int64_t now_ms) {
    std::erase_if(made_, [&](const auto& entry) { return now_ms - entry.second > kKeptMs; });
    made_.insert_or_assign(std::string(native_session_id), now_ms);
  }
  /// It is not younger than this says.
  std::int64_t made_before_ms(std::string_view native_session_id) const {
    const auto found = made_.find(native_session_id);
    return found == made_.end() ? began_ms_ : found->second;
  }

  /// A turn ended, in which the agent said this; of very many sessions some are forgotten.
  void said(std::string_view native_session_id, Said what) {
    if (said_.size() >= kSaidMax) said_.erase(said_.begin());
    said_.insert_or_assign(std::string(native_session_id), std::move(what));
  }
  /// What it said in its last turn; empty when that is not known.
  Said last_said(std::string_view native_session_id) const {
    const auto found = said_.find(native_session_id);
    return found == said_.end() ? Said() : found->second;
  }

 private:
  static constexpr std::int64_t kKeptMs = 120'000;  // whatever is older is old enough
  static constexpr std::size_t kSaidMax = 256;      // 64 KiB each, at most

  std::int64_t began_ms_;
  std::map<std::string, std::int64_t, std::less<>> made_;
  std::map<std::string, Said, std::less<>> said_;
};

}  // namespace berth::server
