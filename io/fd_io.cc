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

namespace berth::io {

namespace {

IoStep step_of(ssize_t result) {
  if (result < 0) return IoStep{0, errno};
  return IoStep{static_cast<std::size_t>(result), 0};
}

// Blocks SIGPIPE for this thread around one write and swallows the one that the write raised. A
// library must not change what the program does about the signal, and a thread's mask would be
// inherited by its children.
ssize_t write_with_sigpipe_blocked(int fd, const iovec* parts, int count) {
  sigset_t pipe_only;
  sigset_t pending;
  sigset_t before;
  sigemptyset(&pipe_only);
  sigaddset(&pipe_only, SIGPIPE);
  sigpending(&pending);
  const bool was_pending = sigismember(&pending, SIGPIPE) == 1;
  pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
  const ssize_t result = ::writev(fd, parts, count);
  const int error = errno;
  if (result < 0 && error == EPIPE && !was_pending) {
    const timespec now = {};
    while (sigtimedwait(&pipe_only, nullptr, &now) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return result;
}

}  // namespace

IoStep read_some(int fd, std::span<char> into) {
  ssize_t result = 0;
  do {
    result = ::read(fd, into.data(), into.size());
  } while (result < 0 && errno == EINTR);
  return step_of(result);
}

IoStep write_some_without_flag(int fd, std::span<const iovec> parts) {
  const int count = static_cast<int>(std::min<std::size_t>(parts.size(), IOV_MAX));
  msghdr message = {};
  message.msg_iov = const_cast<iovec*>(parts.data());
  message.msg_iovlen = static_cast<std::size_t>(count);
  ssize_t result = 0;
  do {
    result = ::sendmsg(fd, &message, MSG_NOSIGNAL);
    if (result < 0 && errno == ENOTSOCK) {
      result = write_with_sigpipe_blocked(fd, parts.data(), count);
    }
  } while (result < 0 && errno == EINTR);
  return step_of(result);
}

IoStep write_some(int fd, std::span<const iovec> parts) {
  const int count = static_cast<int>(std::min<std::size_t>(parts.size(), IOV_MAX));
  ssize_t result = 0;
  do {
    result = ::pwritev2(fd, parts.data(), count, -1, abi::kRwfNoSignal);
  } while (result < 0 && errno == EINTR);
  if (result < 0 && (errno == EOPNOTSUPP || errno == EINVAL || errno == ENOSYS)) {
    return write_some_without_flag(fd, parts);
  }
  return step_of(result);
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

}  // namespace berth::io
