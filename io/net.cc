#include <berth/io/net.h>

#include <berth/io/fd.h>
#include <berth/io/ip_network.h>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <optional>

namespace berth::inline v0::io::net {

namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr int kListenBacklog = 4096;  // the kernel caps it at net.core.somaxconn
constexpr ::mode_t kUnixSocketMode = 0600;

const sockaddr* raw(const SocketAddress& address) {
  return reinterpret_cast<const sockaddr*>(&address.storage);
}

Result<SocketAddress> parse_unix(std::string_view path) {
  SocketAddress address;
  sockaddr_un target = {};
  if (path.empty() || path.size() >= sizeof target.sun_path) {
    return fail(ErrorKind::invalid, "bad_address",
                fmt::format("the path of a UNIX socket has 1 to {} bytes, not {}",
                            sizeof target.sun_path - 1, path.size()));
  }
  target.sun_family = AF_UNIX;
  std::memcpy(target.sun_path, path.data(), path.size());
  std::memcpy(&address.storage, &target, sizeof target);
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

std::optional<SocketAddress> parse_host(std::string host, bool bracketed, std::uint16_t port) {
  SocketAddress address;
  if (bracketed) {
    sockaddr_in6 target = {};
    target.sin6_family = AF_INET6;
    target.sin6_port = htons(port);
    if (::inet_pton(AF_INET6, host.c_str(), &target.sin6_addr) != 1) return std::nullopt;
    std::memcpy(&address.storage, &target, sizeof target);
    address.length = sizeof target;
    return address;
  }
  if (host == "localhost") host = "127.0.0.1";
  sockaddr_in target = {};
  target.sin_family = AF_INET;
  target.sin_port = htons(port);
  if (::inet_pton(AF_INET, host.c_str(), &target.sin_addr) != 1) return std::nullopt;
  std::memcpy(&address.storage, &target, sizeof target);
  address.length = sizeof target;
  return address;
}

void set_flag(int fd, int level, int name) {
  const int on = 1;
  ::setsockopt(fd, level, name, &on, sizeof on);  // a refusal costs speed or comfort, nothing else
}

// True when the file was a socket that nobody listens on, and is gone now.
bool remove_stale_socket(const SocketAddress& address) {
  const auto* target = reinterpret_cast<const sockaddr_un*>(&address.storage);
  struct stat status = {};
  if (::lstat(target->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode)) return false;
  const Fd probe(open_socket(AF_UNIX));
  if (probe.get() < 0) return false;
  if (::connect(probe.get(), raw(address), address.length) == 0 || errno != ECONNREFUSED)
    return false;
  return ::unlink(target->sun_path) == 0;
}

int bind_to(int fd, const SocketAddress& address) {
  if (address.family() == AF_UNIX) {
    ::fchmod(
        fd,
        kUnixSocketMode);  // bind() creates the file with the socket's own mode, minus the umask
  } else {
    set_flag(fd, SOL_SOCKET, SO_REUSEADDR);
  }
  if (::bind(fd, raw(address), address.length) == 0) return 0;
  if (errno != EADDRINUSE || address.family() != AF_UNIX) return errno;
  if (!remove_stale_socket(address)) return EADDRINUSE;
  return ::bind(fd, raw(address), address.length) == 0 ? 0 : errno;
}

Error socket_error(int error, std::string_view what, const Address& address) {
  if (error == EADDRINUSE) {
    return make_error(ErrorKind::conflict, "address_in_use",
                      fmt::format("{} {}: somebody listens there already", what, address.text));
  }
  return errno_error(error, fmt::format("{} {}", what, address.text));
}

}  // namespace

Result<SocketAddress> parse(std::string_view text) {
  if (text.starts_with(kUnixPrefix)) return parse_unix(text.substr(kUnixPrefix.size()));
  const std::size_t colon = text.rfind(':');
  std::optional<SocketAddress> address;
  if (colon != std::string_view::npos) {
    std::string_view host = text.substr(0, colon);
    const std::optional<std::uint16_t> port = parse_port(text.substr(colon + 1));
    const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
    if (bracketed) host = host.substr(1, host.size() - 2);
    if (port.has_value()) address = parse_host(std::string(host), bracketed, *port);
  }
  if (address.has_value()) return *address;
  return fail(ErrorKind::invalid, "bad_address",
              fmt::format("'{}' is no address: 127.0.0.1:8420, [::1]:8420 or unix:/path", text));
}

std::string to_text(const SocketAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> host = {};
  if (address.family() == AF_INET) {
    const auto* target = reinterpret_cast<const sockaddr_in*>(&address.storage);
    ::inet_ntop(AF_INET, &target->sin_addr, host.data(), host.size());
    return fmt::format("{}:{}", host.data(), ntohs(target->sin_port));
  }
  if (address.family() == AF_INET6) {
    const auto* target = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    ::inet_ntop(AF_INET6, &target->sin6_addr, host.data(), host.size());
    return fmt::format("[{}]:{}", host.data(), ntohs(target->sin6_port));
  }
  // The peer of a UNIX connection has usually no name.
  const auto* target = reinterpret_cast<const sockaddr_un*>(&address.storage);
  const bool named = address.length > offsetof(sockaddr_un, sun_path);
  return std::string(kUnixPrefix) + (named ? target->sun_path : "");
}

Handle open_socket(int family) {
  const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0 && family != AF_UNIX) set_flag(fd, IPPROTO_TCP, TCP_NODELAY);
  return fd;
}

int begin_connect(Handle socket, const SocketAddress& target) {
  return ::connect(socket, raw(target), target.length) == 0 ? 0 : errno;
}

namespace {

constexpr IpNetwork version4(std::uint8_t a, std::uint8_t b, std::uint8_t c, unsigned bits) {
  return {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, 0}, bits + 96};
}

/// Networks that lead nowhere in public (RFC 6890 and its registry of special addresses), and what
/// embeds addresses of version 4.
constexpr IpNetwork kSpecialNetworks[] = {
    version4(0, 0, 0, 8),
    version4(10, 0, 0, 8),
    version4(100, 64, 0, 10),
    version4(127, 0, 0, 8),
    version4(169, 254, 0, 16),
    version4(172, 16, 0, 12),
    version4(192, 0, 0, 24),
    version4(192, 0, 2, 24),
    version4(192, 88, 99, 24),
    version4(192, 168, 0, 16),
    version4(198, 18, 0, 15),
    version4(198, 51, 100, 24),
    version4(203, 0, 113, 24),
    version4(224, 0, 0, 3),
    {{0x20, 0x01}, 23},              // 2001::/23: Teredo and protocols
    {{0x20, 0x01, 0x0d, 0xb8}, 32},  // documentation
    {{0x20, 0x02}, 16},              // 6to4
};
/// Of version 6 only global unicast leads anywhere.
constexpr IpNetwork kPublicNetworks[] = {version4(0, 0, 0, 0), {{0x20}, 3}};

/// The address without its port; nothing for a UNIX socket.
std::optional<IpAddress> ip_of(const SocketAddress& address) {
  if (address.family() == AF_INET) {
    IpAddress bytes = version4(0, 0, 0, 0).address;
    const auto* target = reinterpret_cast<const sockaddr_in*>(&address.storage);
    std::memcpy(bytes.data() + 12, &target->sin_addr, 4);
    return bytes;
  }
  if (address.family() != AF_INET6) return std::nullopt;
  IpAddress bytes{};
  const auto* target = reinterpret_cast<const sockaddr_in6*>(&address.storage);
  std::memcpy(bytes.data(), &target->sin6_addr, bytes.size());
  return bytes;
}

}  // namespace

bool is_public(std::string_view text) {
  const Result<SocketAddress> address = parse(text);
  const std::optional<IpAddress> ip = address ? ip_of(*address) : std::nullopt;
  if (!ip) return false;
  const auto holds = [&ip](const IpNetwork& network) { return network.contains(*ip); };
  return std::ranges::any_of(kPublicNetworks, holds) &&
         std::ranges::none_of(kSpecialNetworks, holds);
}

Result<Handle> listen(const Address& address) {
  Result<SocketAddress> target = parse(address.text);
  if (!target.has_value()) return fail(std::move(target.error()));
  Fd socket(open_socket(target->family()));
  if (socket.get() < 0) return fail(socket_error(errno, "opening a socket for", address));
  if (const int error = bind_to(socket.get(), *target); error != 0) {
    return fail(socket_error(error, "listening on", address));
  }
  if (::listen(socket.get(), kListenBacklog) != 0) {
    return fail(socket_error(errno, "listening on", address));
  }
  return socket.release();
}

Result<Address> address_of(Handle handle) {
  SocketAddress address;
  address.length = sizeof address.storage;
  auto* storage = reinterpret_cast<sockaddr*>(&address.storage);
  int listening = 0;
  socklen_t size = sizeof listening;
  ::getsockopt(handle, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size);
  const int status = listening != 0 ? ::getsockname(handle, storage, &address.length)
                                    : ::getpeername(handle, storage, &address.length);
  if (status != 0) return fail(errno_error(errno, "asking for a socket's address"));
  return Address{to_text(address)};
}

}  // namespace berth::inline v0::io::net
