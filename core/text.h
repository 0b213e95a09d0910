// core/text.h — pieces of text cut off where they lie.
#pragma once

#include <algorithm>
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

}  // namespace berth
