// core/http1.h — HTTP/1.1 messages (RFC 9112): a strict parser for each side, writers of heads.
#pragma once

#include <berth/core/result.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

namespace berth::inline v0 {

/// Names in lower case when received.
using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

/// The value of the first header of that (lower-case) name, or null.
const std::string* find_header(const HttpHeaders& headers, std::string_view name);

struct Http1Limits {
  std::size_t start_line_max = 8 * 1024;     ///< Bytes of the request or status line; above it 414.
  std::size_t header_bytes_max = 32 * 1024;  ///< All header lines, and again all trailers: 431.
  std::size_t header_count_max = 100;        ///< Headers, and again trailers: 431.
  std::uint64_t body_max = 32ULL << 20;      ///< Bytes of the body, decoded: 413.
  std::size_t chunk_line_max = 256;          ///< Bytes of a chunk's size with its extensions: 400.
  std::size_t extension_bytes_max = 8 * 1024;  ///< Extensions of all chunks of a message: 400.
};

/// Why a message was refused. After one the connection cannot be used any more: answer and close.
struct HttpError {
  int status = 400;  ///< For the answer of a server; 502 where a response was bad.
  Error error;
};

/// What one call of `feed` did.
struct HttpStep {
  std::size_t consumed = 0;  ///< Bytes taken from the front of the input.
  std::string_view body;     ///< Bytes of the body, a view into the input; often empty.
};

using HttpFeed = tl::expected<HttpStep, HttpError>;

enum class HttpState : std::uint8_t {
  head,      ///< Waits for (more of) the head.
  body,      ///< The head is complete; body to come.
  complete,  ///< The message ended; bytes not consumed belong to the next one.
  failed,
};

namespace detail {

/// Collects one line that ends in CR LF, across chunks.
class HttpLine {
 public:
  enum class Outcome : std::uint8_t { more, line, too_long, bare_line_feed };
  /// Takes bytes from the front of `bytes`; on `line`, `text` is the line without its end, until
  /// the next call.
  Outcome take(std::string_view& bytes, std::size_t size_max, std::string_view& text);
  bool started() const { return !delivered_ && !partial_.empty(); }

 private:
  std::string partial_;
  bool delivered_ = false;
};

/// Collects header or trailer lines within the limits.
class HttpFields {
 public:
  /// Takes bytes until the empty line (then `done`) or an error. Trailers are checked, not kept.
  std::optional<HttpError> take(std::string_view& bytes, const Http1Limits& limits, bool keep);
  bool done() const { return done_; }
  HttpHeaders headers;

 private:
  HttpLine line_;
  std::size_t bytes_ = 0;
  std::size_t count_ = 0;
  bool done_ = false;
};

/// How the end of a body is known.
enum class HttpFraming : std::uint8_t { none, length, chunked, until_close };

/// Takes the framing of a body off.
class HttpBody {
 public:
  void start(HttpFraming framing, std::uint64_t length);
  /// Takes bytes until a piece of the body is found or the input ends.
  std::optional<HttpError> take(std::string_view& bytes, const Http1Limits& limits,
                                std::string_view& piece);
  bool done() const { return phase_ == Phase::done; }
  HttpFraming framing() const { return framing_; }

 private:
  enum class Phase : std::uint8_t { data, data_end, chunk_line, trailers, done };
  std::optional<HttpError> chunk_line(std::string_view line, const Http1Limits& limits);

  HttpFraming framing_ = HttpFraming::none;
  Phase phase_ = Phase::done;
  std::uint64_t left_ = 0;   // of the body, or of this chunk
  std::uint64_t total_ = 0;  // bytes of all chunks announced so far
  std::size_t extension_bytes_ = 0;
  HttpLine line_;
  HttpFields trailers_;
};

}  // namespace detail

/// The head of a received request.
struct HttpRequestHead {
  std::string method;
  std::string target;  ///< As it was sent; see core/uri.h.
  int minor_version = 1;
  HttpHeaders headers;
  bool keep_alive = true;
  bool has_body = false;
  std::optional<std::uint64_t> content_length;  ///< Empty when chunked or without a body.
  /// The client waits for `100 Continue` (or a final answer) before it sends the body.
  bool expects_continue = false;
};

/// Reads the requests of one connection. What it takes and says depends on the bytes alone, not on
/// the chunks.
///
/// Refuses everything that two implementations could frame differently: a length beside chunks,
/// several or decorated lengths, codings other than `chunked`, space before a colon, folded lines,
/// bare CR or LF, NUL, a missing or second Host. Not thread-safe.
class HttpRequestParser {
 public:
  explicit HttpRequestParser(Http1Limits limits = {}) : limits_(limits) {}

  /// Takes bytes until the head is complete, a piece of the body is there, the message ends or the
  /// input is used up; call it again with the rest while `state` is head or body. Each call
  /// consumes or changes the state.
  HttpFeed feed(std::string_view bytes);

  HttpState state() const { return state_; }
  /// Valid from the end of the head on, until `reset`. May be moved from.
  HttpRequestHead& head() { return head_; }
  /// True while nothing of the request has come yet: the connection may be closed without an
  /// answer.
  bool idle() const;

  /// Gets ready for the next request of the connection, after `complete`.
  void reset();

 private:
  std::optional<HttpError> request_line(std::string_view line);
  std::optional<HttpError> end_of_head();
  std::optional<HttpError> read_head(std::string_view& bytes);

  Http1Limits limits_;
  HttpState state_ = HttpState::head;
  bool have_start_line_ = false;
  bool skipped_empty_line_ = false;
  detail::HttpLine line_;
  detail::HttpFields fields_;
  detail::HttpBody body_;
  HttpRequestHead head_;
};

/// The head of a received response.
struct HttpResponseHead {
  int status = 0;
  std::string reason;
  int minor_version = 1;
  HttpHeaders headers;
  bool keep_alive = true;
  std::optional<std::uint64_t> content_length;  ///< Empty when chunked or until the close.
};

/// Reads the responses of one connection, as strictly. Interim (1xx) responses are skipped. Not
/// thread-safe.
class HttpResponseParser {
 public:
  explicit HttpResponseParser(Http1Limits limits = {}) : limits_(limits) {}

  /// Like HttpRequestParser::feed.
  HttpFeed feed(std::string_view bytes);

  /// The connection ended: completes a body that lasts until then; anything else unfinished is an
  /// error.
  std::optional<HttpError> finish();

  HttpState state() const { return state_; }
  HttpResponseHead& head() { return head_; }

  /// Gets ready for the next response; `to_head_request`: it will have no body, whatever its
  /// headers say.
  void reset(bool to_head_request = false);

 private:
  std::optional<HttpError> status_line(std::string_view line);
  std::optional<HttpError> end_of_head();
  std::optional<HttpError> read_head(std::string_view& bytes);

  Http1Limits limits_;
  HttpState state_ = HttpState::head;
  bool have_start_line_ = false;
  bool to_head_request_ = false;
  int interim_count_ = 0;
  detail::HttpLine line_;
  detail::HttpFields fields_;
  detail::HttpBody body_;
  HttpResponseHead head_;
};

/// The words that go with a status code.
std::string_view http_reason(int status);

/// Appends a status line, the headers and the empty line. The caller frames the body
/// (Content-Length, ...). Errors: `invalid` ("bad_header") if a name is no token or a value holds
/// CR, LF, NUL or another control character; `out` is left as it was.
Result<void> append_response_head(std::string& out, int status, const HttpHeaders& headers);

/// The same for a request. Also checks method and target.
Result<void> append_request_head(std::string& out, std::string_view method, std::string_view target,
                                 const HttpHeaders& headers);

}  // namespace berth::inline v0
