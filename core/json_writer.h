// core/json_writer.h — writes JSON by appending to a string, in one pass and without a tree.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace berth::inline v0 {

/// Appends `text` as a JSON string with its quotes.
///
/// Control characters, quotes and backslashes are escaped; each maximal part of invalid UTF-8
/// becomes U+FFFD, so the result is always valid JSON. The output never holds a CR or LF.
void append_json_string(std::string& out, std::string_view text);

/// Writes one JSON value to the end of `out`, which must outlive it. Commas and colons are put
/// where they belong.
///
/// Misuse (a value without a key in an object, an end that does not match, more than 64 levels) is
/// a broken invariant. Not thread-safe.
class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();

  /// Names the next value; only in an object. Duplicates are not detected.
  JsonWriter& key(std::string_view name);

  JsonWriter& string(std::string_view text);
  JsonWriter& int64(std::int64_t value);
  JsonWriter& uint64(std::uint64_t value);
  /// NaN and the infinities, which JSON does not have, are written as null.
  JsonWriter& number(double value);
  JsonWriter& boolean(bool value);
  JsonWriter& null();
  /// Writes a piece of JSON as it is: it must be exactly one valid value (see core/json_scan.h).
  JsonWriter& raw(std::string_view json);

  /// `key(name).string(text)` and so on: a member of an object in one call.
  JsonWriter& member(std::string_view name, std::string_view text) {
    return key(name).string(text);
  }
  JsonWriter& member_int64(std::string_view name, std::int64_t value) {
    return key(name).int64(value);
  }
  JsonWriter& member_uint64(std::string_view name, std::uint64_t value) {
    return key(name).uint64(value);
  }
  JsonWriter& member_bool(std::string_view name, bool value) { return key(name).boolean(value); }
  JsonWriter& member_raw(std::string_view name, std::string_view json) {
    return key(name).raw(json);
  }

  /// True when one value is complete: every begin has its end.
  bool complete() const { return depth_ == 0 && wrote_value_; }

 private:
  void before_value();
  JsonWriter& begin(char bracket, bool is_object);
  JsonWriter& end(char bracket, bool is_object);

  std::string& out_;
  std::uint64_t object_levels_ = 0;  // bit n: level n is an object
  unsigned depth_ = 0;
  bool wrote_value_ = false;  // a value stands before this place on the same level
  bool after_key_ = false;
};

}  // namespace berth::inline v0
