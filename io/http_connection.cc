#include <berth/io/http_connection.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <exception>
#include <utility>

namespace berth::inline v0::io {

namespace {

/// Draining ends sooner when the whole server is about to end.
constexpr Duration kDrainWhenStopping = std::chrono::milliseconds(500);

Http1Limits parser_limits(const HttpLimits& limits) {
  Http1Limits result;
  result.start_line_max = limits.target_max;
  result.header_bytes_max = limits.head_max;
  result.header_count_max = limits.headers_max;
  result.body_max = limits.body_max;
  return result;
}

iovec part(std::string_view bytes) {
  return iovec{const_cast<char*>(bytes.data()), bytes.size()};
}

bool has_no_body(int status) {
  return status == 204 || status == 304 || status < 200;
}

}  // namespace

HttpConnection::HttpConnection(HttpShared& shared, std::unique_ptr<Port> port, std::string peer,
                               StopToken stop, StopToken gone)
    : shared_(shared),
      stop_(stop),
      gone_(gone),
      socket_(shared.reactor, std::move(port), shared.limits.pipelined_max),
      peer_(std::move(peer)),
      parser_(parser_limits(shared.limits)) {}

Task<void> HttpConnection::run() {
  stop_.listen(*this);
  socket_.open(&gone_);
  for (bool more = true; more;) more = co_await serve_one();
  forget_request();
  co_await drain();
  co_await socket_.close();
}

Task<void> HttpConnection::turn_away() {
  stop_.listen(*this);
  socket_.open(&gone_);
  co_await refuse(503, make_error(ErrorKind::overloaded, "overloaded",
                                  fmt::format("connections_max ({}) is reached",
                                              shared_.limits.connections_max)));
  co_await drain();
  co_await socket_.close();
}

// One request and its answer; false when it was the last.
Task<bool> HttpConnection::serve_one() {
  const Received received = co_await receive();
  if (received != Received::request) co_return false;
  co_await run_handler();
  if (streaming_ || broken_ || !keep_ || stopping()) co_return false;
  parser_.reset();
  forget_request();
  co_return true;
}

void HttpConnection::forget_request() {
  shared_.body_bytes -= std::exchange(counted_body_, 0);
  request_ = HttpRequest();
  answered_ = false;
  in_pieces_.reset();
}

// --- receiving ---

Task<HttpConnection::Received> HttpConnection::receive() {
  const bool begun = co_await wait_for_request();
  if (!begun) co_return Received::nothing;
  head_deadline_ = shared_.reactor.clock().now() + shared_.limits.head_timeout;
  keep_ = true;
  head_request_ = false;
  http10_ = false;
  bool head_seen = false;
  for (;;) {
    const HttpFeed fed = parser_.feed(socket_.input());
    if (!fed.has_value()) {
      co_await refuse(fed.error().status, fed.error().error);
      co_return Received::refused;
    }
    Result<void> taken = take_body(fed->body);
    socket_.consume(fed->consumed);
    if (!taken.has_value()) {
      co_await refuse(503, std::move(taken.error()));
      co_return Received::refused;
    }
    if (!head_seen && parser_.state() != HttpState::head) {
      head_seen = true;
      const bool go_on = co_await take_head();
      if (!go_on) co_return Received::refused;
    }
    if (parser_.state() == HttpState::complete) co_return Received::request;
    if (!socket_.input().empty()) continue;
    const bool more = co_await wait_for_more();
    if (!more) co_return Received::refused;
  }
}

// False when the request will not be served.
Task<bool> HttpConnection::take_head() {
  HttpRequestHead& head = parser_.head();
  keep_ = head.keep_alive;
  http10_ = head.minor_version == 0;
  head_request_ = head.method == "HEAD";
  request_.method = std::move(head.method);
  request_.target = std::move(head.target);
  request_.headers = std::move(head.headers);
  request_.peer = peer_;
  if (parser_.state() != HttpState::body) co_return true;
  std::optional<HttpResponse> early = shared_.handler.refuse_early(request_);
  if (early.has_value()) {
    keep_ = false;
    Result<void> sent = co_await send(std::move(*early), Framing::length);
    static_cast<void>(sent);
    co_return false;
  }
  if (!head.expects_continue || !socket_.input().empty()) co_return true;
  Result<void> sent = co_await send_continue();
  co_return sent.has_value();
}

// True when the first byte of a request is there.
Task<bool> HttpConnection::wait_for_request() {
  const TimePoint idle = shared_.reactor.clock().now() + shared_.limits.idle_timeout;
  for (;;) {
    if (!socket_.input().empty()) co_return true;
    if (stopping() || socket_.ended()) co_return false;
    const HttpSocket::Wake wake = co_await socket_.more(idle);
    if (wake == HttpSocket::Wake::deadline) co_return false;
  }
}

// Waits for more bytes of a request that has begun; false when it will not be served.
Task<bool> HttpConnection::wait_for_more() {
  const bool in_head = parser_.state() == HttpState::head;
  const TimePoint now = shared_.reactor.clock().now();
  const TimePoint deadline = in_head ? head_deadline_ : now + shared_.limits.body_timeout;
  for (;;) {
    const HttpSocket::Wake wake = co_await socket_.more(deadline);
    if (!socket_.input().empty()) co_return true;
    if (socket_.ended()) co_return false;  // it broke off: there is nobody to answer
    if (stopping()) {
      co_await refuse(
          503, make_error(ErrorKind::unavailable, "draining", "the server is shutting down"));
      co_return false;
    }
    if (wake == HttpSocket::Wake::deadline) {
      co_await refuse(408, make_error(ErrorKind::timed_out, "request_timeout",
                                      in_head ? "head_timeout: the head came too slowly"
                                              : "body_timeout: the body came too slowly"));
      co_return false;
    }
  }
}

Result<void> HttpConnection::take_body(std::string_view piece) {
  if (piece.empty()) return {};
  if (shared_.body_bytes + piece.size() > shared_.limits.bodies_max) {
    return fail(ErrorKind::overloaded, "overloaded",
                fmt::format("bodies_max ({} bytes) is reached", shared_.limits.bodies_max));
  }
  shared_.body_bytes += piece.size();
  counted_body_ += piece.size();
  request_.body.append(piece);
  return {};
}

// --- answering ---

Task<void> HttpConnection::run_handler() {
  ++shared_.stats.requests;
  bool failed = false;
  try {
    co_await shared_.handler.handle(*this);
  } catch (const std::exception& exception) {
    failed = true;
    shared_.log.write(LogLevel::error, "http",
                      fmt::format("{} {}: {}", request_.method, request_.target, exception.what()));
  }
  if (answered_) {
    if (failed) {
      broken_ = true;  // what was sent may be half an answer
    } else if (in_pieces_ == Framing::chunks && !broken_) {
      co_await end_chunks();
    }
    co_return;
  }
  if (!failed) {
    shared_.log.write(LogLevel::error, "http",
                      fmt::format("{} {}: no answer", request_.method, request_.target));
  }
  keep_ = false;
  Result<void> sent = co_await respond(shared_.handler.refuse(
      500, make_error(ErrorKind::internal, "internal", "the request could not be answered")));
  static_cast<void>(sent);
}

Task<Result<void>> HttpConnection::respond(HttpResponse response) {
  BERTH_ASSERT(!answered_);
  return send(std::move(response), Framing::length);
}

Task<Result<void>> HttpConnection::start_stream(HttpResponse head) {
  BERTH_ASSERT(!answered_);
  keep_ = false;
  streaming_ = true;
  if (stopping()) gone_.request_stop();
  Result<void> sent = co_await send(std::move(head), Framing::close);
  // What a stream keeps for hours is small: the request's body is of no use any more.
  shared_.body_bytes -= std::exchange(counted_body_, 0);
  request_.body = std::string();
  socket_.discard_input(shared_.limits.drain_max);
  if (sent.has_value() && head_request_) {
    co_return fail(ErrorKind::cancelled, "head_request", "the answer to HEAD has no body");
  }
  co_return sent;
}

Task<Result<void>> HttpConnection::begin_body(HttpResponse head) {
  BERTH_ASSERT(!answered_);
  const Framing framing = http10_ ? Framing::close : Framing::chunks;
  if (http10_) keep_ = false;
  if (!has_no_body(head.status) && !head_request_) in_pieces_ = framing;
  return send(std::move(head), framing);
}

Task<Result<void>> HttpConnection::write_body(std::string_view piece) {
  BERTH_ASSERT(answered_);
  if (broken_) co_return fail(ErrorKind::unavailable, "client_gone", "the client is gone");
  if (piece.empty() || !in_pieces_.has_value()) co_return Result<void>();
  const std::string size = fmt::format("{:x}\r\n", piece.size());
  std::array<iovec, 3> parts = {part(size), part(piece), part("\r\n")};
  const bool chunked = *in_pieces_ == Framing::chunks;
  const std::span<iovec> wanted = chunked ? std::span(parts) : std::span(parts).subspan(1, 1);
  Result<void> sent = co_await socket_.write(wanted, shared_.limits.write_stall_max);
  if (!sent.has_value()) {
    keep_ = false;
    broken_ = true;
    sent.error().kind = ErrorKind::unavailable;
  }
  co_return sent;
}

Task<void> HttpConnection::end_chunks() {
  std::array<iovec, 1> parts = {part("0\r\n\r\n")};
  Result<void> sent = co_await socket_.write(parts, shared_.limits.write_stall_max);
  if (!sent.has_value()) broken_ = true;
}

Task<void> HttpConnection::refuse(int status, Error error) {
  keep_ = false;
  HttpResponse response = shared_.handler.refuse(status, error);
  if (status == 503) response.headers.emplace_back("Retry-After", "1");
  Result<void> sent = co_await send(std::move(response), Framing::length);
  static_cast<void>(sent);
}

Task<Result<void>> HttpConnection::send(HttpResponse response, Framing framing) {
  answered_ = true;
  if (stopping()) keep_ = false;
  HttpHeaders headers;
  headers.reserve(response.headers.size() + 4);
  headers.emplace_back("Date", date());
  const bool no_body = has_no_body(response.status);
  if (!no_body) headers.emplace_back("Content-Type", response.content_type);
  if (framing == Framing::length && !no_body) {
    headers.emplace_back("Content-Length", std::to_string(response.body.size()));
  } else if (framing == Framing::chunks && !no_body) {
    headers.emplace_back("Transfer-Encoding", "chunked");
  }
  if (!keep_) {
    headers.emplace_back("Connection", "close");
  } else if (http10_) {
    headers.emplace_back("Connection", "keep-alive");
  }
  std::move(response.headers.begin(), response.headers.end(), std::back_inserter(headers));

  std::string head;
  Result<void> written = append_response_head(head, response.status, headers);
  if (!written.has_value()) {
    shared_.log.write(
        LogLevel::error, "http",
        fmt::format("{} {}: {}", request_.method, request_.target, written.error().message));
    keep_ = false;
    broken_ = true;
    co_return written;
  }
  std::array<iovec, 2> parts = {part(head), part(response.body)};
  const bool with_body =
      framing == Framing::length && !no_body && !head_request_ && !response.body.empty();
  Result<void> sent = co_await socket_.write(std::span(parts).first(with_body ? 2 : 1),
                                             shared_.limits.write_stall_max);
  if (!sent.has_value()) {
    keep_ = false;
    broken_ = true;
    sent.error().kind = ErrorKind::unavailable;
  }
  co_return sent;
}

Task<Result<void>> HttpConnection::send_continue() {
  std::array<iovec, 1> parts = {part("HTTP/1.1 100 Continue\r\n\r\n")};
  co_return co_await socket_.write(parts, shared_.limits.write_stall_max);
}

// The form of RFC 9110, Sun, 06 Nov 1994 08:49:37 GMT. Once a second for all connections.
const std::string& HttpConnection::date() {
  const std::chrono::sys_seconds now(
      std::chrono::duration_cast<std::chrono::seconds>(shared_.reactor.clock().wall()));
  const std::int64_t second = now.time_since_epoch().count();
  if (second != shared_.date_second) {
    constexpr std::array kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const std::chrono::sys_days day = std::chrono::floor<std::chrono::days>(now);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss time(now - day);
    shared_.date = fmt::format(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT", kDays[std::chrono::weekday(day).c_encoding()],
        static_cast<unsigned>(date.day()), kMonths[static_cast<unsigned>(date.month()) - 1],
        static_cast<int>(date.year()), time.hours().count(), time.minutes().count(),
        time.seconds().count());
    shared_.date_second = second;
  }
  return shared_.date;
}

// --- the end ---

// Closing a socket that holds unread bytes resets the connection, and the client may lose the
// answer that it has not read yet. So: no more from us, then read and drop until the client ends
// too, within bounds.
Task<void> HttpConnection::drain() {
  if (socket_.ended() || broken_) co_return;
  socket_.shutdown_write();
  socket_.discard_input(shared_.limits.drain_max);
  const TimePoint now = shared_.reactor.clock().now();
  const TimePoint patient = now + shared_.limits.drain_timeout;
  const TimePoint hurried = now + std::min(kDrainWhenStopping, shared_.limits.drain_timeout);
  for (;;) {
    const HttpSocket::Wake wake = co_await socket_.more(stopping() ? hurried : patient);
    if (wake == HttpSocket::Wake::ended || wake == HttpSocket::Wake::deadline) co_return;
  }
}

}  // namespace berth::inline v0::io
