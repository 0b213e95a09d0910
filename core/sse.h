// core/sse.h — writes and reads server-sent events (WHATWG HTML, section 9.2).
#pragma once

#include <berth/core/result.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace berth::inline v0 {

/// Whether `type` may stand in an `event:` field: 1 to 64 visible ASCII characters.
bool is_sse_type(std::string_view type);

/// Appends `id: SEQ\nevent: TYPE\ndata: DATA\n\n`: exactly one event, whatever `data` holds.
///
/// A CR or LF in `data` would end its line and let its author write fields of its own; each becomes
/// a space (in JSON both can only be white space). `type` must satisfy `is_sse_type`.
void append_sse_event(std::string& out, std::uint64_t seq, std::string_view type,
                      std::string_view data);

/// The same in parts, for data that is written piece by piece: `append_sse_head`, then data without
/// CR or LF (see `blank_line_ends`), then `kSseTail`.
void append_sse_head(std::string& out, std::uint64_t seq, std::string_view type);
inline constexpr std::string_view kSseTail = "\n\n";

/// Replaces every CR and LF in place by a space.
void blank_line_ends(char* bytes, std::size_t size);

/// Appends `: TEXT\n\n`, which clients ignore: a sign of life. CR and LF become spaces.
void append_sse_comment(std::string& out, std::string_view text);

/// Appends `retry: N\n\n`: how long a client shall wait before it connects again.
void append_sse_retry(std::string& out, std::chrono::milliseconds delay);

/// An event to send, for who writes streams of their own.
struct SseMessage {
  std::string_view id;    ///< Empty: none, and the reader keeps the last one.
  std::string_view type;  ///< Empty: "message".
  /// May have several lines; CR, LF and CR LF end one each, and the reader gets LF for each of
  /// them.
  std::string_view data;
};

/// Appends exactly one event, whatever its fields hold. Errors: `invalid` ("bad_sse_field") for a
/// type that is_sse_type() refuses, or an id with CR, LF or NUL; `out` is left as it was.
Result<void> append_sse_message(std::string& out, const SseMessage& message);

/// One received event. Valid during the call of `on_event`.
struct SseEvent {
  /// The last id that the stream gave, in this event or before; empty if none.
  std::string_view id;
  /// "message" where the stream names no type.
  std::string_view type;
  std::string_view data;
};

/// Receives events. Must not call back into the parser.
class SseSink {
 public:
  virtual ~SseSink() = default;
  virtual void on_event(const SseEvent& event) = 0;
  virtual void on_retry(std::chrono::milliseconds delay) { static_cast<void>(delay); }
  virtual void on_comment(std::string_view text) { static_cast<void>(text); }
};

/// Reads an event stream, in chunks of any size. Bytes are handed on as they are (UTF-8 is not
/// checked). An event that the end of the stream cuts off is dropped, as the standard says. Not
/// thread-safe.
class SseParser {
 public:
  struct Limits {
    /// Largest line, and largest data of one event, in bytes.
    std::size_t event_max = std::size_t{80} << 20;
  };

  explicit SseParser(SseSink& sink) : SseParser(sink, Limits{}) {}
  SseParser(SseSink& sink, Limits limits) : sink_(sink), limits_(limits) {}

  /// Takes the next bytes. Errors: `invalid` (code "sse_too_long") when a limit is exceeded; it
  /// stays so.
  Result<void> feed(std::string_view chunk);

  /// The id to send as Last-Event-ID on reconnect.
  std::string_view last_event_id() const { return last_id_; }

 private:
  bool line(std::string_view text);  // false: a limit is exceeded
  bool field(std::string_view name, std::string_view value);
  void dispatch();

  SseSink& sink_;
  Limits limits_;
  std::string partial_;  // a line that began in an earlier chunk
  std::string data_;
  std::string type_;
  std::string id_;       // of the event being read
  std::string last_id_;  // of the last dispatched one
  bool has_data_ = false;
  bool first_line_ = true;
  bool after_cr_ = false;  // an LF that comes next belongs to it
  bool failed_ = false;
};

}  // namespace berth::inline v0
