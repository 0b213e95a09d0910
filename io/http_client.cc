#include <berth/io/http_client.h>

#include <berth/io/http_socket.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <utility>

namespace berth::inline v0::io {

namespace {

/// Ends what the socket waits for when `stop` is asked.
class StopWatch final : private StopListener {
 public:
  StopWatch(HttpSocket& socket, StopToken stop) : socket_(socket) { stop.listen(*this); }

 private:
  void on_stop() override {
    socket_.interrupt();
    socket_.cancel_write();
  }
  HttpSocket& socket_;
};

Http1Limits parser_limits(const HttpClientLimits& limits) {
  Http1Limits result;
  result.header_bytes_max = limits.head_max;
  result.body_max =
      ~std::uint64_t{0} >> 1;  // a streamed body may be endless; fetch() has its own bound
  return result;
}

/// Without the port.
std::string host_name(const std::string& host) {
  const std::size_t bracket = host.starts_with('[') ? host.find(']') : 0;
  return host.substr(0, host.find(':', bracket == std::string::npos ? 0 : bracket));
}

class Client final : public HttpClient {
 public:
  Client(Reactor& reactor, HttpOrigin origin, HttpClientLimits limits, const TlsContext* tls,
         NameLookup names)
      : reactor_(reactor),
        origin_(std::move(origin)),
        limits_(limits),
        tls_(tls),
        names_(names),
        parser_(parser_limits(limits)) {}
  ~Client() override { BERTH_ASSERT(socket_ == nullptr); }

  Task<Result<HttpClientResponse>> fetch(HttpClientRequest request, TimePoint deadline,
                                         StopToken stop) override;
  Task<Result<HttpClientResponse>> begin(HttpClientRequest request, TimePoint deadline,
                                         StopToken stop) override;
  Task<Result<std::string_view>> read_body(TimePoint deadline, StopToken stop) override;
  Task<void> close() override;

 private:
  Task<Result<HttpClientResponse>> attempt(const HttpClientRequest* request, TimePoint deadline,
                                           StopToken stop);
  Task<Result<void>> connect(TimePoint deadline, StopToken stop);
  Task<Result<void>> send_source(HttpBodySource* source);
  Task<Result<void>> send(const HttpClientRequest* request, StopToken stop);
  Task<Result<void>> read_head(TimePoint deadline, StopToken stop);
  Task<Result<void>> wait(TimePoint deadline, StopToken stop);
  Error lost() const;

  Reactor& reactor_;
  HttpOrigin origin_;
  HttpClientLimits limits_;
  const TlsContext* tls_;
  NameLookup names_;
  std::unique_ptr<HttpSocket> socket_;
  HttpResponseParser parser_;
  std::size_t unread_ = 0;  // of the input, given out by the last read_body()
  bool body_over_ = true;
  bool fresh_ = true;          // no answer came on this connection yet
  bool answer_began_ = false;  // a byte of this answer came
};

Task<Result<HttpClientResponse>> Client::begin(HttpClientRequest request, TimePoint deadline,
                                               StopToken stop) {
  // A kept connection that the server closed meanwhile shows only now. What surely was not acted
  // upon, or may be repeated, is tried again on a new one.
  const bool kept = socket_ != nullptr && body_over_ && !fresh_ && !socket_->ended();
  if (!kept) co_await close();
  Result<HttpClientResponse> answer = co_await attempt(&request, deadline, stop);
  if (answer.has_value()) co_return answer;
  co_await close();
  const bool safe =
      (request.method == "GET" || request.method == "HEAD") && request.source == nullptr;
  if (!kept || answer_began_ || !safe || answer.error().kind != ErrorKind::unavailable) {
    co_return answer;
  }
  answer = co_await attempt(&request, deadline, stop);
  if (!answer.has_value()) co_await close();
  co_return answer;
}

Task<Result<HttpClientResponse>> Client::attempt(const HttpClientRequest* request,
                                                 TimePoint deadline, StopToken stop) {
  answer_began_ = false;
  if (socket_ == nullptr) {
    Result<void> connected = co_await connect(deadline, stop);
    if (!connected.has_value()) co_return fail(std::move(connected.error()));
  }
  parser_.reset(request->method == "HEAD");
  body_over_ = false;
  Result<void> sent = co_await send(request, stop);
  if (!sent.has_value()) {
    // A server may refuse in mid-request and close: its answer counts, if there is one.
    if (sent.error().kind != ErrorKind::unavailable) co_return fail(std::move(sent.error()));
  }
  Result<void> headed = co_await read_head(deadline, stop);
  if (!headed.has_value()) co_return fail(std::move(headed.error()));
  fresh_ = false;
  HttpClientResponse response;
  response.status = parser_.head().status;
  response.headers = std::move(parser_.head().headers);
  co_return response;
}

Task<Result<void>> Client::connect(TimePoint deadline, StopToken stop) {
  if (origin_.tls && tls_ == nullptr) {
    co_return fail(ErrorKind::invalid, "no_tls", "https needs a TlsContext: " + origin_.host);
  }
  const Result<Handle> handle =
      co_await dial(&reactor_, names_, origin_.address.text, deadline, stop);
  if (!handle.has_value()) co_return fail(handle.error());
  std::unique_ptr<Port> port;
  if (origin_.tls) {
    Result<std::unique_ptr<ByteStream>> stream = co_await make_tls_stream(
        &reactor_, tls_, make_stream(reactor_, *handle, {limits_.read_ahead_max}),
        TlsHandshake{host_name(origin_.host), deadline}, stop);
    if (!stream.has_value()) {
      Error error = std::move(stream.error());
      if (error.kind == ErrorKind::unavailable) error.code = "connection_failed";
      co_return fail(std::move(error).with_context(origin_.address.text));
    }
    port = make_stream_port(reactor_, std::move(*stream));
  } else {
    port = make_handle_port(reactor_, *handle);
  }
  socket_ = std::make_unique<HttpSocket>(reactor_, std::move(port), limits_.read_ahead_max);
  socket_->open(nullptr);
  fresh_ = true;
  unread_ = 0;
  co_return Result<void>();
}

Task<Result<void>> Client::send(const HttpClientRequest* request, StopToken stop) {
  HttpHeaders headers;
  headers.emplace_back("Host", origin_.host);
  if (request->source != nullptr) {
    headers.emplace_back("Transfer-Encoding", "chunked");
  } else if (!request->body.empty() || (request->method != "GET" && request->method != "HEAD")) {
    headers.emplace_back("Content-Length", std::to_string(request->body.size()));
  }
  headers.insert(headers.end(), request->headers.begin(), request->headers.end());
  std::string head;
  Result<void> made = append_request_head(head, request->method, request->target, headers);
  if (!made.has_value()) co_return fail(std::move(made.error()));
  std::array<iovec, 2> parts = {
      iovec{head.data(), head.size()},
      iovec{const_cast<char*>(request->body.data()), request->body.size()}};
  const StopWatch watch(*socket_, stop);
  const bool with_body = !request->body.empty() && request->source == nullptr;
  Result<void> sent =
      co_await socket_->write(std::span(parts).first(with_body ? 2 : 1), limits_.write_stall_max);
  if (sent.has_value() && request->source != nullptr) {
    sent = co_await send_source(request->source);
  }
  co_return sent;
}

Task<Result<void>> Client::send_source(HttpBodySource* source) {
  for (;;) {
    Result<std::string_view> piece = co_await source->next();
    if (!piece.has_value()) co_return fail(std::move(piece.error()));
    const std::string size = fmt::format("{:x}\r\n", piece->size());
    std::array<iovec, 3> parts = {iovec{const_cast<char*>(size.data()), size.size()},
                                  iovec{const_cast<char*>(piece->data()), piece->size()},
                                  iovec{const_cast<char*>("\r\n"), 2}};
    Result<void> sent = co_await socket_->write(parts, limits_.write_stall_max);
    if (!sent.has_value() || piece->empty()) co_return sent;
  }
}

Task<Result<void>> Client::read_head(TimePoint deadline, StopToken stop) {
  for (;;) {
    const HttpFeed fed = parser_.feed(socket_->input());
    if (!fed.has_value()) {
      co_return fail(ErrorKind::internal, "bad_response", fed.error().error.message);
    }
    if (fed->consumed > 0) answer_began_ = true;
    socket_->consume(fed->consumed);
    if (parser_.state() != HttpState::head) co_return Result<void>();
    if (!socket_->input().empty()) continue;
    Result<void> more = co_await wait(deadline, stop);
    if (!more.has_value()) co_return more;
    if (socket_->ended() && socket_->input().empty()) co_return fail(lost());
  }
}

// Returns when there is something new to look at.
Task<Result<void>> Client::wait(TimePoint deadline, StopToken stop) {
  const StopWatch watch(*socket_, stop);
  for (;;) {
    if (stop.stop_requested()) {
      co_return fail(ErrorKind::cancelled, "cancelled", "the request was cancelled");
    }
    const HttpSocket::Wake wake = co_await socket_->more(deadline);
    if (wake == HttpSocket::Wake::input || wake == HttpSocket::Wake::ended) {
      co_return Result<void>();
    }
    if (wake == HttpSocket::Wake::deadline) {
      co_return fail(ErrorKind::timed_out, "deadline", "the server did not answer in time");
    }
  }
}

Error Client::lost() const {
  const bool never = socket_->end_error() != 0 && fresh_ && !answer_began_;
  Error error = socket_->end_error() != 0
                    ? errno_error(socket_->end_error(), origin_.address.text)
                    : make_error(ErrorKind::unavailable, "connection_lost",
                                 origin_.address.text + ": the server closed the connection");
  error.kind = ErrorKind::unavailable;
  error.code = never ? "connection_failed" : "connection_lost";
  return error;
}

Task<Result<std::string_view>> Client::read_body(TimePoint deadline, StopToken stop) {
  BERTH_ASSERT(socket_ != nullptr || body_over_);
  if (body_over_) co_return std::string_view();
  socket_->consume(std::exchange(unread_, 0));
  while (parser_.state() != HttpState::complete) {
    if (socket_->input().empty()) {
      if (socket_->ended()) {
        if (socket_->end_error() != 0 || parser_.finish().has_value()) {
          Error error = lost();
          co_await close();
          co_return fail(std::move(error));
        }
        continue;
      }
      Result<void> more = co_await wait(deadline, stop);
      if (!more.has_value()) {
        co_await close();
        co_return fail(std::move(more.error()));
      }
      continue;
    }
    const HttpFeed fed = parser_.feed(socket_->input());
    if (!fed.has_value()) {
      co_await close();
      co_return fail(ErrorKind::internal, "bad_response", fed.error().error.message);
    }
    if (!fed->body.empty()) {
      unread_ = fed->consumed;
      co_return fed->body;
    }
    socket_->consume(fed->consumed);
  }
  body_over_ = true;
  if (!parser_.head().keep_alive || !socket_->input().empty()) co_await close();
  co_return std::string_view();
}

Task<Result<HttpClientResponse>> Client::fetch(HttpClientRequest request, TimePoint deadline,
                                               StopToken stop) {
  Result<HttpClientResponse> response = co_await begin(std::move(request), deadline, stop);
  if (!response.has_value()) co_return response;
  for (;;) {
    Result<std::string_view> piece = co_await read_body(deadline, stop);
    if (!piece.has_value()) co_return fail(std::move(piece.error()));
    if (piece->empty()) co_return response;
    if (response->body.size() + piece->size() > limits_.body_max) {
      co_await close();
      co_return fail(ErrorKind::invalid, "answer_too_large", "the answer exceeds body_max");
    }
    response->body.append(*piece);
  }
}

Task<void> Client::close() {
  body_over_ = true;
  unread_ = 0;
  if (socket_ == nullptr) co_return;
  co_await socket_->close();
  socket_ = nullptr;
}

tl::unexpected<Error> bad_url(std::string_view url) {
  return fail(ErrorKind::invalid, "bad_url",
              "not http://HOST[:PORT], https://HOST[:PORT] or unix:/PATH: " + std::string(url));
}

}  // namespace

std::string_view HttpClientResponse::header(std::string_view name) const {
  const std::string* value = find_header(headers, name);
  return value == nullptr ? std::string_view() : std::string_view(*value);
}

Result<HttpOrigin> HttpOrigin::parse(std::string_view url) {
  constexpr std::string_view kHttp = "http://";
  constexpr std::string_view kHttps = "https://";
  if (url.starts_with("unix:/")) return HttpOrigin{{std::string(url)}, "localhost"};
  const bool tls = url.starts_with(kHttps);
  if (!tls && !url.starts_with(kHttp)) return bad_url(url);
  std::string_view rest = url.substr(tls ? kHttps.size() : kHttp.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  if (rest.empty() || rest.find_first_of("/?#@ ") != std::string_view::npos) return bad_url(url);
  const std::size_t bracket = rest.starts_with('[') ? rest.find(']') : 0;
  if (bracket == std::string_view::npos) return bad_url(url);
  const bool has_port = rest.find(':', bracket) != std::string_view::npos;
  const std::string host(rest);
  return HttpOrigin{{has_port ? host : host + (tls ? ":443" : ":80")}, host, tls};
}

std::unique_ptr<HttpClient> make_http_client(Reactor& reactor, HttpOrigin origin,
                                             HttpClientLimits limits, const TlsContext* tls,
                                             NameLookup names) {
  return std::make_unique<Client>(reactor, std::move(origin), limits, tls, names);
}

}  // namespace berth::inline v0::io
