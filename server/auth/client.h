// server/auth/client.h — who asks and how this server is called by him, also from behind a proxy.
#pragma once

#include <berth/core/result.h>
#include <berth/io/http_server.h>
#include <berth/io/ip_network.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace berth::server {

/// What a request is judged by. Behind a proxy that is not trusted: the proxy itself.
struct Client {
  std::string address;  ///< As HttpRequest::peer; the port may be missing.
  std::string host;     ///< What stands in the client's Host.
  std::string prefix;   ///< Path below which the proxy shows this server: "/x" or empty.
};

/// Addresses whose word about others is taken.
class TrustedProxies {
 public:
  TrustedProxies() = default;
  /// "10.0.0.0/8", "::1", "192.0.2.7" or "unix" (whoever comes by the UNIX socket). Error `invalid`
  /// ("bad_config") naming the first that is none.
  static Result<TrustedProxies> parse(const std::vector<std::string>& texts);

  /// `peer` as in HttpRequest, or as `Forwarded` writes an address.
  bool contains(std::string_view peer) const;
  bool empty() const { return networks_.empty() && !unix_; }

 private:
  std::vector<io::IpNetwork> networks_;
  bool unix_ = false;
};

/// Which headers the trusted proxies write. The other kind is not looked at: a proxy passes on what
/// it does not know, and then anybody could have written it.
enum class ProxyHeader : std::uint8_t {
  x_forwarded,  ///< X-Forwarded-For, -Host.
  forwarded,    ///< RFC 7239.
};

/// Reads the headers of a request that came from a trusted proxy; X-Forwarded-Prefix in any case.
/// The client is the last address in the chain that is not trusted: what stands before it anybody
/// could have written.
Client client_of(const io::HttpRequest& request, const TrustedProxies& trusted, ProxyHeader header);

/// Empty, or segments that need no escaping, each with a slash in front.
bool is_base_path(std::string_view path);

}  // namespace berth::server
