// core/hash.h — a small hash that is the same in every build, for names and comparisons.
#pragma once

#include <cstdint>
#include <string_view>

namespace berth::inline v0 {

/// FNV-1a, 64 bits. Stable: it may be stored and may name things on disk. Never for secrets, nor
/// against somebody who wants two texts to collide.
constexpr std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  }
  return hash;
}

}  // namespace berth::inline v0
