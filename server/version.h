// server/version.h — the version that berth tells to people, clients and agents.
#pragma once

namespace berth::server {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace berth::server
