// core/text.h — pieces of text, cut off where they lie.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string_view>

namespace berth {

/// The part of `rest` up to the next `separator`, or all of it; that part and the separator are
/// taken off `rest`. The result points into the same memory.
inline std::string_view take_part(std::string_view& rest, char separator) {
  const std::string_view part = rest.substr(0, rest.find(separator));
  rest.remove_prefix(std::min(rest.size(), part.size() + 1));
  return part;
}

/// The same up to the next line feed.
inline std::string_view take_line(std::string_view& rest) {
  return take_part(rest, '\n');
}

/// Whether `word` is one of the parts of `list`.
inline bool has_part(std::string_view list, std::string_view word, char separator) {
  while (!list.empty()) {
    if (take_part(list, separator) == word) return true;
  }
  return false;
}

/// The beginning of valid UTF-8, of at most `bytes_max` bytes, that ends with a whole character.
inline std::string_view shorten(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xC0) == 0x80) --bytes_max;
  return text.substr(0, bytes_max);
}

}  // namespace berth
