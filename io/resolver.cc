#include <berth/io/net.h>
#include <berth/io/resolver.h>

#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

namespace berth::inline v0::io {

namespace {

Error explain(int status, const std::string& host) {
  const std::string message = "cannot resolve " + host + ": " +
                              (status == EAI_SYSTEM ? ::strerror(errno) : ::gai_strerror(status));
  switch (status) {
    case EAI_NONAME:
    case EAI_NODATA:
      return make_error(ErrorKind::not_found, "no_such_host", message);
    case EAI_AGAIN:
      return make_error(ErrorKind::unavailable, "resolver_unavailable", message);
    default:
      return make_error(ErrorKind::unavailable, "resolver_failed", message);
  }
}

}  // namespace

Result<std::vector<Address>> SystemResolver::resolve(std::string_view host_and_port) {
  if (host_and_port.starts_with("unix:")) {
    return std::vector<Address>{Address{std::string(host_and_port)}};
  }
  const std::size_t colon = host_and_port.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == host_and_port.size()) {
    return fail(ErrorKind::invalid, "bad_address",
                "'" + std::string(host_and_port) + "' is not host:port");
  }
  std::string host(host_and_port.substr(0, colon));
  const std::string port(host_and_port.substr(colon + 1));
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int status = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (status != 0) return fail(explain(status, host));
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, &::freeaddrinfo);
  std::vector<Address> addresses;
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    net::SocketAddress address;
    address.length = at->ai_addrlen;
    std::memcpy(&address.storage, at->ai_addr, at->ai_addrlen);
    addresses.push_back(Address{net::to_text(address)});
  }
  return addresses;
}

}  // namespace berth::inline v0::io
