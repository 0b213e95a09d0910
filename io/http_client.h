// io/http_client.h — an HTTP/1.1 client: whole answers, bodies in pieces, event streams.
#pragma once

#include <berth/core/http1.h>
#include <berth/core/result.h>
#include <berth/core/sse.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/dial.h>
#include <berth/io/reactor.h>
#include <berth/io/tls.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace berth::inline v0::io {

/// Where a server is: what to connect to, and how it is called in `Host`.
struct HttpOrigin {
  Address address;   ///< What dial() takes: `name:8420`, `[::1]:8420`, `unix:/path`.
  std::string host;  ///< As in the URL; `localhost` for a UNIX socket.
  bool tls = false;

  /// Takes `http://HOST[:PORT]`, `https://HOST[:PORT]` or `unix:/PATH`, without a path behind it (a
  /// final `/` is fine).
  /// Error `invalid` ("bad_url"). Nothing is looked up here.
  static Result<HttpOrigin> parse(std::string_view url);
};

/// A body of unknown length, sent in chunks as it comes.
class HttpBodySource {
 public:
  virtual ~HttpBodySource() = default;
  /// The next bytes, valid until the next call; empty is the end. An error ends the request.
  virtual Task<Result<std::string_view>> next() = 0;
};

struct HttpClientRequest {
  std::string method = "GET";
  std::string target = "/";  ///< Path and query, encoded.
  HttpHeaders headers;       ///< Host and Content-Length or Transfer-Encoding are added.
  std::string body;
  HttpBodySource* source = nullptr;  ///< Instead of `body`; outlives the request.
};

struct HttpClientResponse {
  int status = 0;
  HttpHeaders headers;  ///< Names in lower case.
  std::string body;

  /// The first header of that (lower-case) name, or empty.
  std::string_view header(std::string_view name) const;
};

struct HttpClientLimits {
  std::size_t head_max = 64 * 1024;
  std::size_t body_max = 256 * 1024 * 1024;  ///< Of a body that is read whole.
  std::size_t read_ahead_max = 256 * 1024;
  Duration write_stall_max = std::chrono::seconds(30);
};

/// One connection, made when it is needed and kept while the server keeps it; one request at a
/// time. Not thread-safe. Await close() before it is destroyed.
///
/// Errors of all requests: `unavailable` when there is no server or it goes away (code
/// "connection_failed" when nothing was sent, else "connection_lost": it may have acted),
/// `timed_out` at the deadline, `cancelled` when `stop` was asked, `internal` ("bad_response") for
/// an answer that is no HTTP, `denied` ("tls_certificate") when the server cannot prove its name;
/// for names also those of the look-up: `not_found`, `unsupported` ("no_resolver").
/// After an error the connection is closed; the next request makes a new one.
class HttpClient {
 public:
  virtual ~HttpClient() = default;

  /// Sends a request and reads the whole answer, whatever its status.
  virtual Task<Result<HttpClientResponse>> fetch(HttpClientRequest request,
                                                 TimePoint deadline = TimePoint::max(),
                                                 StopToken stop = {}) = 0;

  /// Sends a request and reads the head of the answer; its body is then read piece by piece.
  virtual Task<Result<HttpClientResponse>> begin(HttpClientRequest request,
                                                 TimePoint deadline = TimePoint::max(),
                                                 StopToken stop = {}) = 0;
  /// The next bytes of the body, valid until the next call; empty is its end and stays so.
  virtual Task<Result<std::string_view>> read_body(TimePoint deadline = TimePoint::max(),
                                                   StopToken stop = {}) = 0;

  /// Drops the connection and what was not read; the next request makes a new one.
  virtual Task<void> close() = 0;
};

/// `tls` (a client's) is needed for an origin of https, `names` for a host that is a name other
/// than localhost: all its addresses are tried, as dial() does. Both outlive the client.
std::unique_ptr<HttpClient> make_http_client(Reactor& reactor, HttpOrigin origin,
                                             HttpClientLimits limits = {},
                                             const TlsContext* tls = nullptr,
                                             NameLookup names = {});

struct SseFollowOptions {
  std::string last_event_id;  ///< Where to begin; empty: from the start.
  bool reconnect = true;      ///< False: one connection only.
  /// Without a byte for so long (the server sends a sign of life every 15 s) a new connection is
  /// made.
  Duration silence_max = std::chrono::seconds(60);
  Duration retry_first = std::chrono::milliseconds(200);  ///< Doubles up to retry_max.
  Duration retry_max = std::chrono::seconds(5);
  int failures_max = 20;  ///< Attempts in a row without an event, then it gives up.
};

/// How following a stream ended without an error.
struct SseFollowEnd {
  enum class Reason { stopped, ended, refused } reason = Reason::stopped;
  HttpClientResponse answer;  ///< What the server refused with: anything but 200, 502, 503, 504.
  std::string last_event_id;  ///< Of the last event that the sink was given.
};

/// Gives `sink` the events that a GET of `request` streams, connecting again with Last-Event-ID
/// after each loss: no event twice, none left out (if the server keeps its side). Ends `stopped`
/// when `stop` was asked (a sink that has seen enough asks for it; events that came with the same
/// bytes are still given), `ended` when the server says 204 or, without `reconnect`, when the
/// stream ends. Error: the last one when it gave up. `client` and `sink` outlive it.
Task<Result<SseFollowEnd>> follow_events(Reactor* reactor, HttpClient* client,
                                         HttpClientRequest request, SseFollowOptions options,
                                         SseSink* sink, StopToken stop);

}  // namespace berth::inline v0::io
