#include <berth/io/net.h>

#include <berth/io/fd.h>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
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

/// The first bytes of networks that lead nowhere in public (RFC 6890 and its registry of special
/// addresses): bytes, and how many bits of them count.
struct Network {
  std::array<unsigned char, 4> bytes;
  int bits;
};
constexpr Network kSpecialNetworks[] = {
    {{0, 0, 0, 0}, 8},      {{10, 0, 0, 0}, 8},     {{100, 64, 0, 0}, 10}, {{127, 0, 0, 0}, 8},
    {{169, 254, 0, 0}, 16}, {{172, 16, 0, 0}, 12},  {{192, 0, 0, 0}, 24},  {{192, 0, 2, 0}, 24},
    {{192, 88, 99, 0}, 24}, {{192, 168, 0, 0}, 16}, {{198, 18, 0, 0}, 15}, {{198, 51, 100, 0}, 24},
    {{203, 0, 113, 0}, 24}, {{224, 0, 0, 0}, 3},
};

std::uint32_t number_of(const unsigned char* bytes) {
  return (std::uint32_t{bytes[0]} << 24) | (std::uint32_t{bytes[1]} << 16) |
         (std::uint32_t{bytes[2]} << 8) | bytes[3];
}

bool is_public_v4(const unsigned char* bytes) {
  for (const Network& network : kSpecialNetworks) {
    const int rest = 32 - network.bits;
    if (number_of(bytes) >> rest == number_of(network.bytes.data()) >> rest) return false;
  }
  return true;
}

/// Global unicast only, without what embeds an address of version 4 or is documentation.
bool is_public_v6(const unsigned char* bytes) {
  static constexpr unsigned char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::memcmp(bytes, kMapped, sizeof kMapped) == 0) return is_public_v4(bytes + 12);
  const std::uint32_t head = number_of(bytes);
  const bool global = head >> 29 == 1;                   // 2000::/3
  const bool special = head >> 9 == 0x20010000U >> 9 ||  // 2001::/23: Teredo and protocols
                       head == 0x20010db8U ||            // 2001:db8::/32
                       head >> 16 == 0x2002;             // 2002::/16: 6to4
  return global && !special;
}

}  // namespace

bool is_public(std::string_view text) {
  const Result<SocketAddress> address = parse(text);
  if (!address.has_value()) return false;
  unsigned char bytes[16];
  if (address->family() == AF_INET) {
    const auto* target = reinterpret_cast<const sockaddr_in*>(&address->storage);
    std::memcpy(bytes, &target->sin_addr, 4);
    return is_public_v4(bytes);
  }
  if (address->family() != AF_INET6) return false;
  const auto* target = reinterpret_cast<const sockaddr_in6*>(&address->storage);
  std::memcpy(bytes, &target->sin6_addr, 16);
  return is_public_v6(bytes);
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
