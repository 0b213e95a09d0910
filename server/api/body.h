// server/api/body.h — request bodies: a JSON object with known fields; errors name the field.
#pragma once

#include <berth/core/json_doc.h>
#include <berth/core/result.h>

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace berth::server {

class Body {
 public:
  /// An empty `text` counts as {}. Errors: `invalid` with "bad_json", "bad_field" (not an object, a
  /// field twice), "unknown_field".
  static Result<Body> parse(std::string_view text, std::initializer_list<std::string_view> known);

  /// The string, or `fallback` when the field is absent or null. Error `bad_field` for another
  /// type.
  Result<std::string> text(std::string_view field, std::string_view fallback = {}) const;
  /// The flag, or `fallback` when the field is absent or null. Error `bad_field` for another type.
  Result<bool> flag(std::string_view field, bool fallback = false) const;
  /// Raw JSON of the field, empty when absent or null.
  std::string raw(std::string_view field) const;
  JsonView root() const { return doc_.root(); }

 private:
  explicit Body(JsonDoc doc) : doc_(std::move(doc)) {}
  JsonDoc doc_;
};

/// That every member of `object` is known and there once; `at` stands before its name in the error.
/// Errors: `invalid` ("unknown_field", "bad_field").
Result<void> check_members(const JsonView& object, std::string_view at,
                           std::initializer_list<std::string_view> known);

/// A prompt (a string or an array of ACP content blocks) as an array of blocks. Each block is an
/// object with a string `type`; the error names the offending one.
Result<std::string> prompt_blocks(const JsonView& prompt);

/// Milliseconds since 1970 of a query parameter, as such or as RFC 3339 in UTC
/// (2026-11-21T05:04:57Z); 0 when absent; error `bad_field` naming it.
Result<std::int64_t> time_of(std::string_view name, std::string_view text);

/// A query parameter that says yes: "1" or "true".
bool is_yes(std::string_view text);

/// The number in a query parameter, `fallback` when absent; error `bad_field` naming it.
Result<std::uint64_t> number_of(std::string_view name, std::string_view text,
                                std::uint64_t fallback, std::uint64_t max);

}  // namespace berth::server
