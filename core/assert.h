// core/assert.h — broken invariants end the program, in release builds too.
#pragma once

namespace berth::inline v0::detail {
[[noreturn]] void assertion_failed(const char* expression, const char* file, int line);
}

/// Ends the program with a message when `expression` is false. For invariants only: bad input is an
/// Error.
#define BERTH_ASSERT(expression)       \
  (__builtin_expect(!!(expression), 1) \
       ? static_cast<void>(0)          \
       : ::berth::detail::assertion_failed(#expression, __FILE__, __LINE__))
