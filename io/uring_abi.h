// io/uring_abi.h — values of the kernel's interface that Debian's headers (liburing 2.3,
// glibc 2.36) do not know yet.
#pragma once

namespace berth::io::abi {

/// pwritev2: no SIGPIPE when the reader is gone (Linux 6.18; older kernels answer EOPNOTSUPP).
inline constexpr int kRwfNoSignal = 0x100;

}  // namespace berth::io::abi
