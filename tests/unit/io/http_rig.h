// tests/unit/io/http_rig.h — an HTTP server on any engine, and clients that send raw bytes to it.
#pragma once

#include "reactor_conformance.h"

#include <berth/core/scope.h>
#include <berth/core/sync.h>
#include <berth/io/awaitables.h>
#include <berth/io/http_client.h>
#include <berth/io/http_server.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace berth::inline v0::io {

/// Writes to an outlet and waits for it.
class OutletWriter final : private WriteOp {
 public:
  OutletWriter(Reactor& reactor, Outlet& outlet) : outlet_(outlet), over_(reactor) {}
  Task<int> write(std::string_view bytes) {
    part_ = iovec{const_cast<char*>(bytes.data()), bytes.size()};
    parts = std::span(&part_, 1);
    written = 0;
    over_.reset();
    outlet_.start(*this);
    co_await over_.wait();
    co_return error_;
  }

 private:
  void on_written(int error) override {
    error_ = error;
    over_.set();
  }
  Outlet& outlet_;
  Event over_;
  iovec part_ = {};
  int error_ = 0;
};

/// Answers `/echo` with what it got, `/hold` when released, `/gone` when the client has gone,
/// `/stream` with a stream until then, `/nothing` not at all; refuses bodies for `/forbidden`
/// before they are read.
class RigHandler final : public HttpHandler {
 public:
  explicit RigHandler(Reactor& reactor) : released(reactor), reactor_(reactor) {}

  Task<void> handle(HttpExchange& exchange) override {
    const HttpRequest& request = exchange.request();
    targets.push_back(request.target);
    ++running;
    if (request.target == "/throw") {
      --running;
      throw std::runtime_error("secret");
    } else if (request.target == "/nothing") {
    } else if (request.target == "/gone") {
      co_await wait_for_end(exchange.gone());
      ++gone;
      Result<void> sent = co_await exchange.respond(HttpResponse{});
      static_cast<void>(sent);
    } else if (request.target == "/stream") {
      HttpResponse head;
      head.content_type = "text/event-stream";
      Result<void> started = co_await exchange.start_stream(std::move(head));
      if (started.has_value()) {
        const std::string_view frame = "id: 1\ndata: hello\n\n";
        OutletWriter writer(reactor_, exchange.outlet());
        const int error = co_await writer.write(frame);
        EXPECT_EQ(error, 0);
        co_await wait_for_end(exchange.gone());
      }
      ++gone;
    } else if (request.target.starts_with("/pieces") || request.target == "/cut") {
      Result<void> sent = co_await exchange.begin_body(HttpResponse{});
      for (int i = 0; i < 3 && sent.has_value(); ++i) {
        sent = co_await exchange.write_body("piece " + std::to_string(i) + "\n");
        if (request.target == "/cut") throw std::runtime_error("half an answer");
      }
    } else {
      if (request.target == "/hold") co_await released.wait();
      HttpResponse response;
      response.content_type = "text/plain";
      response.body = request.method + " " + request.target + " " + request.body;
      Result<void> sent = co_await exchange.respond(std::move(response));
      static_cast<void>(sent);
    }
    --running;
  }

  HttpResponse refuse(int status, const Error& error) override {
    refusals.push_back(error.message);
    HttpResponse response;
    response.status = status;
    response.content_type = "application/problem+json";
    response.body = error.code;
    return response;
  }

  std::optional<HttpResponse> refuse_early(const HttpRequest& request) override {
    if (request.target != "/forbidden") return std::nullopt;
    HttpResponse response;
    response.status = 401;
    return response;
  }

  Event released;
  std::vector<std::string> targets;
  std::vector<std::string> refusals;
  int running = 0;
  int gone = 0;

 private:
  class EndListener final : public StopListener {
   public:
    explicit EndListener(Event& event) : event_(event) {}
    void on_stop() override { event_.set(); }

   private:
    Event& event_;
  };
  Task<void> wait_for_end(StopToken token) {
    Event ended(reactor_);
    EndListener listener(ended);
    token.listen(listener);
    co_await ended.wait();
  }
  Reactor& reactor_;
};

/// Sends raw bytes, keeps everything that comes back. Closed by HttpTest.
struct RawClient {
  RawClient(Reactor& reactor, Handle connection)
      : handle(connection), in(reactor, connection), out(reactor, connection) {
    in.begin();
  }
  const std::string& text() const { return in.text; }
  /// Whole answers that came, interim ones not counted; the requests were no HEAD.
  std::size_t answers() const {
    std::string_view rest = in.text;
    for (std::size_t count = 0;; ++count) {
      HttpResponseParser parser;
      while (parser.state() == HttpState::head || parser.state() == HttpState::body) {
        const HttpFeed fed = parser.feed(rest);
        if (!fed.has_value() || rest.empty()) return count;
        rest.remove_prefix(fed->consumed);
      }
    }
  }
  int status() const { return in.text.size() < 12 ? 0 : std::stoi(in.text.substr(9, 3)); }

  Handle handle;
  Sink in;
  Source out;
};

class HttpTest : public ReactorConformance {
 protected:
  void SetUp() override {
    ReactorConformance::SetUp();
    limits.head_timeout = std::chrono::milliseconds(150);
    limits.body_timeout = std::chrono::milliseconds(150);
    limits.idle_timeout = std::chrono::seconds(3);
    limits.drain_timeout = std::chrono::seconds(1);
    handler_ = std::make_unique<RigHandler>(reactor());
  }
  void TearDown() override {
    for (const std::unique_ptr<RawClient>& client : clients_) hang_up(*client);
    clients_.clear();
    stop_server();
    ReactorConformance::TearDown();
  }

  void start() {
    const Handle listener = reactor().listen(Address{"127.0.0.1:0"}).value();
    address_ = reactor().local_address(listener).value();
    server_ = make_http_server(reactor(), *handler_, log_, limits);
    scope_ = std::make_unique<Scope>(reactor());
    scope_->spawn(server_->serve(listener, scope_->stop_token(), tls));
  }
  void stop_server() {
    if (scope_ == nullptr) return;
    scope_->request_stop();
    EXPECT_TRUE(run_until([&] { return scope_->size() == 0; })) << "the server does not end";
    scope_.reset();
  }
  RawClient& connect() {
    clients_.push_back(std::make_unique<RawClient>(reactor(), connect_to(reactor(), address_)));
    return *clients_.back();
  }
  RawClient& send(std::string bytes) {
    RawClient& client = connect();
    client.out.write(std::move(bytes));
    return client;
  }
  void send(RawClient& client, std::string bytes) {
    ASSERT_TRUE(run_until([&] { return client.out.done; }));
    client.out.write(std::move(bytes));
  }
  bool closes(RawClient& client) {
    return run_until([&] { return client.in.over; });
  }
  bool answers(RawClient& client, std::size_t count) {
    return run_until([&] { return client.answers() == count; });
  }
  void hang_up(RawClient& client) {
    if (client.handle == kNoHandle) return;
    if (client.in.started()) reactor().cancel(client.in);
    if (client.out.started()) reactor().cancel(client.out);
    EXPECT_TRUE(run_until([&] { return !client.in.started() && !client.out.started(); }));
    reactor().close(std::exchange(client.handle, kNoHandle));
  }
  RigHandler& handler() { return *handler_; }
  HttpServer& server() { return *server_; }
  HttpOrigin origin() { return HttpOrigin{address_, address_.text, tls != nullptr}; }

  void ask_to_stop() { scope_->request_stop(); }

  HttpLimits limits;
  const TlsContext* tls = nullptr;

 private:
  std::unique_ptr<RigHandler> handler_;
  NullLog log_;
  Address address_;
  std::unique_ptr<HttpServer> server_;
  std::unique_ptr<Scope> scope_;
  std::vector<std::unique_ptr<RawClient>> clients_;
};

}  // namespace berth::inline v0::io
