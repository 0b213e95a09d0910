#include <berth/core/hex.h>
#include <berth/server/agents/opencode/message_ids.h>

#include <algorithm>

namespace berth::server::opencode {

std::string MessageIds::mint(WallTime now) {
  constexpr std::int64_t kPerMillisecond = 4096;
  const std::int64_t ms = std::max<std::int64_t>(now.count(), last_ms_);
  counter_ = ms == last_ms_ ? counter_ + 1 : 1;
  last_ms_ = ms;
  if (counter_ == kPerMillisecond) {
    ++last_ms_;
    counter_ = 1;
  }
  const auto value = static_cast<std::uint64_t>(last_ms_ * kPerMillisecond + counter_);
  static constexpr char kDigits[] =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string id = "msg_";
  append_hex(id, value, 12);
  for (int i = 0; i < 14; ++i) id += kDigits[random_.below(62)];
  return id;
}

}  // namespace berth::server::opencode
