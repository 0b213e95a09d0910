#include <berth/core/prng.h>

namespace berth::inline v0 {

std::string make_ulid(std::int64_t wall_ms, Random& random) {
  static constexpr char kDigits[] = "0123456789abcdefghjkmnpqrstvwxyz";
  std::string text(26, '0');
  auto time = static_cast<std::uint64_t>(wall_ms) & 0xffff'ffff'ffffULL;
  for (std::size_t i = 10; i-- > 0; time >>= 5) text[i] = kDigits[time & 31];
  std::uint64_t bits = random.next();
  for (std::size_t i = 10; i < 18; ++i, bits >>= 5) text[i] = kDigits[bits & 31];
  bits = random.next();
  for (std::size_t i = 18; i < 26; ++i, bits >>= 5) text[i] = kDigits[bits & 31];
  return text;
}

}  // namespace berth::inline v0
