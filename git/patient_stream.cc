#include <berth/git/failure.h>
#include <berth/git/patient_stream.h>

#include <git2.h>
#include <git2/sys/stream.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

namespace berth::git::detail {
namespace {

constexpr int kLookMs = 100;  // how often a cancel flag is looked at

/// What libgit2 asks for on this thread: its registry of streams is global and tells a stream
/// nothing about the call that it serves.
thread_local const PatientConnections* call_here = nullptr;

/// libgit2's ssh transport takes the descriptor out of a stream of this layout (git_socket_stream
/// of 1.5), so it is kept.
struct PatientStream {
  git_stream parent;
  char* host;
  char* port;
  int fd;
};

PatientStream& of(git_stream* stream) {
  return *reinterpret_cast<PatientStream*>(stream);
}

int failed(const char* what, int error) {
  git_error_set_str(GIT_ERROR_NET,
                    (std::string(what) + ": " + std::generic_category().message(error)).c_str());
  return -1;
}

/// Waits until `fd` is ready; -1 when patience ends first.
int wait_for(int fd, short events) {
  for (;;) {
    if (call_here != nullptr && call_here->patience().exhausted()) {
      git_error_set_str(GIT_ERROR_NET, "patience ended while waiting for the remote");
      return -1;
    }
    pollfd poll{fd, events, 0};
    const int rc = ::poll(&poll, 1, kLookMs);
    if (rc > 0) return 0;
    if (rc < 0 && errno != EINTR) return failed("poll", errno);
  }
}

int connect_to(const addrinfo& address) {
  const int fd = ::socket(address.ai_family, address.ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                          address.ai_protocol);
  if (fd < 0) return failed("socket", errno);
  int error = 0;
  if (::connect(fd, address.ai_addr, address.ai_addrlen) != 0) {
    error = errno;
    socklen_t size = sizeof error;
    if (error == EINPROGRESS) {
      if (wait_for(fd, POLLOUT) != 0) {
        ::close(fd);
        return -1;
      }
      ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
  }
  if (error != 0) {
    ::close(fd);
    return failed("connect", error);
  }
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  return fd;
}

int stream_connect(git_stream* base) {
  PatientStream& stream = of(base);
  if (call_here != nullptr && !call_here->allows(stream.host, stream.port)) {
    git_error_set_str(GIT_ERROR_NET, "the remote leads to another host");
    return -1;
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int rc = ::getaddrinfo(stream.host, stream.port, &hints, &list);
  if (rc != 0) {
    git_error_set_str(GIT_ERROR_NET,
                      (std::string("cannot resolve the host: ") + ::gai_strerror(rc)).c_str());
    return -1;
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(list, ::freeaddrinfo);
  for (const addrinfo* one = list; one != nullptr && stream.fd < 0; one = one->ai_next) {
    stream.fd = connect_to(*one);
  }
  return stream.fd < 0 ? -1 : 0;
}

ssize_t stream_read(git_stream* base, void* data, std::size_t size) {
  const PatientStream& stream = of(base);
  for (;;) {
    const ssize_t n = ::recv(stream.fd, data, size, 0);
    if (n >= 0) return n;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (wait_for(stream.fd, POLLIN) != 0) return -1;
    } else if (errno != EINTR) {
      return failed("read from the remote", errno);
    }
  }
}

ssize_t stream_write(git_stream* base, const char* data, std::size_t size, int) {
  const PatientStream& stream = of(base);
  for (;;) {
    const ssize_t n = ::send(stream.fd, data, size, MSG_NOSIGNAL);
    if (n >= 0) return n;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      if (wait_for(stream.fd, POLLOUT) != 0) return -1;
    } else if (errno != EINTR) {
      return failed("write to the remote", errno);
    }
  }
}

int stream_close(git_stream* base) {
  PatientStream& stream = of(base);
  if (stream.fd >= 0) ::close(stream.fd);
  stream.fd = -1;
  return 0;
}

void stream_free(git_stream* base) {
  PatientStream& stream = of(base);
  stream_close(base);
  std::free(stream.host);
  std::free(stream.port);
  delete &stream;
}

int stream_new(git_stream** out, const char* host, const char* port) {
  auto stream = std::make_unique<PatientStream>();
  stream->parent = {};
  stream->parent.version = GIT_STREAM_VERSION;
  stream->parent.connect = stream_connect;
  stream->parent.read = stream_read;
  stream->parent.write = stream_write;
  stream->parent.close = stream_close;
  stream->parent.free = stream_free;
  stream->host = ::strdup(host);
  stream->port = ::strdup(port);
  stream->fd = -1;
  *out = &stream.release()->parent;
  return 0;
}

}  // namespace

PatientConnections::PatientConnections(const Patience& patience, std::string host, std::string port)
    : patience_(patience), host_(std::move(host)), port_(std::move(port)) {
  call_here = this;
}

PatientConnections::~PatientConnections() {
  call_here = nullptr;
}

Result<void> register_patient_streams() {
  git_stream_registration registration{};
  registration.version = GIT_STREAM_VERSION;
  registration.init = stream_new;
  const int rc = git_stream_register(GIT_STREAM_STANDARD, &registration);
  if (rc != 0) return libgit2_fail(rc, "streams");
  return {};
}

}  // namespace berth::git::detail
