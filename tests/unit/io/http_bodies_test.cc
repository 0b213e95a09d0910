#include "http_engines.h"
#include "http_rig.h"

#include <berth/core/http1.h>

namespace berth::inline v0::io {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class HttpBodies : public HttpTest {};

/// Counts down in pieces; fails instead of the last if asked to.
class Countdown final : public HttpBodySource {
 public:
  Countdown(int pieces, bool fails) : left_(pieces), fails_(fails) {}
  Task<Result<std::string_view>> next() override {
    if (left_ == 0) co_return std::string_view();
    if (--left_ == 0 && fails_) co_return fail(ErrorKind::internal, "broken", "no more");
    piece_ = std::to_string(left_) + std::string(1000, '.') + "\n";
    co_return std::string_view(piece_);
  }

 private:
  int left_;
  bool fails_;
  std::string piece_;
};

Task<void> fetch(HttpClient* client, HttpClientRequest request,
                 Result<HttpClientResponse>* answer) {
  *answer = co_await client->fetch(std::move(request));
}

/// The decoded body of a raw answer.
std::string body_of(std::string_view bytes) {
  HttpResponseParser parser;
  std::string body;
  while (parser.state() == HttpState::head || parser.state() == HttpState::body) {
    const HttpFeed fed = parser.feed(bytes);
    if (!fed.has_value() || bytes.empty()) return body + "<cut>";
    body += fed->body;
    bytes.remove_prefix(fed->consumed);
  }
  return body;
}

}  // namespace

TEST_P(HttpBodies, SendsPiecesAsChunksAndKeepsTheConnection) {
  start();
  RawClient& client = send("GET /pieces HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(answers(client, 1));
  EXPECT_NE(client.text().find("\r\nTransfer-Encoding: chunked\r\n"), std::string::npos);
  EXPECT_TRUE(
      client.text().ends_with("\r\n\r\n8\r\npiece 0\n\r\n8\r\npiece 1\n\r\n8\r\n"
                              "piece 2\n\r\n0\r\n\r\n"))
      << client.text();
  send(client, "GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(answers(client, 2));
  EXPECT_FALSE(client.in.over);
}

TEST_P(HttpBodies, SendsPiecesUntilTheCloseToAnOldClient) {
  start();
  RawClient& client = send("GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(client.text().find("Transfer-Encoding"), std::string::npos) << client.text();
  EXPECT_TRUE(client.text().ends_with("\r\n\r\npiece 0\npiece 1\npiece 2\n")) << client.text();
}

TEST_P(HttpBodies, SendsNoPieceToHead) {
  start();
  RawClient& client =
      send("HEAD /pieces HTTP/1.1\r\nHost: h\r\n\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(run_until([&] { return client.text().ends_with("GET /echo "); }));
  EXPECT_EQ(client.text().find("piece"), std::string::npos) << client.text();
  EXPECT_NE(client.text().find("\r\nTransfer-Encoding: chunked\r\n"), std::string::npos);
}

TEST_P(HttpBodies, CutsAnAnswerOffWhoseHandlerFails) {
  start();
  RawClient& client = send("GET /cut HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(body_of(client.text()), "piece 0\n<cut>") << client.text();
}

TEST_P(HttpBodies, IgnoresTheTrailersOfARequestAndOfAnAnswer) {
  start();
  RawClient& client = send(
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "2\r\nok\r\n0\r\nX-Sum: 1\r\nCookie: x\r\n\r\nGET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(answers(client, 2)) << client.text();
  EXPECT_EQ(body_of(client.text()), "POST /echo ok");
  EXPECT_EQ(body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
                    "X-Sum: 1\r\n\r\n"),
            "ok");
}

TEST_P(HttpBodies, TheClientSendsWhatItDoesNotKnowTheLengthOfInChunks) {
  start();
  const auto client = make_http_client(reactor(), origin());
  for (const int pieces : {0, 1, 200}) {
    Countdown source(pieces, false);
    Result<HttpClientResponse> answer;
    HttpClientRequest request{.method = "POST", .target = "/echo", .source = &source};
    run_task(fetch(client.get(), std::move(request), &answer));
    ASSERT_TRUE(answer.has_value()) << answer.error().message;
    std::string expected = "POST /echo ";
    Countdown again(pieces, false);
    for (int i = pieces - 1; i >= 0; --i) {
      expected += std::to_string(i) + std::string(1000, '.') + "\n";
    }
    EXPECT_EQ(answer->body, expected);
  }
  EXPECT_EQ(server().stats().connections, 1U) << "one connection carries them all";
  run_task(client->close());
}

TEST_P(HttpBodies, ARequestWhoseSourceFailsIsNeverServed) {
  start();
  const auto client = make_http_client(reactor(), origin());
  Countdown source(3, true);
  Result<HttpClientResponse> answer;
  HttpClientRequest request{.method = "POST", .target = "/echo", .source = &source};
  run_task(fetch(client.get(), std::move(request), &answer));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, std::string_view("broken"));
  ASSERT_TRUE(run_until([&] { return server().stats().connections == 0; }));
  EXPECT_TRUE(handler().targets.empty());
}

TEST_P(HttpBodies, ReadsAnAnswerInPiecesThatAreNotWhole) {
  start();
  const auto client = make_http_client(reactor(), origin());
  Result<HttpClientResponse> answer;
  run_task(fetch(client.get(), {.target = "/pieces"}, &answer));
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->body, "piece 0\npiece 1\npiece 2\n");
  run_task(fetch(client.get(), {.target = "/cut"}, &answer));
  ASSERT_FALSE(answer.has_value()) << "half an answer is none";
  EXPECT_EQ(answer.error().kind, ErrorKind::unavailable);
  run_task(client->close());
}

TEST_P(HttpBodies, FinishesARunningRequestWhenItIsAskedToStop) {
  limits.finish_timeout = seconds(5);
  start();
  RawClient& idle = send("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(answers(idle, 1));
  RawClient& held = send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
  RawClient& stream = send("GET /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(run_until([&] { return handler().running == 2; }));
  ask_to_stop();
  ASSERT_TRUE(closes(idle));
  ASSERT_TRUE(closes(stream)) << "a stream would never end by itself";
  EXPECT_FALSE(held.in.over);
  handler().released.set();
  ASSERT_TRUE(closes(held));
  EXPECT_TRUE(held.text().ends_with("GET /hold ")) << held.text();
  EXPECT_NE(held.text().find("\r\nConnection: close\r\n"), std::string::npos) << held.text();
}

TEST_P(HttpBodies, TellsARequestToEndThatTakesTooLongToFinish) {
  limits.finish_timeout = milliseconds(100);
  start();
  RawClient& slow = send("GET /gone HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(run_until([&] { return handler().running == 1; }));
  const TimePoint asked = reactor().clock().now();
  ask_to_stop();
  ASSERT_TRUE(closes(slow));
  EXPECT_EQ(handler().gone, 1);
  EXPECT_GE(reactor().clock().now() - asked, milliseconds(100));
}

INSTANTIATE_TEST_SUITE_P(Engines, HttpBodies, testing::ValuesIn(http_engines()), name_of_engine);

}  // namespace berth::inline v0::io
