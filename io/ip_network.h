// io/ip_network.h — addresses and networks of both versions of IP, and which holds which.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace berth::inline v0::io {

/// In network order; version 4 as ::ffff:a.b.c.d, so that both versions compare alike.
using IpAddress = std::array<std::uint8_t, 16>;

/// `192.0.2.7` or `2001:db8::1`, without brackets and port; nothing for anything else.
std::optional<IpAddress> parse_ip(std::string_view text);

struct IpNetwork {
  IpAddress address{};
  unsigned bits = 0;  ///< How many of the address count: up to 128, of version 4 96 more than said.

  /// `10.0.0.0/8`, `2001:db8::/32`, or an address, which is a network of one; nothing for anything
  /// else.
  static std::optional<IpNetwork> parse(std::string_view text);
  bool contains(const IpAddress& one) const;
};

}  // namespace berth::inline v0::io
