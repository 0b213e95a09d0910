// core/hex.h — numbers as lower-case hexadecimal digits of a fixed width.
#pragma once

#include <cstdint>
#include <string>

namespace berth::inline v0 {

/// Appends the lowest `digits` (1 to 16) hexadecimal digits of `value`, leading zeros too.
inline void append_hex(std::string& out, std::uint64_t value, int digits = 16) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    out += "0123456789abcdef"[(value >> shift) & 15U];
  }
}

}  // namespace berth::inline v0
