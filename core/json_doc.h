// core/json_doc.h — a parsed JSON text and read-only views into it, for bodies and replies (not for
// the hot path).
#pragma once

#include <berth/core/result.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace berth::inline v0 {

/// One value inside a JsonDoc, which must outlive it, or nothing: looking for what is not there
/// gives an absent view, and every question to an absent view has the answer no. Cheap to copy.
class JsonView {
 public:
  JsonView() = default;

  bool present() const { return document_ != nullptr; }
  bool is_null() const;
  bool is_object() const;
  bool is_array() const;
  std::optional<std::string_view> as_string() const;  ///< Unescaped; lives as long as the doc.
  std::optional<bool> as_bool() const;
  std::optional<std::int64_t> as_int64() const;
  std::optional<double> as_double() const;  ///< Of any number.

  /// The member at a path of keys such as "agentCapabilities.loadSession". Keys that hold a dot
  /// cannot be named so.
  JsonView find(std::string_view path) const;

  std::optional<std::string_view> get_string(std::string_view path) const {
    return find(path).as_string();
  }
  std::optional<bool> get_bool(std::string_view path) const { return find(path).as_bool(); }
  std::optional<std::int64_t> get_int64(std::string_view path) const {
    return find(path).as_int64();
  }
  bool is_object(std::string_view path) const { return find(path).is_object(); }

  /// Elements of the array; none if it is none.
  std::vector<JsonView> elements() const;
  std::vector<JsonView> elements(std::string_view path) const { return find(path).elements(); }
  /// Members of the object in their order; none if it is none.
  std::vector<std::pair<std::string_view, JsonView>> members() const;

  /// The value as minified JSON; empty when absent.
  std::string raw() const;
  std::string raw(std::string_view path) const { return find(path).raw(); }

 private:
  friend class JsonDoc;
  friend struct JsonViewAccess;
  const void* document_ = nullptr;
  [[maybe_unused]] std::size_t index_ = 0;  // read by JsonViewAccess
};

/// A JSON text that passed the DOM parser of simdjson. Owns a copy of what it needs; movable. Any
/// thread, one at a time.
class JsonDoc {
 public:
  /// Errors: `invalid` ("bad_json") with the parser's words. Depth at most 1024.
  static Result<JsonDoc> parse(std::string_view text);

  JsonDoc(JsonDoc&&) noexcept;
  JsonDoc& operator=(JsonDoc&&) noexcept;
  ~JsonDoc();

  JsonView root() const;

 private:
  struct Impl;
  explicit JsonDoc(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace berth::inline v0
