#include "http_lane.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <cstring>
#include <utility>

namespace berth::bench {

int connect_to(std::uint16_t port, int receive_buffer) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  if (receive_buffer > 0) {
    ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  }
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    die("connect");
  }
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  return fd;
}

HttpLane::HttpLane(Poller& poller, std::uint16_t port, std::string token)
    : poller_(poller), token_(std::move(token)), fd_(connect_to(port)) {
  poller_.add(fd_, EPOLLIN, *this);
}

HttpLane::~HttpLane() {
  ::close(fd_);
}

void HttpLane::send(const std::string& method, const std::string& path, const std::string& body,
                    const std::string& headers) {
  const std::string request = method + " " + path +
                              " HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + token_ +
                              "\r\nContent-Type: application/json\r\n" + headers +
                              "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
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
  if (got <= 0) die("the server closed a control connection");
  input_.append(bytes, static_cast<std::size_t>(got));
  const std::size_t head_end = input_.find("\r\n\r\n");
  if (head_end == std::string::npos) return;
  const std::size_t length_at = input_.find("Content-Length: ");
  const std::size_t length =
      length_at < head_end ? std::strtoul(input_.c_str() + length_at + 16, nullptr, 10) : 0;
  if (input_.size() < head_end + 4 + length) return;
  status_ = std::atoi(input_.c_str() + 9);
  body_ = input_.substr(head_end + 4, length);
  input_.erase(0, head_end + 4 + length);
  busy_ = false;
}

}  // namespace berth::bench
