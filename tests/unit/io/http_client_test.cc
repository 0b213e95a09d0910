#include "http_engines.h"
#include "http_rig.h"

#include <berth/io/http_client.h>
#include <berth/io/offload_threads.h>

#include <functional>

namespace berth::inline v0::io {
namespace {

std::string length_answer(const std::string& body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace

/// A client, and a server that is a script: what it says to the n-th connection once a whole head
/// came.
class HttpClientTest : public HttpTest {
 protected:
  void SetUp() override {
    HttpTest::SetUp();
    listener_.listener = reactor().listen(Address{"127.0.0.1:0"}).value();
    address_ = reactor().local_address(listener_.listener).value();
    reactor().start(listener_);
    client_ = make_http_client(reactor(), HttpOrigin{address_, "berth.test"});
  }
  void TearDown() override {
    EXPECT_TRUE(run_task(client_->close()));
    reactor().cancel(listener_);
    EXPECT_TRUE(run_until([&] { return listener_.over; }));
    for (const std::unique_ptr<RawClient>& peer : peers_) hang_up(*peer);
    peers_.clear();
    reactor().close(listener_.listener);
    HttpTest::TearDown();
  }

  /// Serves `count` connections: waits for a head, then says `answer(n)` and, if `close`, closes.
  Task<void> serve(int count, bool close, std::function<std::string(int)> answer) {
    for (int n = 0; n < count; ++n) {
      const std::size_t wanted = static_cast<std::size_t>(n) + 1;
      while (listener_.connections.size() < wanted) co_await pause();
      RawClient& peer = *peers_.emplace_back(
          std::make_unique<RawClient>(reactor(), listener_.connections.back()));
      while (peer.text().find("\r\n\r\n") == std::string::npos) co_await pause();
      peer.out.write(answer(n));
      while (!peer.out.done) co_await pause();
      if (!close) continue;
      reactor().cancel(peer.in);
      while (peer.in.started()) co_await pause();
      reactor().close(std::exchange(peer.handle, kNoHandle));
    }
  }
  Task<void> fetch_into(HttpClientRequest request, std::optional<Result<HttpClientResponse>>* out,
                        Duration patience = std::chrono::seconds(5)) {
    out->emplace(co_await client_->fetch(std::move(request), reactor().clock().now() + patience));
  }
  Task<void> fetch_twice(std::optional<Result<HttpClientResponse>>* first,
                         std::optional<Result<HttpClientResponse>>* second) {
    co_await fetch_into({}, first);
    co_await fetch_into({}, second);
  }
  /// Runs both to their ends.
  bool run_both(Task<void> first, Task<void> second) {
    Scope scope(reactor());
    scope.spawn(std::move(first));
    scope.spawn(std::move(second));
    return run_until([&] { return scope.size() == 0; });
  }
  Result<HttpClientResponse> fetch_once(const std::string& answer, bool close = true) {
    std::optional<Result<HttpClientResponse>> result;
    EXPECT_TRUE(run_both(serve(1, close, [&](int) { return answer; }), fetch_into({}, &result)));
    return std::move(*result);
  }
  Sleep pause() { return Sleep(reactor(), reactor().clock().now() + std::chrono::milliseconds(1)); }

  std::unique_ptr<HttpClient> client_;
  std::vector<std::unique_ptr<RawClient>> peers_;
  Listener listener_;
  Address address_;
};

TEST_P(HttpClientTest, TalksToOurServerOverOneConnection) {
  start();
  const std::unique_ptr<HttpClient> client = make_http_client(reactor(), origin());
  for (int i = 0; i < 3; ++i) {
    HttpClientRequest request;
    request.method = "POST";
    request.target = "/echo?n=" + std::to_string(i);
    request.body = std::string(300'000, 'b');
    std::optional<Result<HttpClientResponse>> result;
    struct Fetch {
      static Task<void> run(HttpClient* from, HttpClientRequest wanted,
                            std::optional<Result<HttpClientResponse>>* out) {
        out->emplace(co_await from->fetch(std::move(wanted)));
      }
    };
    ASSERT_TRUE(run_task(Fetch::run(client.get(), request, &result)));
    ASSERT_TRUE(result->has_value()) << result->error().message;
    EXPECT_EQ((*result)->status, 200);
    EXPECT_EQ((*result)->header("content-type"), "text/plain");
    EXPECT_TRUE((*result)->body == "POST " + request.target + " " + request.body);
  }
  EXPECT_EQ(server().stats().connections, 1U);
  ASSERT_TRUE(run_task(client->close()));
}

TEST_P(HttpClientTest, ReadsABodyByLength) {
  const Result<HttpClientResponse> answer = fetch_once(length_answer("hello"));
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->body, "hello");
  EXPECT_NE(peers_[0]->text().find("\r\nHost: berth.test\r\n"), std::string::npos);
}

TEST_P(HttpClientTest, ReadsABodyInChunks) {
  const Result<HttpClientResponse> answer = fetch_once(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nTrailer: 1\r\n\r\n");
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->body, "abcdefg");
}

TEST_P(HttpClientTest, ReadsABodyUntilTheEnd) {
  const Result<HttpClientResponse> answer = fetch_once("HTTP/1.1 200 OK\r\n\r\nall of it");
  ASSERT_TRUE(answer.has_value()) << answer.error().message;
  EXPECT_EQ(answer->body, "all of it");
}

TEST_P(HttpClientTest, TellsAnAnswerThatIsCutOff) {
  const Result<HttpClientResponse> answer =
      fetch_once("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable);
  EXPECT_STREQ(answer.error().code, "connection_lost");
}

TEST_P(HttpClientTest, TellsAnAnswerThatIsNoHttp) {
  const Result<HttpClientResponse> answer = fetch_once("SSH-2.0-OpenSSH\r\n\r\n");
  ASSERT_FALSE(answer.has_value());
  EXPECT_STREQ(answer.error().code, "bad_response");
}

TEST_P(HttpClientTest, GivesUpAtTheDeadline) {
  std::optional<Result<HttpClientResponse>> result;
  ASSERT_TRUE(run_task(fetch_into({}, &result, std::chrono::milliseconds(50))));
  ASSERT_FALSE(result->has_value());
  EXPECT_EQ(result->error().kind, ErrorKind::timed_out);
  ASSERT_TRUE(run_until([&] { return listener_.connections.size() == 1; }));
  reactor().close(listener_.connections[0]);
}

TEST_P(HttpClientTest, TellsThatNobodyListens) {
  const Handle gone = reactor().listen(Address{"127.0.0.1:0"}).value();
  const Address nowhere = reactor().local_address(gone).value();
  reactor().close(gone);
  EXPECT_TRUE(run_task(client_->close()));
  client_ = make_http_client(reactor(), HttpOrigin{nowhere, "h"});
  std::optional<Result<HttpClientResponse>> result;
  ASSERT_TRUE(run_task(fetch_into({}, &result)));
  ASSERT_FALSE(result->has_value());
  EXPECT_EQ(result->error().kind, ErrorKind::unavailable);
  EXPECT_STREQ(result->error().code, "connection_failed") << result->error().message;
}

TEST_P(HttpClientTest, SaysThatANameCannotBeLookedUp) {
  EXPECT_TRUE(run_task(client_->close()));
  client_ = make_http_client(reactor(), HttpOrigin{Address{"name.test:80"}, "name.test"});
  std::optional<Result<HttpClientResponse>> result;
  ASSERT_TRUE(run_task(fetch_into({}, &result)));
  ASSERT_FALSE(result->has_value());
  EXPECT_STREQ(result->error().code, "no_resolver");
}

TEST_P(HttpClientTest, MakesANewConnectionWhenTheKeptOneWasClosed) {
  std::optional<Result<HttpClientResponse>> first;
  std::optional<Result<HttpClientResponse>> second;
  ASSERT_TRUE(
      run_both(serve(2, true, [](int n) { return length_answer("answer " + std::to_string(n)); }),
               fetch_twice(&first, &second)));
  ASSERT_TRUE(first->has_value() && second->has_value());
  EXPECT_EQ((*first)->body, "answer 0");
  EXPECT_EQ((*second)->body, "answer 1");
}

namespace {

class EventLog final : public SseSink {
 public:
  void on_event(const SseEvent& event) override {
    seen.emplace_back(event.data);
    if (seen.size() == enough) stop.request_stop();
  }
  std::vector<std::string> seen;
  std::size_t enough = 1000;
  StopSource stop;
};

Task<void> follow_into(Reactor* reactor, HttpClient* client, SseFollowOptions options,
                       EventLog* log, std::optional<Result<SseFollowEnd>>* out) {
  HttpClientRequest request;
  request.target = "/events";
  out->emplace(co_await follow_events(reactor, client, std::move(request), std::move(options), log,
                                      log->stop.token()));
}

}  // namespace

TEST_P(HttpClientTest, FollowsEventsOverBrokenConnections) {
  EventLog log;
  log.enough = 6;
  std::optional<Result<SseFollowEnd>> end;
  SseFollowOptions options;
  options.retry_first = std::chrono::milliseconds(1);
  const auto answer = [](int n) {
    const std::string first = std::to_string(2 * n + 1);
    const std::string second = std::to_string(2 * n + 2);
    return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 2\n\nid: " + first +
           "\ndata: " + first + "\n\nid: " + second + "\ndata: " + second +
           "\n\nid: 99\ndata: cut off";
  };
  ASSERT_TRUE(run_both(serve(3, true, answer),
                       follow_into(&reactor(), client_.get(), options, &log, &end)));
  ASSERT_TRUE(end->has_value()) << end->error().message;
  EXPECT_EQ((*end)->reason, SseFollowEnd::Reason::stopped);
  EXPECT_EQ((*end)->last_event_id, "6");
  EXPECT_EQ(log.seen, (std::vector<std::string>{"1", "2", "3", "4", "5", "6"}));
  EXPECT_EQ(peers_[0]->text().find("Last-Event-ID"), std::string::npos);
  EXPECT_NE(peers_[1]->text().find("\r\nLast-Event-ID: 2\r\n"), std::string::npos);
  EXPECT_NE(peers_[2]->text().find("\r\nLast-Event-ID: 4\r\n"), std::string::npos);
}

TEST_P(HttpClientTest, StopsFollowingWhenTheServerRefuses) {
  EventLog log;
  std::optional<Result<SseFollowEnd>> end;
  const auto answer = [](int) { return "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"; };
  ASSERT_TRUE(
      run_both(serve(1, true, answer), follow_into(&reactor(), client_.get(), {}, &log, &end)));
  ASSERT_TRUE(end->has_value());
  EXPECT_EQ((*end)->reason, SseFollowEnd::Reason::refused);
  EXPECT_EQ((*end)->answer.status, 404);
  EXPECT_EQ((*end)->answer.body, "gone");
}

TEST_P(HttpClientTest, GivesUpFollowingAServerThatIsNotThere) {
  EventLog log;
  std::optional<Result<SseFollowEnd>> end;
  SseFollowOptions options;
  options.retry_first = std::chrono::milliseconds(1);
  options.failures_max = 3;
  const auto answer = [](int) {
    return "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
  };
  ASSERT_TRUE(run_both(serve(4, true, answer),
                       follow_into(&reactor(), client_.get(), options, &log, &end)));
  ASSERT_FALSE(end->has_value());
  EXPECT_EQ(end->error().kind, ErrorKind::unavailable);
}

TEST(HttpOrigin, TakesUrlsOfLoopbackAndUnixSockets) {
  EXPECT_EQ(HttpOrigin::parse("http://127.0.0.1:8420")->address.text, "127.0.0.1:8420");
  EXPECT_EQ(HttpOrigin::parse("http://[::1]:8420/")->address.text, "[::1]:8420");
  EXPECT_EQ(HttpOrigin::parse("http://[::1]")->address.text, "[::1]:80");
  EXPECT_EQ(HttpOrigin::parse("http://localhost")->address.text, "localhost:80");
  EXPECT_EQ(HttpOrigin::parse("https://example.org")->address.text, "example.org:443");
  EXPECT_TRUE(HttpOrigin::parse("https://[::1]:8443")->tls);
  EXPECT_EQ(HttpOrigin::parse("unix:/run/berth.sock")->host, "localhost");
  for (const char* bad : {"", "http://", "https://", "127.0.0.1:1", "http://h/path", "http://[::1",
                          "http://u@h", "unix:relative", "http://a b"}) {
    EXPECT_FALSE(HttpOrigin::parse(bad).has_value()) << bad;
  }
}

namespace {

/// A name with two addresses; nobody listens on the first.
class TwoAddresses final : public Resolver {
 public:
  Result<std::vector<Address>> resolve(std::string_view host_and_port) override {
    asked.emplace_back(host_and_port);
    return addresses;
  }
  std::vector<std::string> asked;
  std::vector<Address> addresses;
};

}  // namespace

using HttpClientNames = HttpClientTest;

TEST_P(HttpClientNames, LooksTheServerUpAndTriesAllItsAddresses) {
  start();
  const Handle gone = reactor().listen(Address{"127.0.0.1:0"}).value();
  TwoAddresses resolver;
  resolver.addresses = {reactor().local_address(gone).value(), origin().address};
  reactor().close(gone);
  const auto lanes = OffloadThreads::start({}).value();
  EXPECT_TRUE(run_task(client_->close()));
  client_ = make_http_client(reactor(), HttpOrigin::parse("http://berth.test").value(), {}, nullptr,
                             NameLookup{&resolver, lanes.get()});
  std::optional<Result<HttpClientResponse>> result;
  ASSERT_TRUE(run_task(fetch_into({}, &result)));
  ASSERT_TRUE(result->has_value()) << result->error().message;
  EXPECT_EQ((*result)->body, "GET / ");
  EXPECT_EQ(resolver.asked, std::vector<std::string>{"berth.test:80"});
}

INSTANTIATE_TEST_SUITE_P(Engines, HttpClientNames, testing::Values(http_engines().front()),
                         name_of_engine);
INSTANTIATE_TEST_SUITE_P(Engines, HttpClientTest, testing::ValuesIn(http_engines()),
                         name_of_engine);

}  // namespace berth::inline v0::io
