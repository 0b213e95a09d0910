#include <berth/io/launch_relay.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace berth::inline v0::io::launch {

void Relay::Flow::add(std::string_view text) {
  std::memcpy(bytes.data() + end, text.data(), text.size());
  end += text.size();
}

bool Relay::Flow::pull(int from) {
  if (!empty() || input_ended) return true;
  begin = end = 0;
  const ssize_t got = ::read(from, bytes.data(), bytes.size());
  if (got > 0) {
    end = static_cast<std::size_t>(got);
  } else if (got == 0) {
    input_ended = true;
  } else {
    return errno == EAGAIN || errno == EINTR;
  }
  return true;
}

bool Relay::Flow::push(int to) {
  while (!empty()) {
    const ssize_t sent = ::send(to, bytes.data() + begin, end - begin, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    begin += static_cast<std::size_t>(sent);
  }
  if (input_ended && !output_ended) {
    ::shutdown(to, SHUT_WR);
    output_ended = true;
  }
  return true;
}

Result<void> Relay::listen(std::uint16_t port, bool tunnel) {
  Listener listener;
  listener.descriptor.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1;
  ::setsockopt(listener.descriptor.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(listener.descriptor.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) !=
          0 ||
      ::listen(listener.descriptor.get(), 64) != 0) {
    return fail(errno_error(errno, "port " + std::to_string(port)));
  }
  if (tunnel) {
    const std::string target = "127.0.0.1:" + std::to_string(port);
    listener.greeting = "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n\r\n";
  }
  listeners_.push_back(std::move(listener));
  return {};
}

void Relay::accept_from(Listener& listener) {
  auto connection = std::make_unique<Connection>();
  connection->inside.reset(
      ::accept4(listener.descriptor.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection->inside.valid()) return;
  connection->outside.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  socket_.copy(address.sun_path, sizeof(address.sun_path) - 1);
  // A proxy that has no room, or is gone, reads as a connection that ends at once.
  if (connections_.size() >= kConnectionsMax ||
      ::connect(connection->outside.get(), reinterpret_cast<sockaddr*>(&address),
                sizeof(address)) != 0) {
    return;
  }
  connection->out.add(listener.greeting);
  connection->awaits_head = !listener.greeting.empty();
  connections_.push_back(std::move(connection));
}

/// Takes the proxy's answer to CONNECT off. False: it was refused.
bool Relay::take_head(Connection& connection) {
  Flow& in = connection.in;
  const std::string_view got(in.bytes.data() + in.begin, in.end - in.begin);
  const std::size_t end = got.find("\r\n\r\n");
  if (end == std::string_view::npos) {
    // It comes in one piece from a proxy on this machine.
    return got.empty() && !in.input_ended;
  }
  if (!got.starts_with("HTTP/1.1 200")) return false;
  in.begin += end + 4;
  connection.awaits_head = false;
  return true;
}

bool Relay::serve(Connection& connection, short inside, short outside) {
  constexpr short kReadable = POLLIN | POLLHUP | POLLERR;
  if ((inside & kReadable) != 0 && !connection.out.pull(connection.inside.get())) return false;
  if ((outside & kReadable) != 0 && !connection.in.pull(connection.outside.get())) return false;
  if (!connection.out.push(connection.outside.get())) return false;
  if (connection.awaits_head && !take_head(connection)) return false;
  if (!connection.awaits_head && !connection.in.push(connection.inside.get())) return false;
  return !(connection.in.output_ended && connection.out.output_ended);
}

bool Relay::turn(int woken) {
  std::vector<pollfd> watched = {{woken, POLLIN, 0}};
  for (const Listener& listener : listeners_) {
    watched.push_back({listener.descriptor.get(), POLLIN, 0});
  }
  const auto add = [&watched](const Fd& descriptor, const Flow& from, const Flow& to) {
    short events = 0;
    if (from.empty() && !from.input_ended) events |= POLLIN;
    if (!to.empty()) events |= POLLOUT;
    // One whose both sides rest is left out: POLLHUP cannot be switched off.
    watched.push_back({events == 0 ? -1 : descriptor.get(), events, 0});
  };
  for (const auto& connection : connections_) {
    add(connection->inside, connection->out, connection->in);
    add(connection->outside, connection->in, connection->out);
  }
  if (::poll(watched.data(), watched.size(), -1) < 0) return false;
  std::size_t at = 1 + listeners_.size();
  std::erase_if(connections_, [&](const std::unique_ptr<Connection>& connection) {
    const short inside = watched[at++].revents;
    const short outside = watched[at++].revents;
    return (inside | outside) != 0 && !serve(*connection, inside, outside);
  });
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    if (watched[1 + i].revents != 0) accept_from(listeners_[i]);
  }
  return watched[0].revents != 0;
}

}  // namespace berth::inline v0::io::launch
