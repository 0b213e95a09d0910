#include "http_engines.h"
#include "http_rig.h"
#include "tls_certificates.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include <array>

namespace berth::inline v0::io {
namespace {

class HttpTls : public HttpTest {
 protected:
  void SetUp() override {
    HttpTest::SetUp();
    certificates.issue("good", {});
    server_tls_ =
        TlsContext::make_server({certificates.certificate("good"), certificates.key("good")})
            .value();
    client_tls = TlsContext::make_client({certificates.ca()}).value();
    tls = server_tls_.get();
  }
  void TearDown() override {
    if (client != nullptr) run_task(client->close());
    HttpTest::TearDown();
  }
  void make_client() { client = make_http_client(reactor(), origin(), {}, client_tls.get()); }

  Result<HttpClientResponse> ask(HttpClientRequest request) {
    Result<HttpClientResponse> answer;
    run_task(fetch(client.get(), std::move(request), &answer));
    return answer;
  }
  static Task<void> fetch(HttpClient* from, HttpClientRequest request,
                          Result<HttpClientResponse>* answer) {
    *answer = co_await from->fetch(std::move(request));
  }

  TlsCertificates certificates;
  std::unique_ptr<TlsContext> client_tls;
  std::unique_ptr<HttpClient> client;

 private:
  std::unique_ptr<TlsContext> server_tls_;
};

/// Against other programs: over real sockets only.
class HttpTlsAbroad : public HttpTls {};

class FirstEvent final : public SseSink {
 public:
  explicit FirstEvent(StopSource& stop) : stop_(stop) {}
  void on_event(const SseEvent& event) override {
    data = event.data;
    stop_.request_stop();
  }
  std::string data;

 private:
  StopSource& stop_;
};

Task<void> follow(Reactor* reactor, HttpClient* client, SseSink* sink, StopToken stop,
                  Result<SseFollowEnd>* end) {
  *end = co_await follow_events(reactor, client, {.target = "/stream"}, {}, sink, stop);
}

/// Runs a program to its end and keeps what it writes; the loop goes on meanwhile.
class Program final {
 public:
  Program(Reactor& reactor, std::vector<std::string> words) : reactor_(reactor) {
    std::array<int, 2> ends = {};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    EXPECT_EQ(::posix_spawnp(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
    out = std::make_unique<Sink>(reactor, reactor.adopt(ends[0]).value());
    out->begin();
  }
  /// After its output has ended.
  int wait() {
    reactor_.close(out->handle);
    int status = -1;
    ::waitpid(pid_, &status, 0);
    return status;
  }
  void kill() { ::kill(pid_, SIGKILL); }
  std::unique_ptr<Sink> out;

 private:
  Reactor& reactor_;
  pid_t pid_ = -1;
};

}  // namespace

TEST_P(HttpTls, ServesRequestsOnOneConnection) {
  start();
  make_client();
  for (int i = 0; i < 3; ++i) {
    Result<HttpClientResponse> answer = ask({.target = "/echo"});
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    EXPECT_EQ(answer->body, "GET /echo ");
  }
  EXPECT_EQ(server().stats().requests, 3U);
  EXPECT_EQ(server().stats().connections, 1U);
}

TEST_P(HttpTls, CarriesLargeBodiesBothWays) {
  start();
  make_client();
  const std::string body = pattern(3'000'000);
  Result<HttpClientResponse> answer =
      ask({.method = "POST", .target = "/echo", .headers = {}, .body = body});
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_TRUE(answer->body == "POST /echo " + body);
  answer = ask({.target = "/pieces"});
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->body, "piece 0\npiece 1\npiece 2\n");
}

TEST_P(HttpTls, StreamsEventsAndNoticesTheEndOfTheClient) {
  start();
  make_client();
  StopSource stop;
  FirstEvent sink(stop);
  Result<SseFollowEnd> end;
  run_task(follow(&reactor(), client.get(), &sink, stop.token(), &end));
  ASSERT_TRUE(end.has_value()) << end.error().message;
  EXPECT_EQ(sink.data, "hello");
  ASSERT_TRUE(run_until([&] { return handler().running == 0; })) << "its client has gone";
  EXPECT_EQ(handler().gone, 1);
}

TEST_P(HttpTls, TheServersStopEndsAStream) {
  start();
  make_client();
  StopSource stop;
  FirstEvent sink(stop);
  Result<SseFollowEnd> end;
  Scope scope(reactor());
  StopSource never;
  scope.spawn(follow(&reactor(), client.get(), &sink, never.token(), &end));
  ASSERT_TRUE(run_until([&] { return sink.data == "hello"; }));
  stop_server();
  never.request_stop();
  ASSERT_TRUE(run_until([&] { return scope.size() == 0; }));
}

TEST_P(HttpTls, RefusesAServerThatCannotProveItsName) {
  start();
  HttpOrigin wrong = origin();
  wrong.host = "example.org";
  client = make_http_client(reactor(), wrong, {}, client_tls.get());
  Result<HttpClientResponse> answer = ask({.target = "/echo"});
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, ErrorKind::denied);
  EXPECT_NE(answer.error().message.find("hostname mismatch"), std::string::npos)
      << answer.error().message;
  EXPECT_TRUE(handler().targets.empty());
  ASSERT_TRUE(run_until([&] { return server().stats().handshakes_failed == 1; }));
}

TEST_P(HttpTls, ClosesAClientThatSpeaksNoTlsOrNothing) {
  start();
  RawClient& plain = send("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(closes(plain));
  EXPECT_EQ(plain.text().find("HTTP"), std::string::npos);
  RawClient& silent = connect();
  ASSERT_TRUE(closes(silent)) << "head_timeout bounds the handshake";
  EXPECT_EQ(server().stats().handshakes_failed, 2U);
  EXPECT_EQ(server().stats().connections, 0U);
}

TEST_P(HttpTls, StopsDuringAHandshake) {
  limits.head_timeout = std::chrono::hours(1);
  start();
  RawClient& silent = connect();
  ASSERT_TRUE(run_until([&] { return server().stats().connections == 1; }));
  stop_server();
  EXPECT_TRUE(closes(silent));
}

TEST_P(HttpTls, HttpsWithoutAContextIsRefused) {
  start();
  client = make_http_client(reactor(), origin());
  Result<HttpClientResponse> answer = ask({.target = "/echo"});
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, std::string_view("no_tls"));
}

TEST_P(HttpTlsAbroad, CurlIsServedAndChecksTheCertificate) {
  limits.head_timeout = std::chrono::seconds(10);  // curl takes its time on a busy machine
  start();
  const std::string url = "https://" + origin().address.text;
  Program curl(reactor(), {"curl", "-sS", "--cacert", certificates.ca(), "--max-time", "10", "-d",
                           "body", url + "/echo", url + "/pieces"});
  ASSERT_TRUE(run_until([&] { return curl.out->over; }));
  EXPECT_EQ(curl.wait(), 0);
  EXPECT_EQ(curl.out->text, "POST /echo bodypiece 0\npiece 1\npiece 2\n");
  Program distrustful(reactor(), {"curl", "-sS", "--max-time", "10", url + "/echo"});
  ASSERT_TRUE(run_until([&] { return distrustful.out->over; }));
  EXPECT_EQ(WEXITSTATUS(distrustful.wait()), 60) << distrustful.out->text;
}

TEST_P(HttpTlsAbroad, TheClientTalksToOpenssl) {
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    Program openssl(reactor(),
                    {"openssl", "s_server", "-accept", "127.0.0.1:0", "-www", version, "-cert",
                     certificates.certificate("good"), "-key", certificates.key("good")});
    const auto port_at = [&] { return openssl.out->text.find("ACCEPT 127.0.0.1:"); };
    ASSERT_TRUE(run_until([&] {
      return port_at() != std::string::npos &&
             openssl.out->text.find('\n', port_at()) != std::string::npos;
    })) << openssl.out->text;
    const std::size_t at = port_at() + 7;
    const std::string address = openssl.out->text.substr(at, openssl.out->text.find('\n', at) - at);
    client = make_http_client(reactor(), {{address}, address, true}, {}, client_tls.get());
    Result<HttpClientResponse> answer = ask({.target = "/"});
    EXPECT_TRUE(answer.has_value()) << answer.error().message;
    if (answer.has_value()) EXPECT_EQ(answer->status, 200);
    run_task(client->close());
    openssl.kill();
    EXPECT_TRUE(run_until([&] { return openssl.out->over; }));
    openssl.wait();
  }
}

INSTANTIATE_TEST_SUITE_P(Engines, HttpTls, testing::ValuesIn(http_engines()), name_of_engine);
INSTANTIATE_TEST_SUITE_P(Engines, HttpTlsAbroad, testing::Values(http_engines().front()),
                         name_of_engine);

}  // namespace berth::inline v0::io
