// server/store/stored_frames.h — takes apart what a row of the log holds, which may be damaged.
#pragma once

#include <cstdint>
#include <string_view>

namespace berth::server {

/// Takes the frame of event `seq` (sessions/frames.h) off the front; false when something else
/// stands there: the row is damaged.
bool skip_frame(std::string_view& frames, std::uint64_t seq);

}  // namespace berth::server
