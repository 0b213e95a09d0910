// server/ops/store_check.h — after an end that was none, the store is looked at while it serves.
#pragma once

#include <berth/core/stop.h>
#include <berth/core/task.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

struct SessionContext;

enum class StoreCheck : std::uint8_t {
  not_needed,  ///< The last server closed it.
  running,
  sound,
  damaged,  ///< Logs of single sessions; everything else is as it should be.
  corrupt,  ///< Pages of the database: what is written next may land on what is sound.
  stopped,  ///< It could not be read to its end; the next start goes on about it.
};
std::string_view to_string(StoreCheck check);

/// What is known of the store's soundness.
struct StoreHealth {
  StoreCheck check = StoreCheck::not_needed;
  std::vector<std::string> problems;  ///< In words, the first hundred.
  std::vector<std::string> left_out;  ///< What was too large to be looked at in one pause.
  bool refuses() const { return check == StoreCheck::corrupt; }
};

/// Looks at all of the store in steps between which it serves, and says in the log what came of it.
/// `owed` is a file that says that a check is due: it goes when nothing is damaged.
Task<void> check_store(SessionContext* context, StoreHealth* health, std::string owed,
                       StopToken stop);

}  // namespace berth::server
