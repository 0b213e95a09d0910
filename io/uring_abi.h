// io/uring_abi.h — values of the kernel's interface that Debian's headers (liburing 2.3,
// glibc 2.36) do not know yet.
#pragma once

namespace berth::inline v0::io::abi {

/// pwritev2: no SIGPIPE when the reader is gone (Linux 6.18; older kernels answer EOPNOTSUPP).
inline constexpr int kRwfNoSignal = 0x100;

/// waitid(2) as a request (Linux 6.7): sqe.len is the kind of id, sqe.fd the id, sqe.file_index the
/// options, sqe.addr2 where siginfo goes (may be null).
inline constexpr int kOpWaitid = 50;

}  // namespace berth::inline v0::io::abi
