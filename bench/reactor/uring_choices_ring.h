// bench/reactor/uring_choices_ring.h — a bare ring and pairs of sockets to try things on.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>
#include <array>
#include <cstdlib>
#include <vector>

namespace berth::bench {

inline void need(bool ok) {
  if (!ok) std::abort();
}

class Ring {
 public:
  Ring() {
    io_uring_params params = {};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE;
    params.cq_entries = 8192;
    need(io_uring_queue_init_params(2048, &ring_, &params) == 0);
    io_uring_register_ring_fd(&ring_);
  }
  ~Ring() { io_uring_queue_exit(&ring_); }
  io_uring* get() { return &ring_; }
  io_uring_sqe* entry() {
    io_uring_sqe* entry = io_uring_get_sqe(&ring_);
    need(entry != nullptr);
    return entry;
  }
  /// Submits, waits for `count` completions, returns the sum of their results.
  long finish(unsigned count) {
    long sum = 0;
    for (unsigned seen = 0; seen < count;) {
      io_uring_submit_and_wait(&ring_, count - seen);
      unsigned head = 0;
      unsigned here = 0;
      io_uring_cqe* completion = nullptr;
      io_uring_for_each_cqe(&ring_, head, completion) {
        sum += completion->res;
        ++here;
      }
      io_uring_cq_advance(&ring_, here);
      seen += here;
    }
    return sum;
  }

 private:
  io_uring ring_ = {};
};

struct Pair {
  int near = -1;
  int far = -1;
};

/// A listener on a free port of the loopback.
class TcpListener {
 public:
  TcpListener() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    need(::listen(fd_, 4096) == 0);
    socklen_t size = sizeof address_;
    need(::getsockname(fd_, reinterpret_cast<sockaddr*>(&address_), &size) == 0);
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  ~TcpListener() { ::close(fd_); }
  const sockaddr* address() const { return reinterpret_cast<const sockaddr*>(&address_); }
  static constexpr socklen_t kSize = sizeof(sockaddr_in);
  int accept() { return ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK); }
  Pair connect() {
    Pair pair;
    pair.near = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    need(::connect(pair.near, address(), kSize) == 0);
    ::fcntl(pair.near, F_SETFL, O_NONBLOCK);
    pair.far = accept();
    const int on = 1;
    ::setsockopt(pair.near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return pair;
  }

 private:
  const int fd_;
  sockaddr_in address_ = {};
};

inline Pair unix_pair() {
  std::array<int, 2> ends = {-1, -1};
  need(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) == 0);
  return Pair{ends[0], ends[1]};
}

/// Closed without leaving a port in TIME_WAIT.
inline void reset(int fd) {
  const linger now = {1, 0};
  ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  ::close(fd);
}

inline std::size_t drain(int fd) {
  static std::array<char, 65536> sink;
  std::size_t sum = 0;
  for (;;) {
    const ssize_t got = ::recv(fd, sink.data(), sink.size(), MSG_DONTWAIT);
    if (got <= 0) return sum;
    sum += static_cast<std::size_t>(got);
  }
}

}  // namespace berth::bench
