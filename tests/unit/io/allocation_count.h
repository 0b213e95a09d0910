// tests/unit/io/allocation_count.h — how often this test program has allocated, so that a test can
// say "never".
#pragma once

#include <cstddef>
#include <optional>

namespace berth::inline v0::io {

/// Calls of operator new so far, of all threads; nothing where a sanitizer replaces operator new
/// itself.
std::optional<std::size_t> allocation_count();

}  // namespace berth::inline v0::io
