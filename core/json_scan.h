// core/json_scan.h — one line of JSON-RPC in, a routed and fully validated line out.
#pragma once

#include <berth/core/ndjson.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <tl/expected.hpp>

namespace berth::inline v0 {

enum class MessageKind : std::uint8_t { request, notification, response, error_response };

enum class IdKind : std::uint8_t { none, null, integer, string };

/// The id of a request or response.
struct MessageId {
  IdKind kind = IdKind::none;
  /// The id as it was written (a string with its quotes): send it back like this. Empty if there is
  /// none.
  std::string_view json;
  /// The value if `kind` is integer.
  std::int64_t integer = 0;
};

/// What a line says about where it goes. Raw slices are views into the line and exactly one valid
/// JSON value; texts are unescaped and point into the line or, if they held escapes, into the
/// scanner. Absent parts are empty.
struct RoutedLine {
  MessageKind kind = MessageKind::notification;
  MessageId id;
  std::string_view method;        ///< Text.
  std::string_view session_id;    ///< Text of params.sessionId; empty if it is not a string.
  std::string_view params;        ///< Raw object or array; a null counts as absent.
  std::string_view update;        ///< Raw params.update, if it is an object.
  std::string_view update_kind;   ///< Text of params.update.sessionUpdate.
  std::string_view message_id;    ///< Text of params.update.messageId.
  std::string_view tool_call_id;  ///< Text of params.update.toolCallId.
  std::string_view result;        ///< Raw; `null` stays `null`.
  std::string_view error;         ///< Raw; a null counts as absent.
  /// A raw CR stands somewhere between the tokens: legal white space, but a line end in SSE.
  bool has_raw_cr = false;
  /// Where all this lies, for somebody to take; set by whoever has the line. After Line::take() the
  /// views are not valid any more.
  Line* line = nullptr;
};

enum class ScanErrorKind : std::uint8_t {
  bad_utf8,
  bad_json,
  too_deep,
  not_an_object,  ///< Valid JSON of another kind: a batch, a number.
  duplicate_key,  ///< A key that routes stands twice in its object.
  not_json_rpc,   ///< A valid object that is no JSON-RPC message.
};

struct ScanError {
  static constexpr std::size_t kNoOffset = static_cast<std::size_t>(-1);

  ScanErrorKind kind = ScanErrorKind::bad_json;
  /// Short, a literal; never holds text of the line.
  const char* message = "";
  /// Place in the line in bytes, kNoOffset if it is not known.
  std::size_t offset = kNoOffset;
};

using ScanResult = tl::expected<RoutedLine, ScanError>;

/// Scans lines; owns what it needs for that, so that a line in steady state allocates nothing. One
/// for each shard.
///
/// The whole line is validated, nested parts that nobody reads too: UTF-8, strings, numbers,
/// brackets, depth (1024), one document. A line passes exactly if the DOM parser of simdjson takes
/// it, it is an object, no key that routes appears twice, and it has the shape of a JSON-RPC
/// message. Keys are compared unescaped: `"m\u0065thod"` is the key method.
///
/// A message without "jsonrpc" is taken if it has a method, a result or an error: agents forget it.
/// An object with nothing but an id is a response only if it says "jsonrpc":"2.0" (else a log line
/// of an agent would be one).
class JsonScanner {
 public:
  /// Memory for lines above this is given back after the line.
  static constexpr std::size_t kKeepMax = std::size_t{1} << 20;

  JsonScanner();
  ~JsonScanner();
  JsonScanner(JsonScanner&&) noexcept;
  JsonScanner& operator=(JsonScanner&&) noexcept;

  /// Scans one line; kLinePadding (core/ndjson.h) bytes behind it must be readable, whatever they
  /// hold. The views of the result live as long as the line, and until the next call. Lines reach
  /// up to 4 GiB.
  ScanResult scan_line(std::string_view line);

  /// Line size that the scanner has memory for now, in bytes.
  std::size_t capacity() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A copy of `line` in which each escaped half of a surrogate pair that stands alone (`"\ud83d"`)
/// is `\ufffd`; empty if there is none, or another bad escape.
///
/// Agents in JavaScript cut text between two UTF-16 units and send such halves, which no JSON
/// parser of ours takes: worth one more scan after `bad_json`, before a message is given up.
LineBuffer replace_lone_surrogates(std::string_view line);

}  // namespace berth::inline v0
