// core/uri.h — the target of an HTTP request, taken apart and percent-decoded.
#pragma once

#include <berth/core/result.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::inline v0 {

/// A request target such as `/v1/sessions/a%20b?after=7`, decoded. All texts are valid UTF-8
/// without control characters. A decoded slash inside a segment stays inside it.
struct Target {
  std::vector<std::string> path;                           ///< {"v1", "sessions", "a b"}
  std::vector<std::pair<std::string, std::string>> query;  ///< In order; a name may repeat.

  /// The first value of that name, or null.
  const std::string* find(std::string_view name) const;
};

struct TargetLimits {
  std::size_t size_max = 8 * 1024;  ///< Bytes of the whole target, not decoded.
  std::size_t segments_max = 32;
  std::size_t parameters_max = 64;
};

/// Takes the origin form of a target apart (`/path?query`); `+` in the query means a space.
///
/// Strict: every error is `invalid` with code "bad_target" and names its cause. Errors are other
/// forms than the origin form, empty segments (a slash at the end makes one; `/` alone is the empty
/// path), `.` and `..` segments however they are written, bad escapes, control characters, invalid
/// UTF-8, characters that must be escaped, and broken limits.
Result<Target> parse_target(std::string_view target, const TargetLimits& limits = {});

/// Appends `text` with all but unreserved characters percent-encoded: fit for a segment or a
/// parameter.
void append_percent_encoded(std::string& out, std::string_view text);

}  // namespace berth::inline v0
