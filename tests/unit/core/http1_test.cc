#include <berth/core/http1.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace berth {
namespace {

/// What a whole exchange came to.
struct Outcome {
  HttpState state = HttpState::head;
  int status = 0;
  std::string error;
  std::string body;
  std::string rest;  // not consumed
  std::string code = {};
  bool operator==(const Outcome&) const = default;
};

/// Feeds `text` in pieces of `piece` bytes (0: at once) until the message ends.
template <typename Parser>
Outcome feed_all(Parser& parser, std::string_view text, std::size_t piece = 0) {
  Outcome outcome;
  std::size_t offered = piece == 0 ? text.size() : std::min(piece, text.size());
  while (parser.state() != HttpState::complete) {
    const HttpFeed step = parser.feed(text.substr(0, offered));
    if (!step.has_value()) {
      outcome.state = parser.state();
      outcome.status = step.error().status;
      outcome.error = step.error().error.message;
      outcome.code = step.error().error.code;
      return outcome;
    }
    outcome.body += step->body;
    text.remove_prefix(step->consumed);
    offered -= step->consumed;
    if (offered != 0 || parser.state() == HttpState::complete) continue;
    if (text.empty()) break;
    offered = std::min(piece == 0 ? text.size() : piece, text.size());
  }
  outcome.state = parser.state();
  outcome.rest = text;
  return outcome;
}

Outcome request(std::string_view text, const Http1Limits& limits = {}) {
  HttpRequestParser parser(limits);
  return feed_all(parser, text);
}

constexpr std::string_view kGet = "GET /v1/info?x=1 HTTP/1.1\r\nHost: localhost:80\r\n\r\n";

TEST(HttpRequest, ReadsAHead) {
  HttpRequestParser parser;
  EXPECT_TRUE(parser.idle());
  const Outcome outcome = feed_all(
      parser,
      "GET /v1/info?x=1 HTTP/1.1\r\nHost: [::1]:80\r\nX-Thing:\t a b\xFF \r\nx-thing:\r\n\r\n");
  EXPECT_EQ(outcome.state, HttpState::complete) << outcome.error;
  EXPECT_EQ(parser.head().method, "GET");
  EXPECT_EQ(parser.head().target, "/v1/info?x=1");
  EXPECT_EQ(parser.head().headers,
            (HttpHeaders{{"host", "[::1]:80"}, {"x-thing", "a b\xFF"}, {"x-thing", ""}}));
  EXPECT_TRUE(parser.head().keep_alive);
  EXPECT_FALSE(parser.head().has_body);
}

TEST(HttpRequest, ReadsABodyOfKnownLength) {
  HttpRequestParser parser;
  const std::string text = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET";
  const HttpFeed head = parser.feed(text);
  ASSERT_TRUE(head.has_value());
  EXPECT_EQ(parser.state(), HttpState::body) << "the head can be looked at before the body";
  EXPECT_EQ(parser.head().content_length, 5U);
  const Outcome rest = feed_all(parser, std::string_view(text).substr(head->consumed));
  EXPECT_EQ(rest, (Outcome{HttpState::complete, 0, "", "hello", "GET"}));
}

TEST(HttpRequest, ReadsChunksWithExtensionsAndTrailers) {
  const Outcome outcome = request(
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
      "5\r\nhello\r\n00A;name=\"v\";b\r\n, worlds! \r\n0\r\nTrailer: x\r\n\r\nnext");
  EXPECT_EQ(outcome, (Outcome{HttpState::complete, 0, "", "hello, worlds! ", "next"}));
}

TEST(HttpRequest, LeavesPipelinedRequestsToTheCaller) {
  const std::string two = std::string(kGet) + std::string(kGet);
  HttpRequestParser parser;
  EXPECT_EQ(feed_all(parser, two).rest, kGet);
  parser.reset();
  EXPECT_TRUE(parser.idle());
  EXPECT_EQ(feed_all(parser, kGet).state, HttpState::complete);
  EXPECT_EQ(parser.feed(kGet)->consumed, 0U) << "a complete message takes nothing more";
}

TEST(HttpRequest, SkipsOneEmptyLineInFront) {
  EXPECT_EQ(request("\r\n" + std::string(kGet)).state, HttpState::complete);
  EXPECT_EQ(request("\r\n\r\n" + std::string(kGet)).status, 400);
}

TEST(HttpRequest, DecidesOnKeepAlive) {
  const auto keeps = [](std::string_view version, std::string_view header) {
    HttpRequestParser parser;
    std::string text = "GET / HTTP/" + std::string(version) + "\r\nHost: h\r\n";
    text.append(header).append("\r\n");
    EXPECT_EQ(feed_all(parser, text).state, HttpState::complete);
    return parser.head().keep_alive;
  };
  EXPECT_TRUE(keeps("1.1", ""));
  EXPECT_FALSE(keeps("1.1", "Connection: x, Close\r\n"));
  EXPECT_FALSE(keeps("1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
  EXPECT_FALSE(keeps("1.0", ""));
  EXPECT_TRUE(keeps("1.0", "connection: Keep-Alive\r\n"));
}

TEST(HttpRequest, ShowsThatTheClientWaitsForContinue) {
  HttpRequestParser parser;
  const std::string head =
      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n";
  ASSERT_TRUE(parser.feed(head).has_value());
  EXPECT_TRUE(parser.head().expects_continue);
  EXPECT_EQ(request("GET / HTTP/1.1\r\nHost: h\r\nExpect: more\r\n\r\n").status, 417);
}

struct Bad {
  std::string text;
  int status;
  std::string cause;  // a part of the message
};

TEST(HttpRequest, RefusesWhatOthersCouldReadDifferently) {
  const std::string post = "POST / HTTP/1.1\r\nHost: h\r\n";
  const std::string chunked = post + "Transfer-Encoding: chunked\r\n\r\n";
  const std::vector<Bad> cases = {
      {post + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "both"},
      {post + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400, "both"},
      {post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400, "more than one Content-L"},
      {post + "Content-Length: 1\r\ncontent-length: 2\r\n\r\n", 400, "more than one Content-L"},
      {post + "Content-Length: +1\r\n\r\n", 400, "not a number"},
      {post + "Content-Length: -1\r\n\r\n", 400, "not a number"},
      {post + "Content-Length: 1 1\r\n\r\n", 400, "not a number"},
      {post + "Content-Length: 1, 1\r\n\r\n", 400, "not a number"},
      {post + "Content-Length: 0x1\r\n\r\n", 400, "not a number"},
      {post + "Content-Length:\r\n\r\n", 400, "not a number"},
      {post + "Content-Length: 18446744073709551616\r\n\r\n", 400, "not a number"},
      {post + "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, "Transfer-Encoding"},
      {post + "Transfer-Encoding: identity\r\n\r\n", 501, "Transfer-Encoding"},
      {post + "Transfer-Encoding: xchunked\r\n\r\n", 501, "Transfer-Encoding"},
      {post + "Transfer-Encoding:\r\n\r\n", 501, "Transfer-Encoding"},
      {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n", 400, "more than one T"},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "HTTP/1.0"},
      {post + "Content-Length : 1\r\n\r\n", 400, "space before the colon"},
      {post + "X: a\r\n b\r\n\r\n", 400, "folded"},
      {post + " X: a\r\n\r\n", 400, "folded"},
      {post + "X\r\n\r\n", 400, "without a colon"},
      {post + ": x\r\n\r\n", 400, "header name"},
      {post + "X(: x\r\n\r\n", 400, "header name"},
      {post + "X: a\rb\r\n\r\n", 400, "control character"},
      {post + std::string("X: a\0b\r\n\r\n", 10), 400, "control character"},
      {post + "X: a\nContent-Length: 5\r\n\r\n", 400, "bare LF"},
      {post + "X: a\r\n\n", 400, "bare LF"},
      {"GET / HTTP/1.1\nHost: h\r\n\r\n", 400, "bare LF"},
      {"GET / HTTP/1.1\r\n\r\n", 400, "Host is missing"},
      {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "more than one Host"},
      {"GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", 400, "more than one Host"},
      {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "in Host"},
      {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "in Host"},
      {chunked + "\r\n", 400, "without a size"},
      {chunked + "x\r\n", 400, "without a size"},
      {chunked + "-1\r\n", 400, "without a size"},
      {chunked + "0x1\r\n", 400, "malformed chunk size"},
      {chunked + "1 \r\n", 400, "malformed chunk size"},
      {chunked + "1;a\rb\r\n", 400, "malformed chunk size"},
      {chunked + "1\n", 400, "bare LF"},
      {chunked + "10000000000000000\r\n", 400, "overflows"},
      {chunked + "00000000000000001\r\n", 400, "overflows"},
      {chunked + "1\r\nab", 400, "longer than its size"},
      {chunked + "1\r\na\n", 400, "bare LF"},
      {chunked + "0\r\nX : y\r\n\r\n", 400, "space before the colon"},
      {chunked + "0\r\n\n", 400, "bare LF"},
      {chunked + "0\r\nContent-Length: 5\r\n\r\n", 400, "trailers"},
      {chunked + "0\r\ntransfer-encoding: chunked\r\n\r\n", 400, "trailers"},
      {chunked + "0\r\nHost: b\r\n\r\n", 400, "trailers"},
  };
  for (const Bad& bad : cases) {
    const Outcome outcome = request(bad.text);
    EXPECT_EQ(outcome.status, bad.status) << bad.text << outcome.error;
    EXPECT_NE(outcome.error.find(bad.cause), std::string::npos) << bad.text << outcome.error;
  }
}

TEST(HttpRequest, RefusesBadRequestLines) {
  const std::vector<Bad> cases = {
      {"GET /\r\n", 400, "METHOD TARGET VERSION"},
      {"GET\r\n", 400, "METHOD TARGET VERSION"},
      {"GET  HTTP/1.1\r\n", 400, "target"},
      {"GET / x HTTP/1.1\r\n", 400, "target"},
      {" GET / HTTP/1.1\r\n", 400, "method"},
      {"G(T / HTTP/1.1\r\n", 400, "method"},
      {"GET /\t HTTP/1.1\r\n", 400, "target"},
      {"GET /a#b HTTP/1.1\r\n", 400, "target"},
      {"GET /\x80 HTTP/1.1\r\n", 400, "target"},
      {std::string("GET /\0 HTTP/1.1\r\n", 17), 400, "target"},
      {"GET a HTTP/1.1\r\n", 400, "slash"},
      {"GET * HTTP/1.1\r\n", 400, "slash"},
      {"GET / HTTP/1.1 \r\n", 400, "version"},
      {"GET / http/1.1\r\n", 400, "version"},
      {"GET / HTTP/11\r\n", 400, "version"},
      {"GET / HTTP/2.0\r\n", 505, "HTTP/1.1"},
      {"GET / HTTP/1.2\r\n", 505, "HTTP/1.1"},
      {"GET / HTTP/0.9\r\n", 505, "HTTP/1.1"},
      {"CONNECT h:1 HTTP/1.1\r\n", 501, "method"},
      {std::string(33, 'M') + " / HTTP/1.1\r\n", 501, "method"},
      {"GET / HTTP/1.1\r\r\n", 400, "version"},
      {"GE\rT / HTTP/1.1\r\n", 400, "method"},
      {"\x16\x03\x01 TLS / HTTP/1.1\r\n", 400, "method"},
  };
  for (const Bad& bad : cases) {
    const Outcome outcome = request(bad.text);
    EXPECT_EQ(outcome.status, bad.status) << bad.text << outcome.error;
    EXPECT_NE(outcome.error.find(bad.cause), std::string::npos) << bad.text << outcome.error;
  }
}

TEST(HttpRequest, KeepsItsLimits) {
  const Http1Limits limits{.start_line_max = 20,
                           .header_bytes_max = 40,
                           .header_count_max = 3,
                           .body_max = 10,
                           .chunk_line_max = 8,
                           .extension_bytes_max = 10};
  const std::string head = "POST / HTTP/1.1\r\nHost: h\r\n";
  const std::string chunked = head + "Transfer-Encoding: chunked\r\n\r\n";
  EXPECT_EQ(request("GET /5678901 HTTP/1.1\r\n", limits).status, 414);
  EXPECT_EQ(request("GET /" + std::string(20, 'x'), limits).status, 414) << "without waiting";
  EXPECT_EQ(request("GET /567890 HTTP/1.1\r\nHost: h\r\n\r\n", limits).state, HttpState::complete);
  EXPECT_EQ(request(head + "A: " + std::string(40, 'x'), limits).status, 431);
  EXPECT_EQ(request(head + "A: 1\r\nB: 2\r\nC: 3\r\n\r\n", limits).status, 431);
  EXPECT_EQ(request(head + "A: " + std::string(40, 'x'), limits).code, "headers_too_large");
  EXPECT_EQ(request(head + "A: 1\r\nB: 2\r\nC: 3\r\n\r\n", limits).code, "too_many_headers");
  EXPECT_EQ(request(head + "A: 1\r\nB: 2\r\n\r\n", limits).state, HttpState::complete);
  EXPECT_EQ(request(head + "Content-Length: 11\r\n\r\n", limits).status, 413);
  EXPECT_EQ(request(head + "Content-Length: 10\r\n\r\n", limits).state, HttpState::body);
  EXPECT_EQ(request(chunked + "6\r\n123456\r\n5\r\n", limits).status, 413);
  EXPECT_EQ(request(chunked + "fffffff\r\n", limits).status, 413);
  EXPECT_EQ(request(chunked + "1;2345678\r\n", limits).status, 400);
  EXPECT_EQ(request(chunked + "1;xxxxxx\r\na\r\n1;xxxxxx\r\n", limits).status, 400);
  EXPECT_EQ(request(chunked + "0\r\nA: " + std::string(40, 'x'), limits).status, 431);
  EXPECT_EQ(request(chunked + "0\r\nA:\r\nA:\r\nA:\r\nA:\r\n", limits).status, 431);
}

TEST(HttpRequest, StaysFailed) {
  HttpRequestParser parser;
  EXPECT_FALSE(parser.feed("nonsense\r\n").has_value());
  EXPECT_EQ(parser.state(), HttpState::failed);
  EXPECT_FALSE(parser.feed(kGet).has_value());
}

TEST(HttpRequest, DoesNotDependOnTheChunks) {
  const std::vector<std::string> texts = {
      std::string(kGet) + "rest",
      "\r\nPOST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\nhello, worldX",
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
      "5;x=y\r\nhello\r\nb\r\n, beautiful\r\n0\r\nA: b\r\n\r\nGET / HTTP/1.1\r\n",
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(200, 'x') + "\r\n\r\n",
  };
  const Http1Limits limits{.header_bytes_max = 100};
  for (const std::string& text : texts) {
    const Outcome whole = request(text, limits);
    for (std::size_t piece = 1; piece < 40; ++piece) {
      HttpRequestParser parser(limits);
      Outcome outcome = feed_all(parser, text, piece);
      if (whole.state == HttpState::failed) outcome.body = whole.body;  // as far as it came
      EXPECT_EQ(outcome, whole) << text << " in pieces of " << piece;
    }
  }
}

Outcome response(std::string_view text, bool ends, bool to_head_request = false) {
  HttpResponseParser parser;
  parser.reset(to_head_request);
  Outcome outcome = feed_all(parser, text);
  if (!ends || outcome.state == HttpState::failed) return outcome;
  if (auto error = parser.finish()) outcome.error = error->error.message;
  outcome.state = parser.state();
  return outcome;
}

TEST(HttpResponse, ReadsEveryKindOfBody) {
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi!", false),
            (Outcome{HttpState::complete, 0, "", "hi", "!"}));
  EXPECT_EQ(
      response("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n!", false),
      (Outcome{HttpState::complete, 0, "", "hi", "!"}));
  EXPECT_EQ(response("HTTP/1.0 200 OK\r\n\r\nhi!", true),
            (Outcome{HttpState::complete, 0, "", "hi!", ""}));
  EXPECT_EQ(response("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nx", false).rest, "x");
  EXPECT_EQ(response("HTTP/1.1 304 Not Modified\r\n\r\nx", false).rest, "x");
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx", false, true).rest, "x");
}

TEST(HttpResponse, SkipsInterimResponses) {
  HttpResponseParser parser;
  const Outcome outcome =
      feed_all(parser,
               "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
               "HTTP/1.1 404 Not Found Here\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(outcome.state, HttpState::complete) << outcome.error;
  EXPECT_EQ(parser.head().status, 404);
  EXPECT_EQ(parser.head().reason, "Not Found Here");
  EXPECT_EQ(parser.head().headers.size(), 2U);
  EXPECT_FALSE(parser.head().keep_alive);
  std::string endless;
  for (int i = 0; i < 9; ++i) endless += "HTTP/1.1 100 Continue\r\n\r\n";
  EXPECT_EQ(response(endless, false).error, "too many interim responses");
}

TEST(HttpResponse, RefusesBadOnes) {
  for (const char* text : {
           "HTTP/1.1 20 OK\r\n",
           "HTTP/1.1 2000 OK\r\n",
           "HTTP/1.1  200 OK\r\n",
           "HTTP/1.1 600 OK\r\n",
           "HTTP/1.1 099 OK\r\n",
           "HTTP/2.0 200 OK\r\n",
           "HTTP/1.1\r\n",
           "ICY 200 OK\r\n",
           "\r\n",
           "HTTP/1.1 200 O\rK\r\n",
           "HTTP/1.1 200 OK\n",
           "HTTP/1.1 101 Switching Protocols\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
       }) {
    EXPECT_EQ(response(text, false).status, 502) << text;
  }
}

TEST(HttpResponse, TellsWhereTheConnectionEnded) {
  EXPECT_EQ(response("", true).error, "the connection ended before a response");
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Len", true).state, HttpState::failed);
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", true).error,
            "the connection ended inside a body");
  EXPECT_EQ(response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", true).error,
            "the connection ended inside a body");
}

TEST(HttpWriter, WritesHeadsThatTheParsersRead) {
  std::string out = "before";
  ASSERT_TRUE(append_response_head(out, 202, {{"Content-Length", "0"}, {"X", "a b"}}).has_value());
  EXPECT_EQ(out, "beforeHTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nX: a b\r\n\r\n");
  EXPECT_EQ(response(out.substr(6), false).state, HttpState::complete);
  out.clear();
  ASSERT_TRUE(append_request_head(out, "POST", "/a?b", {{"Host", "h"}}).has_value());
  EXPECT_EQ(out, "POST /a?b HTTP/1.1\r\nHost: h\r\n\r\n");
  EXPECT_EQ(request(out).state, HttpState::complete);
}

TEST(HttpWriter, RefusesToBeInjected) {
  std::string out = "before";
  EXPECT_FALSE(append_response_head(out, 200, {{"A", "b"}, {"X", "a\r\nY: z"}}).has_value());
  EXPECT_FALSE(append_response_head(out, 200, {{"X", std::string("a\0", 2)}}).has_value());
  EXPECT_FALSE(append_response_head(out, 200, {{"X: y", "a"}}).has_value());
  EXPECT_FALSE(append_response_head(out, 200, {{"", "a"}}).has_value());
  EXPECT_FALSE(append_request_head(out, "GET", "/ HTTP/1.1\r\nX:", {}).has_value());
  EXPECT_FALSE(append_request_head(out, "GET /", "/", {}).has_value());
  EXPECT_FALSE(append_request_head(out, "GET", "/", {{"X", "a\nb"}}).has_value());
  EXPECT_EQ(out, "before");
}

}  // namespace
}  // namespace berth
