// server/sessions/session_key.h — the key that names what belongs to a session on the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace berth::server {

/// When a session with this key was made, in ms since 1970: the first ten digits of a ULID are its
/// time. 0 for what is no ULID.
inline std::int64_t key_time_ms(std::string_view key) {
  static constexpr std::string_view kDigits = "0123456789abcdefghjkmnpqrstvwxyz";
  std::int64_t time = 0;
  for (std::size_t i = 0; i < 10 && i < key.size(); ++i) {
    const std::size_t digit = kDigits.find(key[i]);
    if (digit == std::string_view::npos) return 0;
    time = time * 32 + static_cast<std::int64_t>(digit);
  }
  return time;
}

}  // namespace berth::server
