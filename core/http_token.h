// core/http_token.h — what HTTP calls a token: a method, the name of a header.
#pragma once

#include <algorithm>
#include <string_view>

namespace berth::inline v0 {

/// A `tchar` of RFC 9110, section 5.6.2.
inline bool is_token_char(char c) {
  constexpr std::string_view kOthers = "!#$%&'*+-.^_`|~";
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (c != '\0' && kOthers.find(c) != std::string_view::npos);
}

inline bool is_token(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_token_char);
}

}  // namespace berth::inline v0
