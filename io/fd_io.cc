#include <berth/io/fd_io.h>

#include <berth/io/uring_abi.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <ctime>

namespace berth::inline v0::io {

namespace {

IoStep step_of(ssize_t result) {
  if (result < 0) return IoStep{0, errno};
  return IoStep{static_cast<std::size_t>(result), 0};
}

int count_of(std::span<const iovec> parts) {
  return static_cast<int>(std::min<std::size_t>(parts.size(), IOV_MAX));
}

// The cheapest call first: taking over an iovec costs the kernel some 100 ns.
ssize_t write_to_socket(int fd, std::span<const iovec> parts) {
  if (parts.size() == 1) return ::send(fd, parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL);
  msghdr message = {};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = static_cast<std::size_t>(count_of(parts));
  return ::sendmsg(fd, &message, MSG_NOSIGNAL);
}

}  // namespace

IoStep read_some(int fd, std::span<char> into) {
  ssize_t result = 0;
  do {
    result = ::read(fd, into.data(), into.size());
  } while (result < 0 && errno == EINTR);
  return step_of(result);
}

IoStep write_some(int fd, std::span<const iovec> parts) {
  ssize_t result = 0;
  do {
    result = write_to_socket(fd, parts);
    if (result < 0 && errno == ENOTSOCK) {
      result = ::pwritev2(fd, parts.data(), count_of(parts), -1, abi::kRwfNoSignal);
    }
  } while (result < 0 && errno == EINTR);
  // An old kernel, or a file that knows no flags.
  if (result < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS)) {
    return write_some_with_sigpipe_blocked(fd, parts);
  }
  return step_of(result);
}

IoStep write_some_with_sigpipe_blocked(int fd, std::span<const iovec> parts) {
  sigset_t pipe_only;
  sigset_t pending;
  sigset_t before;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  const bool was_pending = sigismember(&pending, SIGPIPE) == 1;
  pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
  ssize_t result = 0;
  do {
    result = ::writev(fd, parts.data(), count_of(parts));
  } while (result < 0 && errno == EINTR);
  const IoStep step = step_of(result);
  if (step.error == EPIPE && !was_pending) {
    const timespec now = {};
    while (sigtimedwait(&pipe_only, nullptr, &now) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return step;
}

void cut_front(std::span<iovec>& parts, std::size_t bytes) {
  while (!parts.empty() && bytes >= parts.front().iov_len) {
    bytes -= parts.front().iov_len;
    parts = parts.subspan(1);
  }
  if (bytes == 0) return;
  iovec& part = parts.front();
  part.iov_base = static_cast<char*>(part.iov_base) + bytes;
  part.iov_len -= bytes;
}

int make_nonblocking(int fd) {
  const int status = ::fcntl(fd, F_GETFL);
  if (status < 0) return errno;
  if ((status & O_NONBLOCK) == 0 && ::fcntl(fd, F_SETFL, status | O_NONBLOCK) < 0) return errno;
  const int flags = ::fcntl(fd, F_GETFD);
  if (flags < 0) return errno;
  if ((flags & FD_CLOEXEC) == 0 && ::fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0) return errno;
  return 0;
}

}  // namespace berth::inline v0::io
