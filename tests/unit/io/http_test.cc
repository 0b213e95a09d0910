#include "http_engines.h"
#include "http_rig.h"

namespace berth::inline v0::io {
namespace {

std::string get(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n";
}
std::string post(const std::string& target, const std::string& body) {
  return "POST " + target +
         " HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

}  // namespace

TEST_P(HttpTest, AnswersSeveralRequestsOnOneConnection) {
  start();
  RawClient& client = send(get("/echo?a=1"));
  ASSERT_TRUE(answers(client, 1));
  EXPECT_TRUE(client.text().starts_with("HTTP/1.1 200 OK\r\nDate: ")) << client.text();
  EXPECT_NE(client.text().find("\r\nContent-Length: 14\r\n"), std::string::npos) << client.text();
  EXPECT_TRUE(client.text().ends_with("\r\n\r\nGET /echo?a=1 ")) << client.text();
  send(client, post("/echo", "body"));
  ASSERT_TRUE(answers(client, 2));
  EXPECT_TRUE(client.text().ends_with("\r\n\r\nPOST /echo body")) << client.text();
  EXPECT_FALSE(client.in.over);
  EXPECT_EQ(server().stats().requests, 2U);
  EXPECT_EQ(server().stats().connections, 1U);
}

TEST_P(HttpTest, AnswersPipelinedRequestsInTheirOrder) {
  start();
  std::string all;
  for (int i = 0; i < 300; ++i) all += post("/echo", "number " + std::to_string(i) + ";");
  RawClient& client = send(all);
  ASSERT_TRUE(run_until([&] { return client.text().find("number 299;") != std::string::npos; }));
  std::size_t place = 0;
  for (int i = 0; i < 300; ++i) {
    place = client.text().find("number " + std::to_string(i) + ";", place);
    ASSERT_NE(place, std::string::npos) << i;
  }
}

TEST_P(HttpTest, UnderstandsARequestThatIsSplitAtEveryByte) {
  start();
  const std::string request =
      "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
      "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
  for (std::size_t cut = 1; cut < request.size(); ++cut) {
    RawClient& client = send(request.substr(0, cut));
    ASSERT_TRUE(run_until([&] { return client.out.done; }));
    settle();
    client.out.write(request.substr(cut));
    ASSERT_TRUE(answers(client, 1)) << cut;
    ASSERT_TRUE(client.text().ends_with("POST /echo abcde")) << cut << ": " << client.text();
    hang_up(client);
  }
}

TEST_P(HttpTest, ClosesWhenTheClientAsksForIt) {
  start();
  RawClient& client = send("GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(client.in.error, 0);
  EXPECT_NE(client.text().find("\r\nConnection: close\r\n"), std::string::npos) << client.text();
}

TEST_P(HttpTest, SendsNoBodyToHead) {
  start();
  RawClient& client = send("HEAD /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
  ASSERT_TRUE(closes(client));
  EXPECT_NE(client.text().find("\r\nContent-Length: 11\r\n"), std::string::npos) << client.text();
  EXPECT_TRUE(client.text().ends_with("\r\n\r\n")) << client.text();
}

TEST_P(HttpTest, SaysContinueToAClientThatWaitsForIt) {
  start();
  RawClient& client =
      send("POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
  ASSERT_TRUE(run_until([&] { return client.text() == "HTTP/1.1 100 Continue\r\n\r\n"; }));
  send(client, "body");
  ASSERT_TRUE(answers(client, 1));
  EXPECT_TRUE(client.text().ends_with("POST /echo body")) << client.text();
}

TEST_P(HttpTest, RefusesABodyThatIsAnnouncedTooLargeBeforeItComes) {
  start();
  RawClient& client = send(
      "POST /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: "
      "104857600\r\n\r\n");
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(client.status(), 413) << client.text();
  EXPECT_TRUE(client.text().ends_with("body_too_large"));
  EXPECT_TRUE(handler().targets.empty());
}

TEST_P(HttpTest, LetsAClientThatSendsTooMuchReadTheAnswer) {
  limits.body_max = 100'000;
  start();
  std::string request = "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 400; ++i) request += "1000\r\n" + std::string(4096, 'x') + "\r\n";
  RawClient& client = send(request);
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(client.in.error, 0) << "a reset instead of an answer";
  EXPECT_EQ(client.status(), 413) << client.text();
  EXPECT_TRUE(handler().targets.empty());
}

TEST_P(HttpTest, RefusesBodiesBeyondWhatAllOfThemMayHold) {
  limits.bodies_max = 1000;
  start();
  RawClient& client = send(post("/echo", std::string(2000, 'x')));
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(client.status(), 503) << client.text();
  EXPECT_NE(client.text().find("\r\nRetry-After: 1\r\n"), std::string::npos) << client.text();
  // What the refused one held is free again.
  for (int i = 0; i < 3; ++i) {
    RawClient& small = send(post("/echo", std::string(900, 'x')));
    ASSERT_TRUE(answers(small, 1));
    EXPECT_EQ(small.status(), 200);
    hang_up(small);
  }
}

TEST_P(HttpTest, AsksTheHandlerBeforeItReadsABody) {
  start();
  RawClient& client = send("POST /forbidden HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf");
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(client.status(), 401) << client.text();
  EXPECT_TRUE(handler().targets.empty());
}

TEST_P(HttpTest, RefusesAHeadThatComesTooSlowly) {
  start();
  RawClient& client = send("GET /echo HTTP/1.1\r\nHost:");
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(client.status(), 408) << client.text();
  EXPECT_TRUE(handler().targets.empty());
}

TEST_P(HttpTest, RefusesABodyThatStopsComing) {
  start();
  RawClient& client = send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf");
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(client.status(), 408) << client.text();
  EXPECT_TRUE(handler().targets.empty());
}

TEST_P(HttpTest, ClosesAConnectionThatIsIdleTooLong) {
  limits.idle_timeout = std::chrono::milliseconds(100);
  start();
  RawClient& client = send(get("/echo"));
  ASSERT_TRUE(answers(client, 1));
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(client.in.error, 0);
  EXPECT_EQ(client.answers(), 1U);
}

TEST_P(HttpTest, TurnsAwayConnectionsAboveTheLimitAndCountsThem) {
  limits.connections_max = 2;
  start();
  RawClient& first = send(get("/echo"));
  RawClient& second = send(get("/echo"));
  ASSERT_TRUE(answers(first, 1));
  ASSERT_TRUE(answers(second, 1));
  RawClient& third = connect();
  ASSERT_TRUE(closes(third));
  EXPECT_EQ(third.status(), 503) << third.text();
  EXPECT_NE(third.text().find("\r\nRetry-After: 1\r\n"), std::string::npos) << third.text();
  EXPECT_EQ(server().stats().refused, 1U);
  hang_up(first);
  ASSERT_TRUE(run_until([&] { return server().stats().connections == 1; }));
  RawClient& fourth = send(get("/echo"));
  ASSERT_TRUE(answers(fourth, 1));
  EXPECT_EQ(fourth.status(), 200);
}

TEST_P(HttpTest, TellsTheHandlerThatTheClientHasGone) {
  start();
  RawClient& client = send(get("/gone"));
  ASSERT_TRUE(run_until([&] { return handler().running == 1; }));
  settle();
  EXPECT_EQ(handler().gone, 0);
  hang_up(client);
  ASSERT_TRUE(run_until([&] { return handler().gone == 1 && handler().running == 0; }));
  ASSERT_TRUE(run_until([&] { return server().stats().connections == 0; }));
}

TEST_P(HttpTest, EndsAStreamWhenItsClientGoes) {
  start();
  RawClient& client = send(get("/stream"));
  ASSERT_TRUE(run_until([&] { return client.text().ends_with("data: hello\n\n"); }));
  EXPECT_EQ(client.text().find("Content-Length"), std::string::npos) << client.text();
  EXPECT_NE(client.text().find("\r\nConnection: close\r\n"), std::string::npos) << client.text();
  send(client, std::string(100'000, 'x'));  // nobody wants it
  ASSERT_TRUE(run_until([&] { return client.out.done; }));
  settle();
  EXPECT_EQ(handler().gone, 0);
  hang_up(client);
  ASSERT_TRUE(run_until([&] { return handler().gone == 1 && server().stats().connections == 0; }));
}

TEST_P(HttpTest, StreamsNothingToHead) {
  start();
  RawClient& client = send("HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(client.status(), 200) << client.text();
  EXPECT_TRUE(client.text().ends_with("\r\n\r\n")) << client.text();
}

TEST_P(HttpTest, EndsStreamsAndIdleConnectionsWhenItStops) {
  start();
  RawClient& stream = send(get("/stream"));
  RawClient& idle = send(get("/echo"));
  RawClient& begun = send("GET /echo HT");
  RawClient& held = send(get("/hold"));
  ASSERT_TRUE(run_until([&] { return stream.text().ends_with("data: hello\n\n"); }));
  ASSERT_TRUE(answers(idle, 1));
  ASSERT_TRUE(run_until([&] { return handler().running == 2; }));
  handler().released.set();
  stop_server();
  ASSERT_TRUE(closes(stream));
  ASSERT_TRUE(closes(idle));
  ASSERT_TRUE(closes(begun));
  ASSERT_TRUE(closes(held));
  EXPECT_TRUE(held.text().ends_with("GET /hold ")) << held.text();
  EXPECT_EQ(handler().gone, 1);
}

TEST_P(HttpTest, HoldsBackAClientThatPipelinesWithoutEnd) {
  start();
  std::string flood = get("/hold");
  while (flood.size() < 8'000'000) flood += get("/echo");
  RawClient& client = send(flood);
  ASSERT_TRUE(run_until([&] { return handler().running == 1; }));
  settle();
  EXPECT_FALSE(client.out.done) << "eight megabytes were taken in while a request ran";
  hang_up(client);
  handler().released.set();
  ASSERT_TRUE(run_until([&] { return server().stats().connections == 0; }));
}

TEST_P(HttpTest, AnswersFiveHundredWhenTheHandlerDoesNotAnswer) {
  start();
  RawClient& client = send(get("/nothing"));
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(client.status(), 500) << client.text();
}

TEST_P(HttpTest, AnswersFiveHundredWhenTheHandlerThrows) {
  start();
  RawClient& client = send(get("/throw"));
  ASSERT_TRUE(closes(client));
  EXPECT_EQ(client.status(), 500) << client.text();
  EXPECT_EQ(client.text().find("secret"), std::string::npos) << client.text();
  EXPECT_NE(client.text().find("application/problem+json"), std::string::npos) << client.text();
}

TEST_P(HttpTest, ClosesAClientThatDoesNotReadItsAnswer) {
  limits.write_stall_max = std::chrono::milliseconds(100);
  start();
  RawClient& client = send(post("/echo", std::string(16'000'000, 'x')));
  reactor().pause(client.in);
  ASSERT_TRUE(run_until([&] { return server().stats().requests == 1; }));
  ASSERT_TRUE(run_until([&] { return server().stats().connections == 0; }));
  EXPECT_EQ(handler().running, 0);
  reactor().resume(client.in);
}

TEST_P(HttpTest, DropsAClientThatGoesInTheMiddleOfARequest) {
  start();
  const std::string request = post("/echo", "0123456789");
  for (std::size_t cut = 1; cut < request.size(); ++cut) {
    RawClient& client = send(request.substr(0, cut));
    ASSERT_TRUE(run_until([&] { return client.out.done; }));
    hang_up(client);
  }
  ASSERT_TRUE(run_until([&] { return server().stats().connections == 0; }));
  EXPECT_TRUE(handler().targets.empty());
}

// Each could be framed differently by somebody in front of us (RFC 9112,
// sections 2.2, 5.1, 5.2, 6.1 to 6.3, 7.1, 11.2).
TEST_P(HttpTest, RefusesWhatCouldSmuggleARequest) {
  const std::string tail = "\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string post_line = "POST /echo HTTP/1.1\r\nHost: h\r\n";
  const std::vector<std::string> attempts = {
      post_line + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0",
      post_line + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0",
      post_line + "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd",
      post_line + "Content-Length: 4, 4\r\n\r\nabcd",
      post_line + "Content-Length: +4\r\n\r\nabcd",
      post_line + "Content-Length: 0x4\r\n\r\nabcd",
      post_line + "Content-Length: -1\r\n\r\n",
      post_line + "Content-Length: 99999999999999999999\r\n\r\n",
      post_line + "Content-Length : 4\r\n\r\nabcd",
      post_line + "Content-Length\t: 4\r\n\r\nabcd",
      post_line + "Transfer-Encoding : chunked\r\n\r\n0",
      post_line + "Transfer-Encoding: chunked, chunked\r\n\r\n0",
      post_line + "Transfer-Encoding: xchunked\r\n\r\n0",
      post_line + "Transfer-Encoding: chunked, identity\r\n\r\n0",
      post_line + "Transfer-Encoding: identity\r\n\r\n0",
      post_line + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0",
      post_line + "Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0",
      post_line + "Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0",
      post_line + "Transfer-Encoding: chunked\r\n\r\n1 \r\na\r\n0",
      post_line + "Transfer-Encoding: chunked\r\n\r\n-1\r\na\r\n0",
      post_line + "Transfer-Encoding: chunked\r\n\r\n1\na\r\n0",
      post_line + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na\r\n0",
      post_line + "X: a\r\n Content-Length: 4\r\n\r\nabcd",
      post_line + " Content-Length: 4\r\n\r\nabcd",
      post_line + "X: a\rContent-Length: 4\r\n\r\nabcd",
      post_line + "X: a\nContent-Length: 4\r\n\r\nabcd",
      post_line + std::string("X: a\0b\r\n\r\n", 10),
      post_line + ": nothing",
      post_line + "no colon",
      "GET /echo HTTP/1.1\r\nX: y",
      "GET /echo HTTP/1.1\r\nHost: a\r\nHost: b",
      "GET /echo HTTP/1.1\r\nHost: a b",
      "GET  /echo HTTP/1.1\r\nHost: h",
      "GET /echo  HTTP/1.1\r\nHost: h",
      "GET /echo HTTP/1.1 \r\nHost: h",
      "GET /ec ho HTTP/1.1\r\nHost: h",
      "GET /echo\r\nHost: h",
      "GET /echo HTTP/1.1\nHost: h\n\n",
      "GET /echo http/1.1\r\nHost: h",
      "G(T /echo HTTP/1.1\r\nHost: h",
      "\x16\x03\x01\x02\x00\x01",
      "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0",
  };
  start();
  for (const std::string& attempt : attempts) {
    RawClient& client = send(attempt + tail);
    ASSERT_TRUE(closes(client)) << attempt;
    EXPECT_EQ(client.in.error, 0) << attempt;
    EXPECT_TRUE(client.status() == 400 || client.status() == 501 || client.status() == 413)
        << attempt << "\n=> " << client.text();
    EXPECT_EQ(client.answers(), 1U) << attempt << "\n=> " << client.text();
    EXPECT_NE(client.text().find("application/problem+json"), std::string::npos) << client.text();
    hang_up(client);
  }
  EXPECT_TRUE(handler().targets.empty()) << handler().targets.front();
}

TEST_P(HttpTest, RefusesHeadsThatAreTooLarge) {
  start();
  RawClient& header =
      send("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(40'000, 'x') + "\r\n\r\n");
  RawClient& line = send("GET /" + std::string(40'000, 'x') + " HTTP/1.1\r\nHost: h\r\n\r\n");
  ASSERT_TRUE(closes(header));
  ASSERT_TRUE(closes(line));
  EXPECT_EQ(header.status(), 431) << header.text();
  EXPECT_EQ(line.status(), 414) << line.text();
  EXPECT_TRUE(handler().targets.empty());
}

TEST_P(HttpTest, ServesAThousandConnections) {
  // The simulator searches all its operations at each step.
  const std::size_t count = GetParam().name == "uring" ? 1000 : 150;
  start();
  std::vector<RawClient*> all;
  // In groups: a listener's backlog is shorter than a thousand.
  for (std::size_t i = 0; i < count; ++i) {
    all.push_back(&send(get("/echo")));
    if (i % 50 == 49) {
      ASSERT_TRUE(run_until([&] { return server().stats().requests == i + 1; }));
    }
  }
  ASSERT_TRUE(run_until([&] {
    return std::all_of(all.begin(), all.end(),
                       [](RawClient* client) { return client->status() == 200; });
  }));
  EXPECT_EQ(server().stats().connections, count);
  for (RawClient* client : all) send(*client, get("/echo"));
  ASSERT_TRUE(run_until([&] { return server().stats().requests == 2 * count; }));
  for (RawClient* client : all) hang_up(*client);
  ASSERT_TRUE(run_until([&] { return server().stats().connections == 0; }));
}

INSTANTIATE_TEST_SUITE_P(Engines, HttpTest, testing::ValuesIn(http_engines()), name_of_engine);

}  // namespace berth::inline v0::io
