// server/cli/fresh_id.h — names that nothing else has: of runs, and of requests that may be
// repeated.
#pragma once

#include <string>

namespace berth::server {

/// A ULID of now.
std::string fresh_id();

}  // namespace berth::server
