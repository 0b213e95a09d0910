// io/http_server.h — HTTP/1.1 over byte streams: connections, keep-alive, limits; what to answer is
// a handler's.
#pragma once

#include <berth/core/http1.h>
#include <berth/core/log.h>
#include <berth/core/result.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/port.h>
#include <berth/io/reactor.h>
#include <berth/io/tls.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace berth::inline v0::io {

struct HttpRequest {
  std::string method;
  std::string target;  ///< As sent; core/uri.h takes it apart.
  std::vector<std::pair<std::string, std::string>> headers;  ///< Names in lower case.
  std::string body;
  /// The address it came from, as Address::text ("127.0.0.1:4711", "unix:..."); empty when it came
  /// from this very program.
  std::string peer = {};

  /// The first header of that (lower-case) name, or empty.
  std::string_view header(std::string_view name) const;
  bool has_header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  HttpHeaders headers;
  std::string body;
  /// Of a refusal: the name of the limit that it meets, for whoever counts; it is not sent. The
  /// name lives as long as the program.
  std::string_view limit = {};
};

/// One request and the way to answer it, alive until its handler's task ends.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;
  virtual const HttpRequest& request() const = 0;

  /// Sends a whole response. Once; error `unavailable` when the client is gone.
  virtual Task<Result<void>> respond(HttpResponse response) = 0;

  /// Sends the head of a response whose body comes in pieces. An HTTP/1.1 client gets them as
  /// chunks and keeps its connection, an older one reads until the close.
  virtual Task<Result<void>> begin_body(HttpResponse head) = 0;
  /// Sends the next piece, which stays until it returns; nothing to HEAD. The body is complete when
  /// the handler's task returns; if it throws, the client sees that it is cut off. Error
  /// `unavailable` when the client is gone or takes nothing for write_stall_max.
  virtual Task<Result<void>> write_body(std::string_view piece) = 0;

  /// Sends the head of a response without length (`Connection: close`); its body is then written by
  /// the handler with WriteOps on outlet(), until its task returns; the server closes the
  /// connection after that. An error means that no body must be written: the client is gone, or it
  /// asked with HEAD.
  virtual Task<Result<void>> start_stream(HttpResponse head) = 0;
  /// The connection itself (a socket, or TLS over one); for the body of a stream only.
  virtual Outlet& outlet() = 0;

  /// Stops when the client has gone away, or the server shuts down: at once for streams, after
  /// finish_timeout for others. Valid while the exchange is.
  virtual StopToken gone() = 0;
};

class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// Runs once per request, as a child of the connection. It must answer or start a stream.
  virtual Task<void> handle(HttpExchange& exchange) = 0;
  /// Asked before a body is read (`request.body` is empty): an answer given here refuses the
  /// request, and the connection is closed after it, so that nobody can make us keep a body without
  /// a right to.
  virtual std::optional<HttpResponse> refuse_early(const HttpRequest& request) {
    static_cast<void>(request);
    return std::nullopt;
  }
  /// The answer to a request that could not be parsed, that broke a limit, or that handle() left
  /// without one: problem+json with `error`.
  virtual HttpResponse refuse(int status, const Error& error) = 0;
};

struct HttpLimits {
  std::size_t connections_max = 8192;
  std::size_t body_max = 32 * 1024 * 1024;  ///< Bytes; above it 413.
  std::size_t target_max = 8 * 1024;        ///< Bytes of the request line; above it 414.
  std::size_t head_max = 32 * 1024;         ///< Bytes of all headers; above it 431.
  std::size_t headers_max = 100;            ///< Headers; above it 431.
  Duration head_timeout =
      std::chrono::seconds(10);  ///< From the first byte of a request to its head's end: 408.
  Duration body_timeout =
      std::chrono::seconds(60);  ///< Without progress while a body is read: 408.
  Duration idle_timeout =
      std::chrono::seconds(75);  ///< Between requests of a kept connection: closed.
  Duration write_stall_max =
      std::chrono::seconds(30);  ///< Without progress of an answer's writing: closed.
  std::size_t bodies_max =
      256 * 1024 * 1024;  ///< Bytes of all bodies held at a time; above it 503.
  std::size_t pipelined_max =
      16 * 1024;  ///< Bytes read ahead while a handler runs; then the client waits.
  /// Before it closes, the server reads and drops what the client still sends, so that the client
  /// gets to read the answer instead of a reset: at most so many bytes and so long.
  std::size_t drain_max = 128 * 1024 * 1024;
  Duration drain_timeout = std::chrono::seconds(5);
  /// How long a request that runs when the server is asked to stop may take to its answer, before
  /// its handler is told to end too.
  Duration finish_timeout = Duration::zero();
};

struct HttpStats {
  std::size_t connections = 0;
  std::uint64_t requests = 0;
  std::uint64_t refused = 0;  ///< Connections closed at once because connections_max was reached.
  std::uint64_t handshakes_failed = 0;  ///< Of TLS.
};

/// Serves one listener. Owns its connections; serve() ends when `stop` is asked and all of them
/// have ended.
class HttpServer {
 public:
  virtual ~HttpServer() = default;
  /// Owns `listener` from now on and closes it as soon as `stop` is asked, so that new clients are
  /// refused at once; idle connections are closed then, running requests answered with `Connection:
  /// close`. With `tls` (a server's, which outlives it) clients must speak TLS; a handshake counts
  /// as a connection and may take head_timeout. Several listeners may be served at a time.
  virtual Task<void> serve(Handle listener, StopToken stop, const TlsContext* tls = nullptr) = 0;
  virtual HttpStats stats() const = 0;
};

/// `handler` and `log` outlive the server.
std::unique_ptr<HttpServer> make_http_server(Reactor& reactor, HttpHandler& handler, LogSink& log,
                                             HttpLimits limits);

}  // namespace berth::inline v0::io
