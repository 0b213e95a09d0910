// server/egress/policy.h — which hosts a sandboxed agent may reach: patterns, and what a client of
// the proxy asks for. Pure.
#pragma once

#include <berth/core/result.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server::egress {

/// `host` (ports 80 and 443), `host:port`, `host:*`; a host that begins with `*.` stands for all
/// names below it, not for itself. A host is a name or an address; IPv6 stands in brackets.
struct Pattern {
  std::string host;  ///< Lower case, without `*.` and brackets.
  bool names_below = false;
  bool any_port = false;
  std::uint16_t port = 0;  ///< 0: 80 and 443, unless any_port.
};

/// Error `invalid` ("bad_pattern").
Result<Pattern> parse_pattern(std::string_view text);

enum class Verdict : std::uint8_t {
  denied,
  allowed,           ///< On public addresses: a name of the list that leads into a private network
                     ///< is somebody's trick.
  allowed_anywhere,  ///< Also on private ones: the very host and port are listed.
};
Verdict judge(const std::vector<Pattern>& patterns, std::string_view host, std::uint16_t port);

/// The first line and the headers of a request to a forward proxy (RFC 9110, 9112 section 3.2).
struct Request {
  bool tunnel = false;  ///< CONNECT.
  std::string host;     ///< Lower case, without brackets.
  std::uint16_t port = 0;
  std::string head;  ///< What the server is to be told, with the empty line; empty for a tunnel.
};

/// `head` ends in CR LF CR LF. A plain request is made one of origin form that ends with its answer
/// (`Connection: close`): what the client sends behind it goes to the same server and no other.
/// Error `invalid` ("bad_request").
Result<Request> parse_request(std::string_view head);

/// `host:port` as dial() and people read it.
std::string host_and_port(std::string_view host, std::uint16_t port);

}  // namespace berth::server::egress
