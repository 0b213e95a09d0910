#include <berth/server/egress/policy.h>

#include <gtest/gtest.h>

namespace berth::server::egress {
namespace {

std::vector<Pattern> patterns(const std::vector<const char*>& texts) {
  std::vector<Pattern> out;
  for (const char* text : texts) out.push_back(parse_pattern(text).value());
  return out;
}

TEST(EgressPolicy, LetsThroughWhatIsListedAndNothingElse) {
  const auto list = patterns({"api.example.org", "*.models.example", "intern.example:8443",
                              "any.example:*", "[::1]:9000", "127.0.0.1:11434"});
  struct Case {
    const char* host;
    std::uint16_t port;
    Verdict verdict;
  };
  for (const Case& expected : {
           Case{"api.example.org", 443, Verdict::allowed},
           Case{"api.example.org", 80, Verdict::allowed},
           Case{"api.example.org", 22, Verdict::denied},
           Case{"xapi.example.org", 443, Verdict::denied},
           Case{"api.example.org.evil", 443, Verdict::denied},
           Case{"a.models.example", 443, Verdict::allowed},
           Case{"a.b.models.example", 443, Verdict::allowed},
           Case{"models.example", 443, Verdict::denied},
           Case{"evilmodels.example", 443, Verdict::denied},
           Case{".models.example", 443, Verdict::denied},
           Case{"intern.example", 8443, Verdict::allowed_anywhere},
           Case{"intern.example", 443, Verdict::denied},
           Case{"any.example", 1, Verdict::allowed},
           Case{"::1", 9000, Verdict::allowed_anywhere},
           Case{"127.0.0.1", 11434, Verdict::allowed_anywhere},
           Case{"127.0.0.1", 8420, Verdict::denied},
           Case{"", 443, Verdict::denied},
       }) {
    EXPECT_EQ(judge(list, expected.host, expected.port), expected.verdict)
        << expected.host << ":" << expected.port;
  }
}

TEST(EgressPolicy, RefusesPatternsThatMeanSomethingElse) {
  for (const char* text : {"", "*", "*.", "a b", "http://a", "a/b", "a:0", "a:65536", "a:", "a:b",
                           "[::1", "::1", "*.*.a", "a,b", "a@b"}) {
    EXPECT_FALSE(parse_pattern(text).has_value()) << text;
  }
}

TEST(EgressPolicy, ReadsATunnel) {
  const Result<Request> request =
      parse_request("CONNECT API.example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(request.has_value());
  EXPECT_TRUE(request->tunnel);
  EXPECT_EQ(request->host, "api.example.org");
  EXPECT_EQ(request->port, 443);
  EXPECT_EQ(request->head, "");
  EXPECT_EQ(parse_request("CONNECT [2001:db8::1]:8443 HTTP/1.1\r\n\r\n")->host, "2001:db8::1");
}

TEST(EgressPolicy, MakesAPlainRequestOneForTheServer) {
  const Result<Request> request = parse_request(
      "GET http://a.example:8080/p?q=1 HTTP/1.1\r\nhost: b.example\r\nProxy-Authorization: "
      "secret\r\nConnection: keep-alive\r\nAccept: */*\r\n\r\n");
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_FALSE(request->tunnel);
  EXPECT_EQ(host_and_port(request->host, request->port), "a.example:8080");
  EXPECT_EQ(request->head,
            "GET /p?q=1 HTTP/1.1\r\nHost: a.example:8080\r\nAccept: */*\r\nConnection: "
            "close\r\n\r\n");
  const Result<Request> bare = parse_request("GET http://a.example?q HTTP/1.0\r\n\r\n");
  EXPECT_EQ(bare->port, 80);
  EXPECT_TRUE(bare->head.starts_with("GET /?q HTTP/1.1\r\n"));
}

TEST(EgressPolicy, RefusesWhatIsNoRequestToAProxy) {
  for (const char* head :
       {"", "\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET https://a/ HTTP/1.1\r\n\r\n",
        "CONNECT a HTTP/1.1\r\n\r\n", "CONNECT a:0 HTTP/1.1\r\n\r\n",
        "CONNECT a:70000 HTTP/1.1\r\n\r\n", "CONNECT a:443\r\n\r\n",
        "CONNECT user@a:443 HTTP/1.1\r\n\r\n", "GET http:///x HTTP/1.1\r\n\r\n",
        "GET http://a/ b HTTP/1.1\r\n\r\n", "GET http://a/ HTTP/1.1\r\nbroken\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nA : b\r\n\r\n", "GET http://a/ HTTP/1.1\r\nA: b\rX: c\r\n\r\n",
        "GET\n\nPOST\t/\tHTTP/1.1\nHost:b http://a/ HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/1.1\r\nX\nHost: b\r\n\r\n", "GET http://[a]/ HTTP/1.1\r\n\r\n",
        "GET http://a/ HTTP/2\r\n\r\n", "GET http://u:p@a/ HTTP/1.1\r\n\r\n"}) {
    EXPECT_FALSE(parse_request(head).has_value()) << head;
  }
}

}  // namespace
}  // namespace berth::server::egress
