#include "http_lane.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace berth::bench {

namespace {

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

/// The value of Content-Length in a head; 0 when there is none.
std::size_t length_in(std::string_view head) {
  for (const std::string_view name : {"Content-Length: ", "content-length: "}) {
    const std::size_t at = head.find(name);
    if (at != std::string_view::npos)
      return std::strtoul(head.data() + at + name.size(), nullptr, 10);
  }
  return 0;
}

}  // namespace

int connect_to(std::uint16_t port, int receive_buffer) {
  const int fd = try_connect(port, receive_buffer);
  if (fd < 0) die("connect");
  return fd;
}

std::uint16_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0) die("bind");
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

int try_connect(std::uint16_t port, int receive_buffer) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  if (receive_buffer > 0) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  }
  const sockaddr_in address = loopback(port);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    ::close(fd);
    return -1;
  }
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

HttpLane::HttpLane(Poller& poller, std::uint16_t port, std::string token)
    : poller_(poller), port_(port), token_(std::move(token)) {
  open();
}

void HttpLane::open() {
  fd_ = connect_to(port_);
  poller_.add(fd_, EPOLLIN, *this);
}

HttpLane::~HttpLane() {
  if (fd_ >= 0) ::close(fd_);
}

void HttpLane::send(const std::string& method, const std::string& path, const std::string& body,
                    const std::string& headers) {
  const std::string request = method + " " + path +
                              " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + token_ +
                              "\r\nContent-Type: application/json\r\n" + headers +
                              "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  if (fd_ < 0) open();
  if (::send(fd_, request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    die("a control call does not fit into the socket");
  }
  busy_ = true;
}

void HttpLane::wait() {
  while (busy_) poller_.turn(-1);
}

void HttpLane::on_ready(std::uint32_t) {
  char bytes[16384];
  const ssize_t got = ::read(fd_, bytes, sizeof bytes);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    if (busy_) die("the server closed a connection in the middle of a call");
    ::close(fd_);
    fd_ = -1;
    return;
  }
  input_.append(bytes, static_cast<std::size_t>(got));
  const std::size_t head_end = input_.find("\r\n\r\n");
  if (head_end == std::string::npos) return;
  const std::size_t length = length_in(std::string_view(input_).substr(0, head_end));
  if (input_.size() < head_end + 4 + length) return;
  status_ = std::atoi(input_.c_str() + 9);
  body_ = input_.substr(head_end + 4, length);
  input_.erase(0, head_end + 4 + length);
  busy_ = false;
}

}  // namespace berth::bench
