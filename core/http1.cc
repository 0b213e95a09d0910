#include <berth/core/assert.h>
#include <berth/core/http1.h>
#include <berth/core/http_token.h>

#include <algorithm>
#include <charconv>

namespace berth::inline v0 {
namespace {

using detail::HttpFraming;
using detail::HttpLine;

constexpr std::size_t kMethodMax = 32;
constexpr int kInterimMax = 8;

constexpr std::pair<int, const char*> kCodes[] = {
    {413, "body_too_large"},    {414, "target_too_long"}, {417, "expectation_failed"},
    {431, "headers_too_large"}, {501, "not_implemented"}, {505, "http_version"},
};

const char* code_of(int status) {
  for (const auto& [known, code] : kCodes) {
    if (known == status) return code;
  }
  return "bad_http";
}

HttpError refuse(int status, std::string message) {
  const ErrorKind kind = status == 501 ? ErrorKind::unsupported : ErrorKind::invalid;
  return {status, make_error(kind, code_of(status), std::move(message))};
}

/// The same status as too many bytes of them, and another limit.
HttpError refuse_number_of_headers(std::size_t max) {
  return {431, make_error(ErrorKind::invalid, "too_many_headers",
                          "more than " + std::to_string(max) + " headers")};
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

/// A character of a header's value: visible, blank, or above ASCII.
bool is_value_char(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte == '\t' || (byte >= 0x20 && byte != 0x7F);
}

bool is_value(std::string_view text) {
  return std::all_of(text.begin(), text.end(), is_value_char);
}

bool is_target(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](char c) { return c > ' ' && c < 0x7F && c != '#'; });
}

/// `host[:port]`; what no host can hold is refused, the rest is left to whoever compares it.
bool is_host(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return is_token_char(c) || c == ':' || c == '[' || c == ']'; });
}

std::string lower(std::string_view text) {
  std::string copy(text);
  for (char& c : copy) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return copy;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

int count_of(const HttpHeaders& headers, std::string_view name) {
  return static_cast<int>(std::count_if(headers.begin(), headers.end(),
                                        [&](const auto& header) { return header.first == name; }));
}

/// Whether one of the comma-separated options of all Connection headers is `option`.
bool has_connection_option(const HttpHeaders& headers, std::string_view option) {
  for (const auto& [name, value] : headers) {
    if (name != "connection") continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const std::string_view part = rest.substr(0, rest.find(','));
      if (lower(trimmed(part)) == option) return true;
      rest.remove_prefix(std::min(part.size() + 1, rest.size()));
    }
  }
  return false;
}

bool keeps_alive(const HttpHeaders& headers, int minor_version) {
  if (has_connection_option(headers, "close")) return false;
  return minor_version >= 1 || has_connection_option(headers, "keep-alive");
}

/// `HTTP/1.0` or `HTTP/1.1`.
std::optional<HttpError> read_version(std::string_view text, int& minor_version) {
  const bool shaped = text.size() == 8 && text.starts_with("HTTP/") && is_digit(text[5]) &&
                      text[6] == '.' && is_digit(text[7]);
  if (!shaped) return refuse(400, "the HTTP version is malformed");
  if (text[5] != '1' || text[7] > '1') return refuse(505, "only HTTP/1.0 and HTTP/1.1 are spoken");
  minor_version = text[7] - '0';
  return {};
}

/// What the headers say about the body.
struct BodyHeaders {
  bool chunked = false;
  std::optional<std::uint64_t> length;
};

std::optional<HttpError> read_content_length(const HttpHeaders& headers,
                                             std::optional<std::uint64_t>& length) {
  if (count_of(headers, "content-length") == 0) return {};
  if (count_of(headers, "content-length") > 1) return refuse(400, "more than one Content-Length");
  const std::string& text = *find_header(headers, "content-length");
  const bool digits = !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
  std::uint64_t value = 0;
  if (!digits || std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) {
    return refuse(400, "Content-Length is not a number");
  }
  length = value;
  return {};
}

std::optional<HttpError> read_body_headers(const HttpHeaders& headers, int minor_version,
                                           BodyHeaders& body) {
  const int codings = count_of(headers, "transfer-encoding");
  if (codings > 1) return refuse(400, "more than one Transfer-Encoding");
  if (codings == 1) {
    if (count_of(headers, "content-length") != 0) {
      return refuse(400, "both Content-Length and Transfer-Encoding");
    }
    if (minor_version == 0) return refuse(400, "Transfer-Encoding in HTTP/1.0");
    if (lower(*find_header(headers, "transfer-encoding")) != "chunked") {
      return refuse(501, "a Transfer-Encoding other than chunked");
    }
    body.chunked = true;
  }
  return read_content_length(headers, body.length);
}

/// One header line; `kept` is null for trailers.
std::optional<HttpError> read_field(std::string_view line, HttpHeaders* kept) {
  if (is_blank(line.front())) return refuse(400, "a folded header line");
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return refuse(400, "a header line without a colon");
  const std::string_view name = line.substr(0, colon);
  if (!is_token(name)) {
    const bool space = !name.empty() && is_blank(name.back());
    return refuse(400, space ? "space before the colon of a header"
                             : "a character that may not stand in a header name");
  }
  const std::string_view value = line.substr(colon + 1);
  if (!is_value(value)) {
    return refuse(400, "a control character in the header " + std::string(name.substr(0, 64)));
  }
  std::string key = lower(name);
  if (kept != nullptr) {
    kept->emplace_back(std::move(key), trimmed(value));
  } else if (key == "content-length" || key == "transfer-encoding" || key == "host") {
    // RFC 9110 6.5.1. Whoever merged it into the headers would see another message.
    return refuse(400, "a header among the trailers that frames or routes");
  }
  return {};
}

/// Appends header lines; on an error `out` is cut back to `start`.
Result<void> append_fields(std::string& out, std::size_t start, const HttpHeaders& headers) {
  for (const auto& [name, value] : headers) {
    if (!is_token(name) || !is_value(value)) {
      out.resize(start);
      return fail(ErrorKind::invalid, "bad_header",
                  is_token(name) ? "a control character in the header " + name
                                 : "a header name that is no token");
    }
    out.append(name).append(": ").append(value).append("\r\n");
  }
  out += "\r\n";
  return {};
}

}  // namespace

namespace detail {

HttpLine::Outcome HttpLine::take(std::string_view& bytes, std::size_t size_max,
                                 std::string_view& text) {
  if (delivered_) partial_.clear();
  delivered_ = false;
  const std::size_t end = bytes.find('\n');
  const std::string_view part = bytes.substr(0, end);
  std::string_view line = part;
  if (!partial_.empty() || end == std::string_view::npos) {
    // One byte above the limit (and the CR) is enough to know that the line is too long.
    partial_.append(part.substr(0, size_max + 2));
    line = partial_;
  }
  const bool has_return = line.ends_with('\r');
  if (line.size() - (has_return ? 1 : 0) > size_max) return Outcome::too_long;
  bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
  if (end == std::string_view::npos) return Outcome::more;
  if (!has_return) return Outcome::bare_line_feed;
  line.remove_suffix(1);
  text = line;
  delivered_ = true;
  return Outcome::line;
}

std::optional<HttpError> HttpFields::take(std::string_view& bytes, const Http1Limits& limits,
                                          bool keep) {
  while (!bytes.empty() && !done_) {
    std::string_view line;
    switch (line_.take(bytes, limits.header_bytes_max - bytes_, line)) {
      case HttpLine::Outcome::more:
        return {};
      case HttpLine::Outcome::too_long:
        return refuse(431,
                      "the headers exceed " + std::to_string(limits.header_bytes_max) + " bytes");
      case HttpLine::Outcome::bare_line_feed:
        return refuse(400, "a line in the headers ends in a bare LF");
      case HttpLine::Outcome::line:
        break;
    }
    if (line.empty()) {
      done_ = true;
      return {};
    }
    bytes_ += line.size();
    if (++count_ > limits.header_count_max) {
      return refuse_number_of_headers(limits.header_count_max);
    }
    if (auto error = read_field(line, keep ? &headers : nullptr)) return error;
  }
  return {};
}

void HttpBody::start(HttpFraming framing, std::uint64_t length) {
  *this = HttpBody();
  framing_ = framing;
  left_ = length;
  switch (framing) {
    case HttpFraming::none:
      phase_ = Phase::done;
      break;
    case HttpFraming::length:
      phase_ = length == 0 ? Phase::done : Phase::data;
      break;
    case HttpFraming::chunked:
      phase_ = Phase::chunk_line;
      break;
    case HttpFraming::until_close:
      phase_ = Phase::data;
      break;
  }
}

/// `SIZE[;extensions]`. A size in more digits than fit is an overflow, zeros in front or not.
std::optional<HttpError> HttpBody::chunk_line(std::string_view line, const Http1Limits& limits) {
  std::uint64_t size = 0;
  const auto parsed = std::from_chars(line.data(), line.data() + line.size(), size, 16);
  const auto digits = static_cast<std::size_t>(parsed.ptr - line.data());
  if (digits == 0) return refuse(400, "a chunk without a size");
  if (parsed.ec != std::errc() || digits > 16) return refuse(400, "a chunk size overflows");
  const std::string_view extensions = line.substr(digits);
  if (!extensions.empty() && (extensions.front() != ';' || !is_value(extensions))) {
    return refuse(400, "a malformed chunk size");
  }
  extension_bytes_ += extensions.size();
  if (extension_bytes_ > limits.extension_bytes_max) {
    return refuse(400, "the chunk extensions exceed " + std::to_string(limits.extension_bytes_max) +
                           " bytes");
  }
  if (size > limits.body_max - total_) {
    return refuse(413, "the body exceeds " + std::to_string(limits.body_max) + " bytes");
  }
  total_ += size;
  left_ = size;
  phase_ = size == 0 ? Phase::trailers : Phase::data;
  return {};
}

std::optional<HttpError> HttpBody::take(std::string_view& bytes, const Http1Limits& limits,
                                        std::string_view& piece) {
  while (!bytes.empty() && piece.empty()) {
    switch (phase_) {
      case Phase::done:
        return {};
      case Phase::data: {
        if (framing_ == HttpFraming::until_close) {
          if (bytes.size() > limits.body_max - total_) {
            return refuse(413, "the body exceeds " + std::to_string(limits.body_max) + " bytes");
          }
          total_ += bytes.size();
          piece = std::exchange(bytes, {});
          break;
        }
        piece =
            bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes.size())));
        bytes.remove_prefix(piece.size());
        left_ -= piece.size();
        if (left_ == 0) phase_ = framing_ == HttpFraming::chunked ? Phase::data_end : Phase::done;
        break;
      }
      case Phase::data_end:
      case Phase::chunk_line: {
        std::string_view line;
        const bool is_end = phase_ == Phase::data_end;
        switch (line_.take(bytes, is_end ? 0 : limits.chunk_line_max, line)) {
          case HttpLine::Outcome::more:
            return {};
          case HttpLine::Outcome::too_long:
            return refuse(400, is_end ? "a chunk is longer than its size"
                                      : "the line of a chunk's size is too long");
          case HttpLine::Outcome::bare_line_feed:
            return refuse(400, "a line between chunks ends in a bare LF");
          case HttpLine::Outcome::line:
            break;
        }
        if (is_end) {
          phase_ = Phase::chunk_line;
        } else if (auto error = chunk_line(line, limits)) {
          return error;
        }
        break;
      }
      case Phase::trailers:
        if (auto error = trailers_.take(bytes, limits, false)) return error;
        if (trailers_.done()) phase_ = Phase::done;
        break;
    }
  }
  return {};
}

}  // namespace detail

const std::string* find_header(const HttpHeaders& headers, std::string_view name) {
  for (const auto& header : headers) {
    if (header.first == name) return &header.second;
  }
  return nullptr;
}

// --- requests ---

bool HttpRequestParser::idle() const {
  return state_ == HttpState::head && !have_start_line_ && !line_.started();
}

void HttpRequestParser::reset() {
  *this = HttpRequestParser(limits_);
}

HttpFeed HttpRequestParser::feed(std::string_view bytes) {
  const std::size_t size = bytes.size();
  std::optional<HttpError> error;
  HttpStep step;
  switch (state_) {
    case HttpState::head:
      error = read_head(bytes);
      break;
    case HttpState::body:
      error = body_.take(bytes, limits_, step.body);
      if (!error && body_.done()) state_ = HttpState::complete;
      break;
    case HttpState::complete:
      break;
    case HttpState::failed:
      error = refuse(400, "the connection failed before");
      break;
  }
  if (error) {
    state_ = HttpState::failed;
    return tl::unexpected(std::move(*error));
  }
  step.consumed = size - bytes.size();
  return step;
}

std::optional<HttpError> HttpRequestParser::read_head(std::string_view& bytes) {
  while (!have_start_line_) {
    std::string_view line;
    switch (line_.take(bytes, limits_.start_line_max, line)) {
      case HttpLine::Outcome::more:
        return {};
      case HttpLine::Outcome::too_long:
        return refuse(
            414, "the request line exceeds " + std::to_string(limits_.start_line_max) + " bytes");
      case HttpLine::Outcome::bare_line_feed:
        return refuse(400, "the request line ends in a bare LF");
      case HttpLine::Outcome::line:
        break;
    }
    // RFC 9112 2.2: one empty line before a request is ignored.
    if (line.empty() && !skipped_empty_line_) {
      skipped_empty_line_ = true;
      continue;
    }
    if (auto error = request_line(line)) return error;
    have_start_line_ = true;
  }
  if (auto error = fields_.take(bytes, limits_, true)) return error;
  return fields_.done() ? end_of_head() : std::nullopt;
}

std::optional<HttpError> HttpRequestParser::request_line(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return refuse(400, "the request line is not METHOD TARGET VERSION");
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  if (!is_token(method)) return refuse(400, "a character that may not stand in a method");
  if (auto error = read_version(line.substr(last + 1), head_.minor_version)) return error;
  if (!is_target(target)) return refuse(400, "a character that may not stand in a target");
  if (method.size() > kMethodMax || method == "CONNECT") {
    return refuse(501, "the method is not implemented");
  }
  const bool absolute = target.starts_with("http://") || target.starts_with("https://");
  if (target.front() != '/' && !absolute && !(target == "*" && method == "OPTIONS")) {
    return refuse(400, "the target must start with a slash");
  }
  head_.method = method;
  head_.target = target;
  return {};
}

std::optional<HttpError> HttpRequestParser::end_of_head() {
  head_.headers = std::move(fields_.headers);
  const HttpHeaders& headers = head_.headers;
  const int hosts = count_of(headers, "host");
  if (hosts > 1) return refuse(400, "more than one Host");
  if (hosts == 0 && head_.minor_version >= 1) return refuse(400, "Host is missing");
  if (hosts == 1 && !is_host(*find_header(headers, "host"))) {
    return refuse(400, "a character that may not stand in Host");
  }
  BodyHeaders body;
  if (auto error = read_body_headers(headers, head_.minor_version, body)) return error;
  if (body.length.value_or(0) > limits_.body_max) {
    return refuse(413, "the body exceeds " + std::to_string(limits_.body_max) + " bytes");
  }
  if (const std::string* expect = find_header(headers, "expect");
      expect != nullptr && head_.minor_version >= 1) {
    if (count_of(headers, "expect") > 1 || lower(*expect) != "100-continue") {
      return refuse(417, "an Expect other than 100-continue");
    }
    head_.expects_continue = true;
  }
  head_.keep_alive = keeps_alive(headers, head_.minor_version);
  head_.content_length = body.length;
  head_.has_body = body.chunked || body.length.value_or(0) > 0;
  body_.start(body.chunked ? HttpFraming::chunked : HttpFraming::length, body.length.value_or(0));
  state_ = head_.has_body ? HttpState::body : HttpState::complete;
  return {};
}

// --- responses ---

void HttpResponseParser::reset(bool to_head_request) {
  *this = HttpResponseParser(limits_);
  to_head_request_ = to_head_request;
}

HttpFeed HttpResponseParser::feed(std::string_view bytes) {
  const std::size_t size = bytes.size();
  std::optional<HttpError> error;
  HttpStep step;
  switch (state_) {
    case HttpState::head:
      error = read_head(bytes);
      break;
    case HttpState::body:
      error = body_.take(bytes, limits_, step.body);
      if (!error && body_.done()) state_ = HttpState::complete;
      break;
    case HttpState::complete:
      break;
    case HttpState::failed:
      error = refuse(502, "the connection failed before");
      break;
  }
  if (error) {
    state_ = HttpState::failed;
    error->status = 502;
    return tl::unexpected(std::move(*error));
  }
  step.consumed = size - bytes.size();
  return step;
}

std::optional<HttpError> HttpResponseParser::finish() {
  switch (state_) {
    case HttpState::complete:
      return {};
    case HttpState::body:
      if (body_.framing() == HttpFraming::until_close) {
        state_ = HttpState::complete;
        return {};
      }
      break;
    case HttpState::head:
    case HttpState::failed:
      break;
  }
  const bool in_body = state_ == HttpState::body;
  state_ = HttpState::failed;
  HttpError error = refuse(502, in_body ? "the connection ended inside a body"
                                        : "the connection ended before a response");
  error.error.kind = ErrorKind::unavailable;
  return error;
}

std::optional<HttpError> HttpResponseParser::read_head(std::string_view& bytes) {
  if (!have_start_line_) {
    std::string_view line;
    switch (line_.take(bytes, limits_.start_line_max, line)) {
      case HttpLine::Outcome::more:
        return {};
      case HttpLine::Outcome::too_long:
        return refuse(502, "the status line is too long");
      case HttpLine::Outcome::bare_line_feed:
        return refuse(502, "the status line ends in a bare LF");
      case HttpLine::Outcome::line:
        break;
    }
    if (auto error = status_line(line)) return error;
    have_start_line_ = true;
  }
  if (auto error = fields_.take(bytes, limits_, true)) return error;
  return fields_.done() ? end_of_head() : std::nullopt;
}

/// `HTTP/1.x STATUS [REASON]`; the space before an empty reason is left out by some servers.
std::optional<HttpError> HttpResponseParser::status_line(std::string_view line) {
  if (auto error = read_version(line.substr(0, 8), head_.minor_version)) return error;
  const std::string_view rest = line.substr(8);
  const bool shaped = rest.size() >= 4 && rest[0] == ' ' && rest[1] >= '1' && rest[1] <= '5' &&
                      is_digit(rest[2]) && is_digit(rest[3]) &&
                      (rest.size() == 4 || rest[4] == ' ') && is_value(rest);
  if (!shaped) return refuse(502, "the status line is malformed");
  head_.status = (rest[1] - '0') * 100 + (rest[2] - '0') * 10 + (rest[3] - '0');
  head_.reason = rest.size() > 5 ? rest.substr(5) : std::string_view();
  return {};
}

std::optional<HttpError> HttpResponseParser::end_of_head() {
  if (head_.status < 200) {
    if (head_.status == 101) return refuse(502, "the server switched protocols");
    if (++interim_count_ > kInterimMax) return refuse(502, "too many interim responses");
    have_start_line_ = false;
    fields_ = {};
    head_ = {};
    return {};
  }
  head_.headers = std::move(fields_.headers);
  BodyHeaders body;
  if (auto error = read_body_headers(head_.headers, head_.minor_version, body)) return error;
  head_.content_length = body.length;
  head_.keep_alive = keeps_alive(head_.headers, head_.minor_version);
  if (to_head_request_ || head_.status == 204 || head_.status == 304) {
    body_.start(HttpFraming::none, 0);
  } else if (body.chunked) {
    body_.start(HttpFraming::chunked, 0);
  } else if (body.length) {
    if (*body.length > limits_.body_max) return refuse(502, "the body is too large");
    body_.start(HttpFraming::length, *body.length);
  } else {
    head_.keep_alive = false;
    body_.start(HttpFraming::until_close, 0);
  }
  state_ = body_.done() ? HttpState::complete : HttpState::body;
  return {};
}

// --- writers ---

namespace {

constexpr std::pair<int, std::string_view> kReasons[] = {
    {100, "Continue"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

}  // namespace

std::string_view http_reason(int status) {
  for (const auto& [code, reason] : kReasons) {
    if (code == status) return reason;
  }
  return "Unknown";
}

Result<void> append_response_head(std::string& out, int status, const HttpHeaders& headers) {
  BERTH_ASSERT(status >= 100 && status <= 599);
  const std::size_t start = out.size();
  out.append("HTTP/1.1 ").append(std::to_string(status)).append(" ");
  out.append(http_reason(status)).append("\r\n");
  return append_fields(out, start, headers);
}

Result<void> append_request_head(std::string& out, std::string_view method, std::string_view target,
                                 const HttpHeaders& headers) {
  if (!is_token(method) || !is_target(target)) {
    return fail(ErrorKind::invalid, "bad_header", "a bad method or target");
  }
  const std::size_t start = out.size();
  out.append(method).append(" ").append(target).append(" HTTP/1.1\r\n");
  return append_fields(out, start, headers);
}

}  // namespace berth::inline v0
