// server/agents/opencode/message_ids.h — ids for messages in opencode's own format, minted by us.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/prng.h>

#include <cstdint>
#include <string>

namespace berth::server::opencode {

/// Mints `msg_` + 12 hex digits + 14 of base 62 (1.18): the hex digits are the low 48 bits of
/// milliseconds * 4096 + a counter. opencode 1.18 compares these ids to find out whether a prompt
/// was answered, so they must come from the current clock and grow.
class MessageIds {
 public:
  /// `random` outlives it.
  explicit MessageIds(Random& random) : random_(random) {}

  /// Larger than every id before (until the 48 bits wrap, every 795 days).
  std::string mint(WallTime now);

 private:
  Random& random_;
  std::int64_t last_ms_ = 0;
  std::int64_t counter_ = 0;
};

}  // namespace berth::server::opencode
