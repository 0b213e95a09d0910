// Who asks, from behind proxies: what is believed, and what is not.
#include <berth/server/auth/client.h>

#include <gtest/gtest.h>
#include <string>
#include <utility>
#include <vector>

namespace berth::server {
namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

TrustedProxies trusting(const std::vector<std::string>& texts) {
  Result<TrustedProxies> trusted = TrustedProxies::parse(texts);
  EXPECT_TRUE(trusted.has_value());
  return trusted.has_value() ? *trusted : TrustedProxies();
}

Client seen(const std::string& peer, Headers headers, const std::vector<std::string>& trusted,
            ProxyHeader header = ProxyHeader::x_forwarded) {
  io::HttpRequest request;
  request.peer = peer;
  request.headers = std::move(headers);
  return client_of(request, trusting(trusted), header);
}

TEST(Client, IsThePeerWhenNobodyIsTrusted) {
  const Headers told = {{"host", "a"},
                        {"x-forwarded-for", "6.6.6.6"},
                        {"x-forwarded-host", "evil"},
                        {"x-forwarded-prefix", "/evil"},
                        {"forwarded", "for=6.6.6.6;host=evil"}};
  for (const std::vector<std::string>& trusted :
       {std::vector<std::string>(), std::vector<std::string>{"10.0.0.0/8", "unix", "::2"}}) {
    const Client client = seen("192.0.2.1:4711", told, trusted);
    EXPECT_EQ(client.address, "192.0.2.1:4711");
    EXPECT_EQ(client.host, "a");
    EXPECT_EQ(client.prefix, "");
  }
}

TEST(Client, IsTheLastInTheChainThatIsNotTrusted) {
  struct Case {
    const char* chain;
    const char* address;
  };
  const Case cases[] = {
      {"203.0.113.9", "203.0.113.9"},
      {"6.6.6.6, 203.0.113.9", "203.0.113.9"},  // the first was made up by the client
      {"203.0.113.9, 10.1.2.3", "203.0.113.9"},
      {"6.6.6.6,203.0.113.9 ,10.9.9.9", "203.0.113.9"},
      {"10.1.1.1, 10.2.2.2", "10.1.1.1"},  // a client of our own network
      {"2001:db8::7", "[2001:db8::7]"},
      {"[2001:db8::7]:99", "[2001:db8::7]"},
      {"203.0.113.9:1234", "203.0.113.9"},
      {"6.6.6.6, unknown", "unknown"},
      {"unix:", "unknown"},
      {"", "10.0.0.1:80"},
  };
  for (const Case& one : cases) {
    const Client client = seen("10.0.0.1:80", {{"x-forwarded-for", one.chain}}, {"10.0.0.0/8"});
    EXPECT_EQ(client.address, one.address) << one.chain;
  }
}

TEST(Client, IsReadFromAllLinesOfAHeader) {
  const Client client =
      seen("10.0.0.1:80", {{"x-forwarded-for", "6.6.6.6"}, {"x-forwarded-for", "203.0.113.9"}},
           {"10.0.0.1"});
  EXPECT_EQ(client.address, "203.0.113.9");
}

TEST(Client, ReadsTheStandardsHeaderOnlyWhenAsked) {
  const Headers both = {{"host", "127.0.0.1"},
                        {"x-forwarded-for", "1.1.1.1"},
                        {"forwarded",
                         "for=6.6.6.6;host=evil, "
                         "For=\"[2001:db8:cafe::17]:4711\";proto=https;host=\"b.example:8443\""}};
  const Client standard = seen("unix:", both, {"unix"}, ProxyHeader::forwarded);
  EXPECT_EQ(standard.address, "[2001:db8:cafe::17]");
  EXPECT_EQ(standard.host, "b.example:8443");
  const Client usual = seen("unix:", both, {"unix"});
  EXPECT_EQ(usual.address, "1.1.1.1");
  EXPECT_EQ(usual.host, "127.0.0.1");
}

TEST(Client, KeepsItsHostAndPathWhenTheProxySaysNonsense) {
  const auto with = [](const char* host, const char* prefix) {
    return seen("10.0.0.1:80",
                {{"host", "own"}, {"x-forwarded-host", host}, {"x-forwarded-prefix", prefix}},
                {"10.0.0.1"});
  };
  EXPECT_EQ(with("b.example", "/tools/berth").host, "b.example");
  EXPECT_EQ(with("b.example", "/tools/berth").prefix, "/tools/berth");
  EXPECT_EQ(with("a.example, b.example", "").host, "b.example");
  EXPECT_EQ(with("b example", "//evil.example").host, "own");
  EXPECT_EQ(with("", "//evil.example").prefix, "");
  EXPECT_EQ(with("", "/x\r\nSet-Cookie: a").prefix, "");
}

TEST(TrustedProxies, AreAddressesAndNetworks) {
  const TrustedProxies some = trusting({"10.0.0.0/9", "192.0.2.7", "2001:db8::/33", "::1"});
  for (const char* in : {"10.127.255.255:1", "192.0.2.7:443", "[2001:db8:7fff::1]:1", "[::1]:2",
                         "[::ffff:10.1.1.1]:5"}) {
    EXPECT_TRUE(some.contains(in)) << in;
  }
  for (const char* out :
       {"10.128.0.0:1", "192.0.2.8:1", "[2001:db8:8000::1]:1", "[::2]:1", "unix:", "", "unknown"}) {
    EXPECT_FALSE(some.contains(out)) << out;
  }
}

TEST(TrustedProxies, RefuseWhatIsNoAddress) {
  for (const char* wrong : {"", "proxy.example", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1",
                            "::/129", "10.0.0/8", "1.2.3.4/8x"}) {
    const Result<TrustedProxies> trusted = TrustedProxies::parse({wrong});
    ASSERT_FALSE(trusted.has_value()) << wrong;
    EXPECT_EQ(std::string(trusted.error().code), "bad_config");
  }
}

}  // namespace
}  // namespace berth::server
