// core/text.h — pieces of text cut off where they lie.
#pragma once

#include <algorithm>
#include <string_view>

namespace berth {

/// The part of `rest` up to the next line feed, or all of it; that part and the line feed are taken
/// off `rest`. The result points into the same memory.
inline std::string_view take_line(std::string_view& rest) {
  const std::string_view line = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(std::min(rest.size(), line.size() + 1));
  return line;
}

}  // namespace berth
