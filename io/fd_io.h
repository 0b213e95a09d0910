// io/fd_io.h — plain reads and writes on non-blocking descriptors, retried over EINTR and without
// SIGPIPE.
#pragma once

#include <sys/uio.h>
#include <cstddef>
#include <span>

namespace berth::inline v0::io {

/// What one system call did: `bytes` of it when `error` is 0, else the errno (EAGAIN: nothing now).
struct IoStep {
  std::size_t bytes = 0;
  int error = 0;
};

IoStep read_some(int fd, std::span<char> into);

/// Writes as much of `parts` as the kernel takes at once, to a pipe, a socket or a file. A reader
/// that is gone is EPIPE, never a signal, whatever the program does about SIGPIPE.
IoStep write_some(int fd, std::span<const iovec> parts);

/// The last resort of write_some(): blocks SIGPIPE for this thread around one write and swallows
/// the one that the write raised. (A library must not change what the program does about a signal,
/// and a mask would be inherited by children.)
IoStep write_some_with_sigpipe_blocked(int fd, std::span<const iovec> parts);

/// Cuts `bytes` off the front of `parts`, the iovecs themselves included; empty parts in front go
/// too.
void cut_front(std::span<iovec>& parts, std::size_t bytes);

/// Makes `fd` non-blocking and close-on-exec; errno or 0.
int make_nonblocking(int fd);

}  // namespace berth::inline v0::io
