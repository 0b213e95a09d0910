#include <berth/io/ip_network.h>

#include <gtest/gtest.h>

namespace berth::io {
namespace {

bool holds(std::string_view network, std::string_view address) {
  const std::optional<IpNetwork> parsed = IpNetwork::parse(network);
  const std::optional<IpAddress> one = parse_ip(address);
  EXPECT_TRUE(parsed.has_value()) << network;
  EXPECT_TRUE(one.has_value()) << address;
  return parsed && one && parsed->contains(*one);
}

TEST(IpNetwork, HoldsTheAddressesThatShareItsFirstBits) {
  EXPECT_TRUE(holds("10.0.0.0/9", "10.127.255.255"));
  EXPECT_FALSE(holds("10.0.0.0/9", "10.128.0.0"));
  EXPECT_TRUE(holds("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(holds("2001:db8::/33", "2001:db8:8000::1"));
  EXPECT_TRUE(holds("0.0.0.0/0", "255.255.255.255"));
  EXPECT_FALSE(holds("0.0.0.0/0", "::1"));
  EXPECT_TRUE(holds("::/0", "192.0.2.7"));
}

TEST(IpNetwork, OfOneAddressHoldsThatOneInBothItsWritings) {
  EXPECT_TRUE(holds("192.0.2.7", "192.0.2.7"));
  EXPECT_TRUE(holds("192.0.2.7", "::ffff:192.0.2.7"));
  EXPECT_FALSE(holds("192.0.2.7", "192.0.2.6"));
  EXPECT_TRUE(holds("::1/128", "0:0::1"));
  EXPECT_FALSE(holds("::1", "::2"));
}

TEST(IpNetwork, IsNotWhatHasNoAddressOrNoLength) {
  for (const char* text :
       {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8 ", "10.0.0/8", "[::1]",
        "::1/129", "10.0.0.0/8/8", "a.example", "10.0.0.1:80"}) {
    EXPECT_FALSE(IpNetwork::parse(text).has_value()) << text;
  }
  EXPECT_FALSE(parse_ip("10.0.0.0/8").has_value());
}

}  // namespace
}  // namespace berth::io
