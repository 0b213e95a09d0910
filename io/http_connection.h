// io/http_connection.h — one client's connection to the HTTP server, from its first request to its
// orderly end.
#pragma once

#include <berth/core/http1.h>
#include <berth/core/stop.h>
#include <berth/core/task.h>
#include <berth/io/http_server.h>
#include <berth/io/http_socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace berth::inline v0::io {

/// What the connections of a server share.
struct HttpShared {
  Reactor& reactor;
  HttpHandler& handler;
  LogSink& log;
  HttpLimits limits;
  HttpStats stats;
  std::size_t body_bytes = 0;  ///< Held by all connections now.
  std::string date;            ///< The Date header of `date_second`.
  std::int64_t date_second = -1;
};

/// Serves requests one after another. A request is read whole before its handler runs; while it
/// runs the socket is read on, so that the end of the client is noticed and pipelined bytes wait,
/// bounded.
class HttpConnection final : private HttpExchange, private StopListener {
 public:
  HttpConnection(HttpShared& shared, std::unique_ptr<Port> port, std::string peer, StopToken stop,
                 StopToken gone);

  /// Until the client goes, asks to close, breaks the rules, is idle too long, or `stop` is asked:
  /// then the running request still gets its answer; `gone` tells its handler to end.
  Task<void> run();
  /// Answers 503 without reading a request: there are connections_max already.
  Task<void> turn_away();

 private:
  const HttpRequest& request() const override { return request_; }
  Task<Result<void>> respond(HttpResponse response) override;
  Task<Result<void>> begin_body(HttpResponse head) override;
  Task<Result<void>> write_body(std::string_view piece) override;
  Task<Result<void>> start_stream(HttpResponse head) override;
  Outlet& outlet() override { return socket_.outlet(); }
  StopToken gone() override { return gone_.token(); }
  void on_stop() override {
    socket_.interrupt();
    if (streaming_) gone_.request_stop();
  }

  /// How the client knows where a response's body ends.
  enum class Framing : std::uint8_t { length, chunks, close };
  enum class Received { request, refused, nothing };

  Task<bool> serve_one();
  Task<Received> receive();
  Task<bool> take_head();
  Task<bool> wait_for_request();
  Task<bool> wait_for_more();
  Result<void> take_body(std::string_view piece);
  void forget_request();
  Task<void> run_handler();
  Task<void> refuse(int status, Error error);
  Task<Result<void>> send(HttpResponse response, Framing framing);
  Task<void> end_chunks();
  Task<Result<void>> send_continue();
  Task<void> drain();
  const std::string& date();
  bool stopping() const { return stop_.stop_requested(); }

  HttpShared& shared_;
  StopToken stop_;
  StopSource gone_;
  HttpSocket socket_;
  std::string peer_;
  HttpRequestParser parser_;
  HttpRequest request_;
  TimePoint head_deadline_ = {};
  std::size_t counted_body_ = 0;  // of request_.body, in shared_.body_bytes
  bool keep_ = true;
  bool head_request_ = false;
  bool http10_ = false;
  bool answered_ = false;
  bool streaming_ = false;
  std::optional<Framing> in_pieces_;  // of a body that begin_body() began, if it has one
  bool broken_ = false;               // the client cannot be written to any more
};

}  // namespace berth::inline v0::io
