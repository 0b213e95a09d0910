// io/net.h — addresses in words and the sockets behind them: TCP over IPv4 and IPv6, and UNIX
// sockets.
#pragma once

#include <berth/core/result.h>
#include <berth/io/reactor.h>

#include <sys/socket.h>
#include <string>
#include <string_view>

namespace berth::inline v0::io::net {

struct SocketAddress {
  sockaddr_storage storage = {};
  socklen_t length = 0;
  int family() const { return storage.ss_family; }
};

/// `127.0.0.1:8420`, `[::1]:0`, `localhost:80` (127.0.0.1, nothing is looked up) or `unix:/path`.
/// Error `invalid`.
Result<SocketAddress> parse(std::string_view text);
std::string to_text(const SocketAddress& address);

/// A listening socket, non-blocking, close-on-exec, with SO_REUSEADDR and (inherited by
/// connections) TCP_NODELAY. A UNIX socket's file gets mode 0600; one that nobody listens on any
/// more is replaced. Errors: `conflict` ("address_in_use"), `invalid`, `denied`.
Result<Handle> listen(const Address& address);

/// A stream socket, non-blocking, close-on-exec, with TCP_NODELAY; -1 and errno.
Handle open_socket(int family);
/// connect(2) on it: 0 when the connection stands, else the errno (EINPROGRESS: it is begun).
int begin_connect(Handle socket, const SocketAddress& target);

/// Whether an address in text belongs to the public internet: not to this machine, a private
/// network, a link, a group, or what is reserved. False for what is none, and for UNIX sockets.
bool is_public(std::string_view address);

/// A listener's own address, a connection's peer.
Result<Address> address_of(Handle handle);

}  // namespace berth::inline v0::io::net
