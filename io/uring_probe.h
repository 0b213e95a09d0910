// io/uring_probe.h — can io_uring be used here, and if not, why: in words, for logs and `berth
// doctor`.
#pragma once

#include <optional>
#include <string>

struct io_uring;

namespace berth::inline v0::io {

/// What the system says about itself; read only to explain a refusal, never to predict one.
struct UringFacts {
  std::optional<int> disabled_sysctl;  ///< kernel.io_uring_disabled; absent on kernels before 6.6.
  bool seccomp_filter = false;         ///< A filter is on this thread (Seccomp: 2 in its status).
  unsigned long long memlock_bytes = 0;  ///< RLIMIT_MEMLOCK, the soft limit.
};
UringFacts read_uring_facts();

/// Why io_uring_setup answered `errno_value`, and what would help.
std::string explain_uring_failure(int errno_value, const UringFacts& facts);

/// The names of what this engine needs and the ring's kernel lacks; empty when nothing is missing.
std::string missing_uring_parts(io_uring& ring);

/// Whether the ring's kernel knows this operation, one of those the engine can do without.
bool uring_has(io_uring& ring, int opcode);

struct UringProbe {
  bool usable = false;
  std::string reason;  ///< Why not; or what was found.
};
/// Builds a small ring, polls a pipe with it, and reports. Costs some 100 us; safe on any thread.
UringProbe probe_uring();

}  // namespace berth::inline v0::io
