// tests/unit/io/seed_notice.h — makes a program that dies of an assertion say which seed it was at.
#pragma once

#include <cstdint>

namespace berth::inline v0::io {

/// The seed at work from now on.
void announce_seed(std::uint64_t seed);

}  // namespace berth::inline v0::io
