// tests/unit/io/tls_rig.h — two ends of TLS on any engine, and what goes between them.
#pragma once

#include "http_engines.h"
#include "reactor_conformance.h"
#include "tls_certificates.h"

#include <berth/core/sync.h>
#include <berth/io/tls.h>

#include <gtest/gtest.h>
#include <memory>
#include <string>
#include <utility>

namespace berth::inline v0::io {

using StreamResult = Result<std::unique_ptr<ByteStream>>;

/// How an end came to be, and what was read from it.
struct TlsEnd {
  std::unique_ptr<ByteStream> stream;
  Error error;
  bool shaken = false;
  std::string text;
  bool over = false;
};

class TlsTest : public ReactorConformance {
 protected:
  void SetUp() override {
    ReactorConformance::SetUp();
    certificates.issue("good", {});
  }

  std::unique_ptr<TlsContext> server_tls(const std::string& name) {
    return TlsContext::make_server({certificates.certificate(name), certificates.key(name)})
        .value();
  }
  std::unique_ptr<TlsContext> client_tls() {
    return TlsContext::make_client({certificates.ca()}).value();
  }

  static Task<void> shake(Reactor* reactor, const TlsContext* context,
                          std::unique_ptr<ByteStream> inner, TlsHandshake handshake, StopToken stop,
                          TlsEnd* end) {
    StreamResult made =
        co_await make_tls_stream(reactor, context, std::move(inner), std::move(handshake), stop);
    if (made.has_value()) {
      end->stream = std::move(*made);
      end->shaken = true;
    } else {
      end->error = std::move(made.error());
    }
  }
  /// Reads until the end or an error.
  static Task<void> read_all(TlsEnd* end) {
    for (;;) {
      Result<std::string_view> bytes = co_await end->stream->read();
      if (!bytes.has_value()) end->error = std::move(bytes.error());
      if (!bytes.has_value() || bytes->empty()) break;
      end->text += *bytes;
    }
    end->over = true;
  }
  static Task<void> write_and_end(TlsEnd* end, std::string_view text, Error* error) {
    Result<void> written = co_await end->stream->write(text);
    if (!written.has_value()) {
      *error = std::move(written.error());
    } else {
      end->stream->shutdown_write();
    }
  }
  static Task<void> close_end(TlsEnd* end) {
    if (end->stream != nullptr) co_await end->stream->close();
    end->stream = nullptr;
  }

  /// Both ends over one connection; `server` and `client` say how it went.
  void connect(const TlsContext& server_side, const TlsContext& client_side,
               std::string host = "localhost") {
    const auto [client_handle, server_handle] = make_connection();
    Scope scope(reactor());
    scope.spawn(
        shake(&reactor(), &server_side, make_stream(reactor(), server_handle), {}, {}, &server));
    scope.spawn(shake(&reactor(), &client_side, make_stream(reactor(), client_handle),
                      {std::move(host), TimePoint::max()}, {}, &client));
    const bool ended = run_until([&] { return scope.size() == 0; });
    ASSERT_TRUE(ended);
  }
  void connect() {
    server_context = server_tls("good");
    client_context = client_tls();
    connect(*server_context, *client_context);
    ASSERT_TRUE(server.shaken) << server.error.message;
    ASSERT_TRUE(client.shaken) << client.error.message;
  }
  void TearDown() override {
    run_task(close_end(&client));
    run_task(close_end(&server));
    ReactorConformance::TearDown();
  }

  TlsCertificates certificates;
  std::unique_ptr<TlsContext> server_context;
  std::unique_ptr<TlsContext> client_context;
  TlsEnd client;
  TlsEnd server;
};

}  // namespace berth::inline v0::io
