#include <berth/io/http_server.h>

#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/io/http_connection.h>

#include <fmt/format.h>

#include <cerrno>
#include <memory>
#include <utility>

namespace berth::io {

namespace {

/// Clients over connections_max that are being told so; further ones are closed without a word.
constexpr std::size_t kTurnedAwayMax = 64;

class Server final : public HttpServer {
 public:
  Server(Reactor& reactor, HttpHandler& handler, LogSink& log, HttpLimits limits)
      : shared_{.reactor = reactor, .handler = handler, .log = log, .limits = limits} {
    BERTH_ASSERT(limits.connections_max > 0 && limits.pipelined_max > 0);
  }

  Task<void> serve(Handle listener, StopToken stop) override;
  HttpStats stats() const override { return shared_.stats; }

 private:
  class Accepting final : public AcceptOp, public StopListener {
   public:
    Accepting(Server& server, Scope& scope)
        : server_(server), scope_(scope), over_(server.shared_.reactor) {}
    void on_accept(Handle connection) override { server_.take(connection, scope_); }
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
    Scope& scope_;
    Event over_;
    int error_ = 0;
  };

  void take(Handle connection, Scope& scope);
  Task<void> run_connection(Handle connection, StopToken stop);
  Task<void> turn_away(Handle connection, StopToken stop);

  HttpShared shared_;
  std::size_t turned_away_ = 0;  // now
};

Task<void> Server::serve(Handle listener, StopToken stop) {
  Scope scope(shared_.reactor, stop);
  Accepting accepting(*this, scope);
  accepting.listener = listener;
  shared_.reactor.start(accepting);
  stop.listen(accepting);
  co_await accepting.wait();
  shared_.reactor.close(listener);
  if (accepting.error() != 0 && accepting.error() != ECANCELED) {
    shared_.log.write(
        LogLevel::error, "http",
        fmt::format("no more connections: {}", errno_error(accepting.error(), "accept").message));
    scope.request_stop();
  }
  co_await scope.join();
}

void Server::take(Handle connection, Scope& scope) {
  if (scope.stop_requested()) return shared_.reactor.close(connection);
  if (shared_.stats.connections < shared_.limits.connections_max) {
    ++shared_.stats.connections;
    scope.spawn(run_connection(connection, scope.stop_token()));
    return;
  }
  ++shared_.stats.refused;
  if (turned_away_ >= kTurnedAwayMax) return shared_.reactor.close(connection);
  ++turned_away_;
  scope.spawn(turn_away(connection, scope.stop_token()));
}

Task<void> Server::run_connection(Handle connection, StopToken stop) {
  HttpConnection served(shared_, connection, stop);
  co_await served.run();
  --shared_.stats.connections;
}

Task<void> Server::turn_away(Handle connection, StopToken stop) {
  HttpConnection refused(shared_, connection, stop);
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

}  // namespace berth::io
