#include "tls_rig.h"

#include <berth/core/prng.h>

#include <filesystem>
#include <fstream>

namespace berth::inline v0::io {
namespace {

using std::chrono::milliseconds;

/// Passes bytes on, until `limit` of them have passed (then it ends the connection), and changes
/// the one at `flip`.
Task<void> pass_on(ByteStream* from, ByteStream* to, std::size_t limit, std::size_t flip,
                   char mask) {
  std::size_t passed = 0;
  for (;;) {
    Result<std::string_view> bytes = co_await from->read();
    if (!bytes.has_value() || bytes->empty()) break;
    std::string copy(bytes->substr(0, std::min(bytes->size(), limit - passed)));
    if (flip >= passed && flip < passed + copy.size()) {
      copy[flip - passed] = static_cast<char>(copy[flip - passed] ^ mask);
    }
    passed += copy.size();
    Result<void> written = co_await to->write(copy);
    if (!written.has_value() || passed == limit) break;
  }
  to->shutdown_write();
  from->cancel_read();
}

}  // namespace

TEST_P(TlsTest, CarriesBytesBothWaysAndEndsInAnOrderlyWay) {
  connect();
  Error failed;
  Scope scope(reactor());
  scope.spawn(write_and_end(&client, "ping", &failed));
  scope.spawn(read_all(&server));
  ASSERT_TRUE(run_until([&] { return server.over; }));
  EXPECT_EQ(server.text, "ping");
  EXPECT_EQ(server.error.message, "");
  // Half a connection: the other half still works.
  scope.spawn(write_and_end(&server, "pong", &failed));
  scope.spawn(read_all(&client));
  ASSERT_TRUE(run_until([&] { return scope.size() == 0; }));
  EXPECT_EQ(client.text, "pong");
  EXPECT_EQ(client.error.message, "");
  EXPECT_EQ(failed.message, "");
}

TEST_P(TlsTest, CarriesTenMebibytesBothWaysAtOnce) {
  connect();
  const std::string there = pattern(10 << 20, 1);
  const std::string back = pattern(10 << 20, 2);
  Error failed;
  Scope scope(reactor());
  scope.spawn(write_and_end(&client, there, &failed));
  scope.spawn(write_and_end(&server, back, &failed));
  scope.spawn(read_all(&client));
  scope.spawn(read_all(&server));
  for (int i = 0; i < 1000 && scope.size() > 0; ++i) {
    run_until([&] { return scope.size() == 0; });
  }
  ASSERT_EQ(scope.size(), 0U);
  EXPECT_EQ(failed.message, "");
  EXPECT_TRUE(server.text == there);
  EXPECT_TRUE(client.text == back);
}

TEST_P(TlsTest, RefusesACertificateForAnotherHost) {
  server_context = server_tls("good");
  client_context = client_tls();
  connect(*server_context, *client_context, "example.org");
  EXPECT_EQ(client.error.kind, ErrorKind::denied);
  EXPECT_EQ(client.error.message, "TLS handshake: hostname mismatch");
  EXPECT_EQ(server.error.kind, ErrorKind::denied) << server.error.message;
}

TEST_P(TlsTest, AcceptsAnAddressOnlyIfTheCertificateHasIt) {
  server_context = server_tls("good");
  client_context = client_tls();
  connect(*server_context, *client_context, "127.0.0.1");
  EXPECT_TRUE(client.shaken) << client.error.message;
  run_task(close_end(&client));
  run_task(close_end(&server));
  connect(*server_context, *client_context, "[::1]");
  EXPECT_EQ(client.error.message, "TLS handshake: IP address mismatch");
}

TEST_P(TlsTest, RefusesAnExpiredCertificate) {
  certificates.issue("old", {.valid_from = -7200, .valid_until = -3600});
  server_context = server_tls("old");
  client_context = client_tls();
  connect(*server_context, *client_context);
  EXPECT_EQ(client.error.kind, ErrorKind::denied);
  EXPECT_EQ(client.error.message, "TLS handshake: certificate has expired");
  EXPECT_EQ(server.error.message, "TLS handshake: sslv3 alert certificate expired");
}

TEST_P(TlsTest, RefusesASelfSignedCertificate) {
  certificates.issue("own", {.self_signed = true});
  server_context = server_tls("own");
  client_context = client_tls();
  connect(*server_context, *client_context);
  EXPECT_EQ(client.error.kind, ErrorKind::denied);
  EXPECT_EQ(client.error.message, "TLS handshake: self-signed certificate");
}

TEST_P(TlsTest, RefusesAnAuthorityThatItWasNotGiven) {
  const TlsCertificates others;
  server_context = server_tls("good");
  client_context = TlsContext::make_client({others.ca()}).value();
  connect(*server_context, *client_context);
  EXPECT_EQ(client.error.kind, ErrorKind::denied);
  EXPECT_EQ(client.error.code, std::string_view("tls_certificate")) << client.error.message;
}

TEST_P(TlsTest, TellsACutConnectionFromAnOrderlyEnd) {
  server_context = server_tls("good");
  client_context = client_tls();
  const auto [client_handle, middle_client] = make_connection();
  const auto [middle_server, server_handle] = make_connection();
  const auto near = make_stream(reactor(), middle_client);
  const auto far = make_stream(reactor(), middle_server);
  Scope scope(reactor());
  scope.spawn(pass_on(near.get(), far.get(), ~std::size_t{0}, ~std::size_t{0}, 0));
  scope.spawn(pass_on(far.get(), near.get(), 20'000, ~std::size_t{0}, 0));
  scope.spawn(shake(&reactor(), server_context.get(), make_stream(reactor(), server_handle), {}, {},
                    &server));
  scope.spawn(shake(&reactor(), client_context.get(), make_stream(reactor(), client_handle),
                    {"localhost", TimePoint::max()}, {}, &client));
  ASSERT_TRUE(run_until([&] { return client.shaken && server.shaken; }));
  const std::string text = pattern(30'000);
  Error failed;
  scope.spawn(write_and_end(&server, text, &failed));
  scope.spawn(read_all(&client));
  ASSERT_TRUE(run_until([&] { return client.over; }));
  EXPECT_EQ(client.error.kind, ErrorKind::unavailable);
  EXPECT_EQ(client.error.code, std::string_view("tls_truncated"));
  EXPECT_TRUE(text.starts_with(client.text));
  EXPECT_LT(client.text.size(), text.size());
  run_task(close_end(&client));
  run_task(close_end(&server));
  ASSERT_TRUE(run_until([&] { return scope.size() == 0; }));
  run_task(near->close());
  run_task(far->close());
}

TEST_P(TlsTest, SurvivesEveryFlippedByteOnTheWire) {
  server_context = server_tls("good");
  client_context = client_tls();
  Prng random(7);
  int refused = 0;
  const int rounds = GetParam().name == "uring" ? 60 : 30;
  for (int round = 0; round < rounds; ++round) {
    const auto [client_handle, middle_client] = make_connection();
    const auto [middle_server, server_handle] = make_connection();
    const auto near = make_stream(reactor(), middle_client);
    const auto far = make_stream(reactor(), middle_server);
    const bool upward = random.below(2) == 0;
    const std::size_t at = random.below(2500);
    const char mask = static_cast<char>(1U << random.below(8));
    const std::size_t none = ~std::size_t{0};
    client = {};
    server = {};
    Scope scope(reactor());
    scope.spawn(pass_on(near.get(), far.get(), none, upward ? at : none, mask));
    scope.spawn(pass_on(far.get(), near.get(), none, upward ? none : at, mask));
    const TimePoint deadline = reactor().clock().now() + milliseconds(300);
    Scope hands(reactor());
    hands.spawn(shake(&reactor(), server_context.get(), make_stream(reactor(), server_handle),
                      {"", deadline}, {}, &server));
    hands.spawn(shake(&reactor(), client_context.get(), make_stream(reactor(), client_handle),
                      {"localhost", deadline}, {}, &client));
    ASSERT_TRUE(run_until([&] { return hands.size() == 0; })) << round;
    const std::string text = pattern(1500);
    Error failed;
    if (client.shaken && server.shaken) {
      hands.spawn(write_and_end(&client, text, &failed));
      hands.spawn(write_and_end(&server, text, &failed));
      hands.spawn(read_all(&client));
      hands.spawn(read_all(&server));
      // A changed length lets the reader wait for bytes that never come; the end tells it.
      ASSERT_TRUE(run_until([&] { return hands.size() == 0; })) << round;
      if (server.error.message.empty()) EXPECT_EQ(server.text, text) << round;
      if (client.error.message.empty()) EXPECT_EQ(client.text, text) << round;
      EXPECT_TRUE(text.starts_with(server.text) && text.starts_with(client.text)) << round;
    }
    if (!client.error.message.empty() || !server.error.message.empty()) ++refused;
    run_task(close_end(&client));
    run_task(close_end(&server));
    ASSERT_TRUE(run_until([&] { return scope.size() == 0; })) << round;
    run_task(near->close());
    run_task(far->close());
  }
  EXPECT_GT(refused, rounds / 2);
}

TEST_P(TlsTest, GivesUpAtTheDeadlineAndWhenAskedToStop) {
  client_context = client_tls();
  for (const bool by_deadline : {true, false}) {
    const auto [client_handle, silent] = make_connection();
    StopSource stop;
    client = {};
    const TimePoint now = reactor().clock().now();
    Scope scope(reactor());
    scope.spawn(shake(&reactor(), client_context.get(), make_stream(reactor(), client_handle),
                      {"localhost", by_deadline ? now + milliseconds(50) : TimePoint::max()},
                      stop.token(), &client));
    settle();
    ASSERT_EQ(scope.size(), 1U);
    if (!by_deadline) stop.request_stop();
    ASSERT_TRUE(run_until([&] { return scope.size() == 0; }));
    EXPECT_EQ(client.error.kind, by_deadline ? ErrorKind::timed_out : ErrorKind::cancelled);
    reactor().close(silent);
  }
}

TEST_P(TlsTest, SaysSoWhenThePeerSpeaksNoTls) {
  server_context = server_tls("good");
  const auto [plain, server_handle] = make_connection();
  Source source(reactor(), plain);
  source.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
  run_task(shake(&reactor(), server_context.get(), make_stream(reactor(), server_handle), {}, {},
                 &server));
  EXPECT_EQ(server.error.kind, ErrorKind::unavailable);
  EXPECT_EQ(server.error.message, "TLS handshake: http request");
  ASSERT_TRUE(run_until([&] { return source.done; }));
  reactor().close(plain);
}

TEST_P(TlsTest, ClosesAtOnceWhileAWriteIsStuck) {
  connect();
  const std::string much(32 << 20, 'x');
  Error failed;
  Scope scope(reactor());
  scope.spawn(write_and_end(&client, much, &failed));
  settle();
  ASSERT_EQ(scope.size(), 1U) << "the peer reads nothing, so it cannot be done";
  run_task(close_end(&client));
  EXPECT_EQ(scope.size(), 0U);
  EXPECT_EQ(failed.kind, ErrorKind::cancelled) << failed.message;
}

TEST_P(TlsTest, EndsAWriteThatIsCancelled) {
  connect();
  const std::string much(32 << 20, 'x');
  Error failed;
  Scope scope(reactor());
  scope.spawn(write_and_end(&client, much, &failed));
  settle();
  client.stream->cancel_write();
  ASSERT_TRUE(run_until([&] { return scope.size() == 0; }));
  EXPECT_EQ(failed.kind, ErrorKind::cancelled) << failed.message;
}

TEST_P(TlsTest, EndsAReadThatIsCancelled) {
  connect();
  Scope scope(reactor());
  scope.spawn(read_all(&client));
  settle();
  client.stream->cancel_read();
  ASSERT_TRUE(run_until([&] { return scope.size() == 0; }));
  EXPECT_EQ(client.error.kind, ErrorKind::cancelled);
}

TEST_P(TlsTest, ReloadsItsFilesForNewConnectionsAndKeepsTheOldOnes) {
  connect();
  TlsEnd old_client = std::move(client);
  TlsEnd old_server = std::move(server);
  client = {};
  server = {};
  certificates.issue("next", {.valid_from = -7200, .valid_until = -3600});
  namespace fs = std::filesystem;
  const auto replace = fs::copy_options::overwrite_existing;
  fs::copy_file(certificates.key("next"), certificates.key("good"), replace);
  Result<void> half = server_context->reload();
  EXPECT_FALSE(half.has_value()) << "a key that does not belong to the certificate";
  connect(*server_context, *client_context);
  EXPECT_TRUE(client.shaken) << "after an error all stays as it was: " << client.error.message;
  run_task(close_end(&client));
  run_task(close_end(&server));

  fs::copy_file(certificates.certificate("next"), certificates.certificate("good"), replace);
  ASSERT_TRUE(server_context->reload().has_value());
  client = {};
  server = {};
  connect(*server_context, *client_context);
  EXPECT_EQ(client.error.message, "TLS handshake: certificate has expired");

  Error failed;
  Scope scope(reactor());
  scope.spawn(write_and_end(&old_server, "still here", &failed));
  scope.spawn(read_all(&old_client));
  ASSERT_TRUE(run_until([&] { return scope.size() == 0; }));
  EXPECT_EQ(old_client.text, "still here");
  run_task(close_end(&old_client));
  run_task(close_end(&old_server));
}

TEST(TlsContext, SaysWhichFileIsBad) {
  TlsCertificates certificates;
  certificates.issue("one", {});
  certificates.issue("two", {});
  const auto why = [](TlsServerFiles files) {
    const auto made = TlsContext::make_server(std::move(files));
    return made.has_value() ? std::string("accepted") : made.error().message;
  };
  const std::string chain = certificates.certificate("one");
  EXPECT_EQ(why({"/nowhere.pem", certificates.key("one")}),
            "certificate chain /nowhere.pem: No such file or directory");
  EXPECT_NE(why({chain, certificates.key("two")}).find("key values mismatch"), std::string::npos);
  const std::string garbage = certificates.folder() + "/garbage.pem";
  std::ofstream(garbage) << "no certificate";
  EXPECT_EQ(why({garbage, certificates.key("one")}),
            "certificate chain " + garbage + ": no start line");
  EXPECT_FALSE(TlsContext::make_client({garbage}).has_value());
  EXPECT_EQ(why({chain, certificates.key("one")}), "accepted");
}

INSTANTIATE_TEST_SUITE_P(Engines, TlsTest, testing::ValuesIn(http_engines()), name_of_engine);

}  // namespace berth::inline v0::io
