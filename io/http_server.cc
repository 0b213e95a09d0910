#include <berth/io/http_server.h>

#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/io/http_connection.h>
#include <berth/io/member_timer.h>

#include <fmt/format.h>

#include <cerrno>
#include <memory>
#include <utility>

namespace berth::inline v0::io {

namespace {

/// Clients over connections_max that are being told so; further ones are closed without a word.
constexpr std::size_t kTurnedAwayMax = 64;
/// Ciphertext read ahead of a client: a few records.
constexpr std::size_t kTlsInboxBytes = 64 * 1024;

class Server final : public HttpServer {
 public:
  Server(Reactor& reactor, HttpHandler& handler, LogSink& log, HttpLimits limits)
      : shared_{.reactor = reactor, .handler = handler, .log = log, .limits = limits} {
    BERTH_ASSERT(limits.connections_max > 0 && limits.pipelined_max > 0);
  }

  Task<void> serve(Handle listener, StopToken stop, const TlsContext* tls) override;
  HttpStats stats() const override { return shared_.stats; }

 private:
  /// What the connections of one listener share.
  struct Listening {
    Listening(Reactor& reactor, StopToken stop, const TlsContext* context, bool end_at_once)
        : scope(reactor, stop),
          gone(end_at_once ? scope.stop_token() : StopToken()),
          tls(context) {}
    Scope scope;
    StopSource gone;  // told to the handlers
    const TlsContext* tls;
  };
  class Accepting final : public AcceptOp, public StopListener {
   public:
    Accepting(Server& server, Listening& listening)
        : server_(server), listening_(listening), over_(server.shared_.reactor) {}
    void on_accept(Handle connection) override { server_.take(connection, listening_); }
    void on_accept_end(int error) override {
      error_ = error;
      over_.set();
    }
    void on_stop() override {
      if (started()) server_.shared_.reactor.cancel(*this);
    }
    auto wait() { return over_.wait(); }
    int error() const { return error_; }

   private:
    Server& server_;
    Listening& listening_;
    Event over_;
    int error_ = 0;
  };

  void take(Handle connection, Listening& listening);
  std::string peer_of(Handle connection);
  Task<void> run_connection(Handle connection, Listening* listening);
  Task<std::unique_ptr<Port>> open_port(Handle connection, Listening* listening);
  Task<void> turn_away(Handle connection, Listening* listening);

  HttpShared shared_;
  std::size_t turned_away_ = 0;  // now
};

Task<void> Server::serve(Handle listener, StopToken stop, const TlsContext* tls) {
  const Duration patience = shared_.limits.finish_timeout;
  Listening listening(shared_.reactor, stop, tls, patience == Duration::zero());
  Accepting accepting(*this, listening);
  accepting.listener = listener;
  shared_.reactor.start(accepting);
  stop.listen(accepting);
  co_await accepting.wait();
  shared_.reactor.close(listener);
  if (accepting.error() != 0 && accepting.error() != ECANCELED) {
    shared_.log.write(
        LogLevel::error, "http",
        fmt::format("no more connections: {}", errno_error(accepting.error(), "accept").message));
    listening.scope.request_stop();
  }
  MemberTimer<&StopSource::request_stop> timer(listening.gone);
  shared_.reactor.arm(timer, shared_.reactor.clock().now() + patience);
  co_await listening.scope.join();
  shared_.reactor.disarm(timer);
}

void Server::take(Handle connection, Listening& listening) {
  if (listening.scope.stop_requested()) return shared_.reactor.close(connection);
  if (shared_.stats.connections < shared_.limits.connections_max) {
    ++shared_.stats.connections;
    listening.scope.spawn(run_connection(connection, &listening));
    return;
  }
  ++shared_.stats.refused;
  // A handshake only to say no would cost more than it helps.
  if (turned_away_ >= kTurnedAwayMax || listening.tls != nullptr) {
    return shared_.reactor.close(connection);
  }
  ++turned_away_;
  listening.scope.spawn(turn_away(connection, &listening));
}

// Something for an address that cannot be told: an empty one would be this very program's.
std::string Server::peer_of(Handle connection) {
  const Result<Address> peer = shared_.reactor.local_address(connection);
  return peer.has_value() && !peer->text.empty() ? peer->text : "unknown";
}

Task<void> Server::run_connection(Handle connection, Listening* listening) {
  std::string peer = peer_of(connection);
  std::unique_ptr<Port> port = co_await open_port(connection, listening);
  if (port != nullptr) {
    HttpConnection served(shared_, std::move(port), std::move(peer), listening->scope.stop_token(),
                          listening->gone.token());
    co_await served.run();
  }
  --shared_.stats.connections;
}

// Null when the client and we do not come to speak TLS.
Task<std::unique_ptr<Port>> Server::open_port(Handle connection, Listening* listening) {
  if (listening->tls == nullptr) co_return make_handle_port(shared_.reactor, connection);
  const TlsHandshake handshake{.deadline =
                                   shared_.reactor.clock().now() + shared_.limits.head_timeout};
  Result<std::unique_ptr<ByteStream>> stream = co_await make_tls_stream(
      &shared_.reactor, listening->tls,
      make_stream(shared_.reactor, connection, {.inbox_max = kTlsInboxBytes}), handshake,
      listening->scope.stop_token());
  if (!stream.has_value()) {
    ++shared_.stats.handshakes_failed;
    shared_.log.write(LogLevel::debug, "http", stream.error().message);
    co_return nullptr;
  }
  co_return make_stream_port(shared_.reactor, std::move(*stream));
}

Task<void> Server::turn_away(Handle connection, Listening* listening) {
  HttpConnection refused(shared_, make_handle_port(shared_.reactor, connection),
                         peer_of(connection), listening->scope.stop_token(),
                         listening->gone.token());
  co_await refused.turn_away();
  --turned_away_;
}

}  // namespace

std::string_view HttpRequest::header(std::string_view name) const {
  const std::string* value = find_header(headers, name);
  return value == nullptr ? std::string_view() : std::string_view(*value);
}

bool HttpRequest::has_header(std::string_view name) const {
  return find_header(headers, name) != nullptr;
}

std::unique_ptr<HttpServer> make_http_server(Reactor& reactor, HttpHandler& handler, LogSink& log,
                                             HttpLimits limits) {
  return std::make_unique<Server>(reactor, handler, log, limits);
}

}  // namespace berth::inline v0::io
