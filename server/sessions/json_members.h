// server/sessions/json_members.h — JSON values that may not be there: members that are null then,
// numbers that may be none.
#pragma once

#include <berth/core/clock.h>
#include <berth/core/json_doc.h>
#include <berth/core/json_writer.h>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace berth::server {

/// A string, or null when it is empty.
inline void put_text(JsonWriter& writer, std::string_view name, std::string_view text) {
  writer.key(name);
  if (text.empty()) {
    writer.null();
  } else {
    writer.string(text);
  }
}

/// Raw JSON, or null when it is empty.
inline void put_json(JsonWriter& writer, std::string_view name, std::string_view json) {
  writer.member_raw(name, json.empty() ? "null" : json);
}

/// Milliseconds since 1970 in the words of RFC 3339, or null when they are 0.
inline void put_time(JsonWriter& writer, std::string_view name, std::int64_t ms) {
  std::string text;
  if (ms != 0) append_rfc3339(text, WallTime(ms));
  put_text(writer, name, text);
}

/// Any JSON number; nothing for a value of another kind, or none.
inline std::optional<double> number_in(const JsonView& value) {
  if (!value.present() || value.as_string().has_value()) return std::nullopt;
  const std::string raw = value.raw();
  double number = 0;
  const auto parsed = std::from_chars(raw.data(), raw.data() + raw.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != raw.data() + raw.size()) return std::nullopt;
  return number;
}

}  // namespace berth::server
